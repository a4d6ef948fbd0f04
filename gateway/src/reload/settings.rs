//! What the config file says since the gateway started, and the gateway does not do: it is read at the start alone, which whoever
//! asks for a reload is told.

use toml::{Table, Value};

use crate::config::Source;

/// Names the settings that are others now, and no value: there are hashes of tokens among them.
pub(super) fn warn_of_changes(then: &Source) {
    let file = then.path.display();
    let now = Source::read(&then.path).map_err(|error| error.to_string());
    match now.and_then(|now| changed(&then.text, &now.text)) {
        Ok(settings) if settings.is_empty() => {}
        Ok(settings) => tracing::warn!(
            %file,
            settings = settings.join(", "),
            "these settings have changed in the config file, which is read at the start alone: check it with `veilgate check` and restart the gateway for them"
        ),
        Err(error) => tracing::warn!(
            %file,
            error,
            "the config file has changed and cannot be read: the gateway goes on as it is, and would not start again"
        ),
    }
}

/// By name: `section.key`, or `section` where there are several of one name.
fn changed(then: &str, now: &str) -> Result<Vec<String>, String> {
    let read = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let (then, now) = (read(then)?, read(now)?);
    let mut settings = Vec::new();
    for section in differing(&then, &now) {
        let inside = |of: &Table| match of.get(&section) {
            Some(Value::Table(keys)) => Some(keys.clone()),
            None => Some(Table::new()),
            Some(_) => None,
        };
        match (inside(&then), inside(&now)) {
            (Some(a), Some(b)) => {
                let keys = differing(&a, &b);
                settings.extend(keys.iter().map(|key| format!("{section}.{key}")));
            }
            _ => settings.push(section),
        }
    }
    Ok(settings)
}

/// Keys that one has and the other has not, or has with another value.
fn differing(a: &Table, b: &Table) -> Vec<String> {
    let gone = a.keys().filter(|key| a.get(*key) != b.get(*key));
    let new = b.keys().filter(|key| !a.contains_key(*key));
    gone.chain(new).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(then: &str, now: &str, expected: &[&str]) {
        assert_eq!(changed(then, now).unwrap(), expected);
        let mut back = changed(now, then).unwrap();
        back.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(back, expected);
    }

    #[test]
    fn what_is_another_value_is_named_and_what_is_only_written_otherwise_is_not() {
        let then = "[fhe]\nbatch_size = 64\nmax_wait = \"5s\"\n[[fhe.tenant]]\nname = \"a\"\n[[route]]\nname = \"r\"\n";
        check(then, then, &[]);
        check(
            then,
            &format!("# another comment\n{}", then.replace("64", "0x40")),
            &[],
        );
        check(then, &then.replace("64", "65"), &["fhe.batch_size"]);
        check(
            then,
            &then.replace("max_wait", "batch_wait"),
            &["fhe.max_wait", "fhe.batch_wait"],
        );
        check(then, &then.replace("\"a\"", "\"b\""), &["fhe.tenant"]);
        check(then, &then.replace("\"r\"", "\"s\""), &["route"]);
        check(
            then,
            "",
            &["fhe.batch_size", "fhe.max_wait", "fhe.tenant", "route"],
        );
        assert!(changed(then, "[fhe").is_err());
    }
}
