//! Nothing is compared that does not do the same: a guest and its twin leave an exchange alike.

use examples::client::Error;
use policy_host::{ExchangeContext, Outcome};

use super::exchange::{Hook, Subject, Trip};
use super::load::Loaded;

/// A time that a limit tells may pass from one second into the next between the two.
const TRIES: usize = 3;

/// On the exchange that is measured.
pub fn check(trip: &Trip, loaded: &Loaded, twin: &dyn Subject) -> Result<(), Error> {
    let mut last = [String::new(), String::new()];
    for _ in 0..TRIES {
        last = [left_by(trip, &loaded.chain), left_by(trip, twin)];
        if last[0] == last[1] {
            return Ok(());
        }
    }
    Err(Error::new(format!(
        "policy {} and its native twin differ:\n{}\n{}",
        loaded.policy.name(),
        last[0],
        last[1]
    )))
}

/// What a subject made of an exchange, in words.
fn left_by(trip: &Trip, subject: &dyn Subject) -> String {
    let mut exchange = trip.begin();
    let mut words = Vec::new();
    for hook in Hook::ALL {
        trip.prepare(hook, &mut exchange);
        words.push(trip.decided(hook, subject, &mut exchange));
    }
    format!("{words:?} {}", written(&exchange))
}

fn written(exchange: &ExchangeContext) -> String {
    let reasons: Vec<&str> = exchange
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect();
    let attrs: Vec<_> = exchange.attrs.iter().collect();
    format!(
        "{:?} {:?} {:?} {reasons:?} {attrs:?}",
        exchange.response_headers, exchange.route, exchange.cache
    )
}

/// Whether a small policy lets a request pass with this tenant in its head, or with none.
pub fn passes(trip: &Trip, subject: &dyn Subject, tenant: Option<&'static str>) -> bool {
    let mut exchange = trip.begin();
    let headers = &mut exchange.request.headers;
    headers.remove("x-tenant");
    if let Some(tenant) = tenant {
        headers.insert("x-tenant", ::http::HeaderValue::from_static(tenant));
    }
    matches!(subject.on_request(&mut exchange), Outcome::Continue)
}
