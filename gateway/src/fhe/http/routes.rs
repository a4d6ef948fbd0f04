//! The paths of `/fhe/v1/` and the methods of each, as data: what is not in this table is not there, and a test holds the
//! OpenAPI document against it.

use http::{HeaderValue, Method, StatusCode, header};

use crate::fhe::Problem;

const ROOT: &str = "/fhe/v1";

pub(super) struct Route {
    /// Segments after the root; one in braces stands for any.
    pub path: &'static [&'static str],
    /// GET implies HEAD.
    pub methods: &'static [Method],
}

const fn route(path: &'static [&'static str], methods: &'static [Method]) -> Route {
    Route { path, methods }
}

pub(super) const ROUTES: &[Route] = &[
    route(&[], &[Method::GET]),
    route(&["openapi.json"], &[Method::GET]),
    route(&["programs"], &[Method::GET]),
    route(&["programs", "{name}"], &[Method::GET]),
    route(
        &["programs", "{name}", "versions", "{version}"],
        &[Method::GET],
    ),
    route(&["programs", "{name}", "evaluate"], &[Method::POST]),
    route(&["keys"], &[Method::GET, Method::POST]),
    route(&["keys", "{id}"], &[Method::GET, Method::DELETE]),
    route(&["uploads"], &[Method::GET, Method::POST]),
    route(
        &["uploads", "{upload}"],
        &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE],
    ),
    route(&["jobs", "{id}"], &[Method::GET, Method::DELETE]),
    route(&["jobs", "{id}", "result"], &[Method::GET]),
    route(
        &["counters", "{stream}"],
        &[Method::GET, Method::PUT, Method::POST, Method::DELETE],
    ),
    route(&["counters", "{stream}", "public-key"], &[Method::GET]),
    route(&["counters", "{stream}", "windows"], &[Method::GET]),
    route(
        &["counters", "{stream}", "windows", "{start}"],
        &[Method::GET],
    ),
];

/// The segments after the root; one empty one for a path elsewhere.
pub(super) fn parts(path: &str) -> Vec<&str> {
    match path.strip_prefix(ROOT) {
        Some("" | "/") => Vec::new(),
        Some(rest) if rest.starts_with('/') => rest[1..].split('/').collect(),
        _ => vec![""],
    }
}

/// That there is such a resource, and that it has this method.
pub(super) fn check(parts: &[&str], method: &Method) -> Result<(), Problem> {
    let route = ROUTES.iter().find(|route| fits(route.path, parts));
    let route = route.ok_or_else(unknown)?;
    let as_get = *method == Method::HEAD && route.methods.contains(&Method::GET);
    match as_get || route.methods.contains(method) {
        true => Ok(()),
        false => Err(not_allowed(route)),
    }
}

fn fits(path: &[&str], parts: &[&str]) -> bool {
    let one = |(segment, part): (&&str, &&str)| match segment.starts_with('{') {
        true => !part.is_empty(),
        false => segment == part,
    };
    path.len() == parts.len() && path.iter().zip(parts).all(one)
}

pub(super) fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-resource",
        "there is no such resource; GET /fhe/v1 lists those that there are",
    )
}

pub(in crate::fhe) fn unknown_job() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-job",
        "there is no such job of yours; it was deleted, or has expired",
    )
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6
//# The origin server MUST generate an Allow header field in a 405 response
fn not_allowed(route: &Route) -> Problem {
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let allow = methods.join(", ");
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("allowed here: {allow}"),
    );
    match HeaderValue::try_from(allow) {
        Ok(allow) => problem.with_field(header::ALLOW, allow),
        Err(_) => problem,
    }
}
