//! What a gateway records of a window of counters: what is taken is read the same after it was written.
#![no_main]

use fhe::counters::WindowRecord;
use libfuzzer_sys::fuzz_target;
use veilgate_fuzz::sound;

/// Where in a sound record the rest is written.
const PLACE_BYTES: usize = 2;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let record = &sound().record;
    let mut named = record.clone();
    named.stream = String::from_utf8_lossy(bytes).into_owned();
    let line = named.to_json().expect("any name can be written");
    let read = WindowRecord::from_json(&line).expect("and is read again");
    assert_eq!(read, Some(named));
    if let Some((place, bytes)) = bytes.split_at_checked(PLACE_BYTES) {
        let mut line = record.to_json().expect("a record can be written");
        let at = usize::from(u16::from_le_bytes([place[0], place[1]])) % line.len();
        let len = bytes.len().min(line.len() - at);
        line[at..at + len].copy_from_slice(&bytes[..len]);
        check(&line);
    }
});

fn check(json: &[u8]) {
    if let Ok(Some(record)) = WindowRecord::from_json(json) {
        let line = record.to_json().expect("what was read can be written");
        let again = WindowRecord::from_json(&line).expect("and is read again");
        assert_eq!(again, Some(record));
    }
}
