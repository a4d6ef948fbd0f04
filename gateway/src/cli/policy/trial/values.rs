//! Values with more than one form: bodies, header fields, and what is expected of them. Each is text or a small table in the file.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;
use toml::{Table, Value};

use super::raw::{Any, Named};
use crate::config::Fields;
use crate::config::report::{Problem, closest};

/// One body of a test, a file's too: what a policy may have whole is far less.
const MAX_BODY_BYTES: u64 = 16 << 20;

/// What is expected of a header field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldExpectation {
    /// Exactly these values, in order.
    Values(Vec<String>),
    Present,
    Absent,
    Contains(String),
}

impl FieldExpectation {
    /// Of the fields of this name.
    pub(crate) fn holds(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let mut values = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        match self {
            Self::Values(wanted) => values.eq(wanted.iter().map(String::as_str)),
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Contains(part) => values.any(|value| value.contains(part.as_str())),
        }
    }
}

/// What is expected of a body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BodyExpectation {
    Exactly(Bytes),
    Contains(String),
    /// The same value.
    Json(Json),
    /// Every key of it is there, with this value.
    JsonHas(Json),
}

impl BodyExpectation {
    pub(crate) fn holds(&self, body: &Bytes) -> bool {
        let parsed = || serde_json::from_slice::<Json>(body).ok();
        match self {
            Self::Exactly(bytes) => bytes == body,
            Self::Contains(part) => String::from_utf8_lossy(body).contains(part.as_str()),
            Self::Json(wanted) => parsed().is_some_and(|got| got == *wanted),
            Self::JsonHas(wanted) => parsed().is_some_and(|got| has(wanted, Some(&got))),
        }
    }
}

/// Tables are compared by the keys of what is wanted; all else must be the same.
fn has(wanted: &Json, got: Option<&Json>) -> bool {
    match (wanted, got) {
        (Json::Object(wanted), Some(Json::Object(got))) => {
            wanted.iter().all(|(key, wanted)| has(wanted, got.get(key)))
        }
        (wanted, got) => got == Some(wanted),
    }
}

pub(crate) type FieldExpectations = Vec<(HeaderName, FieldExpectation)>;

pub(super) fn json(value: &Value, at: Range<usize>, fields: &mut Fields<'_>) -> Json {
    serde_json::to_value(value).unwrap_or_else(|error| {
        let problem = Problem::new(at, format!("this cannot be written as JSON: {error}"));
        fields.problem(
            problem.help("use text, whole numbers, finite numbers, true, false, lists and tables"),
        );
        Json::Null
    })
}

/// The only key of a table such as `{ json = … }`, which must be one of `known`.
fn single<'t>(
    table: &'t Table,
    at: &Range<usize>,
    known: &[&str],
    fields: &mut Fields<'_>,
) -> Option<(&'t str, &'t Value)> {
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            let help = match closest(key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are `{}`", known.join("`, `")),
            };
            fields.problem(Problem::new(at.clone(), format!("unknown key `{key}`")).help(help));
            return None;
        }
    }
    match table.iter().next() {
        Some((key, value)) if table.len() == 1 => Some((key, value)),
        _ => {
            let problem = Problem::new(at.clone(), "this table must have exactly one key");
            fields.problem(problem.help(format!("one of `{}`", known.join("`, `"))));
            None
        }
    }
}

fn wrong(what: &str, help: &str, at: &Range<usize>, fields: &mut Fields<'_>) {
    fields.problem(Problem::new(at.clone(), what).help(help));
}

/// Bytes that a message carries.
pub(super) fn body(value: &Any, fields: &mut Fields<'_>) -> Bytes {
    const HELP: &str = "write text, or { json = … }, { hex = \"00ff\" }, { file = \"path\" } or { repeat = \"text\", times = 3 }";
    let at = value.span();
    let table = match value.get_ref() {
        Value::String(text) => return Bytes::from(text.clone()),
        Value::Table(table) => table,
        _ => {
            wrong("this is no body", HELP, &at, fields);
            return Bytes::new();
        }
    };
    if table.contains_key("repeat") {
        return repeated(table, &at, fields);
    }
    match single(table, &at, &["json", "hex", "file", "repeat"], fields) {
        Some(("json", value)) => Bytes::from(json(value, at, fields).to_string()),
        Some(("hex", Value::String(digits))) => hex(digits, &at, fields),
        Some(("file", Value::String(path))) => file(path, &at, fields),
        Some(_) => {
            wrong("this is no body", HELP, &at, fields);
            Bytes::new()
        }
        None => Bytes::new(),
    }
}

