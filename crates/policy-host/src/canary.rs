//! One written exchange that a module must get through before it serves: on an instance of its own, with state that nobody else
//! sees, and without the gateway's services. Whatever it does there has no effect.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use crate::chain::Chain;
use crate::decision::{Attempt, AttemptChoice, AttemptOutcome, Outcome, Unavailable, Verdict};
use crate::exchange::{
    ExchangeContext, Identity, RequestInfo, RequestParts, ResponseParts, Source,
};

/// The exchange, and what the policy must say to it.
#[derive(Debug, Clone)]
pub struct Canary {
    pub method: Method,
    pub path_and_query: String,
    pub authority: String,
    pub headers: HeaderMap,
    pub expect: Expected,
}

/// What the policy must make of it. A fault is never right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    #[default]
    AnyDecision,
    /// The request goes on to the upstream.
    Continue,
    /// The policy answers, with this status.
    Respond(StatusCode),
}

impl Default for Canary {
    /// A plain GET.
    fn default() -> Self {
        Self {
            method: Method::GET,
            path_and_query: "/".to_owned(),
            authority: "localhost".to_owned(),
            headers: HeaderMap::new(),
            expect: Expected::AnyDecision,
        }
    }
}

/// What it made of it.
enum Found {
    Continue,
    Respond(StatusCode),
    Defer,
    GaveUp,
    Unavailable(Unavailable),
}

impl Canary {
    /// Every hook, as far as the policy lets the exchange come. An error says what was wrong.
    pub(crate) fn check(&self, chain: &Chain) -> Result<(), String> {
        let found = crate::apart::run(self.pass(chain))?;
        let right = match (&found, self.expect) {
            (Found::Unavailable(_), _) => false,
            (_, Expected::AnyDecision) | (Found::Continue, Expected::Continue) => true,
            (Found::Respond(status), Expected::Respond(expected)) => *status == expected,
            (_, Expected::Continue | Expected::Respond(_)) => false,
        };
        right
            .then_some(())
            .ok_or_else(|| format!("{} was expected, and {found}", self.expect))
    }

    async fn pass(&self, chain: &Chain) -> Found {
        let mut exchange = self.exchange();
        match chain.on_request(&mut exchange).await {
            Outcome::Continue => {}
            ended => return found(ended),
        }
        let attempt = Attempt {
            number: 1,
            upstream: "canary".to_owned(),
            endpoint: None,
        };
        match chain.before_attempt(&mut exchange, &attempt).await {
            AttemptChoice::Default | AttemptChoice::Route(_) => {}
            AttemptChoice::Respond(response) => return Found::Respond(response.status),
            AttemptChoice::GiveUp => return Found::GaveUp,
            AttemptChoice::Unavailable(why) => return Found::Unavailable(why),
        }
        let outcome = AttemptOutcome {
            status: Some(200),
            error: None,
            latency_us: 1000,
        };
        let verdict = chain.after_attempt(&mut exchange, &attempt, &outcome);
        if let Verdict::Unavailable(why) = verdict.await {
            return Found::Unavailable(why);
        }
        exchange.response = Some(ResponseParts {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            source: Source::Upstream,
        });
        found(chain.on_response(&mut exchange).await)
    }

    fn exchange(&self) -> ExchangeContext {
        let request = RequestParts {
            method: self.method.clone(),
            path_and_query: self.path_and_query.clone(),
            authority: self.authority.clone(),
            headers: self.headers.clone(),
        };
        let info = RequestInfo {
            id: "canary".to_owned(),
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            protocol: "h1",
            tls: false,
            sni: None,
            route: Arc::from("canary"),
            received_ms: 0,
            identity: Identity::default(),
        };
        ExchangeContext::new(request, info, None)
    }
}

fn found(outcome: Outcome) -> Found {
    match outcome {
        Outcome::Continue => Found::Continue,
        Outcome::Respond(response) => Found::Respond(response.status),
        Outcome::Defer => Found::Defer,
        Outcome::Unavailable(why) => Found::Unavailable(why),
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::AnyDecision => f.write_str("any decision"),
            Expected::Continue => f.write_str("to go on"),
            Expected::Respond(status) => write!(f, "an answer of {}", status.as_u16()),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Continue => f.write_str("it went on"),
            Found::Respond(status) => write!(f, "it answered {}", status.as_u16()),
            Found::Defer => f.write_str("it deferred the request"),
            Found::GaveUp => f.write_str("it gave up before the first attempt"),
            Found::Unavailable(why) => write!(f, "it failed: {why}"),
        }
    }
}
