//! `[[policy]]`: modules, grants, and the policy's own table as JSON.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use policy_host::{Grant, InstanceChoice, Pin};
use toml::Spanned;

use super::canaries;
use super::fields::Fields;
use super::{Names, limits_store, waiting};
use crate::config::raw::{RawPolicies, RawPolicy};
use crate::config::report::Problem;
use crate::config::values::Span;
use crate::config::{OnFault, PolicyConfig, PolicyHostConfig};

/// Shared stores of one policy: each is a name that somebody wrote for a purpose.
const MAX_SHARED_STORES: usize = 16;
/// A component with no memory to speak of up to one that holds a language runtime.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=4 * 1024 * 1024 * 1024;

/// Compiled modules have three to five times the size of their Wasm: room for some dozens of large ones.
pub(crate) const DEFAULT_CACHE_BYTES: u64 = 256 << 20;
/// A body that a policy sees whole is in memory, and copied into the guest: more than this is a job for a stream.
const BODY_BYTES: std::ops::RangeInclusive<u64> = 1..=policy_host::MAX_BODY_BYTES as u64;
/// More often is a busy loop; more seldom is never.
const TICK: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

pub(super) fn check(
    policy: &Spanned<RawPolicy>,
    names: &Names,
    fields: &mut Fields<'_>,
) -> Option<PolicyConfig> {
    let raw = policy.get_ref();
    let known = Grant::ALL.map(Grant::name);
    for grant in &raw.grants {
        if !known.contains(&grant.get_ref().as_str()) {
            fields.unknown(grant, "grant", &known);
        }
    }
    shared_stores(raw, fields);
    let on_fault = fields.word(
        raw.on_fault.as_ref(),
        &[("deny", OnFault::Deny), ("skip", OnFault::Skip)],
        OnFault::Deny,
    );
    let fuel = raw
        .fuel
        .as_ref()
        .map(|fuel| fields.count(Some(fuel), 1, 1..=u64::MAX));
    let memory = raw
        .max_memory_bytes
        .as_ref()
        .map(|size| fields.size(Some(size), 1 << 20, MEMORY_BYTES));
    let body = raw
        .max_body_bytes
        .as_ref()
        .map(|size| fields.size(Some(size), 1 << 20, BODY_BYTES));
    Some(PolicyConfig {
        name: raw.name.get_ref().clone(),
        module: fields.path(&raw.module),
        digest: raw.digest.as_ref().and_then(|text| digest(text, fields)),
        canary: raw
            .canary
            .as_ref()
            .map(|canary| canaries::check(canary, fields)),
        grants: texts(&raw.grants),
        shared_limits: limits_store::is_shared(raw, names, fields),
        kv_shared: texts(&raw.kv_shared),
        calls: waiting::calls(raw, names, fields),
        instances: waiting::instances(raw, fields),
        max_wait: waiting::max_wait(raw, fields),
        config_json: config_json(raw, fields),
        on_fault,
        instance: fields.word(
            raw.instance.as_ref(),
            &[
                ("warm", InstanceChoice::Warm),
                ("per-request", InstanceChoice::PerRequest),
            ],
            InstanceChoice::Warm,
        ),
        fuel,
        max_memory_bytes: memory,
        deadline: raw.deadline.map(|span| span.0),
        max_body_bytes: body,
        tick: raw.tick.as_ref().and_then(|tick| check_tick(tick, fields)),
    })
}

fn shared_stores(raw: &RawPolicy, fields: &mut Fields<'_>) {
    for store in &raw.kv_shared {
        fields.name(store);
    }
    let granted = raw
        .grants
        .iter()
        .any(|grant| grant.get_ref() == Grant::Kv.name());
    if let Some(first) = raw.kv_shared.first().filter(|_| !granted) {
        fields.problem(
            Problem::new(first.span(), "this policy is not granted any store")
                .help("add \"kv\" to its grants"),
        );
    }
    if let Some(over) = raw.kv_shared.get(MAX_SHARED_STORES) {
        fields.problem(Problem::new(
            over.span(),
            format!("a policy may share at most {MAX_SHARED_STORES} stores"),
        ));
    }
}

/// `[policies]`. Where no directory is named, the one for this user's caches is taken, but only for a file: `load` does that.
pub(super) fn common(raw: &RawPolicies, fields: &mut Fields<'_>) -> PolicyHostConfig {
    let cache_bytes = fields.size(raw.cache_bytes.as_ref(), DEFAULT_CACHE_BYTES, 0..=1 << 40);
    let named = raw.cache_dir.as_ref().filter(|_| cache_bytes > 0);
    PolicyHostConfig {
        cache_dir: named.map(|dir| fields.path(dir)),
        cache_bytes,
        watch: raw.watch.unwrap_or(true),
        compiler: None,
    }
}

/// This user's directory for what can be made again. `CACHE_DIRECTORY` is set by systemd for a unit that asks for one.
pub(crate) fn user_cache_dir(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let dir = PathBuf::from(var(name)?);
        dir.is_absolute().then_some(dir)
    };
    let base = absolute("CACHE_DIRECTORY")
        .or_else(|| absolute("XDG_CACHE_HOME"))
        .or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("veilgate").join("policies"))
}

fn digest(text: &Spanned<String>, fields: &mut Fields<'_>) -> Option<Pin> {
    let read = text.get_ref().parse();
    read.map_err(|error| {
        fields.problem(
            Problem::new(text.span(), format!("this is no digest: {error}"))
                .help("`veilgate check` prints the digest of every module"),
        );
    })
    .ok()
}

fn check_tick(tick: &Spanned<Span>, fields: &mut Fields<'_>) -> Option<Duration> {
    let every = tick.get_ref().0;
    if TICK.contains(&every) {
        return Some(every);
    }
    fields.problem(
        Problem::new(
            tick.span(),
            format!("a tick of {every:?} is not between 100 ms and a day"),
        )
        .help("write how often the policy's tick hook is to be called, such as \"10s\""),
    );
    None
}

fn config_json(raw: &RawPolicy, fields: &mut Fields<'_>) -> String {
    let Some(table) = &raw.config else {
        return "{}".to_owned();
    };
    match serde_json::to_string(table.get_ref()) {
        Ok(json) => json,
        Err(error) => {
            fields.problem(
                Problem::new(
                    table.span(),
                    format!("this table cannot be handed to the policy as JSON: {error}"),
                )
                .help("use text, whole numbers, finite numbers, true, false, lists and tables"),
            );
            "{}".to_owned()
        }
    }
}

fn texts(list: &[Spanned<String>]) -> Vec<String> {
    list.iter().map(|text| text.get_ref().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_cache_is_found_where_such_things_are() {
        let of = |set: &[(&str, &str)]| {
            user_cache_dir(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let dir = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("HOME", "relative")]), None);
        assert_eq!(of(&[("HOME", "/h")]), dir("/h/.cache/veilgate/policies"));
        let xdg = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(of(&xdg), dir("/x/veilgate/policies"));
        let unit = [
            ("CACHE_DIRECTORY", "/var/cache/v"),
            ("XDG_CACHE_HOME", "/x"),
        ];
        assert_eq!(of(&unit), dir("/var/cache/v/veilgate/policies"));
    }
}
