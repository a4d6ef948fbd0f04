use super::*;
use fhe::{ClientKey, TestEntropy};

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

#[test]
fn a_key_is_found_again_after_a_restart_and_only_by_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, key) = (tenant("a"), tenant("b"), key(1));
    {
        let store = KeyStore::open(dir.path(), 10 * size(), 0).unwrap();
        assert!(store.add(&a, &key).unwrap());
        assert!(!store.add(&a, &key).unwrap());
    }
    // What a write that was cut off leaves.
    fs::write(dir.path().join("a/left.tmp"), b"half").unwrap();
    let store = KeyStore::open(dir.path(), 10 * size(), 0).unwrap();
    assert!(!dir.path().join("a/left.tmp").exists());
    assert!(store.info(&a, key.id()).is_some());
    assert!(store.info(&b, key.id()).is_none());
    let backend = CpuBackend::new(Some(1)).unwrap();
    assert!(matches!(
        store.expanded(&backend, &b, key.id(), ParamSet::Linear),
        Err(KeyStoreError::Unknown)
    ));
    store
        .expanded(&backend, &a, key.id(), ParamSet::Linear)
        .unwrap();
    assert!(store.remove(&a, key.id()).unwrap());
    assert!(!store.remove(&a, key.id()).unwrap());
    assert!(matches!(
        store.expanded(&backend, &a, key.id(), ParamSet::Linear),
        Err(KeyStoreError::Unknown)
    ));
}

#[test]
fn space_and_number_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path(), 2 * size() + 1, 0).unwrap();
    let a = tenant("a");
    store.add(&a, &key(1)).unwrap();
    store.add(&a, &key(10)).unwrap();
    assert!(matches!(
        store.add(&a, &key(20)),
        Err(KeyStoreError::Full { .. })
    ));
    store.remove(&a, key(1).id()).unwrap();
    assert!(store.add(&a, &key(20)).unwrap());

    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path(), 1000 * size(), 0).unwrap();
    for seed in 0..MAX_KEYS_PER_TENANT as u128 {
        store.add(&a, &key(100 * seed)).unwrap();
    }
    assert!(matches!(
        store.add(&a, &key(50)),
        Err(KeyStoreError::TooMany)
    ));
    assert!(store.add(&tenant("b"), &key(50)).unwrap());
}

#[test]
fn a_damaged_file_is_removed_and_said_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path(), 10 * size(), 0).unwrap();
    let (a, key) = (tenant("a"), key(1));
    store.add(&a, &key).unwrap();
    let path = store.path(&a, key.id());
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let backend = CpuBackend::new(Some(1)).unwrap();
    assert!(matches!(
        store.expanded(&backend, &a, key.id(), ParamSet::Linear),
        Err(KeyStoreError::Damaged(_))
    ));
    assert!(!path.exists() && store.info(&a, key.id()).is_none());
}

#[test]
fn the_least_recently_used_key_leaves_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let backend = CpuBackend::new(Some(1)).unwrap();
    let each = backend.expanded_bytes(ParamSet::Linear) as u64;
    let store = KeyStore::open(dir.path(), 10 * size(), 2 * each).unwrap();
    let (a, keys) = (tenant("a"), [key(1), key(10), key(20)]);
    for key in &keys {
        store.add(&a, key).unwrap();
    }
    let expanded = |index: usize| {
        store
            .expanded(&backend, &a, keys[index].id(), ParamSet::Linear)
            .unwrap()
    };
    let (first, second) = (expanded(0), expanded(1));
    assert!(Arc::ptr_eq(&first, &expanded(0)));
    expanded(2);
    assert!(
        Arc::ptr_eq(&first, &expanded(0)),
        "it was used after the second"
    );
    assert!(
        !Arc::ptr_eq(&second, &expanded(1)),
        "it should have been evicted"
    );
}
