use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

fn parsed() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// Every object in the document with the way to it.
fn walk<'v>(value: &'v Value, way: &str, see: &mut dyn FnMut(&str, &'v Value)) {
    see(way, value);
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, inner)| walk(inner, &format!("{way}/{name}"), see)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, inner)| walk(inner, &format!("{way}/{index}"), see)),
        _ => {}
    }
}

#[test]
fn the_document_has_the_routes_and_the_routes_are_in_the_document() {
    let document = parsed();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (member, _) in item.as_object().unwrap() {
            if METHODS.contains(&&**member) {
                described.insert((path.clone(), member.to_uppercase()));
            }
        }
    }
    let mut routed = BTreeSet::new();
    for route in ROUTES {
        let path = format!("{PREFIX}{}", route.path.join("/"));
        for method in route.methods {
            let path = path.trim_end_matches('/').to_owned();
            routed.insert((path, method.to_string()));
        }
    }
    assert_eq!(described, routed);
}

/// What OpenAPI 3.1 asks of a document, as far as this one uses it.
#[test]
fn the_document_is_openapi_3_1() {
    let document = parsed();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    for member in ["title", "version"] {
        assert!(document["info"][member].is_string());
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/'));
        let of_item = item["parameters"].as_array().cloned().unwrap_or_default();
        for (method, operation) in item.as_object().unwrap() {
            if !METHODS.contains(&&**method) {
                assert_eq!(method, "parameters", "{path}");
                continue;
            }
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')));
            for status in responses.keys() {
                assert!((100..600).contains(&status.parse::<u16>().unwrap()));
            }
            // Who is nobody is refused everywhere.
            assert!(responses.contains_key("401"), "{method} {path}");
            let mut parameters = of_item.clone();
            parameters.extend(
                operation["parameters"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            );
            let named: BTreeSet<String> = parameters
                .iter()
                .map(|parameter| resolve(&document, parameter))
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| {
                    assert_eq!(parameter["required"], true);
                    parameter["name"].as_str().unwrap().to_owned()
                })
                .collect();
            let in_path: BTreeSet<String> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .map(str::to_owned)
                .collect();
            assert_eq!(named, in_path, "{method} {path}");
            if ["post", "patch"].contains(&&**method) {
                assert!(operation["requestBody"]["content"].is_object());
            }
        }
    }
}

fn resolve<'v>(document: &'v Value, value: &'v Value) -> &'v Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => document
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference} is not there")),
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_named_is_used() {
    let document = parsed();
    let mut used = BTreeSet::new();
    walk(&document, "", &mut |_, value| {
        if let Some(reference) = value["$ref"].as_str() {
            resolve(&document, value);
            used.insert(reference.to_owned());
        }
    });
    for kind in ["schemas", "parameters", "headers", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            let spare = name == "MethodNotAllowed";
            assert!(
                used.contains(&reference) || spare,
                "{reference} is not used"
            );
        }
    }
}

/// The names of problems in the sources, in the document and in the specification are the same.
#[test]
fn every_problem_is_named_in_the_document_and_in_the_specification() {
    let specification = include_str!("../../../../../docs/specs/fhe-http.md");
    let sources = [
        include_str!("../../problem.rs"),
        include_str!("../../counters/error.rs"),
        include_str!("../../jobs/attempts.rs"),
        include_str!("../counters.rs"),
        include_str!("../../scorer.rs"),
        include_str!("../../tenant/registry.rs"),
        include_str!("../keys.rs"),
        include_str!("../uploads.rs"),
        include_str!("../routes.rs"),
        include_str!("../evaluate.rs"),
        include_str!("../programs.rs"),
    ];
    let mut names = BTreeSet::new();
    for source in sources {
        // A name follows a status: `StatusCode::X, "name"`, or stands first in `conflict("name"`.
        for (at, _) in source.match_indices('"') {
            let before = source[..at].trim_end();
            let after = &source[at + 1..];
            let name = &after[..after.find('"').unwrap_or(0)];
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            let follows = before.ends_with(',')
                && before
                    .trim_end_matches(',')
                    .ends_with(|c: char| c.is_ascii_uppercase());
            let is_name = !name.is_empty() && name.bytes().all(plain);
            if is_name
                && (follows
                    || before.ends_with("conflict(")
                    || before.ends_with("(StatusCode::NOT_FOUND,"))
            {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let quoted = format!("`{name}`");
        assert!(
            specification.contains(&quoted),
            "{name} is not in docs/specs/fhe-http.md"
        );
        assert!(
            DOCUMENT.contains(&quoted),
            "{name} is not in docs/specs/fhe-openapi.json"
        );
    }
}
