//! What a caller is told: the fields of draft-ietf-httpapi-ratelimit-headers-10, and the refusals.

use guest_sdk::limits::Verdict;
use guest_sdk::settings::{Node, digits, push_digits};
use guest_sdk::{ConfigError, LocalResponse, Period, Problem};

use super::{Charge, Plan};

/// `reason` of a refusal.
pub const REFUSED: &str = "rate-limit/refused";
/// The remote store did not answer, and the operator's rule for that case refused.
pub const REFUSED_DEGRADED: &str = "rate-limit/refused-degraded";
/// The remote store did not answer, and the operator's rule for that case let the request pass.
pub const DEGRADED: &str = "rate-limit/degraded";
/// Too many at once.
pub const CROWDED: &str = "rate-limit/in-flight";

/// The problem type of the draft for a quota that is used up.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// On which responses the fields are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    Refused,
    Always,
    Never,
}

impl Headers {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        node.choice(&[
            ("refused", Self::Refused),
            ("always", Self::Always),
            ("never", Self::Never),
        ])
    }
}

impl Plan {
    /// The answer to a caller who is over a limit. `verdicts` are in the order of `charges`.
    pub fn refusal(&self, charges: &[Charge], verdicts: &[Verdict]) -> LocalResponse {
        let refused = || verdicts.iter().filter(|verdict| !verdict.allowed);
        let wait = refused()
            .map(|verdict| verdict.retry_after)
            .max()
            .unwrap_or(0);
        let seconds = digits(Period::from_millis(wait).seconds_up().max(1));
        let violated: Vec<&str> = charges
            .iter()
            .zip(verdicts)
            .filter(|(_, verdict)| !verdict.allowed)
            .map(|(charge, _)| self.limits[charge.limit].name.as_str())
            .collect();
        let detail = [
            "The limit for this caller is used up. Try again in ",
            &seconds,
            " s.",
        ];
        let response = Problem::new(429, "Too many requests")
            .kind(QUOTA_EXCEEDED)
            .detail(&detail.concat())
            .member("violated-policies", violated.as_slice())
            .into_response()
            .with("retry-after", seconds);
        match self.headers {
            Headers::Never => response,
            Headers::Refused | Headers::Always => response
                .with("ratelimit-policy", self.policy_field(charges))
                .with("ratelimit", self.standing_field(charges, verdicts)),
        }
    }

    /// `"per-client";q=100;w=60`: the quota and its window in seconds.
    pub fn policy_field(&self, charges: &[Charge]) -> String {
        if charges.len() == self.limits.len() {
            return self.policy_of_all.clone();
        }
        let items = charges
            .iter()
            .map(|charge| self.limits[charge.limit].policy_item.as_str());
        items.collect::<Vec<_>>().join(", ")
    }

    /// `"per-client";r=50;t=30`: what remains, and in how many seconds the quota is whole again.
    pub fn standing_field(&self, charges: &[Charge], verdicts: &[Verdict]) -> String {
        let mut field = self.scratch.borrow_mut();
        field.clear();
        for (nth, (charge, verdict)) in charges.iter().zip(verdicts).enumerate() {
            field.push_str(if nth > 0 { ", " } else { "" });
            field.push_str(&self.limits[charge.limit].standing_start);
            push_digits(&mut field, verdict.remaining);
            field.push_str(";t=");
            push_digits(&mut field, Period::from_millis(verdict.reset).seconds_up());
        }
        // What crosses to the host must have no spare room; made to measure here, it is not copied again there.
        field.as_str().to_owned()
    }
}

/// The answer to a caller who has too many requests on their way.
pub fn crowded(gate: &str) -> LocalResponse {
    Problem::new(429, "Too many requests at once")
        .kind(QUOTA_EXCEEDED)
        .detail("This caller has as many requests on their way as it may. Try again when one of them has ended.")
        .member("violated-policies", [gate].as_slice())
        .into_response()
        .with("retry-after", "1")
}
