//! What the page says of its run, and what it should have said.

use serde_json::Value;

/// Every answer is there, and its label, as the page shows it, is the right one.
pub fn check(program: &str, labels: &[&str], report: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{program}: {why}; the page's report: {report}"));
    let Ok(said) = serde_json::from_str::<Value>(report) else {
        return wrong("the report is no JSON");
    };
    if said["problem"].is_string() {
        return wrong("something failed in the page");
    }
    let shown = said["answers"]
        .as_array()
        .map(|answers| answers.iter().map(|answer| answer["shown"].as_str()));
    let right = shown.is_some_and(|shown| shown.eq(labels.iter().map(|label| Some(*label))));
    match right && said["program"] == program {
        true => Ok(()),
        false => wrong(&format!("the labels should be {labels:?}")),
    }
}

/// Sizes and times of a run, in a line.
pub fn summary(report: &str) -> String {
    let said = serde_json::from_str::<Value>(report).unwrap_or_default();
    let costs = |name: &str| said["answers"][0]["costs"][name].as_f64().unwrap_or(0.0);
    format!(
        "keys of {} bytes made in {:.0} ms, {:.0} bytes up, {:.0} down, encrypted in {:.1} ms, trip {:.1} ms, decrypted in {:.1} ms",
        said["keyBytes"],
        said["keyMs"].as_f64().unwrap_or(0.0),
        costs("up"),
        costs("down"),
        costs("encrypt"),
        costs("trip"),
        costs("decrypt"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_label_or_a_problem_is_refused() {
        let good = r#"{"program":"p","answers":[{"shown":"a"},{"shown":"b"}]}"#;
        assert_eq!(check("p", &["a", "b"], good), Ok(()));
        assert!(check("p", &["a"], good).is_err());
        assert!(check("p", &["b", "a"], good).is_err());
        assert!(check("q", &["a", "b"], good).is_err());
        assert!(check("p", &[], r#"{"program":"p","problem":"no keys"}"#).is_err());
        assert!(check("p", &[], "what").is_err());
    }
}
