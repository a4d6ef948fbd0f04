use edge_types::{BatchNo, Epoch, Incarnation, Lane, SiteId};
use proptest::prelude::*;

use super::*;

fn meta(batch_no: u64) -> BatchMeta {
    BatchMeta {
        site: SiteId::new("site-1").expect("a good name"),
        incarnation: Incarnation([7; 16]),
        epoch: Epoch(1),
        lane: Lane::Events,
        batch_no: BatchNo(batch_no),
        prev_hash: Digest::of(b"before"),
        oldest_ms: 1_700_000_000_000,
    }
}

fn seal(first: u64, records: &[(u64, Vec<u8>)]) -> SealedBatch {
    let mut builder = BatchBuilder::new(Seq(first));
    for (seq, body) in records {
        builder.push(Seq(*seq), body).expect("within limits");
    }
    builder.seal(meta(3)).expect("not empty")
}

fn check_round_trip(first: u64, records: &[(u64, Vec<u8>)]) -> SealedBatch {
    let sealed = seal(first, records);
    let decoded = verify(&sealed.bytes).expect("what was sealed verifies");
    assert_eq!(decoded.header, sealed.header);
    assert_eq!(decoded.hash, sealed.hash);
    let back: Vec<_> = decoded
        .records()
        .map(|r| (r.seq.0, r.body.to_vec()))
        .collect();
    assert_eq!(back, records);
    sealed
}

#[test]
fn gaps_are_explicit_and_merged() {
    let records = vec![(5, b"a".to_vec()), (6, b"b".to_vec()), (9, b"c".to_vec())];
    let sealed = check_round_trip(3, &records);
    let range = |first, last| SeqRange {
        first: Seq(first),
        last: Seq(last),
    };
    assert_eq!(sealed.header.gaps, [range(3, 4), range(7, 8)]);
    assert_eq!((sealed.header.last_seq, sealed.header.count), (Seq(9), 3));

    let mut builder = BatchBuilder::new(Seq(1));
    builder.gap_through(Seq(2)).expect("room");
    builder.gap_through(Seq(4)).expect("room");
    builder.push(Seq(7), b"x").expect("room");
    let sealed = builder.seal(meta(1)).expect("not empty");
    assert_eq!(sealed.header.gaps, [range(1, 6)]);
}

#[test]
fn a_batch_may_be_nothing_but_a_gap() {
    let mut builder = BatchBuilder::new(Seq(10));
    assert!(builder.is_empty());
    builder.gap_through(Seq(19)).expect("room");
    let sealed = builder.seal(meta(1)).expect("a gap is something");
    let decoded = verify(&sealed.bytes).expect("verifies");
    assert_eq!(decoded.records().count(), 0);
    assert_eq!(decoded.header.count, 0);
}

#[test]
fn nothing_at_all_is_refused() {
    assert!(BatchBuilder::new(Seq(1)).seal(meta(1)).is_err());
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let records: Vec<_> = (1..40u64)
        .filter(|n| n % 7 != 0)
        .map(|n| (n, format!("{{\"v\":1,\"id\":{n}}}").into_bytes()))
        .collect();
    let good = seal(1, &records).bytes;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&bad).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(verify(&good[..len]).is_err(), "length {len}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(verify(&longer), Err(BatchError::Trailing(1)));
}

