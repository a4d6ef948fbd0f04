//! Refuses requests that do not say for which tenant: one header, read.

use guest_sdk::{ConfigError, Decision, LocalResponse, Policy, Request};

#[derive(serde::Deserialize)]
struct Settings {}

struct Header;

impl Policy for Header {
    type Config = Settings;

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request(&self, request: &mut Request) -> Decision {
        match request.header("x-tenant") {
            Some(tenant) if !tenant.is_empty() => Decision::next().done(),
            _ => Decision::respond(LocalResponse::new(400)).done(),
        }
    }
}

guest_sdk::export_policy!(Header, "request-policy");
