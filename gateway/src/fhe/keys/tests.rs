use super::*;
use crate::fhe::{TenantSettings, tenant::DEFAULT_MAX_KEYS};
use fhe::{ClientKey, TestEntropy};
use kernels::CpuBackend;
use std::sync::atomic::{AtomicU64, Ordering};

const DAY: u64 = 86_400;

fn key(seed: u128) -> EvaluationKey {
    let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(seed)).unwrap();
    client.evaluation_key(&mut TestEntropy(seed + 1)).unwrap()
}

fn size() -> u64 {
    EvaluationKey::bytes_of(ParamSet::Linear) as u64
}

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

/// A store in a directory of its own, and its clock.
struct Bench {
    dir: tempfile::TempDir,
    time: Arc<AtomicU64>,
    max_bytes: u64,
    cache_bytes: u64,
    key_ttl_s: Option<u64>,
}

fn bench() -> Bench {
    Bench {
        dir: tempfile::tempdir().unwrap(),
        // Now, because the times of files are compared with it.
        time: Arc::new(AtomicU64::new(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        )),
        max_bytes: 100 * size(),
        cache_bytes: 0,
        key_ttl_s: None,
    }
}

impl Bench {
    fn open(&self) -> KeyStore {
        let time = self.time.clone();
        KeyStore::open(KeyStoreOptions {
            dir: self.dir.path().to_owned(),
            max_bytes: self.max_bytes,
            cache_bytes: self.cache_bytes,
            lifetimes: Lifetimes {
                key_ttl_s: self.key_ttl_s,
                rotation_grace_s: DAY,
            },
            clock: Arc::new(move || time.load(Ordering::Relaxed)),
        })
        .unwrap()
    }

    fn now(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    fn pass(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Every file below the store's directory, with its bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut all, mut dirs) = (Vec::new(), vec![self.dir.path().to_owned()]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false => all.push((path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        all
    }

    /// No file holds this key, whole or in part, or says anything of it in its name.
    fn check_gone(&self, key: &EvaluationKey) {
        let part = &key.as_bytes()[1000..1064];
        let name = key.id().to_string();
        for (path, bytes) in self.files() {
            assert!(!path.to_string_lossy().contains(&name), "{path:?}");
            assert!(!bytes.windows(64).any(|window| window == part), "{path:?}");
        }
    }
}

fn plain(store: &KeyStore, tenant: &Tenant, key: &EvaluationKey) -> Added {
    store.add(tenant, key, &Wishes::default()).unwrap()
}

fn expiring(seconds: u64) -> Wishes {
    Wishes::new(None, Some(seconds), None).unwrap()
}

fn replacing(key: &EvaluationKey) -> Wishes {
    Wishes::new(None, None, Some(key.id())).unwrap()
}

fn backend() -> Accelerated {
    Accelerated::new(CpuBackend::new(Some(1)).unwrap(), None)
}

fn expand(
    store: &KeyStore,
    tenant: &Tenant,
    key: &EvaluationKey,
) -> Result<Arc<AcceleratedKey>, KeyStoreError> {
    let backend = backend();
    store.expanded(&backend, tenant, key.id(), ParamSet::Linear)
}

#[test]
fn a_key_is_found_again_after_a_restart_and_only_by_its_tenant() {
    let bench = bench();
    let (a, b, key) = (tenant("a"), tenant("b"), key(1));
    {
        let store = bench.open();
        assert_eq!(plain(&store, &a, &key), Added::New);
        assert_eq!(plain(&store, &a, &key), Added::WasThere);
    }
    // What a write that was cut off leaves.
    let left = bench.dir.path().join("a/left.tmp");
    fs::write(&left, b"half").unwrap();
    let store = bench.open();
    assert!(!left.exists());
    assert!(store.info(&a, key.id()).is_some());
    assert!(store.info(&b, key.id()).is_none());
    assert!(matches!(
        expand(&store, &b, &key),
        Err(KeyStoreError::Unknown)
    ));
    expand(&store, &a, &key).unwrap();
    assert!(store.remove(&a, key.id()).unwrap());
    assert!(!store.remove(&a, key.id()).unwrap());
    assert!(matches!(
        expand(&store, &a, &key),
        Err(KeyStoreError::Unknown)
    ));
}

#[test]
fn space_number_and_bytes_are_bounded() {
    let mut small = bench();
    small.max_bytes = 2 * size() + 1;
    let store = small.open();
    let a = tenant("a");
    plain(&store, &a, &key(1));
    plain(&store, &a, &key(10));
    let full = store.add(&a, &key(20), &Wishes::default());
    assert!(matches!(full, Err(KeyStoreError::Full { .. })));
    store.remove(&a, key(1).id()).unwrap();
    assert_eq!(plain(&store, &a, &key(20)), Added::New);

    let large = bench();
    let store = large.open();
    for seed in 0..DEFAULT_MAX_KEYS as u128 {
        plain(&store, &a, &key(100 * seed));
    }
    let more = store.add(&a, &key(50), &Wishes::default());
    assert!(matches!(more, Err(KeyStoreError::TooMany { .. })));
    assert_eq!(plain(&store, &tenant("b"), &key(50)), Added::New);

    let two_at_most = tenant("c").with_settings(TenantSettings {
        max_key_bytes: 2 * size(),
        ..TenantSettings::default()
    });
    plain(&store, &two_at_most, &key(1));
    // An unfinished upload counts as the key that it will be.
    let begun = store.start_upload(&two_at_most, key(2).id(), size(), Wishes::default());
    assert!(begun.is_ok());
    let more = store.add(&two_at_most, &key(3), &Wishes::default());
    assert!(
        matches!(more, Err(KeyStoreError::TooMuch { .. })),
        "{more:?}"
    );
}

#[test]
fn a_damaged_file_is_removed_and_said_to_be_damaged() {
    let bench = bench();
    let store = bench.open();
    let (a, key) = (tenant("a"), key(1));
    plain(&store, &a, &key);
    let path = store.layout.key(&a, key.id());
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(
        expand(&store, &a, &key),
        Err(KeyStoreError::Damaged(_))
    ));
    assert!(!path.exists() && store.info(&a, key.id()).is_none());
}

