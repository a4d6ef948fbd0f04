//! What `filter` does, as a Veilgate policy: reads one request header and adds two.

use guest_sdk::{ConfigError, Decision, Policy, Request};

#[derive(serde::Deserialize)]
struct Settings {}

struct Header;

impl Policy for Header {
    type Config = Settings;

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        let team = match request.header("x-api-key") {
            Some(key) if key == "bench" => "known",
            _ => "unknown",
        };
        request.set_header("x-team", team);
        request.set_header("x-checked", "yes");
        Decision::next()
    }
}

guest_sdk::export_policy!(Header, "request-policy");
