//! `[[fhe.tenant]]` and what [fhe] says of keys and jobs: names, tokens by their hashes, quotas, lifetimes, folders.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::fields::Fields;
use crate::config::raw::{RawFhe, RawFheTenant};
use crate::config::report::Problem;
use crate::config::values::{Size, Span};
use crate::config::{FheQuotas, FheTenantConfig, FheToken};

/// A tenant lists its keys in one answer.
const MAX_KEYS: RangeInclusive<u64> = 1..=1000;
const DEFAULT_MAX_KEYS: u64 = 64;
const PRIORITY: RangeInclusive<u64> = 0..=9;
/// In the middle, so that others can be put before and behind.
const DEFAULT_PRIORITY: u64 = 5;
/// A key has to be registered and used before it ends; ten years are as good as no end.
const KEY_TTL: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(10 * 365 * 86_400);
const ROTATION_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(365 * 86_400);
/// A result that went sooner would go before it was fetched.
const JOB_TTL: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);
const HASH_PREFIX: &str = "blake3:";
const MAX_NAME_BYTES: usize = 64;

/// What holds for all, and those with a section of their own.
pub(super) fn check(raw: &RawFhe, fields: &mut Fields<'_>) -> (FheQuotas, Vec<FheTenantConfig>) {
    let built_in = FheQuotas {
        max_keys: DEFAULT_MAX_KEYS as usize,
        max_key_bytes: u64::MAX,
        priority: DEFAULT_PRIORITY as u8,
    };
    let (keys, bytes) = (raw.max_keys.as_ref(), raw.max_key_bytes);
    let defaults = quotas(keys, bytes, raw.priority.as_ref(), &built_in, fields);
    let mut names = HashSet::new();
    let mut hashes = HashSet::new();
    let mut all = Vec::new();
    for tenant in &raw.tenant {
        name(&tenant.name, fields);
        if !names.insert(tenant.name.get_ref().as_str()) {
            fields.problem(
                Problem::new(tenant.name.span(), "two tenants have this name").help(
                    "give each a name of its own; a tenant may have a `token_hash` and a `token_file`",
                ),
            );
        }
        let tokens = tokens(tenant, &mut hashes, fields);
        let (keys, bytes) = (tenant.max_keys.as_ref(), tenant.max_key_bytes);
        all.push(FheTenantConfig {
            name: tenant.name.get_ref().clone(),
            quotas: quotas(keys, bytes, tenant.priority.as_ref(), &defaults, fields),
            tokens,
        });
    }
    (defaults, all)
}

fn quotas(
    max_keys: Option<&Spanned<u64>>,
    max_key_bytes: Option<Size>,
    priority: Option<&Spanned<u64>>,
    otherwise: &FheQuotas,
    fields: &mut Fields<'_>,
) -> FheQuotas {
    FheQuotas {
        max_keys: fields.count(max_keys, otherwise.max_keys as u64, MAX_KEYS) as usize,
        max_key_bytes: max_key_bytes.map_or(otherwise.max_key_bytes, |size| size.0),
        priority: fields.count(priority, u64::from(otherwise.priority), PRIORITY) as u8,
    }
}

/// It is the name of a directory, and what a certificate's subject is compared with.
fn name(name: &Spanned<String>, fields: &mut Fields<'_>) {
    let text = name.get_ref();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sound = text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(plain)
        && text
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'));
    if !sound {
        fields.problem(
            Problem::new(
                name.span(),
                format!("{text:?} cannot be the name of a tenant"),
            )
            .help(format!(
                "use 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or a digit"
            )),
        );
    }
}

/// What is wrong with a hash never shows it: it may be the token itself.
fn tokens<'r>(
    tenant: &'r RawFheTenant,
    known: &mut HashSet<&'r str>,
    fields: &mut Fields<'_>,
) -> Vec<FheToken> {
    let mut tokens = Vec::new();
    if let Some(hash) = &tenant.token_hash {
        let digits = hash.get_ref().strip_prefix(HASH_PREFIX);
        let sound = digits.is_some_and(|digits| blake3::Hash::from_hex(digits).is_ok());
        if !sound {
            fields.problem(
                Problem::new(hash.span(), "this is not the hash of a token")
                    .help("`veilgate keys token` makes a token and prints the line to write here; a token itself is never written into this file")
                    .hidden(),
            );
        } else if !known.insert(hash.get_ref()) {
            fields.problem(
                Problem::new(hash.span(), "two tenants have the same token")
                    .help("give each a token of its own")
                    .hidden(),
            );
        }
        tokens.push(FheToken::Hash(hash.get_ref().clone()));
    }
    if let Some(file) = &tenant.token_file {
        tokens.push(FheToken::File(fields.path(file)));
    }
    tokens
}

pub(super) fn key_ttl(raw: &RawFhe, fields: &mut Fields<'_>) -> Option<Duration> {
    let given = raw.key_ttl.as_ref()?;
    Some(within(given, KEY_TTL, "60 s and 10 years", fields))
}

pub(super) fn rotation_grace(raw: &RawFhe, fields: &mut Fields<'_>) -> Duration {
    match &raw.rotation_grace {
        None => Duration::from_secs(24 * 3600),
        Some(given) => within(given, ROTATION_GRACE, "0 and a year", fields),
    }
}

pub(super) fn job_ttl(raw: &RawFhe, fields: &mut Fields<'_>) -> Duration {
    match &raw.job_ttl {
        None => Duration::from_secs(24 * 3600),
        Some(given) => within(given, JOB_TTL, "60 s and a year", fields),
    }
}

/// Where it is said, else a folder of this name beside that of the keys.
pub(super) fn beside_keys(
    raw: &RawFhe,
    said: Option<&str>,
    name: &str,
    fields: &mut Fields<'_>,
) -> PathBuf {
    match said {
        Some(dir) => fields.path(dir),
        None => {
            let keys_dir = fields.path(&raw.keys_dir);
            keys_dir.parent().unwrap_or(&keys_dir).join(name)
        }
    }
}

fn within(
    given: &Spanned<Span>,
    range: RangeInclusive<Duration>,
    words: &str,
    fields: &mut Fields<'_>,
) -> Duration {
    let span = given.get_ref().0;
    if !range.contains(&span) {
        let message = format!("{span:?} is not between {words}");
        fields.problem(Problem::new(given.span(), message));
    }
    span
}
