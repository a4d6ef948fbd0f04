use super::*;

fn fault<T>(result: Result<T, ProxyError>) -> Option<RequestFault> {
    match result.err()?.kind {
        Kind::Request(fault) => Some(fault),
        other => panic!("{other:?}"),
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    let check = |lines: &[(&'static str, &str)], refused: bool| {
        let expected = refused.then_some(RequestFault::Ambiguous);
        assert_eq!(fault(check_framing(&headers(lines))), expected, "{lines:?}");
    };
    check(&[], false);
    check(&[("content-length", "5")], false);
    check(&[("transfer-encoding", "Chunked")], false);
    check(
        &[("transfer-encoding", "chunked"), ("content-length", "5")],
        true,
    );
    check(
        &[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
        true,
    );
    check(&[("transfer-encoding", "gzip, chunked")], true);
    check(&[("transfer-encoding", "identity")], true);
    check(&[("content-length", "5"), ("content-length", "5")], true);
    check(&[("content-length", "5, 5")], true);
    check(&[("content-length", "+5")], true);
    check(&[("content-length", "")], true);
}

#[test]
fn a_request_has_one_host() {
    use RequestFault::{Ambiguous, Malformed};
    let check =
        |uri: &str, hosts: &[&str], version: Version, expected: Result<&str, RequestFault>| {
            let lines: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let got = authority(&uri.parse().expect("a URI"), &headers(&lines), version);
            match expected {
                Ok(authority) => assert_eq!(got.expect("accepted"), authority, "{uri} {hosts:?}"),
                Err(expected) => assert_eq!(fault(got), Some(expected), "{uri} {hosts:?}"),
            }
        };
    check("/", &["A.example:80"], Version::HTTP_11, Ok("a.example:80"));
    check(
        "http://a.example/",
        &["A.EXAMPLE"],
        Version::HTTP_11,
        Ok("a.example"),
    );
    check(
        "https://[::1]:8443/",
        &[],
        Version::HTTP_2,
        Ok("[::1]:8443"),
    );
    check("/", &[], Version::HTTP_10, Ok(""));
    check("/", &[], Version::HTTP_11, Err(Malformed));
    check("/", &[""], Version::HTTP_11, Err(Malformed));
    check("/", &["a", "a"], Version::HTTP_11, Err(Ambiguous));
    check("http://a/", &["b"], Version::HTTP_11, Err(Ambiguous));
    check("/", &["u@a"], Version::HTTP_11, Err(Malformed));
    check("/", &["a b"], Version::HTTP_11, Err(Malformed));
    check("/", &["a/b"], Version::HTTP_11, Err(Malformed));
    check("/", &["a:"], Version::HTTP_11, Err(Malformed));
}

#[test]
fn a_target_is_read_the_same_way_by_everybody() {
    use RequestFault::{Ambiguous, Malformed, TargetTooLong};
    let check = |uri: &str, expected: Result<(), RequestFault>| {
        let Ok(uri) = uri.parse::<Uri>() else {
            panic!("{uri} does not reach this stage")
        };
        assert_eq!(fault(target(&uri, 64)), expected.err(), "{uri}");
    };
    check("/a/b?c=d/../e", Ok(()));
    check("/a%2Fb/%e2%82%ac", Ok(()));
    check("/...", Ok(()));
    check("/a/../b", Err(Ambiguous));
    check("/a/.", Err(Ambiguous));
    check("/%2e%2E/b", Err(Ambiguous));
    check("/.%2e/b", Err(Ambiguous));
    check("/a%00", Err(Malformed));
    check("/a%0d%0a", Err(Malformed));
    check("/a%zz", Err(Malformed));
    check("/a%4", Err(Malformed));
    check("*", Err(Malformed));
    check(&format!("/{}", "x".repeat(64)), Err(TargetTooLong));
}

#[test]
fn hosts_lose_their_port() {
    assert_eq!(host_of("a.example:8443"), "a.example");
    assert_eq!(host_of("a.example"), "a.example");
    assert_eq!(host_of("[::1]:80"), "[::1]");
    assert_eq!(host_of("[::1]"), "[::1]");
}

#[test]
fn a_request_that_goes_in_circles_is_refused() {
    assert!(check_loop(&headers(&[("via", "1.1 edge, 2 other, 1.1 edge")]), "edge").is_ok());
    let error = check_loop(
        &headers(&[
            ("via", "1.1 edge, 1.1 edge, 1.1 edge"),
            ("via", "3 edge, 2 edge"),
        ]),
        "edge",
    );
    assert_eq!(error.expect_err("five times").kind, Kind::ProxyLoopDetected);
}
