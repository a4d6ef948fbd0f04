//! What proxy-wasm modules make of bodies and trailers, beyond what passes unchanged.

mod common;

use bytes::Bytes;
use common::filter::{Texts, filter, on_request, on_response};
use common::{Bench, exchange, granted, respond};
use http::HeaderMap;
use policy_host::{Chain, ExchangeContext, OnFault, Outcome, Passed, Policy, PolicySpec, Source};

fn chain(wasm: Vec<u8>, config: &str) -> Chain {
    let bench = Bench::with_workers(1);
    let spec = PolicySpec {
        config_json: config.to_owned(),
        ..granted("p", wasm, OnFault::Deny)
    };
    Chain::new(vec![bench.load(spec).unwrap()])
}

fn no_faults(chain: &Chain) {
    let policy: &Policy = &chain.policies()[0];
    let faults = policy.stats().faults;
    assert!(faults.iter().all(|(_, count)| *count == 0), "{faults:?}");
}

/// Answers 451 once it sees an `x` at the beginning of what it has of a body, and holds everything back until the end of the stream.
fn judge() -> Vec<u8> {
    let mut texts = Texts::default();
    let body = texts.put("refused");
    let callback = |name: &str, buffer: u32| {
        format!(
            "(func (export \"{name}\") (param i32 i32 i32) (result i32)
               (call $judge (i32.const {buffer}) (local.get 2)))"
        )
    };
    filter(&format!(
        "{} (func $judge (param $buffer i32) (param $end i32) (result i32)
           (call $expect (call $get_buffer_bytes (local.get $buffer) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 12)) (i32.const 0))
           (if (i32.eqz (i32.load (i32.const 12))) (then (return (i32.const 0))))
           (if (i32.eq (i32.load8_u (i32.load (i32.const 8))) (i32.const 120)) (then
             (call $expect
               (call $send_local_response (i32.const 451) (i32.const 0) (i32.const 0) {body} (i32.const 0) (i32.const 0) (i32.const -1))
               (i32.const 0))
             (return (i32.const 1))))
           (i32.eqz (local.get $end)))
         {} {} {} {}",
        texts.data(),
        on_request(""),
        on_response(""),
        callback("proxy_on_request_body", 0),
        callback("proxy_on_response_body", 1),
    ))
}

#[tokio::test]
async fn a_local_response_in_the_callback_of_a_piece_is_the_answer() {
    let chain = chain(judge(), "{}");
    for response in [false, true] {
        let mut exchange = exchange(&[("content-length", "3")]);
        assert!(matches!(
            chain.on_request(&mut exchange).await,
            Outcome::Continue
        ));
        respond(&mut exchange);
        assert!(matches!(
            chain.on_response(&mut exchange).await,
            Outcome::Continue
        ));
        let piece = async |exchange: &mut ExchangeContext, piece: &'static str, end| {
            let piece = Bytes::from_static(piece.as_bytes());
            if response {
                chain.on_response_chunk(exchange, piece, end).await
            } else {
                chain.on_request_chunk(exchange, piece, end).await
            }
        };
        // What it holds back passes with the end.
        let held = piece(&mut exchange, "a", false).await;
        assert!(matches!(held, Passed::On(left) if left.is_empty()));
        let passed = piece(&mut exchange, "b", true).await;
        assert!(matches!(passed, Passed::On(left) if left == "ab"));

        let Passed::Answered(policy, answer) = piece(&mut exchange, "xyz", false).await else {
            panic!("it answers");
        };
        assert_eq!(&*policy, "p");
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (451, &b"refused"[..])
        );
    }
    no_faults(&chain);
}

