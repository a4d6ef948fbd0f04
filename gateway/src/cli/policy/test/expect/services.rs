//! Calls to upstreams and records for the outbox, against what the file has of them.

use bytes::Bytes;

use super::super::super::trial::{CallRule, Done, Expectation};
use super::{Found, body};

pub(super) fn compare(calls: &[CallRule], expect: &Expectation, done: &Done, found: &mut Found) {
    for told in &done.unanswered {
        found.note("call", "an answer for it in the file", told.as_str());
    }
    for (number, (rule, used)) in (1..).zip(calls.iter().zip(&done.used)) {
        if let Some(times) = rule.times.filter(|times| times != used) {
            let what = format!("call {number} ({})", rule.upstream);
            found.note(&what, counted(times), counted(*used));
        }
    }
    found.same("calls", expect.calls.as_ref(), &done.calls);
    if let Some(wanted) = &expect.outbox {
        let kinds: Vec<&str> = wanted.iter().map(|(kind, _)| kind.as_str()).collect();
        let got: Vec<&str> = done.records.iter().map(|(kind, _)| kind.as_str()).collect();
        if kinds != got {
            found.note("outbox", format!("{kinds:?}"), format!("{got:?}"));
            return;
        }
        bodies(
            wanted.iter().map(|(_, body)| body.as_ref()),
            &done.records,
            found,
        );
    }
}

fn bodies<'e>(
    wanted: impl Iterator<Item = Option<&'e super::BodyExpectation>>,
    got: &[(String, Bytes)],
    found: &mut Found,
) {
    for (number, (wanted, (kind, got))) in (1..).zip(wanted.zip(got)) {
        body(&format!("outbox {number} ({kind})"), wanted, got, found);
    }
}

fn counted(times: u64) -> String {
    match times {
        1 => "one call".to_owned(),
        several => format!("{several} calls"),
    }
}
