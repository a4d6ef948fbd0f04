use super::*;

fn site() -> SiteId {
    SiteId::new("paris-2").expect("a good name")
}

#[test]
fn paths_read_back() {
    let batch = batch_path(&site(), Epoch(3), Lane::Events, BatchNo(u64::MAX));
    let cases = [
        (epochs_path(&site()), Route::Epochs { site: site() }),
        (state_path(&site()), Route::State { site: site() }),
        (
            batch,
            Route::Batch {
                site: site(),
                epoch: Epoch(3),
                lane: Lane::Events,
                batch_no: BatchNo(u64::MAX),
            },
        ),
    ];
    for (path, route) in cases {
        assert_eq!(Route::parse(&path), Some(route), "{path}");
    }
}

#[test]
fn other_paths_are_refused() {
    for path in [
        "",
        "/",
        "/sync/v1/sites/",
        "/sync/v1/sites/Paris/state",
        "/sync/v1/sites/../state",
        "/sync/v1/sites/a/state/",
        "/sync/v1/sites/a/epochs/1",
        "/sync/v1/sites/a/epochs/01/lanes/events/batches/1",
        "/sync/v1/sites/a/epochs/1/lanes/events/batches/0",
        "/sync/v1/sites/a/epochs/1/lanes/events/batches/+1",
        "/sync/v1/sites/a/epochs/1/lanes/bulk/batches/1",
        "/sync/v1/sites/a/epochs/1/lanes/events/batches/1/2",
        "/sync/v1/sites/a/epochs/1/lanes/events/batches/18446744073709551616",
    ] {
        assert_eq!(Route::parse(path), None, "{path}");
    }
}

#[test]
fn certificates_name_sites() {
    assert_eq!(site_of_dns_name(&site_dns_name(&site())), Some(site()));
    for other in ["paris-2", "a.b.site.veilgate", ".site.veilgate"] {
        assert_eq!(site_of_dns_name(other), None, "{other}");
    }
}

#[test]
fn stored_batches_become_ranges() {
    let state =
        |numbers: &[u64]| LaneState::of_stored(Lane::Events, numbers.iter().copied().map(BatchNo));
    let all = state(&[1, 2, 3, 7, 9, 10]);
    assert_eq!(all.through_batch, BatchNo(3));
    let json = serde_json::to_string(&all).expect("plain data");
    assert_eq!(
        json,
        r#"{"lane":"events","through_batch":3,"ranges":[[1,3],[7,7],[9,10]]}"#
    );
    assert_eq!(state(&[2, 3]).through_batch, BatchNo(0));
    assert_eq!(state(&[]).ranges, []);
    let odd: Vec<u64> = (0..5000).map(|n| 2 * n + 1).collect();
    let reply = StateReply {
        store_incarnation: Incarnation([1; 16]),
        epoch: Epoch(1),
        lanes: vec![state(&odd)],
        server_time_ms: 0,
    };
    assert_eq!(reply.lanes[0].ranges.len(), limits::MAX_STATE_RANGES);
    let json = serde_json::to_vec(&reply).expect("plain data");
    assert!(json.len() < limits::MAX_REPLY_BYTES);
}

#[test]
fn problems_keep_their_kind_over_json() {
    for kind in ProblemKind::ALL {
        let json = serde_json::to_string(&Problem::new(kind, "why")).expect("plain data");
        let back: Problem = serde_json::from_str(&json).expect("reads back");
        assert_eq!(back.kind(), Some(kind));
        assert_eq!(back.status, kind.status());
    }
    let hash = Digest::of(b"x");
    assert_eq!(Problem::conflict(hash).stored_hash, Some(hash));
    let minimal: Problem =
        serde_json::from_str(r#"{"type":"about:blank","title":"x","status":500}"#)
            .expect("RFC 9457 without our members");
    assert_eq!(minimal.kind(), None);
}

#[test]
fn statuses_say_what_to_do() {
    for (status, expected) in [
        (200, PutStatus::Stored),
        (201, PutStatus::Stored),
        (409, PutStatus::Conflict),
        (422, PutStatus::Refused),
        (403, PutStatus::Later),
        (429, PutStatus::Later),
        (503, PutStatus::Later),
        (507, PutStatus::Later),
    ] {
        assert_eq!(PutStatus::of_http(status), expected, "{status}");
    }
}

#[test]
fn enrolment_reads_strictly() {
    let text = r#"{"incarnation":"000102030405060708090a0b0c0d0e0f"}"#;
    let request: EnrollRequest = serde_json::from_str(text).expect("the short form");
    assert_eq!(request.known_epoch, None);
    assert_eq!(serde_json::to_string(&request).ok().as_deref(), Some(text));
    for bad in [
        r#"{"incarnation":"00"}"#,
        r#"{}"#,
        r#"{"incarnation":"000102030405060708090a0b0c0d0e0f","x":1}"#,
    ] {
        assert!(serde_json::from_str::<EnrollRequest>(bad).is_err(), "{bad}");
    }
}
