//! A test file, checked: whatever holds a `TestFile` need not check it again. Its exchanges are in `step.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use policy_host::{EndpointView, Grant, Limits, OnFault, UpstreamStats};
use toml::Spanned;
use toml::value::Datetime;

use super::raw::{RawCall, RawFile, RawPolicy, RawUpstream};
use super::services::CallRule;
use super::step::{self, Step};
use super::values;
use crate::config::report::Problem;
use crate::config::values::Span;
use crate::config::{ConfigError, Fields, load_as};

/// 2026-01-01T00:00:00Z: a test must not depend on the day on which it runs.
const DEFAULT_START_MS: u64 = 1_767_225_600_000;

pub(crate) struct TestFile {
    pub path: PathBuf,
    pub policy: PolicyPart,
    pub start_ms: u64,
    pub upstreams: Vec<UpstreamPart>,
    /// What upstreams answer to calls in any exchange.
    pub calls: Vec<CallRule>,
    pub steps: Vec<Step>,
}

pub(crate) struct PolicyPart {
    pub module: Option<PathBuf>,
    pub name: Option<String>,
    /// None: those of the policy's folder.
    pub grants: Option<Vec<Grant>>,
    /// Stores that are not the policy's own.
    pub kv_shared: Vec<String>,
    pub config_json: String,
    pub on_fault: OnFault,
    pub limits: Limits,
    /// None: the gateway's default.
    pub max_body_bytes: Option<usize>,
    /// The policy must refuse its configuration, in these words.
    pub refused: Option<String>,
}

/// An upstream as the policy sees it.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamPart {
    pub name: String,
    pub endpoints: Vec<EndpointView>,
    pub stats: UpstreamStats,
}

pub(crate) fn load(path: &Path) -> Result<TestFile, ConfigError> {
    load_as(path, |raw: RawFile, fields| {
        let policy = policy(&raw.policy, fields);
        if policy.refused.is_some()
            && let Some(first) = raw.exchange.first()
        {
            let problem = Problem::new(
                first.span(),
                "there cannot be an exchange with a policy that refused its configuration",
            );
            fields.problem(problem.help("take out this [[exchange]], or `refused` of [policy]"));
        }
        TestFile {
            path: path.to_owned(),
            policy,
            start_ms: raw.clock.start.map_or(DEFAULT_START_MS, |start| {
                unix_ms(start.get_ref()).unwrap_or_else(|| {
                    let problem = Problem::new(start.span(), "this is no moment after 1970");
                    fields.problem(
                        problem.help("write a date and a time, such as 2026-01-01T12:00:00Z"),
                    );
                    DEFAULT_START_MS
                })
            }),
            upstreams: raw.upstream.iter().map(upstream).collect(),
            calls: common_calls(&raw.call, fields),
            steps: raw
                .exchange
                .iter()
                .enumerate()
                .map(|(index, exchange)| step::check(index, exchange, fields))
                .collect(),
        }
    })
}

fn common_calls(raw: &[Spanned<RawCall>], fields: &mut Fields<'_>) -> Vec<CallRule> {
    for times in raw.iter().filter_map(|call| call.get_ref().times.as_ref()) {
        let problem = Problem::new(times.span(), "calls are counted in an exchange");
        fields.problem(problem.help("write this as [[exchange.call]] where the call is made"));
    }
    step::calls(raw, fields)
}

