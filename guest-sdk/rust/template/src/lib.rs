//! Each caller, named by a header, may do so many requests; one who insists is blocked for a while.

use guest_sdk::kv::{Store, number_in};
use guest_sdk::limits::{self, Algorithm, Limiter, Spec};
use guest_sdk::{ConfigError, Decision, LocalResponse, Policy, Request};
use serde::Deserialize;

/// How long a refusal counts against its caller, in milliseconds.
const REMEMBERED_MS: u64 = 600_000;

/// Unknown keys are refused whatever this type says.
#[derive(Deserialize)]
struct Settings {
    header: String,
    limit: u64,
    seconds: u64,
    strikes: u64,
}

/// A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
struct CallerLimit {
    settings: Settings,
    limiter: Limiter,
    refusals: Store,
}

impl Policy for CallerLimit {
    type Config = Settings;

    /// An error refuses the configuration: `veilgate check` shows it.
    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        if settings.header.is_empty() {
            return Err(ConfigError::at("header", "must be a text"));
        }
        let numbers = [
            ("limit", settings.limit),
            ("seconds", settings.seconds),
            ("strikes", settings.strikes),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::at(*key, "must be a whole number above zero"));
        }
        let spec = Spec {
            algorithm: Algorithm::Gcra,
            limit: settings.limit,
            per: settings.seconds * 1000,
            burst: settings.limit,
        };
        Ok(Self {
            limiter: limits::define("limit", "calls", spec)?,
            refusals: guest_sdk::kv::open("refusals")?,
            settings,
        })
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let header = &self.settings.header;
        let caller = request.header(header).unwrap_or_default();
        if caller.is_empty() {
            return refuse(401, "no-caller", format!("say who you are: {header}\n"));
        }
        let tenant = request
            .header("x-tenant")
            .unwrap_or_else(|| "default".to_owned());
        let key = format!("{tenant}/{caller}");
        if self.refusals.get(&key).map_or(0, |entry| number_in(&entry)) >= self.settings.strikes {
            return refuse(
                403,
                "blocked",
                "blocked: too many requests over the limit\n".to_owned(),
            );
        }
        let verdict = self.limiter.take(&key, 1);
        if !verdict.allowed {
            // a full store forgets a refusal; this one is refused all the same
            let _ = self.refusals.incr(&key, 1, Some(REMEMBERED_MS));
            let seconds = verdict.retry_after.div_ceil(1000).to_string();
            return refuse_with(
                429,
                "over-limit",
                "over the limit\n".to_owned(),
                &[("retry-after", seconds)],
            );
        }
        request.set_header("x-caller", &key);
        Decision::next()
            .done()
            .response_header("x-remaining", verdict.remaining.to_string())
    }
}

fn refuse(status: u16, reason: &'static str, message: String) -> Decision {
    refuse_with(status, reason, message, &[])
}

fn refuse_with(
    status: u16,
    reason: &'static str,
    message: String,
    headers: &[(&str, String)],
) -> Decision {
    let response = LocalResponse::new(status)
        .with("content-type", "text/plain; charset=utf-8")
        .body(message);
    let response = headers.iter().fold(response, |response, (name, value)| {
        response.with(name, value)
    });
    Decision::respond(response).done().reason(reason)
}

// The world says which hooks the gateway calls and what the policy may import.
guest_sdk::export_policy!(CallerLimit, "request-policy");
