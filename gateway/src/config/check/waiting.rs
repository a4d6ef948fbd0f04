//! What `[[policy]]` says of a policy that may wait: whom it may call, how many at once, and for how long.

use std::time::Duration;

use policy_host::Grant;
use toml::Spanned;

use super::Names;
use super::fields::Fields;
use crate::config::raw::RawPolicy;
use crate::config::report::Problem;
use crate::config::values::Span;

/// Instances of one policy: each may have all the memory that the policy may have.
const INSTANCES: std::ops::RangeInclusive<u64> = 1..=1024;
/// The longest wait: no client waits longer.
const MAX_WAIT: Duration = Duration::from_secs(300);

fn is_granted(raw: &RawPolicy, grant: Grant) -> Option<&Spanned<String>> {
    raw.grants
        .iter()
        .find(|given| given.get_ref() == grant.name())
}

/// The upstreams that it may call.
pub(super) fn calls(raw: &RawPolicy, names: &Names, fields: &mut Fields<'_>) -> Vec<String> {
    let known: Vec<&str> = names.upstreams.iter().map(String::as_str).collect();
    for upstream in &raw.calls {
        if !known.contains(&upstream.get_ref().as_str()) {
            fields.unknown(upstream, "upstream", &known);
        }
    }
    match (is_granted(raw, Grant::HttpCall), raw.calls.first()) {
        (Some(grant), None) => fields.problem(
            Problem::new(
                grant.span(),
                "this policy may call, and no upstream is named that it may call",
            )
            .help("add `calls = [\"NAME\"]` with the names of upstreams"),
        ),
        (None, Some(first)) => fields.problem(
            Problem::new(first.span(), "this policy is not granted any calls")
                .help("add \"http-call\" to its grants"),
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let Some(grant) = is_granted(raw, Grant::Outbox).filter(|_| !names.has_outbox) {
        fields.problem(
            Problem::new(grant.span(), "there is no outbox for this policy's records")
                .help("add an [outbox] section, or leave this grant out"),
        );
    }
    raw.calls
        .iter()
        .map(|upstream| upstream.get_ref().clone())
        .collect()
}

pub(super) fn instances(raw: &RawPolicy, fields: &mut Fields<'_>) -> Option<u64> {
    let instances = raw.instances.as_ref()?;
    Some(fields.count(Some(instances), 1, INSTANCES))
}

pub(super) fn max_wait(raw: &RawPolicy, fields: &mut Fields<'_>) -> Option<Duration> {
    let wait: &Spanned<Span> = raw.max_wait.as_ref()?;
    let span = wait.get_ref().0;
    if !span.is_zero() && span <= MAX_WAIT {
        return Some(span);
    }
    fields.problem(
        Problem::new(wait.span(), format!("{span:?} is not between 0 and 5 min"))
            .help("write how long one call of the policy may take, such as \"5s\""),
    );
    None
}
