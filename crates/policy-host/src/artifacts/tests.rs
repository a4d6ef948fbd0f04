//! Whom the directory is trusted to belong to.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn settings(dir: &Path) -> ArtifactDir {
    ArtifactDir {
        path: dir.to_owned(),
        max_bytes: 1 << 20,
    }
}

fn open(dir: &Path) -> Result<Artifacts, ArtifactsError> {
    Artifacts::open(&settings(dir), &Engine::default())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_directory_and_its_key_are_made_for_this_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a/b");
    let key = open(&dir).unwrap().key;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(KEY_FILE)), 0o600);
    assert_eq!(open(&dir).unwrap().key, key, "the key stays");
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        1,
        "nothing is left behind"
    );
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for open_mode in [0o777, 0o770, 0o702] {
        chmod(folder.path(), open_mode);
        assert!(matches!(
            open(folder.path()),
            Err(ArtifactsError::OthersWrite(_))
        ));
    }
    chmod(folder.path(), 0o755);
    assert!(open(folder.path()).is_ok(), "others may look");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = 65_534;
    // Only root can give a directory away; for others there is one of root's at hand.
    let dir = match std::os::unix::fs::chown(folder.path(), Some(nobody), None) {
        Ok(()) => folder.path(),
        Err(_) => Path::new("/"),
    };
    assert!(matches!(open(dir), Err(ArtifactsError::OtherOwner(_))));
}

#[test]
fn a_key_that_others_could_know_or_that_is_damaged_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(KEY_FILE);
    let first = open(folder.path()).unwrap();
    first.keep("module", &Digest::of(b"m"), b"code");
    assert!(first.find("module", &Digest::of(b"m")).is_some());

    chmod(&path, 0o644);
    let second = open(folder.path()).unwrap();
    assert_ne!(second.key, first.key);
    assert_eq!(mode(&path), 0o600);
    assert!(second.find("module", &Digest::of(b"m")).is_none());

    fs::write(&path, b"short").unwrap();
    let third = open(folder.path()).unwrap();
    assert_ne!(third.key, second.key);

    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_ne!(
        open(folder.path()).unwrap().key,
        third.key,
        "a link is not followed"
    );
}

#[test]
fn the_seal_covers_the_kind_and_old_temporary_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(folder.path()).unwrap();
    let digest = Digest::of(b"m");
    artifacts.keep("module", &digest, b"code");
    let (module, component) = (
        artifacts.name("module", &digest),
        artifacts.name("component", &digest),
    );
    fs::copy(folder.path().join(module), folder.path().join(component)).unwrap();
    assert!(artifacts.find("component", &digest).is_none());
    let found = artifacts.find("module", &digest).unwrap();
    assert_eq!(found.code(), b"code");

    let left = folder.path().join("tmp-1-1");
    fs::write(&left, b"half").unwrap();
    artifacts.keep("module", &Digest::of(b"n"), b"code");
    assert!(left.exists(), "somebody may be writing it");
    let old = SystemTime::now() - TEMPORARY_FOR * 2;
    File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(old)
        .unwrap();
    artifacts.keep("module", &Digest::of(b"o"), b"code");
    assert!(!left.exists());
}
