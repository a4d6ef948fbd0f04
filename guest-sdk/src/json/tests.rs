//! The parser against serde_json's, which is the definition of right here.

use proptest::prelude::*;
use serde_json::Value;

use super::{Json, push_text};

fn value(json: &Json<'_>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Flag(flag) => Value::Bool(*flag),
        Json::Number(digits) => serde_json::from_str(digits).expect("a number is JSON"),
        Json::Text(text) => Value::String(text.to_string()),
        Json::List(list) => list.iter().map(value).collect(),
        Json::Table(members) => {
            let member = |(name, json): &(_, Json<'_>)| (ToString::to_string(name), value(json));
            Value::Object(members.iter().map(member).collect())
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "1e",
        "tru",
        "\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\u12\"",
        "\"\n\"",
        "1 2",
        "{\"a\":1,\"a\":2}",
        "'a'",
        "NaN",
    ] {
        assert!(Json::parse(text).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        Json::parse(&deep).map_err(|error| error.problem),
        Err("nested too deeply")
    );
}

#[test]
fn escapes_are_read() {
    let text = r#""a\"\\\/\b\f\n\r\t\u0041\uD83D\ude00z""#;
    let expected: String = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        Json::parse(text).map(|json| json.text().map(str::to_owned)),
        Ok(Some(expected))
    );
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_as_it_was(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("it is written");
        let read = Json::parse(&text).expect("it is JSON");
        prop_assert_eq!(self::value(&read), serde_json::from_str::<Value>(&text).expect("JSON"));
    }

    #[test]
    fn a_table_is_sorted_and_found_by_name(names in prop::collection::hash_set(".{0,4}", 0..40)) {
        let members: Vec<String> = names.iter().map(|name| format!("{}:0", Value::from(name.as_str()))).collect();
        let text = format!("{{{}}}", members.join(","));
        let json = Json::parse(&text).expect("JSON");
        let Json::Table(sorted) = &json else { panic!("no table") };
        prop_assert!(sorted.windows(2).all(|two| two[0].0 < two[1].0));
        prop_assert!(names.iter().all(|name| json.at(name).is_some()));
    }

    #[test]
    fn no_text_upsets_it(text in "[\\[\\]{}:,\"\\\\a-f0-9u. \n-]{0,40}") {
        let theirs = serde_json::from_str::<Value>(&text);
        if let Ok(mine) = Json::parse(&text) {
            prop_assert_eq!(Ok(value(&mine)), theirs.map_err(|error| error.to_string()));
        }
    }

    #[test]
    fn a_text_is_written_so_that_it_reads_the_same(text in any::<String>()) {
        let mut written = String::new();
        push_text(&mut written, &text);
        prop_assert_eq!(serde_json::from_str::<String>(&written).ok(), Some(text));
    }
}
