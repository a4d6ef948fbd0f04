//! Settings read by hand: what is taken, and the words in which the rest is refused.

use proptest::prelude::*;

use super::{Node, distance, fraction, push_digits, read};
use crate::{ConfigError, Period};

#[derive(Debug, PartialEq)]
struct Rule {
    ttl: Period,
    weight: u64,
    share: Option<f32>,
    names: Vec<String>,
}

fn rule(node: &Node<'_>) -> Result<Rule, ConfigError> {
    let table = node.table(&["names", "share", "ttl", "weight"])?;
    Ok(Rule {
        ttl: table.need("ttl")?.period()?,
        weight: table.read("weight", |node| node.whole(1, 10))?.unwrap_or(1),
        share: table.read("share", Node::share)?,
        names: table.read("names", Node::texts)?.unwrap_or_default(),
    })
}

fn rules(text: &str) -> Result<Vec<Rule>, ConfigError> {
    read(text, |node| {
        let table = node.table(&["rules"])?;
        let Some(list) = table.at("rules") else {
            return Ok(Vec::new());
        };
        list.list_of(1, 3)?.iter().map(rule).collect()
    })
}

#[test]
fn no_settings_are_empty_settings() {
    for text in ["", "  ", "null", "{}", r#"{"rules": null}"#] {
        assert_eq!(rules(text), Ok(Vec::new()), "{text:?}");
    }
}

#[test]
fn what_is_written_is_read() {
    let text = r#"{"rules": [{"ttl": "5m", "weight": 3, "share": 0.25, "names": "a"}, {"ttl": "1s", "names": ["b", "c"]}]}"#;
    let first = Rule {
        ttl: Period::from_secs(300),
        weight: 3,
        share: Some(0.25),
        names: vec!["a".to_owned()],
    };
    let second = Rule {
        ttl: Period::from_secs(1),
        weight: 1,
        share: None,
        names: vec!["b".to_owned(), "c".to_owned()],
    };
    assert_eq!(rules(text), Ok(vec![first, second]));
}

#[test]
fn what_is_wrong_is_refused_with_its_key_and_what_could_be_there() {
    for (text, message) in [
        (r#"[]"#, "must be a table, not a list"),
        (
            r#"{"rule": 1}"#,
            r#"`rule`: there is no such setting; did you mean "rules"? There are: rules"#,
        ),
        (
            r#"{"rules": [{"ttl": "1s"}, {"ttl": "1s", "wieght": 2}]}"#,
            r#"`rules[1].wieght`: there is no such setting; did you mean "weight"? There are: names, share, ttl, weight"#,
        ),
        (
            r#"{"rules": [{"ttl": "1s", "x": 2}]}"#,
            "`rules[0].x`: there is no such setting. There are: names, share, ttl, weight",
        ),
        (r#"{"rules": [{}]}"#, "`rules[0].ttl`: is missing"),
        (
            r#"{"rules": [{"ttl": 5}]}"#,
            "`rules[0].ttl`: must be a length of time in quotes, such as \"10s\", not a number",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "weight": 11}]}"#,
            "`rules[0].weight`: is 11; it must be a whole number from 1 to 10",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "weight": -1.5}]}"#,
            "`rules[0].weight`: is -1.5; it must be a whole number from 1 to 10",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "share": 50}]}"#,
            "`rules[0].share`: is 50; it must be from 0 (none) to 1 (all)",
        ),
        (
            r#"{"rules": [{"ttl": "1s", "names": [1]}]}"#,
            "`rules[0].names[0]`: must be a text, or a list of texts, not a number",
        ),
        (r#"{"rules": []}"#, "`rules`: has 0; from 1 to 3 are taken"),
        (r#"{"rules": 1}"#, "`rules`: must be a list, not a number"),
        ("{", "a member begins with its name in quotes (byte 1)"),
    ] {
        match rules(text) {
            Ok(rules) => panic!("{text} was taken: {rules:?}"),
            Err(error) => assert_eq!(error.to_string(), message, "{text}"),
        }
    }
}

#[test]
fn a_choice_is_one_of_its_words() {
    let chosen = |text: &str| {
        read(text, |node| {
            node.table(&["a"])?
                .need("a")?
                .choice(&[("always", 1), ("never", 2)])
        })
    };
    assert_eq!(chosen(r#"{"a": "never"}"#), Ok(2));
    assert_eq!(
        chosen(r#"{"a": "allways"}"#).map_err(|error| error.to_string()),
        Err(
            r#"`a`: "allways" is not one; did you mean "always"? There are: always, never"#
                .to_owned()
        )
    );
}

#[test]
fn statuses_are_numbers_classes_and_ranges() {
    let read = |text: &str| {
        read(text, |node| node.table(&["s"])?.need("s")?.statuses()).map(|set| set.ranges())
    };
    assert_eq!(
        read(r#"{"s": ["5xx", 429, "404-405"]}"#),
        Ok(vec![(500, 599), (429, 429), (404, 405)])
    );
    assert_eq!(read(r#"{"s": 200}"#), Ok(vec![(200, 200)]));
    let error = read(r#"{"s": [200, "6xx"]}"#).expect_err("there is no 6xx");
    assert_eq!(error.key(), "s[1]");
}

#[test]
fn neighbours_are_near() {
    for (a, b, expected) in [
        ("ttl", "ttl", 0),
        ("til", "ttl", 1),
        ("weigth", "weight", 1),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
    ] {
        assert_eq!(distance(a, b), expected, "{a} {b}");
    }
}

proptest! {
    #[test]
    fn no_text_upsets_the_reader(text in ".*", name in ".{0,60}") {
        let _ = rules(&text);
        let quoted = serde_json::Value::from(name.as_str());
        let _ = rules(&format!(r#"{{"rules": [{{{quoted}: {quoted}}}], {quoted}: 1}}"#));
    }

    #[test]
    fn a_share_is_read_as_it_was_written(share in 0.0_f32..=1.0) {
        for text in [share.to_string(), serde_json::to_string(&share).expect("a number")] {
            let read = fraction(&text).expect("a share");
            prop_assert!((read - share).abs() <= share * 1e-6, "{} {}", text, read);
        }
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them(number: u64) {
        let mut text = String::from("r=");
        push_digits(&mut text, number);
        prop_assert_eq!(text, format!("r={number}"));
    }
}