fn repeated(table: &Table, at: &Range<usize>, fields: &mut Fields<'_>) -> Bytes {
    let (Some(Value::String(text)), Some(Value::Integer(times)), 2) =
        (table.get("repeat"), table.get("times"), table.len())
    else {
        wrong(
            "this is no body",
            "write { repeat = \"text\", times = 3 }",
            at,
            fields,
        );
        return Bytes::new();
    };
    match usize::try_from(*times) {
        Ok(times) if text.len().saturating_mul(times) as u64 <= MAX_BODY_BYTES => {
            Bytes::from(text.repeat(times))
        }
        _ => {
            let limit = format!("a body of a test has at most {MAX_BODY_BYTES} bytes");
            wrong("this body is too long", &limit, at, fields);
            Bytes::new()
        }
    }
}

fn hex(digits: &str, at: &Range<usize>, fields: &mut Fields<'_>) -> Bytes {
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    match bytes {
        Some(bytes) if digits.len().is_multiple_of(2) => Bytes::from(bytes),
        _ => {
            wrong(
                "these are no bytes in hexadecimal",
                "write two digits per byte, such as \"00ff\"",
                at,
                fields,
            );
            Bytes::new()
        }
    }
}

fn file(path: &str, at: &Range<usize>, fields: &mut Fields<'_>) -> Bytes {
    let path = fields.path(path);
    let read = std::fs::metadata(&path).and_then(|meta| {
        if meta.len() > MAX_BODY_BYTES {
            return Err(std::io::Error::other(format!(
                "it has more than {MAX_BODY_BYTES} bytes"
            )));
        }
        std::fs::read(&path)
    });
    match read {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => {
            let problem = format!("{} cannot be read: {error}", path.display());
            wrong(&problem, "paths are relative to the test file", at, fields);
            Bytes::new()
        }
    }
}

fn field_name(name: &str, at: Range<usize>, fields: &mut Fields<'_>) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        fields.problem(Problem::new(
            at,
            format!("{name:?} cannot be the name of a header field"),
        ));
    }
    parsed
}

/// Fields that a message carries.
pub(super) fn headers(named: &Named, fields: &mut Fields<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        let Some(name) = field_name(name, value.span(), fields) else {
            continue;
        };
        let Some(values) = texts(value.get_ref()) else {
            wrong(
                "this is no value of a header field",
                "write text, or a list of texts for a field that is repeated",
                &value.span(),
                fields,
            );
            continue;
        };
        for text in values {
            match HeaderValue::from_bytes(text.as_bytes()) {
                Ok(value) => {
                    headers.append(name.clone(), value);
                }
                Err(_) => wrong(
                    "a header field cannot have this value",
                    "it must be one line",
                    &value.span(),
                    fields,
                ),
            }
        }
    }
    headers
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

pub(super) fn expected_headers(named: &Named, fields: &mut Fields<'_>) -> FieldExpectations {
    let mut all = Vec::new();
    for (name, value) in named {
        let at = value.span();
        let Some(name) = field_name(name, at.clone(), fields) else {
            continue;
        };
        let expected = match value.get_ref() {
            Value::Boolean(true) => Some(FieldExpectation::Present),
            Value::Boolean(false) => Some(FieldExpectation::Absent),
            Value::Table(table) => match single(table, &at, &["contains"], fields) {
                Some((_, Value::String(part))) => Some(FieldExpectation::Contains(part.clone())),
                _ => None,
            },
            other => texts(other).map(FieldExpectation::Values),
        };
        match expected {
            Some(expected) => all.push((name, expected)),
            None => wrong(
                "this cannot be expected of a header field",
                "write text, a list of texts, true (it is there), false (it is not), or { contains = \"part\" }",
                &at,
                fields,
            ),
        }
    }
    all
}

pub(super) fn expected_body(value: &Any, fields: &mut Fields<'_>) -> Option<BodyExpectation> {
    let at = value.span();
    let table = match value.get_ref() {
        Value::String(text) => return Some(BodyExpectation::Exactly(Bytes::from(text.clone()))),
        Value::Table(table) => table,
        _ => {
            wrong(
                "this cannot be expected of a body",
                "write text, or a table with `contains`, `json`, `json_has` or `hex`",
                &at,
                fields,
            );
            return None;
        }
    };
    match single(table, &at, &["contains", "json", "json_has", "hex"], fields)? {
        ("contains", Value::String(part)) => Some(BodyExpectation::Contains(part.clone())),
        ("json", value) => Some(BodyExpectation::Json(json(value, at, fields))),
        ("json_has", value @ Value::Table(_)) => {
            Some(BodyExpectation::JsonHas(json(value, at, fields)))
        }
        ("hex", Value::String(digits)) => Some(BodyExpectation::Exactly(hex(digits, &at, fields))),
        (key, _) => {
            let help = if key == "json_has" {
                "write a table"
            } else {
                "write text"
            };
            wrong(
                &format!("`{key}` cannot have this value"),
                help,
                &at,
                fields,
            );
            None
        }
    }
}