/// A header whose checksum is right but which a hostile writer made.
fn forge(change: impl Fn(&mut BatchHeader)) -> Vec<u8> {
    let sealed = seal(1, &[(1, b"one".to_vec()), (2, b"two".to_vec())]);
    let mut header = sealed.header.clone();
    let body = &sealed.bytes[header.encoded_header_len()..];
    change(&mut header);
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn forged_headers_are_refused() {
    assert!(verify(&forge(|_| ())).is_ok());
    let range = |first, last| SeqRange {
        first: Seq(first),
        last: Seq(last),
    };
    type Change<'a> = &'a dyn Fn(&mut BatchHeader);
    let forgeries: [(&str, Change<'_>); 11] = [
        ("epoch 0", &|h| h.meta.epoch = Epoch(0)),
        ("batch 0", &|h| h.meta.batch_no = BatchNo(0)),
        ("seq 0", &|h| h.first_seq = Seq(0)),
        ("range backwards", &|h| h.last_seq = Seq(0)),
        ("count too high", &|h| h.count = 3),
        ("count of the whole u32", &|h| h.count = u32::MAX),
        ("range of the whole u64", &|h| h.last_seq = Seq(u64::MAX)),
        ("gap outside", &|h| h.gaps = vec![range(2, 9)]),
        ("gaps touching", &|h| {
            h.last_seq = Seq(4);
            h.gaps = vec![range(1, 1), range(2, 2)];
        }),
        ("raw length huge", &|h| h.raw_len = u32::MAX),
        ("encoded length huge", &|h| h.encoded_len = u32::MAX),
    ];
    for (name, change) in forgeries {
        assert!(verify(&forge(change)).is_err(), "{name}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_decompressed() {
    let zeros = vec![0u8; limits::MAX_RAW_BYTES * 4];
    let body = zstd::bulk::compress(&zeros, 3).expect("compresses");
    for claimed in [zeros.len() as u32, 100] {
        let mut header = seal(1, &[(1, b"one".to_vec())]).header;
        header.codec = Codec::Zstd;
        header.raw_len = claimed;
        header.encoded_len = body.len() as u32;
        header.body_hash = Digest::of(&body);
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(&body);
        assert!(verify(&bytes).is_err(), "claimed {claimed}");
    }
}

#[test]
fn limits_hold_in_the_builder() {
    let mut builder = BatchBuilder::new(Seq(1));
    let too_long = vec![0; limits::MAX_RECORD_BYTES + 1];
    assert!(matches!(
        builder.push(Seq(1), &too_long),
        Err(BatchError::TooLarge { .. })
    ));
    for n in 0..limits::MAX_GAPS as u64 {
        builder.push(Seq(2 + 2 * n), b"").expect("within the limit");
    }
    let next = Seq(2 + 2 * limits::MAX_GAPS as u64);
    assert!(!builder.has_room_for(next, 0));
    assert!(builder.push(next, b"").is_err());
    builder
        .push(builder.next_seq(), b"")
        .expect("no gap needed");
    assert!(builder.seal(meta(1)).is_ok());
}

#[test]
fn noise_is_stored_plain_and_json_is_compressed() {
    let mut noise = vec![0u8; 4096];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    assert_eq!(seal(1, &[(1, noise)]).header.codec, Codec::Plain);
    let json: Vec<_> = (1..100u64)
        .map(|n| {
            (
                n,
                format!("{{\"route\":\"models\",\"n\":{n}}}").into_bytes(),
            )
        })
        .collect();
    let header = seal(1, &json).header;
    assert_eq!(header.codec, Codec::Zstd);
    assert!(header.encoded_len * 3 < header.raw_len);
}

fn records() -> impl Strategy<Value = (u64, Vec<(u64, Vec<u8>)>)> {
    let record = (1u64..5, proptest::collection::vec(any::<u8>(), 0..300));
    (1u64..u64::MAX / 2, proptest::collection::vec(record, 1..60)).prop_map(|(first, steps)| {
        let mut seq = first - 1;
        let numbered = steps
            .into_iter()
            .map(|(step, body)| {
                seq += step;
                (seq, body)
            })
            .collect();
        (first, numbered)
    })
}

proptest! {
    #[test]
    fn any_records_round_trip((first, records) in records()) {
        check_round_trip(first, &records);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes).is_err());
    }

    #[test]
    fn a_random_body_behind_a_good_header_never_panics(body in proptest::collection::vec(any::<u8>(), 0..400), zstd in any::<bool>()) {
        let mut header = seal(1, &[(1, b"one".to_vec())]).header;
        header.codec = if zstd { Codec::Zstd } else { Codec::Plain };
        header.encoded_len = body.len() as u32;
        header.raw_len = if zstd { 11 } else { header.encoded_len };
        header.body_hash = Digest::of(&body);
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(&body);
        prop_assert!(verify(&bytes).is_err());
    }
}
