//! Settings: what is taken, and that what is refused says which key is wrong.

use proptest::prelude::*;
use serde::Deserialize;

use super::{ConfigError, MAX_CONFIG_BYTES, Period, parse};

// without deny_unknown_fields: the SDK refuses unknown keys by itself
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Settings {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Rule {
    ttl: Period,
}

fn refused(text: &str) -> String {
    match parse::<Settings>(text) {
        Ok(settings) => panic!("{text} was taken: {settings:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn no_settings_are_empty_settings() {
    for text in ["", "  ", "null", "{}"] {
        assert_eq!(parse::<Settings>(text), Ok(Settings::default()), "{text:?}");
    }
}

#[test]
fn errors_name_the_key_and_not_a_place_in_json() {
    assert_eq!(
        refused(r#"{"rules": [{"ttl": "1s"}, {"ttl": "1y"}]}"#),
        "`rules[1].ttl`: \"1y\" is no length of time; write a number and a unit, such as \"250ms\", \"10s\", \"5m\", \"2h\", \"1d\""
    );
    assert_eq!(
        refused(r#"{"rules": [{}]}"#),
        "`rules[0]`: missing field `ttl`"
    );
    assert_eq!(
        refused(r#"{"rules": [{"ttl": "1s", "til": 4}]}"#),
        "`rules[0].til`: there is no such setting; remove it or correct its name"
    );
    assert!(refused("{").contains("EOF"));
    assert!(refused("{} {}").contains("trailing"));
}

#[test]
fn settings_have_a_limit() {
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(MAX_CONFIG_BYTES));
    assert!(refused(&long).contains("at most 262144"));
}

#[test]
fn an_error_found_further_in_gets_its_whole_path() {
    let error = ConfigError::at("ttl", "too long").inside("rules[3]");
    assert_eq!(error.to_string(), "`rules[3].ttl`: too long");
    assert_eq!(ConfigError::at("[1]", "x").inside("to").key(), "to[1]");
}

#[test]
fn periods_have_units_and_an_upper_limit() {
    for (text, millis) in [
        ("250ms", 250),
        ("10s", 10_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("0s", 0),
    ] {
        assert_eq!(text.parse(), Ok(Period::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "10",
        "s",
        "1.5s",
        "-1s",
        "10 s",
        "1s ",
        "99999999999999999999s",
        "18446744073709551615d",
        "3651d",
        "1y",
    ] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
    assert_eq!(Period::from_millis(1).seconds_up(), 1);
    assert_eq!(Period::from_millis(2000).seconds_up(), 2);
}

proptest! {
    #[test]
    fn no_text_upsets_the_parsers(text in ".*") {
        let _ = parse::<Settings>(&text);
        let _ = text.parse::<Period>();
    }

    #[test]
    fn a_period_reads_as_it_was_written(millis in 0..=Period::MAX.millis()) {
        let period = Period::from_millis(millis);
        prop_assert_eq!(period.to_string().parse(), Ok(period));
    }
}
