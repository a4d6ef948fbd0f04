//! `[[route]]`: what it matches, which policies run, who answers, what is recorded.

use std::time::Duration;

use toml::Spanned;

use super::Names;
use super::fields::{Fields, span};
use crate::config::raw::RawRoute;
use crate::config::report::Problem;
use crate::config::{Handler, LimitsConfig, PathMatch, RecordMode, RouteConfig};

/// Policies on one route: each costs at least a call per hook.
const MAX_POLICIES: usize = 16;

pub(super) fn check(
    route: &Spanned<RawRoute>,
    names: &Names,
    limits: &LimitsConfig,
    fields: &mut Fields<'_>,
) -> Option<RouteConfig> {
    let raw = route.get_ref();
    for policy in &raw.policies {
        fields.known(policy, "policy", &names.policies);
    }
    if raw.policies.len() > MAX_POLICIES {
        fields.problem(Problem::new(
            raw.name.span(),
            format!("a route may have {MAX_POLICIES} policies at most"),
        ));
    }
    let path = path(raw, fields);
    let handler = handler(raw, names, fields);
    Some(RouteConfig {
        name: raw.name.get_ref().clone(),
        host: raw
            .host
            .as_ref()
            .and_then(|host| host_pattern(host, fields)),
        path: path?,
        methods: raw
            .methods
            .iter()
            .filter_map(|method| verb(method, fields))
            .collect(),
        policies: raw
            .policies
            .iter()
            .map(|policy| policy.get_ref().clone())
            .collect(),
        handler: handler?,
        record: record(raw, names, fields),
        max_body_bytes: raw
            .max_body_bytes
            .map_or(limits.max_body_bytes, |size| size.0),
        timeout: span(raw.timeout, Duration::from_secs(60)),
    })
}

fn path(raw: &RawRoute, fields: &mut Fields<'_>) -> Option<PathMatch> {
    let (text, matcher): (_, fn(String) -> PathMatch) = match (&raw.path, &raw.path_prefix) {
        (Some(path), None) => (path, PathMatch::Exact),
        (None, Some(prefix)) => (prefix, PathMatch::Prefix),
        (Some(_), Some(both)) => {
            fields.problem(Problem::new(
                both.span(),
                "a route has `path` or `path_prefix`, not both",
            ));
            return None;
        }
        (None, None) => {
            fields.problem(
                Problem::new(
                    raw.name.span(),
                    "this route does not say which paths it takes",
                )
                .help("add path = \"/exactly/this\" or path_prefix = \"/\""),
            );
            return None;
        }
    };
    let path = text.get_ref();
    if !path.starts_with('/')
        || path.contains(['?', '#', '*'])
        || path.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        fields.problem(
            Problem::new(text.span(), format!("{path:?} is not a path"))
                .help("a path begins with `/` and has no `?`, `#`, `*` or space"),
        );
        return None;
    }
    Some(matcher(path.clone()))
}

fn host_pattern(host: &Spanned<String>, fields: &mut Fields<'_>) -> Option<String> {
    let text = host.get_ref().to_ascii_lowercase();
    let name = text.strip_prefix("*.").unwrap_or(&text);
    let is_v6 = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if is_v6 || is_name {
        return Some(text);
    }
    fields.problem(
        Problem::new(host.span(), format!("{:?} is not a host", host.get_ref()))
            .help("write a name without scheme and port, such as \"api.example.org\" or \"*.example.org\""),
    );
    None
}

fn verb(method: &Spanned<String>, fields: &mut Fields<'_>) -> Option<http::Method> {
    match http::Method::from_bytes(method.get_ref().as_bytes()) {
        Ok(verb)
            if method
                .get_ref()
                .bytes()
                .all(|byte| byte.is_ascii_uppercase()) =>
        {
            Some(verb)
        }
        _ => {
            fields.problem(
                Problem::new(
                    method.span(),
                    format!("{:?} is not a method", method.get_ref()),
                )
                .help("write it in capitals, such as \"GET\""),
            );
            None
        }
    }
}

fn handler(raw: &RawRoute, names: &Names, fields: &mut Fields<'_>) -> Option<Handler> {
    match (&raw.upstream, &raw.handler) {
        (Some(upstream), None) => fields
            .known(upstream, "upstream", &names.upstreams)
            .then(|| Handler::Upstream(upstream.get_ref().clone())),
        (None, Some(handler)) => {
            fields.word(Some(handler), &[("fhe", true)], true);
            if !names.has_fhe {
                fields.problem(
                    Problem::new(handler.span(), "this handler needs an [fhe] section")
                        .help("add [fhe] with keys_dir and programs_dir"),
                );
            }
            Some(Handler::Fhe)
        }
        (Some(_), Some(both)) => {
            fields.problem(Problem::new(
                both.span(),
                "a route has `upstream` or `handler`, not both",
            ));
            None
        }
        (None, None) => {
            fields.problem(
                Problem::new(raw.name.span(), "this route does not say who answers")
                    .help("add upstream = \"name\" (used unless a policy chooses another) or handler = \"fhe\""),
            );
            None
        }
    }
}

fn record(raw: &RawRoute, names: &Names, fields: &mut Fields<'_>) -> RecordMode {
    let words = [
        ("none", RecordMode::None),
        ("lazy", RecordMode::Lazy),
        ("durable", RecordMode::Durable),
    ];
    let mode = fields.word(raw.record.as_ref(), &words, RecordMode::None);
    if let (Some(text), false, RecordMode::Lazy | RecordMode::Durable) =
        (&raw.record, names.has_outbox, mode)
    {
        fields.problem(
            Problem::new(text.span(), "records need an [outbox] section")
                .help("add [outbox] with dir and site, or record = \"none\""),
        );
    }
    mode
}
