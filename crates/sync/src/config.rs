//! How a site reaches its aggregator.

use std::time::Duration;

use transport::h3client::{ClientOptions, Connector};
use transport::limits::Congestion;
use transport::{BindError, ClientTls};

/// How to reach the aggregator, and how hard to try.
#[derive(Clone)]
pub struct SyncConfig {
    /// `host:port`; a name is looked up at every attempt.
    pub aggregator: String,
    /// The name in the aggregator's certificate.
    pub server_name: String,
    /// Trust in the aggregator, and the site's client certificate.
    pub tls: ClientTls,
    /// Batches on their way at once.
    pub max_in_flight: usize,
    /// Upper bound of what is sent, best set to some 93 % of the uplink; `None`: as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Bounds of the wait after a failure.
    pub backoff_first: Duration,
    pub backoff_most: Duration,
    pub connect_timeout: Duration,
    /// A connection without a sign of life for so long is given up.
    pub idle_timeout: Duration,
    /// Time for one batch, beyond what the rate asks for.
    pub request_timeout: Duration,
}

impl SyncConfig {
    pub fn new(
        aggregator: impl Into<String>,
        server_name: impl Into<String>,
        tls: ClientTls,
    ) -> Self {
        Self {
            aggregator: aggregator.into(),
            server_name: server_name.into(),
            tls,
            max_in_flight: 4,
            bytes_per_second: None,
            backoff_first: Duration::from_secs(1),
            backoff_most: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
        }
    }

    pub(crate) fn connector(&self) -> Result<Connector, BindError> {
        let options = ClientOptions {
            // Goes on through the random losses of radio and satellite links, where loss-based control collapses.
            congestion: Congestion::Bbr,
            idle_timeout: self.idle_timeout,
            // Well below the idle timeouts of NATs (30 s for many) and of the aggregator (60 s); also the time
            // after which an aggregator that was killed and came back is noticed by an idle site.
            keep_alive: Some(self.idle_timeout.min(Duration::from_secs(60)) / 3),
            connect_timeout: self.connect_timeout,
            // Replies are small.
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            ..ClientOptions::default()
        };
        Connector::new(&self.tls, options)
    }
}
