//! What the gateway tells its operator: metrics, the access log, and the log of the program itself.
//!
//! Invariants: nothing here waits or blocks on the request path; what cannot be kept up with is dropped and counted; labels are
//! bounded, so that no client can make the metrics grow; no query string, header value or key material is ever written.

mod access_log;
mod exchanges;
mod line;
mod logs;
mod prometheus;

pub use self::access_log::{AccessLog, Sink};
pub use self::exchanges::{ExchangeMetrics, InFlight};
pub use self::line::ExchangeLine;
pub use self::logs::init_logs;
pub use self::prometheus::{MetricsError, MetricsHandle, install_metrics};
