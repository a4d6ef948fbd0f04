//! For which requests a policy is there.

use http::{HeaderName, HeaderValue};

use crate::error::HostRefusal;
use crate::exchange::RequestParts;
use crate::query;

const MAX_GROUPS: usize = 256;
const MAX_TESTS: usize = 32;
/// Of all tests together.
const MAX_BYTES: usize = 64 << 10;

/// One look at a request. Of a list, one must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    Method(Vec<String>),
    Path(Vec<String>),
    PathPrefix(Vec<String>),
    Host(Vec<String>),
    HasHeader(HeaderName),
    NoHeader(HeaderName),
    Header(HeaderName, HeaderValue),
}

/// Requests that pass all tests of one of the groups.
#[derive(Debug)]
pub(crate) struct Scope(Vec<Vec<Test>>);

impl Scope {
    pub(crate) fn new(groups: Vec<Vec<Test>>) -> Result<Self, HostRefusal> {
        let bytes: usize = groups.iter().flatten().map(Test::bytes).sum();
        let fits = groups.len() <= MAX_GROUPS
            && groups.iter().all(|tests| tests.len() <= MAX_TESTS)
            && bytes <= MAX_BYTES;
        match fits {
            true => Ok(Self(groups)),
            false => Err(HostRefusal(
                "a scope of more than 256 groups, 32 tests in a group or 64 KiB of text",
            )),
        }
    }

    pub(crate) fn fits(&self, request: &RequestParts) -> bool {
        let passes = |tests: &Vec<Test>| tests.iter().all(|test| test.passes(request));
        self.0.iter().any(passes)
    }
}

impl Test {
    fn bytes(&self) -> usize {
        match self {
            Test::Method(list) | Test::Path(list) | Test::PathPrefix(list) | Test::Host(list) => {
                list.iter()
                    .map(|text| text.len() + size_of::<String>())
                    .sum()
            }
            Test::HasHeader(name) | Test::NoHeader(name) => name.as_str().len(),
            Test::Header(name, value) => name.as_str().len() + value.len(),
        }
    }

    fn passes(&self, request: &RequestParts) -> bool {
        let path = || query::path(&request.path_and_query);
        match self {
            Test::Method(methods) => methods.iter().any(|one| one == request.method.as_str()),
            Test::Path(paths) => paths.iter().any(|one| one == path()),
            Test::PathPrefix(prefixes) => prefixes.iter().any(|one| has_prefix(path(), one)),
            Test::Host(hosts) => {
                let host = without_port(&request.authority);
                hosts.iter().any(|one| is_host(host, one))
            }
            Test::HasHeader(name) => request.headers.contains_key(name),
            Test::NoHeader(name) => !request.headers.contains_key(name),
            Test::Header(name, value) => {
                request.headers.get_all(name).iter().any(|one| one == value)
            }
        }
    }
}

fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

fn is_host(host: &str, pattern: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return host.eq_ignore_ascii_case(pattern);
    };
    // ".example.com" with something before it
    let begins = host.len().checked_sub(suffix.len()).filter(|at| *at > 0);
    let tail = begins.and_then(|at| host.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}

fn without_port(authority: &str) -> &str {
    if authority.starts_with('[') {
        let end = authority.find(']').map_or(authority.len(), |at| at + 1);
        return authority.get(..end).unwrap_or(authority);
    }
    authority.split(':').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn request() -> RequestParts {
        let mut headers = HeaderMap::new();
        headers.append("x-tier", HeaderValue::from_static("free"));
        headers.append("x-tier", HeaderValue::from_static("gold"));
        RequestParts {
            method: Method::POST,
            path_and_query: "/api/v1?x=/other".to_owned(),
            authority: "Api.Example.com:8443".to_owned(),
            headers,
        }
    }

    fn passes(test: Test) -> bool {
        test.passes(&request())
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn one_of_a_list_is_enough() {
        assert!(passes(Test::Method(texts(&["GET", "POST"]))));
        assert!(!passes(Test::Method(texts(&["GET"]))));
        assert!(!passes(Test::Method(Vec::new())));
        assert!(passes(Test::Path(texts(&["/api/v1"]))));
        assert!(!passes(Test::Path(texts(&["/api", "/api/v1?x=/other"]))));
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        for (prefix, fits) in [
            ("/", true),
            ("/api", true),
            ("/api/", true),
            ("/api/v1", true),
            ("/ap", false),
            ("/api/v", false),
            ("/other", false),
        ] {
            assert_eq!(passes(Test::PathPrefix(texts(&[prefix]))), fits, "{prefix}");
        }
    }

    #[test]
    fn a_host_is_compared_without_its_port() {
        for (host, fits) in [
            ("api.example.com", true),
            ("*.example.com", true),
            ("*.com", true),
            ("example.com", false),
            ("*.api.example.com", false),
            ("", false),
        ] {
            assert_eq!(passes(Test::Host(texts(&[host]))), fits, "{host}");
        }
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1"), "[::1");
    }

    #[test]
    fn a_header_may_be_there_several_times() {
        let tier = HeaderName::from_static("x-tier");
        let other = HeaderName::from_static("x-other");
        let value = HeaderValue::from_static;
        assert!(passes(Test::Header(tier.clone(), value("gold"))));
        assert!(!passes(Test::Header(tier.clone(), value("Gold"))));
        assert!(passes(Test::HasHeader(tier.clone())) && !passes(Test::NoHeader(tier)));
        assert!(passes(Test::NoHeader(other.clone())) && !passes(Test::HasHeader(other)));
    }

    #[test]
    fn all_of_a_group_and_one_of_the_groups() {
        let post = Test::Method(texts(&["POST"]));
        let other = Test::Path(texts(&["/other"]));
        let scope = |groups| Scope::new(groups).expect("a scope").fits(&request());
        assert!(scope(vec![vec![]]) && !scope(vec![]));
        assert!(!scope(vec![vec![post.clone(), other.clone()]]));
        assert!(scope(vec![vec![other.clone()], vec![post.clone()]]));
        assert!(Scope::new(vec![vec![post; 33]]).is_err());
        assert!(Scope::new(vec![vec![]; 257]).is_err());
        let long = Test::Path(vec!["/".repeat(65 << 10)]);
        assert!(Scope::new(vec![vec![long]]).is_err());
    }
}
