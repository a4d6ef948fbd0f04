//! The policies' logic compiled into this program: what a call would cost if there were no guest.
//!
//! A twin decides with the policy's own `decide` module, on the same exchange, and asks the same limiters and breakers; it writes what
//! it decides where the host would. It is called through a pointer, as a plug-in would be. What it has not: a second memory, a limit
//! on its time, and a check of what it says.

mod caching;
mod circuit_breaker;
mod head;
mod rate_limit;
mod routing;
mod small;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use examples::client::Error;
use guest_sdk::ConfigError;
use policy_host::{ExchangeContext, LocalResponse, Native, Outcome, Reason};

use super::exchange::Subject;
use super::load::{Loader, PolicySettings};

pub use small::{Header, NoOp};

/// The twin of a policy that ships, by the name of its module.
pub fn twin(settings: &PolicySettings, loader: &Loader) -> Result<Box<dyn Subject>, Error> {
    let primitives = Arc::clone(&loader.primitives);
    let scope = format!("{}-native", settings.name);
    let native = Native::new(primitives, scope, Arc::clone(&loader.clock));
    let config = settings.config_json()?;
    let module = settings.module.file_stem().unwrap_or_default();
    let refused = |error: ConfigError| Error::new(format!("{}: {error}", settings.name));
    Ok(match module.to_str() {
        Some("rate-limit") => Box::new(rate_limit::Twin::new(&config, native)?),
        Some("routing") => Box::new(routing::Twin::new(&config).map_err(refused)?),
        Some("caching") => Box::new(caching::Twin::new(&config).map_err(refused)?),
        Some("circuit-breaker") => Box::new(circuit_breaker::Twin::new(&config, native)?),
        _ => {
            let name = settings.module.display();
            return Err(Error::new(format!("{name} has no native twin")));
        }
    })
}

fn give_reason(exchange: &mut ExchangeContext, policy: &Arc<str>, text: &str) {
    exchange.reasons.push(Reason {
        policy: Arc::clone(policy),
        text: text.to_owned(),
    });
}

/// A field of the answer; one that is no field is left out.
fn answer_with(exchange: &mut ExchangeContext, name: &'static str, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        let name = HeaderName::from_static(name);
        exchange.response_headers.push(name, value);
    }
}

fn local(response: guest_sdk::LocalResponse) -> LocalResponse {
    let fields = response.headers.into_iter();
    let headers = fields.filter_map(|(name, value)| {
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        ))
    });
    LocalResponse {
        status: StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers: HeaderMap::from_iter(headers),
        body: Bytes::from(response.body),
    }
}

fn respond(response: guest_sdk::LocalResponse) -> Outcome {
    Outcome::Respond(local(response))
}