/// What frames a message is the gateway's, and may be gone from the head: a body that came without a length is still judged.
#[tokio::test]
async fn a_body_is_told_of_by_who_knows_of_it() {
    let chain = chain(judge(), "{}");
    for (fields, known, told) in [
        (&[][..], None, false),
        (&[], Some(true), true),
        (&[("content-length", "3")], None, true),
        (&[("content-length", "3")], Some(false), false),
    ] {
        let mut exchange = exchange(fields);
        exchange.request_has_body = known;
        let _ = chain.on_request(&mut exchange).await;
        assert_eq!(
            chain.request_need(&exchange).watch,
            told,
            "{fields:?} {known:?}"
        );
        respond(&mut exchange);
        exchange.response_has_body = known;
        let _ = chain.on_response(&mut exchange).await;
        let watched = chain.response_need(&exchange).watch;
        assert_eq!(watched, known.unwrap_or(true), "{known:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_closed_in_the_callback_of_a_piece_is_refused_bluntly() {
    let close = "(func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32)
        (call $expect (call $close_stream (i32.const 0)) (i32.const 0)) (i32.const 0))";
    let chain = chain(filter(&format!("{close} {}", on_request(""))), "{}");
    let mut exchange = exchange(&[("content-length", "1")]);
    let _ = chain.on_request(&mut exchange).await;
    let piece = Bytes::from_static(b"a");
    let passed = chain.on_request_chunk(&mut exchange, piece, false).await;
    assert!(
        matches!(&passed, Passed::Answered(_, answer) if answer.status == 403),
        "{passed:?}"
    );
}

#[tokio::test]
async fn a_local_response_in_the_callback_of_a_whole_body_takes_the_response_s_place() {
    let whole = r#"{"plugin":"","request_body":"whole","response_body":"whole"}"#;
    let chain = chain(judge(), whole);
    let mut exchange = exchange(&[("content-length", "3")]);
    let _ = chain.on_request(&mut exchange).await;
    let body = Bytes::from_static(b"xyz");
    let (outcome, _) = chain.on_request_body(&mut exchange, body.clone()).await;
    assert!(
        matches!(&outcome, Outcome::Respond(answer) if answer.status == 451),
        "{outcome:?}"
    );

    respond(&mut exchange);
    exchange.response.as_mut().unwrap().headers =
        HeaderMap::from_iter([(http::header::ETAG, "\"1\"".parse().unwrap())]);
    let _ = chain.on_response(&mut exchange).await;
    let replaced = chain.on_response_body(&mut exchange, body).await.unwrap();
    assert_eq!(replaced.as_deref(), Some(&b"refused"[..]));
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(
        (response.status.as_u16(), response.source),
        (451, Source::Local)
    );
    assert!(response.headers.is_empty(), "its own, and no others");
    no_faults(&chain);
}

/// Replaces `x-sum`, adds and removes; answers 451 to trailers with `x-bad`. There are none before their callback.
fn trailing(number: u32) -> Vec<u8> {
    let mut texts = Texts::default();
    let mut put = |text: &str| texts.put(text);
    let (sum, new, added, gone, bad) = (
        put("x-sum"),
        put("2"),
        put("x-added"),
        put("x-gone"),
        put("x-bad"),
    );
    let map = format!("(i32.const {number})");
    let absent = format!(
        "(call $expect (call $get_header_map_value {map} {sum} (i32.const 8) (i32.const 12)) (i32.const 1))
         (call $expect (call $add_header_map_value {map} {sum} {new}) (i32.const 2))
         (call $expect (call $get_header_map_pairs {map} (i32.const 8) (i32.const 12)) (i32.const 0))"
    );
    let trailers = format!(
        "(param $context i32) (param $count i32) (result i32)
           (call $expect (call $get_header_map_size {map} (i32.const 8)) (i32.const 0))
           (if (i32.eqz (call $get_header_map_value {map} {bad} (i32.const 8) (i32.const 12))) (then
             (call $expect
               (call $send_local_response (i32.const 451) (i32.const 0) (i32.const 0) {new} (i32.const 0) (i32.const 0) (i32.const -1))
               (i32.const 0))
             (return (i32.const 1))))
           (call $expect (local.get $count) (i32.const 2))
           (call $expect (call $get_header_map_value {map} {sum} (i32.const 8) (i32.const 12)) (i32.const 0))
           (call $expect (i32.load8_u (i32.load (i32.const 8))) (i32.const 49))
           (call $expect (call $replace_header_map_value {map} {sum} {new}) (i32.const 0))
           (call $expect (call $add_header_map_value {map} {added} {new}) (i32.const 0))
           (call $expect (call $remove_header_map_value {map} {gone}) (i32.const 0))
           (i32.const 0)"
    );
    let (ours, other) = match number {
        1 => ("request", "response"),
        _ => ("response", "request"),
    };
    let head = |name: &str, body: &str| {
        format!(
            "(func (export \"proxy_on_{name}_headers\") (param i32 i32 i32) (result i32) {body} (i32.const 0))"
        )
    };
    filter(&format!(
        "{} {} {} (func (export \"proxy_on_{ours}_trailers\") {trailers})",
        texts.data(),
        head(ours, &absent),
        head(other, ""),
    ))
}

#[tokio::test]
async fn trailers_are_read_changed_and_answered_where_they_pass() {
    for (number, response) in [(1, false), (3, true)] {
        let chain = chain(trailing(number), "{}");
        let pass = async |fields: &[(&'static str, &'static str)]| {
            let mut exchange = exchange(&[("content-length", "3")]);
            assert!(matches!(
                chain.on_request(&mut exchange).await,
                Outcome::Continue
            ));
            respond(&mut exchange);
            assert!(matches!(
                chain.on_response(&mut exchange).await,
                Outcome::Continue
            ));
            let mut trailers = HeaderMap::new();
            for (name, value) in fields {
                trailers.insert(*name, value.parse().unwrap());
            }
            let body = Bytes::from_static(b"abc");
            if response {
                assert!(chain.response_need(&exchange).watch);
                let passed = chain.on_response_chunk(&mut exchange, body, true).await;
                assert!(matches!(passed, Passed::On(left) if left == "abc"));
                chain.on_response_trailers(&mut exchange, trailers).await
            } else {
                assert!(chain.request_need(&exchange).watch);
                let passed = chain.on_request_chunk(&mut exchange, body, true).await;
                assert!(matches!(passed, Passed::On(left) if left == "abc"));
                chain.on_request_trailers(&mut exchange, trailers).await
            }
        };
        let Passed::On(left) = pass(&[("x-sum", "1"), ("x-gone", "1")]).await else {
            panic!("they go on");
        };
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(
            (&left["x-sum"], &left["x-added"]),
            (&"2".parse().unwrap(), &"2".parse().unwrap())
        );
        let answered = pass(&[("x-bad", "1")]).await;
        assert!(
            matches!(&answered, Passed::Answered(_, answer) if answer.status == 451),
            "{answered:?}"
        );
        no_faults(&chain);
    }
}
