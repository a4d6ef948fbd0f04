//! Raw config → checked config. Every value is in its range and every name refers to something, or there is a problem with a place.
//!
//! Pure but for `load`, which reads the one file; whether certificates and modules can be opened is `veilgate check`'s business.

mod canaries;
pub(crate) mod fields;
mod limits_store;
mod listeners;
mod parts;
pub(crate) mod policies;
mod routes;
mod tenants;
mod upstreams;
mod waiting;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::raw::RawConfig;
use super::report::{ConfigError, Problem};
use super::{AdminConfig, Config, Source};
use fields::Fields;

/// A config file is a page or two; what is larger is some other file.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads and checks the file; relative paths in it are resolved against its folder.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let source = read(path)?;
    let mut config = parse_as(&source.text, &name(path), folder(&source), check)?;
    let common = &mut config.policy_host;
    if common.cache_bytes > 0 && common.cache_dir.is_none() {
        common.cache_dir = policies::user_cache_dir(|name| std::env::var_os(name));
    }
    config.source = Some(source);
    Ok(config)
}

/// Checks the text of a config file called `name`; relative paths are resolved against `base`.
pub fn parse(text: &str, name: &str, base: &Path) -> Result<Config, ConfigError> {
    parse_as(text, name, base, check)
}

/// Reads any of our TOML files: as `R` is written, and as `check` says it must be.
pub(crate) fn load_as<R: DeserializeOwned, C>(
    path: &Path,
    check: impl FnOnce(R, &mut Fields<'_>) -> C,
) -> Result<C, ConfigError> {
    let source = read(path)?;
    parse_as(&source.text, &name(path), folder(&source), check)
}

/// As people gave it, for what they are told.
fn name(path: &Path) -> String {
    path.display().to_string()
}

fn folder(source: &Source) -> &Path {
    source.path.parent().unwrap_or(Path::new("/"))
}

pub(super) fn read(path: &Path) -> Result<Source, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable {
        file: name(path),
        cause,
    };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > MAX_CONFIG_BYTES {
        return Err(unreadable(format!(
            "it has more than {MAX_CONFIG_BYTES} bytes; is this the config file?"
        )));
    }
    Ok(Source {
        text: std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?,
        path: std::path::absolute(path).map_err(|error| unreadable(error.to_string()))?,
    })
}

fn parse_as<R: DeserializeOwned, C>(
    text: &str,
    name: &str,
    base: &Path,
    check: impl FnOnce(R, &mut Fields<'_>) -> C,
) -> Result<C, ConfigError> {
    let wrong = |problems: Vec<Problem>| ConfigError::Wrong {
        file: name.to_owned(),
        problems: problems
            .into_iter()
            .map(|problem| problem.locate(text))
            .collect(),
    };
    let raw: R = toml::from_str(text).map_err(|error| wrong(vec![Problem::from_toml(&error)]))?;
    let mut fields = Fields::new(base);
    let checked = check(raw, &mut fields);
    let mut problems = fields.into_problems();
    problems.sort_by_key(|problem| problem.span.start);
    if problems.is_empty() {
        Ok(checked)
    } else {
        Err(wrong(problems))
    }
}

fn check(raw: RawConfig, fields: &mut Fields<'_>) -> Config {
    let limits = parts::limits(&raw.limits, fields);
    let names = Names {
        upstreams: unique(
            raw.upstream.iter().map(|upstream| &upstream.get_ref().name),
            "upstream",
            fields,
        ),
        policies: unique(
            raw.policy.iter().map(|policy| &policy.get_ref().name),
            "policy",
            fields,
        ),
        has_fhe: raw.fhe.is_some(),
        has_outbox: raw.outbox.is_some(),
        has_limits_store: raw.limits_store.is_some(),
    };
    unique(
        raw.route.iter().map(|route| &route.get_ref().name),
        "route",
        fields,
    );
    if raw.route.is_empty() {
        fields.problem(
            Problem::new(0..0, "there is no route")
                .help("add a [[route]] with a name, a path and an upstream"),
        );
    }
    Config {
        server: parts::server(&raw.server, fields),
        listeners: listeners::check(&raw.listener, fields),
        admin: raw.admin.and_then(|admin| {
            Some(AdminConfig {
                listen: fields.addr(&admin.listen)?,
            })
        }),
        upstreams: raw
            .upstream
            .iter()
            .filter_map(|upstream| upstreams::check(upstream, fields))
            .collect(),
        policies: raw
            .policy
            .iter()
            .filter_map(|policy| policies::check(policy, &names, fields))
            .collect(),
        policy_host: policies::common(&raw.policies, fields),
        routes: raw
            .route
            .iter()
            .filter_map(|route| routes::check(route, &names, &limits, fields))
            .collect(),
        limits,
        limits_store: raw
            .limits_store
            .and_then(|store| limits_store::check(&store, fields)),
        cache: raw.cache.map(|cache| parts::cache(&cache, fields)),
        fhe: raw.fhe.and_then(|fhe| parts::fhe(fhe.get_ref(), fields)),
        sync: raw
            .sync
            .map(|sync| parts::sync(&sync, names.has_outbox, fields)),
        outbox: raw
            .outbox
            .and_then(|outbox| parts::outbox(outbox.get_ref(), fields)),
        source: None,
    }
}

/// What other sections may refer to.
struct Names {
    upstreams: Vec<String>,
    policies: Vec<String>,
    has_fhe: bool,
    has_outbox: bool,
    has_limits_store: bool,
}

/// The names, each of which must be well-formed and occur once.
fn unique<'n>(
    names: impl Iterator<Item = &'n Spanned<String>>,
    what: &str,
    fields: &mut Fields<'_>,
) -> Vec<String> {
    let mut seen: HashMap<&str, Range<usize>> = HashMap::new();
    let mut all = Vec::new();
    for name in names {
        let text = name.get_ref().as_str();
        fields.name(name);
        if seen.insert(text, name.span()).is_some() {
            fields.problem(
                Problem::new(name.span(), format!("there are two of {what} `{text}`"))
                    .help("give each a name of its own"),
            );
        } else {
            all.push(text.to_owned());
        }
    }
    all
}
