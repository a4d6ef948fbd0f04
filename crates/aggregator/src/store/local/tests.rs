use std::sync::Arc;

use super::*;

fn open(dir: &Path) -> LocalStore {
    LocalStore::open(dir, 0).unwrap()
}

#[test]
fn an_object_is_created_once_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.create("a/b/c", b"first").unwrap(), Created::New);
    assert_eq!(store.create("a/b/c", b"second").unwrap(), Created::Exists);
    assert_eq!(store.read("a/b/c", 100).unwrap().unwrap(), b"first");
    assert_eq!(store.list("a/b").unwrap(), ["c"]);
    assert_eq!(store.read("a/b/d", 100).unwrap(), None);
    assert!(store.list("nowhere").unwrap().is_empty());
}

#[test]
fn of_many_who_create_one_name_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let winners: Vec<Created> = std::thread::scope(|scope| {
        let path = dir.path();
        let threads: Vec<_> = (0..8)
            .map(|index: u8| scope.spawn(move || open(path).create("x", &[index; 1000]).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        winners
            .iter()
            .filter(|created| **created == Created::New)
            .count(),
        1
    );
    let bytes = open(dir.path()).read("x", 2000).unwrap().unwrap();
    assert!(bytes.len() == 1000 && bytes.iter().all(|byte| *byte == bytes[0]));
}

#[test]
fn the_incarnation_stays_and_differs_between_stores() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = open(one.path()).incarnation();
    assert_eq!(open(one.path()).incarnation(), first);
    assert_eq!(
        LocalStore::open_existing(one.path()).unwrap().incarnation(),
        first
    );
    assert_ne!(open(two.path()).incarnation(), first);
}

#[test]
fn temporary_files_of_the_dead_are_swept_and_those_of_the_living_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let living = Arc::new(open(dir.path()));
    let dead = dir.path().join(TEMPORARY).join("dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join(LOCK), "").unwrap();
    fs::write(dead.join("0"), "half a batch").unwrap();
    let other = open(dir.path());
    assert!(!dead.exists());
    assert!(living.temporary.exists());
    living.create("x", b"still works").unwrap();
    other.create("y", b"too").unwrap();
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path(), u64::MAX / 2).unwrap();
    assert!(matches!(
        store.create("x", b"bytes"),
        Err(StoreError::Full(_))
    ));
    assert!(matches!(store.ready(), Err(StoreError::Full(_))));
    assert_eq!(store.read("x", 100).unwrap(), None);
    let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
    assert!(matches!(
        StoreError::of_io("write", "x", full),
        StoreError::Full(_)
    ));
    let quota = io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error());
    assert!(matches!(
        StoreError::of_io("write", "x", quota),
        StoreError::Full(_)
    ));
}

#[test]
fn a_directory_that_is_no_store_is_not_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        LocalStore::open_existing(dir.path()),
        Err(StoreError::Damaged { .. })
    ));
    fs::write(dir.path().join(IDENTITY), "{}").unwrap();
    assert!(matches!(
        LocalStore::open(dir.path(), 0),
        Err(StoreError::Damaged { .. })
    ));
}

#[test]
fn an_object_over_its_limit_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create("x", &[0; 11]).unwrap();
    assert!(matches!(
        store.read("x", 10),
        Err(StoreError::TooLarge { .. })
    ));
    assert_eq!(store.read("x", 11).unwrap().unwrap().len(), 11);
}
