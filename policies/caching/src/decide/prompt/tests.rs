//! What means the same has one normal form; what does not has another.

use guest_sdk::settings;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{BY_CHANCE, NOT_JSON, Prompt};

fn prompt(json: &str) -> Prompt {
    settings::read(json, Prompt::read).expect("good settings")
}

fn form(prompt: &Prompt, body: &str) -> Result<String, &'static str> {
    let form = prompt.normal_form(body.as_bytes())?;
    Ok(String::from_utf8(form).expect("it is text"))
}

const CHAT: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0,"max_tokens":100}"#;

#[test]
fn what_asks_the_same_has_one_form() {
    let plain = form(&Prompt::default(), CHAT);
    assert!(plain.is_ok());
    for same in [
        r#"{ "temperature" : 0.0, "max_tokens":1e2,
            "messages": [ {"content":"\u0048i", "role":"user"} ], "model":"m" }"#,
        r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":-0,"max_tokens":100.0,"user":"u1","metadata":{"a":1},"stop":null}"#,
    ] {
        assert_eq!(form(&Prompt::default(), same), plain, "{same}");
    }
}

#[test]
fn what_asks_something_else_has_another_form() {
    let plain = form(&Prompt::default(), CHAT);
    for other in [
        CHAT.replace("Hi", "hi"),
        CHAT.replace("Hi", "Hi "),
        CHAT.replace("\"m\"", "\"n\""),
        CHAT.replace("100", "101"),
        CHAT.replace("\"user\"", "\"system\""),
        CHAT.replace("\"temperature\"", "\"stream\":true,\"temperature\""),
        CHAT.replace("\"role\"", "\"name\":null,\"role\""),
        CHAT.replace(
            "{\"role\":\"user\",\"content\":\"Hi\"}",
            "{\"role\":\"user\",\"content\":\"Hi\",\"user\":1}",
        ),
    ] {
        let other_form = form(&Prompt::default(), &other);
        assert!(other_form.is_ok() && other_form != plain, "{other}");
    }
}