impl TestFile {
    /// Upstreams that the policy may call: all that answer somewhere.
    pub(super) fn called_upstreams(&self) -> Vec<String> {
        let own = self.steps.iter().flat_map(|step| &step.calls);
        let names = self.calls.iter().chain(own).map(|rule| &rule.upstream);
        let mut names: Vec<String> = names.cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

fn policy(raw: &RawPolicy, fields: &mut Fields<'_>) -> PolicyPart {
    let defaults = Limits::default();
    let known = Grant::ALL.map(Grant::name);
    let grants = raw.grants.as_ref().map(|names| {
        let mut grants = Vec::new();
        for name in names {
            match name.get_ref().parse() {
                Ok(grant) => grants.push(grant),
                Err(_) => fields.unknown(name, "grant", &known),
            }
        }
        grants
    });
    let config_json = match &raw.config {
        Some(table) => {
            let value = toml::Value::Table(table.get_ref().clone());
            values::json(&value, table.span(), fields).to_string()
        }
        None => "{}".to_owned(),
    };
    let memory = raw
        .max_memory_bytes
        .as_ref()
        .map_or(defaults.memory_bytes as u64, |size| size.get_ref().0);
    PolicyPart {
        module: raw.module.as_deref().map(|module| fields.path(module)),
        name: raw.name.clone(),
        grants,
        kv_shared: raw.kv_shared.clone(),
        config_json,
        on_fault: fields.word(
            raw.on_fault.as_ref(),
            &[("deny", OnFault::Deny), ("skip", OnFault::Skip)],
            OnFault::Deny,
        ),
        limits: Limits {
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            fuel: raw
                .fuel
                .as_ref()
                .map_or(defaults.fuel, |fuel| *fuel.get_ref()),
            deadline: raw.deadline.map_or(defaults.deadline, |span| span.0),
            ..defaults
        },
        max_body_bytes: raw
            .max_body_bytes
            .as_ref()
            .map(|size| usize::try_from(size.get_ref().0).unwrap_or(usize::MAX)),
        refused: raw.refused.clone(),
    }
}

fn upstream(raw: &RawUpstream) -> UpstreamPart {
    let micros = |span: Option<Span>| {
        let span = span.map_or(Duration::ZERO, |span| span.0);
        u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
    };
    let one = || {
        vec![EndpointView {
            id: 0,
            address: format!("{}:80", raw.name.get_ref()),
            healthy: true,
            weight: 1,
            in_flight: 0,
            ewma_us: 0,
            zone: String::new(),
        }]
    };
    let endpoints: Vec<EndpointView> = raw.endpoints.as_ref().map_or_else(one, |list| {
        (0..)
            .zip(list)
            .map(|(id, endpoint)| EndpointView {
                id,
                address: endpoint.address.clone(),
                healthy: endpoint.healthy.unwrap_or(true),
                weight: endpoint.weight.unwrap_or(1),
                in_flight: endpoint.in_flight,
                ewma_us: micros(endpoint.ewma),
                zone: endpoint.zone.clone(),
            })
            .collect()
    });
    let count = |list: Vec<&EndpointView>| u32::try_from(list.len()).unwrap_or(u32::MAX);
    UpstreamPart {
        name: raw.name.get_ref().clone(),
        stats: UpstreamStats {
            healthy: count(
                endpoints
                    .iter()
                    .filter(|endpoint| endpoint.healthy)
                    .collect(),
            ),
            total: count(endpoints.iter().collect()),
            in_flight: endpoints.iter().map(|endpoint| endpoint.in_flight).sum(),
            rate: raw.rate,
            error_rate: raw.error_rate,
            p50_us: micros(raw.p50),
            p99_us: micros(raw.p99),
        },
        endpoints,
    }
}

/// None before 1970, and for what is not a date with a time. A time without an offset is taken as UTC.
fn unix_ms(moment: &Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    // Days since 1970-01-01, counted in years that begin in March, so that a leap day comes last.
    let (year, month, day) = (
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let minutes = days * 24 * 60 + i64::from(time.hour) * 60 + i64::from(time.minute);
    let offset = match moment.offset {
        Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes),
        Some(toml::value::Offset::Z) | None => 0,
    };
    let seconds = (minutes - offset) * 60 + i64::from(time.second.unwrap_or(0));
    let ms = seconds * 1000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_from_1970() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-01T00:00:00Z", Some(DEFAULT_START_MS)),
            ("2024-02-29T12:30:15.250Z", Some(1_709_209_815_250)),
            ("2024-03-01T00:00:00", Some(1_709_251_200_000)),
            ("2000-01-01T01:00:00+01:00", Some(946_684_800_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2024-03-01", None),
        ] {
            let moment: Datetime = text.parse().expect("a date");
            assert_eq!(unix_ms(&moment), ms, "{text}");
        }
    }
}
