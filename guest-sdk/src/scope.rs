//! For which requests a policy is there, so that the host need not call it for the others.

use crate::bindings::veilgate::policy::scope;
use crate::matching::{HeaderTest, Match};

pub use scope::Test;

/// What the host takes.
const MAX_GROUPS: usize = 256;
const MAX_TESTS: usize = 32;
/// Half of it: every text costs the host more than its bytes.
const MAX_BYTES: usize = 32 << 10;

/// In `configure`: this policy is there for requests that one of these blocks fits. The blocks are still to be asked: the host looks
/// at no query, and takes the policy to be there for every request if a block asks for nothing, or if they are too many.
pub fn only<'m>(blocks: impl IntoIterator<Item = &'m Match>) {
    if let Some(groups) = groups(blocks) {
        scope::only(&groups);
    }
}

/// None: every request.
fn groups<'m>(blocks: impl IntoIterator<Item = &'m Match>) -> Option<Vec<Vec<Test>>> {
    let mut groups = Vec::new();
    let mut bytes = 0;
    for block in blocks {
        let tests = tests(block);
        bytes += tests.iter().map(size).sum::<usize>();
        let fits = groups.len() < MAX_GROUPS && tests.len() <= MAX_TESTS && bytes <= MAX_BYTES;
        if tests.is_empty() || !fits {
            return None;
        }
        groups.push(tests);
    }
    Some(groups)
}

fn tests(block: &Match) -> Vec<Test> {
    let list = |texts: &Vec<String>, test: fn(Vec<String>) -> Test| {
        (!texts.is_empty()).then(|| test(texts.clone()))
    };
    let mut tests: Vec<Test> = [
        list(&block.method, Test::Method),
        list(&block.path, Test::Path),
        list(&block.path_prefix, Test::PathPrefix),
        list(&block.host, Test::Host),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (name, test) in &block.header {
        let name = name.clone();
        tests.push(match test {
            HeaderTest::Present => Test::HasHeader(name),
            HeaderTest::Absent => Test::NoHeader(name),
            HeaderTest::Equals(text) if can_be_sent(text) => Test::Header((name, text.clone())),
            HeaderTest::Equals(_) => Test::HasHeader(name),
        });
    }
    tests
}

/// Whether a field can have this value (RFC 9110, 5.5).
fn can_be_sent(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
}

fn size(test: &Test) -> usize {
    match test {
        Test::Method(list) | Test::Path(list) | Test::PathPrefix(list) | Test::Host(list) => {
            list.iter().map(|text| text.len() + 16).sum()
        }
        Test::HasHeader(name) | Test::NoHeader(name) => name.len(),
        Test::Header((name, value)) => name.len() + value.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(json: &str) -> Match {
        let block: Match = serde_json::from_str(json).expect("a block");
        block.checked().expect("a sound block")
    }

    #[test]
    fn a_block_that_asks_for_nothing_is_there_for_every_request() {
        let some = block(r#"{"path": "/a"}"#);
        assert!(groups([&some, &Match::default()]).is_none());
        assert!(groups([&some, &block(r#"{"query": {"q": "1"}}"#)]).is_none());
        assert_eq!(groups([]), Some(Vec::new()));
    }

    #[test]
    fn what_is_asked_is_told() {
        let block = block(
            r#"{"host": "A.b", "method": ["get"], "header": {"X-A": true, "X-B": false, "X-C": "v", "X-D": "\n"}, "query": {"q": "1"}}"#,
        );
        let told = groups([&block]).expect("a scope");
        assert_eq!(
            told,
            [vec![
                Test::Method(vec!["GET".into()]),
                Test::Host(vec!["a.b".into()]),
                Test::HasHeader("x-a".into()),
                Test::NoHeader("x-b".into()),
                Test::Header(("x-c".into(), "v".into())),
                Test::HasHeader("x-d".into()),
            ]]
        );
    }

    #[test]
    fn more_than_the_host_takes_is_not_told() {
        let one = block(r#"{"path": "/a"}"#);
        assert!(groups(std::iter::repeat_n(&one, MAX_GROUPS)).is_some());
        assert!(groups(std::iter::repeat_n(&one, MAX_GROUPS + 1)).is_none());
        let long = Match {
            path: vec!["/".repeat(MAX_BYTES)],
            ..Match::default()
        };
        assert!(groups([&long]).is_none());
    }
}
