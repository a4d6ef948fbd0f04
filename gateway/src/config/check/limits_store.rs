//! `[limits_store]`: the Redis that several gateways share their limits in.

use std::time::Duration;

use policy_host::{Grant, WithoutStore};
use toml::Spanned;

use super::Names;
use super::fields::Fields;
use crate::config::LimitsStoreConfig;
use crate::config::raw::{RawLimitsStore, RawPolicy};
use crate::config::report::Problem;

/// Redis' own.
const DEFAULT_PORT: u16 = 6379;
/// Less is lost to the scheduler; no request waits longer for a count.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(5);
/// A Redis has 16 unless it is told otherwise.
const MAX_DATABASE: u32 = 9999;

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    tls: bool,
    host: String,
    port: u16,
    database: u32,
}

pub(super) fn check(raw: &RawLimitsStore, fields: &mut Fields<'_>) -> Option<LimitsStoreConfig> {
    if let Some(prefix) = &raw.prefix {
        fields.name(prefix);
    }
    let address = address(&raw.url, fields);
    if let (Some(ca), Some(Address { tls: false, .. })) = (&raw.ca, &address) {
        fields.problem(
            Problem::new(
                ca.span(),
                "`ca` says whom to trust, and this connection is in the clear",
            )
            .help("write rediss:// in `url`, or leave `ca` out"),
        );
    }
    if let (Some(user), None) = (&raw.user, &raw.password_file) {
        fields.problem(
            Problem::new(user.span(), "a user without a password cannot sign in")
                .help("add `password_file`"),
        );
    }
    let timeout = timeout(raw, fields);
    let without = fields.word(
        raw.on_unavailable.as_ref(),
        &[
            ("local", WithoutStore::Local),
            ("allow", WithoutStore::Allow),
            ("deny", WithoutStore::Deny),
        ],
        WithoutStore::Local,
    );
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
    let Address {
        tls,
        host,
        port,
        database,
    } = address?;
    Some(LimitsStoreConfig {
        tls,
        host,
        port,
        database,
        user: text(&raw.user),
        password_file: raw.password_file.as_ref().map(|path| fields.path(path)),
        ca: raw.ca.as_ref().map(|path| fields.path(path.get_ref())),
        prefix: text(&raw.prefix).unwrap_or_else(|| "veilgate".to_owned()),
        timeout,
        without,
    })
}

/// `limits` of a policy: whether its counts are in the store.
pub(super) fn is_shared(raw: &RawPolicy, names: &Names, fields: &mut Fields<'_>) -> bool {
    let shared = fields.word(
        raw.limits.as_ref(),
        &[("local", false), ("shared", true)],
        false,
    );
    let Some(text) = raw.limits.as_ref().filter(|_| shared) else {
        return false;
    };
    if !names.has_limits_store {
        fields.problem(
            Problem::new(text.span(), "there is no store to share limits in")
                .help("add a [limits_store] section with `url`, or leave this out"),
        );
    }
    let granted = |grant: &Spanned<String>| grant.get_ref() == Grant::Limits.name();
    if !raw.grants.iter().any(granted) {
        fields.problem(
            Problem::new(text.span(), "this policy is not granted any limits")
                .help("add \"limits\" to its grants"),
        );
    }
    true
}

fn timeout(raw: &RawLimitsStore, fields: &mut Fields<'_>) -> Duration {
    let default = Duration::from_millis(50);
    let Some(given) = &raw.timeout else {
        return default;
    };
    let span = given.get_ref().0;
    if TIMEOUT.contains(&span) {
        return span;
    }
    fields.problem(
        Problem::new(
            given.span(),
            format!("{span:?} is not between 1 ms and 5 s"),
        )
        .help("write how long a request may wait for the store, such as \"50ms\""),
    );
    default
}

/// What is wrong with the address never shows it: it may hold a password.
fn address(url: &Spanned<String>, fields: &mut Fields<'_>) -> Option<Address> {
    let text = url.get_ref();
    if text.contains('@') {
        fields.problem(
            Problem::new(url.span(), "no user and no password may be written into the address")
                .help("write the password into a file of its own and name it: `password_file`; a user's name goes into `user`")
                .hidden(),
        );
        return None;
    }
    let read = split(text);
    if read.is_none() {
        fields.problem(
            Problem::new(url.span(), format!("{text:?} is not the address of a Redis"))
                .help("write \"redis://host:port\", \"rediss://host:port\" (TLS), with \"/N\" after it for database N"),
        );
    }
    read
}

fn split(text: &str) -> Option<Address> {
    let uri: http::Uri = text.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "redis" => false,
        "rediss" => true,
        _ => return None,
    };
    if uri.query().is_some() {
        return None;
    }
    let database = match uri.path().trim_start_matches('/') {
        "" => 0,
        number => number
            .parse()
            .ok()
            .filter(|number| *number <= MAX_DATABASE)?,
    };
    let authority = uri.authority()?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => DEFAULT_PORT,
        written => written.strip_prefix(':')?.parse().ok()?,
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    (!host.is_empty() && port != 0).then(|| Address {
        tls,
        host: host.to_owned(),
        port,
        database,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let of = |tls, host: &str, port, database| {
            Some(Address {
                tls,
                host: host.to_owned(),
                port,
                database,
            })
        };
        assert_eq!(
            split("redis://cache.test"),
            of(false, "cache.test", 6379, 0)
        );
        assert_eq!(
            split("redis://10.0.0.1:7000/3"),
            of(false, "10.0.0.1", 7000, 3)
        );
        assert_eq!(split("rediss://[::1]:6380/"), of(true, "::1", 6380, 0));
        for wrong in [
            "",
            "redis",
            "redis://",
            "redis://:6379",
            "redis://a:0",
            "redis://a:99999",
            "redis://a/x",
            "redis://a/10000",
            "redis://a/0?b=c",
            "http://a",
            "unix:///a",
            "redis+unix:///a",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
