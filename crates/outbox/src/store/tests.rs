use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn put(store: &Store, key: &str, value: &str) {
    store.put(vec![(key.into(), Some(value.into()))]);
}

fn pairs(rows: &[(&str, &str)]) -> Rows {
    let pair = |(k, v): &(&str, &str)| (k.as_bytes().to_vec(), v.as_bytes().to_vec());
    rows.iter().map(pair).collect()
}

#[test]
fn what_was_flushed_or_closed_is_there_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, rows) = Store::open(dir.path(), PATIENCE).expect("opens");
    assert_eq!(rows, pairs(&[]));
    put(&store, "a", "1");
    put(&store, "b", "2");
    assert!(store.flush(PATIENCE));
    store.put(vec![("a".into(), None)]);
    assert!(!store.is_down(PATIENCE));
    assert!(store.close(PATIENCE));
    let (store, rows) = Store::open(dir.path(), PATIENCE).expect("opens again");
    assert_eq!(rows, pairs(&[("b", "2")]));
    assert!(store.close(PATIENCE));
}

#[test]
fn damage_never_escapes_as_a_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(dir.path(), PATIENCE).expect("opens");
    for n in 0..200 {
        put(&store, &format!("key {n}"), "value");
    }
    assert!(store.flush(PATIENCE) && store.close(PATIENCE));
    let whole = fs::read(dir.path().join("db")).expect("sled's file");
    for step in 0..12 {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, _) = Store::open(dir.path(), PATIENCE).expect("opens");
        assert!(store.close(PATIENCE));
        let mut bad = whole.clone();
        let at = step * bad.len() / 12;
        if step % 3 == 0 {
            bad.truncate(at);
        } else {
            let end = (at + 64).min(bad.len());
            bad[at..end].fill(0xa5);
        }
        fs::write(dir.path().join("db"), bad).expect("writes");
        if let Ok((store, _)) = Store::open(dir.path(), PATIENCE) {
            store.close(PATIENCE);
        }
    }
}
