//! `[policy.canary]`: the written exchange that a policy's module must get through before it serves.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use policy_host::{Canary, Expected};
use toml::Spanned;

use super::fields::Fields;
use crate::config::raw::RawCanary;
use crate::config::report::Problem;

/// What `expect` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Any,
    Continue,
    Respond,
}

pub(super) fn check(raw: &RawCanary, fields: &mut Fields<'_>) -> Canary {
    let mut canary = Canary::default();
    if let Some(method) = &raw.method {
        match method.get_ref().parse::<Method>() {
            Ok(method) => canary.method = method,
            Err(_) => wrong(method, "a method", fields),
        }
    }
    if let Some(path) = &raw.path {
        match path.get_ref().parse::<http::uri::PathAndQuery>() {
            Ok(_) if path.get_ref().starts_with('/') => {
                canary.path_and_query.clone_from(path.get_ref());
            }
            _ => wrong(path, "a path", fields),
        }
    }
    if let Some(host) = &raw.host {
        canary.authority.clone_from(host);
    }
    for (name, value) in &raw.headers {
        let known = name.get_ref().parse::<HeaderName>();
        let text = HeaderValue::from_str(value.get_ref());
        match (known, text) {
            (Ok(name), Ok(value)) => {
                canary.headers.append(name, value);
            }
            (Err(_), _) => wrong(name, "the name of a header field", fields),
            (_, Err(_)) => wrong(value, "the value of a header field", fields),
        }
    }
    canary.expect = expected(raw, fields);
    canary
}

/// A `status` alone means that the policy answers.
fn expected(raw: &RawCanary, fields: &mut Fields<'_>) -> Expected {
    let words = [
        ("any", Word::Any),
        ("continue", Word::Continue),
        ("respond", Word::Respond),
    ];
    let default = match raw.status {
        Some(_) => Word::Respond,
        None => Word::Any,
    };
    let word = fields.word(raw.expect.as_ref(), &words, default);
    let status = raw.status.as_ref().map(|status| {
        let number = fields.count(Some(status), 200, 200..=599);
        u16::try_from(number)
            .ok()
            .and_then(|number| StatusCode::from_u16(number).ok())
            .unwrap_or(StatusCode::OK)
    });
    match (word, status) {
        (Word::Any, None) => Expected::AnyDecision,
        (Word::Continue, None) => Expected::Continue,
        (Word::Respond, Some(status)) => Expected::Respond(status),
        (Word::Respond, None) | (Word::Any | Word::Continue, Some(_)) => {
            let span = raw.expect.as_ref().map_or(0..0, Spanned::span);
            fields.problem(
                Problem::new(span, "`status` goes with `expect = \"respond\"`")
                    .help("write both, as in expect = \"respond\", status = 429"),
            );
            Expected::AnyDecision
        }
    }
}

fn wrong(text: &Spanned<String>, what: &str, fields: &mut Fields<'_>) {
    fields.problem(Problem::new(
        text.span(),
        format!("{:?} is not {what}", text.get_ref()),
    ));
}