#[test]
fn what_is_drawn_by_chance_is_stored_only_if_asked() {
    let careful = Prompt::default();
    for body in [
        r#"{"model":"m"}"#,
        r#"{"temperature":0.7}"#,
        r#"{"temperature":null}"#,
        r#"{"temperature":"0"}"#,
        r#"{"temperature":0,"options":{"temperature":0.01}}"#,
        r#"{"temperature":1e-9}"#,
    ] {
        assert_eq!(form(&careful, body), Err(BY_CHANCE), "{body}");
        assert!(form(&prompt(r#"{"any-temperature": true}"#), body).is_ok());
    }
    for body in [
        r#"{"temperature":0}"#,
        r#"{"temperature":0.0e5}"#,
        r#"{"model":"llama3","options":{"temperature":0}}"#,
    ] {
        assert!(form(&careful, body).is_ok(), "{body}");
    }
}

#[test]
fn what_is_no_json_is_not_cached() {
    for prompt in [Prompt::default(), Prompt::any_json()] {
        assert_eq!(prompt.normal_form(b""), Err(NOT_JSON));
        assert_eq!(prompt.normal_form(b"\xff"), Err(NOT_JSON));
        assert_eq!(prompt.normal_form(br#"{"a":1,"a":2}"#), Err(NOT_JSON));
    }
    let forced = prompt(r#"{"any-temperature": true}"#);
    assert_eq!(form(&forced, "[1]"), Err(NOT_JSON), "no prompt is a list");
    assert!(form(&Prompt::any_json(), "[1]").is_ok());
}

#[test]
fn the_list_of_ignored_members_can_be_replaced() {
    let own = prompt(r#"{"ignore": ["trace"], "any-temperature": true}"#);
    let one = form(&own, r#"{"prompt":"a","trace":1}"#);
    assert_eq!(one, form(&own, r#"{"prompt":"a"}"#));
    assert_ne!(one, form(&own, r#"{"prompt":"a","user":"u"}"#));
    let json = Prompt::any_json();
    assert_ne!(form(&json, r#"{"a":null}"#), form(&json, "{}"));
}

#[test]
fn blanks_around_what_was_written_can_be_left_out() {
    let trimmed = prompt(r#"{"trim": true, "any-temperature": true}"#);
    let body = |content: &str| {
        format!(r#"{{"messages":[{{"content":[{{"text":"{content}"}}]}}],"stop":" x"}}"#)
    };
    assert_eq!(form(&trimmed, &body("Hi")), form(&trimmed, &body(" Hi\\n")));
    assert_ne!(form(&trimmed, &body("Hi")), form(&trimmed, &body("H i")));
    let stop = |stop: &str| form(&trimmed, &format!(r#"{{"stop":"{stop}"}}"#));
    assert_ne!(stop(" x"), stop("x"), "what a person did not write is kept");
}

/// A JSON text; the same value written in another way: blanks, order, escapes.
fn written_two_ways() -> impl Strategy<Value = (String, String)> {
    let leaf = prop_oneof![
        Just(("null".to_owned(), "null".to_owned())),
        any::<bool>().prop_map(|flag| (flag.to_string(), flag.to_string())),
        (-1000_i64..1000, 0_u32..4).prop_map(|(number, zeros)| {
            let longer = format!("{number}.{}", "0".repeat(zeros as usize + 1));
            (number.to_string(), longer)
        }),
        "[ -~é\u{1F600}]{0,8}".prop_map(|text| {
            let plain = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            (plain, format!("\"{}\"", units.collect::<String>()))
        }),
    ];
    leaf.prop_recursive(3, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| {
                let (one, other): (Vec<_>, Vec<_>) = values.into_iter().unzip();
                (
                    format!("[{}]", one.join(",")),
                    format!("[ {}\n]", other.join(" ,\t")),
                )
            }),
            (
                prop::collection::btree_map("[a-z]{1,6}", inner, 0..5),
                any::<Index>()
            )
                .prop_map(|(members, turn)| {
                    let one: Vec<String> = members
                        .iter()
                        .map(|(name, (value, _))| format!("\"{name}\":{value}"))
                        .collect();
                    let mut other: Vec<String> = members
                        .iter()
                        .map(|(name, (_, value))| format!("\"{name}\" : {value}"))
                        .collect();
                    if !other.is_empty() {
                        let turn = turn.index(other.len());
                        other.rotate_left(turn);
                    }
                    (
                        format!("{{{}}}", one.join(",")),
                        format!("{{ {} }}", other.join("\n,")),
                    )
                }),
        ]
    })
}

proptest! {
    #[test]
    fn however_it_is_written_it_has_one_form((one, other) in written_two_ways()) {
        let json = Prompt::any_json();
        prop_assert_eq!(form(&json, &one), form(&json, &other), "{} {}", one, other);
    }

    #[test]
    fn different_values_have_different_forms((one, _) in written_two_ways(), (other, _) in written_two_ways()) {
        let json = Prompt::any_json();
        // written in one way, texts differ exactly if values do
        prop_assert_eq!(form(&json, &one) == form(&json, &other), one == other);
    }

    #[test]
    fn numbers_have_one_form_exactly_if_they_are_equal(a in -10_000_i64..10_000, b in -10_000_i64..10_000, p in 0_u32..4, q in 0_u32..4) {
        let json = Prompt::any_json();
        let equal = a * 10_i64.pow(q) == b * 10_i64.pow(p);
        // a / 10^p and b / 10^q
        let same = form(&json, &format!("{a}e-{p}")) == form(&json, &format!("{b}E-{q}"));
        prop_assert_eq!(same, equal);
    }

    #[test]
    fn no_body_upsets_it(body in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"\\\\0-9eE.+-]{0,40}") {
        for prompt in [Prompt::default(), Prompt::any_json()] {
            let _ = prompt.normal_form(&body);
            let _ = prompt.normal_form(text.as_bytes());
        }
    }
}
