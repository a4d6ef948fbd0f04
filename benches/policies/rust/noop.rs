//! Lets every request pass: what a call costs by itself.

use guest_sdk::{ConfigError, Decision, Policy, Request};

#[derive(serde::Deserialize)]
struct Settings {}

struct NoOp;

impl Policy for NoOp {
    type Config = Settings;

    fn configure(_: Settings) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request(&self, _: &mut Request) -> Decision {
        Decision::next().done()
    }
}

guest_sdk::export_policy!(NoOp, "request-policy");