#[test]
fn the_least_recently_used_key_leaves_the_cache() {
    let mut bench = bench();
    let backend = backend();
    bench.cache_bytes = 2 * backend.expanded_bytes(ParamSet::Linear) as u64;
    let store = bench.open();
    let (a, keys) = (tenant("a"), [key(1), key(10), key(20)]);
    for key in &keys {
        plain(&store, &a, key);
    }
    let expanded = |index: usize| expand(&store, &a, &keys[index]).unwrap();
    let (first, second) = (expanded(0), expanded(1));
    assert!(Arc::ptr_eq(&first, &expanded(0)));
    // What may be needed later takes no room from what was used just now.
    store.warm(&backend, &(a.clone(), keys[2].id()));
    assert!(Arc::ptr_eq(&first, &expanded(0)) && Arc::ptr_eq(&second, &expanded(1)));
    expanded(0);
    expanded(2);
    assert_eq!(store.cache.size().0, 2);
    assert!(
        Arc::ptr_eq(&first, &expanded(0)),
        "it was used after the second"
    );
    assert!(
        !Arc::ptr_eq(&second, &expanded(1)),
        "it should have been evicted"
    );
    assert!(store.cache.size().1 <= bench.cache_bytes);
}

#[test]
fn a_key_that_many_want_is_expanded_once() {
    let mut bench = bench();
    bench.cache_bytes = 1 << 30;
    let store = bench.open();
    let (a, key) = (tenant("a"), key(1));
    plain(&store, &a, &key);
    let at_once = std::sync::Barrier::new(8);
    let all: Vec<_> = std::thread::scope(|scope| {
        let one = || {
            at_once.wait();
            expand(&store, &a, &key).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(all.iter().all(|key| Arc::ptr_eq(key, &all[0])));
    // Who leads and fails leaves the turn to the next.
    let id = (self::key(2).id(), ParamSet::Linear);
    let Turn::Lead(lead) = store.cache.turn(id, 1, Need::Now) else {
        panic!("nobody expands it")
    };
    std::thread::scope(|scope| {
        let next = scope.spawn(|| matches!(store.cache.turn(id, 1, Need::Now), Turn::Lead(_)));
        drop(lead);
        assert!(next.join().unwrap());
    });
    assert_eq!(store.cache.size().0, 1);
}

#[test]
fn a_deleted_key_is_gone_from_disk_and_memory_and_another_tenants_stays() {
    let mut bench = bench();
    bench.cache_bytes = 1 << 30;
    let store = bench.open();
    let (a, b, key) = (tenant("a"), tenant("b"), key(1));
    plain(&store, &a, &key);
    plain(&store, &b, &key);
    let in_flight = expand(&store, &a, &key).unwrap();
    store.remove(&a, key.id()).unwrap();
    assert!(matches!(
        expand(&store, &a, &key),
        Err(KeyStoreError::Unknown)
    ));
    assert!(Arc::ptr_eq(&in_flight, &expand(&store, &b, &key).unwrap()));

    // An upload that was left unfinished has the same bytes.
    let started = store.start_upload(&b, self::key(9).id(), size(), Wishes::default());
    let Ok(Started::New(upload)) = started else {
        panic!("not begun")
    };
    store
        .append(&upload, upload.begin(), 0, &self::key(9).as_bytes()[..3000])
        .unwrap();
    plain(&store, &b, &self::key(9));
    store.remove(&b, self::key(9).id()).unwrap();
    bench.check_gone(&self::key(9));

    store.remove(&b, key.id()).unwrap();
    assert_eq!(store.cache.size(), (0, 0));
    bench.check_gone(&key);
    assert!(store.list(&b).is_empty());
    // A key that is deleted while it is expanded is not held afterwards.
    plain(&store, &a, &key);
    let id = (key.id(), ParamSet::Linear);
    let Turn::Lead(lead) = store.cache.turn(id, 1, Need::Now) else {
        panic!("nobody expands it")
    };
    store.remove(&a, key.id()).unwrap();
    assert!(!store.index.lock().anyone_has(key.id()));
    drop(lead);
    assert_eq!(store.cache.size(), (0, 0));
    assert_eq!(plain(&store, &a, &key), Added::New);
}

#[test]
fn whatever_a_crash_leaves_of_a_deletion_or_a_registration_is_put_right() {
    let (a, key) = (tenant("a"), key(1));
    let keys = [
        // Deleting: the key is gone, the note not yet.
        ("vgek", false),
        // The note is gone: an older gateway's key, or a damaged disk.
        ("json", true),
    ];
    for (lost, stays) in keys {
        let bench = bench();
        let store = bench.open();
        plain(&store, &a, &key);
        drop(store);
        let path = bench.dir.path().join(format!("a/{}.{lost}", key.id()));
        fs::remove_file(path).unwrap();
        let store = bench.open();
        assert_eq!(store.info(&a, key.id()).is_some(), stays, "{lost}");
        match stays {
            true => {
                assert!(store.layout.note(&a, key.id()).exists());
                assert!(store.describe(&a, key.id()).unwrap().meta.created > 0);
            }
            false => bench.check_gone(&key),
        }
    }
    // Registering: the bytes are there, without their name; and a note that is no note.
    let bench = bench();
    let store = bench.open();
    plain(&store, &a, &self::key(5));
    let temporary = store.layout.temporary(&a, key.id());
    fs::write(&temporary, key.as_bytes()).unwrap();
    fs::write(store.layout.note(&a, key.id()), b"{}").unwrap();
    let note = store.layout.note(&a, self::key(5).id());
    fs::write(note.with_extension("json.tmp"), b"{").unwrap();
    fs::write(&note, b"{ not a note").unwrap();
    drop(store);
    let store = bench.open();
    bench.check_gone(&key);
    assert_eq!(store.list(&a).len(), 1);
    assert!(disk::read_note::<Meta>(&note).is_ok());
}

#[test]
fn what_cannot_be_removed_is_not_found_any_more_and_is_tried_again() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    let store = bench.open();
    let (a, key) = (tenant("a"), key(1));
    plain(&store, &a, &key);
    let dir = store.layout.tenant(&a);
    let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let refused = store.remove(&a, key.id());
    mode(0o700);
    // Whoever is root is refused nothing.
    if let Err(error) = refused {
        assert!(matches!(error, KeyStoreError::Io { .. }));
        assert!(store.info(&a, key.id()).is_none());
        let again = store.add(&a, &key, &Wishes::default());
        assert!(matches!(again, Err(KeyStoreError::InProgress)));
        store.sweep();
    }
    bench.check_gone(&key);
    assert_eq!(plain(&store, &a, &key), Added::New);
}

#[test]
fn keys_expire_and_are_deleted_by_the_sweep() {
    let bench = bench();
    let store = bench.open();
    let (a, key) = (tenant("a"), key(1));
    store.add(&a, &key, &expiring(100)).unwrap();
    let meta = store.describe(&a, key.id()).unwrap().meta;
    assert_eq!(meta.expires, Some(bench.now() + 100));
    bench.pass(99);
    store.sweep();
    expand(&store, &a, &key).unwrap();
    bench.pass(1);
    assert!(matches!(
        expand(&store, &a, &key),
        Err(KeyStoreError::Expired)
    ));
    assert!(matches!(
        store.describe(&a, key.id()),
        Err(KeyStoreError::Expired)
    ));
    assert!(store.list(&a).is_empty());
    // Registered again before the sweep, it is a new key.
    assert_eq!(plain(&store, &a, &key), Added::New);
    assert_eq!(store.describe(&a, key.id()).unwrap().meta.expires, None);
    store.add(&a, &key, &expiring(60)).unwrap();
    bench.pass(60);
    store.sweep();
    assert!(matches!(
        expand(&store, &a, &key),
        Err(KeyStoreError::Unknown)
    ));
    bench.check_gone(&key);
}

#[test]
fn the_operator_caps_lifetimes_and_gives_one_to_those_that_have_none() {
    let mut bench = bench();
    bench.key_ttl_s = Some(1000);
    let store = bench.open();
    let a = tenant("a");
    plain(&store, &a, &key(1));
    store.add(&a, &key(2), &expiring(5000)).unwrap();
    store.add(&a, &key(3), &expiring(500)).unwrap();
    let expires = |seed| store.describe(&a, key(seed).id()).unwrap().meta.expires;
    assert_eq!(expires(1), Some(bench.now() + 1000));
    assert_eq!(expires(2), Some(bench.now() + 1000));
    assert_eq!(expires(3), Some(bench.now() + 500));
    assert!(Wishes::new(None, Some(59), None).is_err());
    assert!(Wishes::new(None, Some(u64::MAX), None).is_err());
    for label in ["", "a\nb", &"x".repeat(65)] {
        assert!(Wishes::new(Some(label.to_owned()), None, None).is_err());
    }
}

#[test]
fn a_replaced_key_has_its_grace_and_ends() {
    let bench = bench();
    let few = TenantSettings {
        max_keys: 1,
        ..TenantSettings::default()
    };
    let a = tenant("a").with_settings(few);
    let store = bench.open();
    let (old, new, newer) = (key(1), key(2), key(3));
    plain(&store, &a, &old);
    // A rotation is possible at the limit, and only of a key that is there.
    let other = store.add(&a, &new, &Wishes::default());
    assert!(matches!(other, Err(KeyStoreError::TooMany { limit: 1 })));
    let unknown = store.add(&a, &new, &replacing(&newer));
    assert!(matches!(unknown, Err(KeyStoreError::CannotReplace)));
    let itself = store.add(&a, &old, &replacing(&old));
    assert!(matches!(itself, Err(KeyStoreError::CannotReplace)));
    assert_eq!(store.add(&a, &new, &replacing(&old)).unwrap(), Added::New);
    let meta = store.describe(&a, old.id()).unwrap().meta;
    assert_eq!(meta.replaced_by, Some(new.id().0));
    assert_eq!(meta.expires, Some(bench.now() + DAY));
    // No chain of rotations keeps more than so many.
    let again = store.add(&a, &newer, &replacing(&new));
    assert!(matches!(again, Err(KeyStoreError::TooMany { .. })));
    drop(store);

    let store = bench.open();
    bench.pass(DAY - 1);
    store.sweep();
    expand(&store, &a, &old).unwrap();
    bench.pass(1);
    store.sweep();
    bench.check_gone_but_for_the_name(&old);
    assert!(matches!(
        expand(&store, &a, &old),
        Err(KeyStoreError::Unknown)
    ));
    expand(&store, &a, &new).unwrap();
    assert!(store.add(&a, &newer, &replacing(&new)).is_ok());
}

impl Bench {
    /// The key that replaced it names it.
    fn check_gone_but_for_the_name(&self, key: &EvaluationKey) {
        let part = &key.as_bytes()[1000..1064];
        for (path, bytes) in self.files() {
            assert!(!bytes.windows(64).any(|window| window == part), "{path:?}");
        }
    }
}

#[test]
fn a_rotation_that_a_crash_cut_is_completed_at_the_start() {
    let bench = bench();
    let (a, old, new) = (tenant("a"), key(1), key(2));
    let store = bench.open();
    plain(&store, &a, &old);
    let note = store.layout.note(&a, old.id());
    let before = fs::read(&note).unwrap();
    store.add(&a, &new, &replacing(&old)).unwrap();
    drop(store);
    // As if the old key's note had not been written any more.
    fs::write(&note, before).unwrap();
    let store = bench.open();
    let meta = store.describe(&a, old.id()).unwrap().meta;
    assert_eq!(meta.replaced_by, Some(new.id().0));
    assert_eq!(meta.expires, Some(bench.now() + DAY));
}

#[test]
fn the_last_use_is_written_behind_and_orders_what_is_warmed_first() {
    let bench = bench();
    let (a, first, second) = (tenant("a"), key(1), key(2));
    let store = bench.open();
    plain(&store, &a, &first);
    bench.pass(10);
    plain(&store, &a, &second);
    bench.pass(10);
    expand(&store, &a, &first).unwrap();
    store.sweep();
    let written = |store: &KeyStore| {
        let note = disk::read_note::<Meta>(&store.layout.note(&a, first.id()));
        note.unwrap().last_used
    };
    let at = bench.now();
    assert_eq!(written(&store), Some(at));
    bench.pass(10);
    expand(&store, &a, &first).unwrap();
    store.sweep();
    assert_eq!(written(&store), Some(at), "not so soon again");
    store.write_uses(true);
    assert_eq!(written(&store), Some(at + 10));
    drop(store);
    let store = bench.open();
    let order = store.index.lock().by_recency(bench.now());
    assert_eq!(order[0].1, first.id());
}

#[test]
fn the_keeper_warms_what_is_there_and_what_comes() {
    let mut bench = bench();
    bench.cache_bytes = 1 << 30;
    let (a, first, second) = (tenant("a"), key(1), key(2));
    plain(&bench.open(), &a, &first);
    let store = Arc::new(bench.open());
    let backend = backend();
    let keeper = Keeper::start(store.clone(), Some(backend)).unwrap();
    let held = |count: usize| {
        for _ in 0..500 {
            if store.cache.size().0 == count {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    };
    assert!(held(1));
    plain(&store, &a, &second);
    assert!(held(2));
    drop(keeper);
}

fn begin(store: &KeyStore, tenant: &Tenant, key: &EvaluationKey) -> Arc<Upload> {
    let bytes = key.as_bytes().len() as u64;
    match store.start_upload(tenant, key.id(), bytes, Wishes::default()) {
        Ok(Started::New(upload) | Started::GoesOn(upload)) => upload,
        Ok(Started::Registered) => panic!("it is registered"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_upload_goes_on_after_a_restart_and_becomes_a_key() {
    let bench = bench();
    let (a, key) = (tenant("a"), key(1));
    let store = bench.open();
    let upload = begin(&store, &a, &key);
    let id = upload.id.to_string();
    let bytes = key.as_bytes();
    store
        .append(&upload, upload.begin(), 0, &bytes[..10_000])
        .unwrap();
    assert!(matches!(
        store.complete(&upload),
        Err(UploadError::Short { got: 10_000, .. })
    ));
    assert!(store.upload(&tenant("b"), &id).is_err(), "another tenant's");
    drop(store);

    let store = bench.open();
    let upload = begin(&store, &a, &key);
    assert_eq!((upload.id.to_string(), upload.offset()), (id, 10_000));
    let (first, second) = (upload.begin(), upload.begin());
    let late = store.append(&upload, first, 10_000, &bytes[10_000..]);
    assert!(matches!(late, Err(UploadError::Superseded)));
    let elsewhere = store.append(&upload, second, 9_999, &bytes[9_999..]);
    assert!(matches!(
        elsewhere,
        Err(UploadError::WrongOffset {
            expected: 10_000,
            ..
        })
    ));
    let long = [&bytes[10_000..], b"x"].concat();
    let long = store.append(&upload, second, 10_000, &long);
    assert!(matches!(long, Err(UploadError::TooLong(_))));
    store
        .append(&upload, second, 10_000, &bytes[10_000..])
        .unwrap();
    assert_eq!(store.complete(&upload).unwrap(), Added::New);
    assert!(matches!(store.complete(&upload), Err(UploadError::Unknown)));
    expand(&store, &a, &key).unwrap();
    assert!(store.list_uploads(&a).is_empty());
    assert_eq!(fs::read_dir(store.layout.uploads()).unwrap().count(), 0);
    assert!(matches!(
        store.start_upload(&a, key.id(), size(), Wishes::default()),
        Ok(Started::Registered)
    ));
    assert_eq!(store.index.lock().reserved.len(), 0);
}

#[test]
fn what_is_not_the_declared_key_is_removed() {
    let bench = bench();
    let (a, key, other) = (tenant("a"), key(1), key(2));
    let store = bench.open();
    let upload = begin(&store, &a, &key);
    store
        .append(&upload, upload.begin(), 0, other.as_bytes())
        .unwrap();
    assert!(matches!(
        store.complete(&upload),
        Err(UploadError::NotTheKey)
    ));
    bench.check_gone(&other);
    let upload = begin(&store, &a, &key);
    let zeros = vec![0; size() as usize];
    store.append(&upload, upload.begin(), 0, &zeros).unwrap();
    assert!(matches!(
        store.complete(&upload),
        Err(UploadError::NotAKey(_))
    ));
    assert!(store.info(&a, key.id()).is_none() && store.list_uploads(&a).is_empty());
    let odd = store.start_upload(&a, key.id(), size() + 1, Wishes::default());
    assert!(matches!(odd, Err(UploadError::WrongLength(_))));
}

#[test]
fn unfinished_uploads_are_bounded_and_given_up() {
    let mut bench = bench();
    bench.max_bytes = 10 * size();
    let store = bench.open();
    let a = tenant("a");
    let first = begin(&store, &a, &key(0));
    for seed in 1..uploads::MAX_UPLOADS_PER_TENANT as u128 {
        begin(&store, &a, &key(10 * seed));
    }
    let start = |tenant: &str, seed| {
        store.start_upload(
            &self::tenant(tenant),
            key(seed).id(),
            size(),
            Wishes::default(),
        )
    };
    assert!(matches!(start("a", 100), Err(UploadError::TooMany)));
    assert!(start("b", 100).is_ok());
    // Half of the space is for keys that come in one piece.
    assert!(matches!(start("b", 110), Err(UploadError::NoSpace)));
    store.append(&first, first.begin(), 0, b"begun").unwrap();
    store.cancel_upload(&first).unwrap();
    assert!(matches!(
        store.cancel_upload(&first),
        Err(UploadError::Unknown)
    ));
    bench.pass(UPLOAD_IDLE_S - 1);
    store.sweep();
    assert_eq!(store.list_uploads(&a).len(), 3);
    bench.pass(1);
    store.sweep();
    assert!(store.list_uploads(&a).is_empty());
    assert_eq!(fs::read_dir(store.layout.uploads()).unwrap().count(), 0);
    assert_eq!(store.index.lock().bytes(), 0);
}

#[test]
fn half_an_upload_on_disk_is_removed_at_the_start() {
    let bench = bench();
    let store = bench.open();
    let (a, key) = (tenant("a"), key(1));
    let (first, second) = (begin(&store, &a, &key), begin(&store, &a, &self::key(2)));
    drop(store);
    let dir = bench.dir.path().join(".uploads");
    fs::remove_file(dir.join(format!("{}.part", first.id))).unwrap();
    fs::remove_file(dir.join(format!("{}.json", second.id))).unwrap();
    fs::write(dir.join("strange"), b"x").unwrap();
    let store = bench.open();
    assert!(store.list_uploads(&a).is_empty());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}
