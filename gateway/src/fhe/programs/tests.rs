use super::*;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models");

fn model(version: u32, description: &str) -> Vec<u8> {
    let bytes = std::fs::read(format!("{MODELS}/breast-cancer-linear.json")).unwrap();
    let program = Program::from_json(&bytes).unwrap();
    let mut file = program.file().clone();
    file.version = version;
    file.description = description.to_owned();
    serde_json::to_vec(&file).unwrap()
}

const NAME: &str = "breast-cancer-linear";

fn open(dir: &Path) -> Programs {
    Programs::load(dir, 256 << 20).unwrap()
}

fn versions(programs: &Programs) -> Vec<u32> {
    let all = programs.all();
    all.iter().map(|one| one.program().version()).collect()
}

#[test]
fn versions_stand_side_by_side_and_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let programs = open(dir.path());
    for version in [1, 3, 2] {
        let (_, installed) = programs.install(&model(version, ""), false).unwrap();
        assert_eq!(installed, Installed::New);
    }
    for programs in [&programs, &open(dir.path())] {
        assert_eq!(versions(programs), [1, 2, 3]);
        let newest = programs.get(NAME).unwrap();
        assert_eq!(newest.program().version(), 3);
        let old = programs.version(NAME, 1).unwrap();
        let found = programs.of_digest(NAME, old.program().digest()).unwrap();
        assert_eq!(found.program().version(), 1);
    }
    let kept = programs.get(NAME).unwrap();
    assert_eq!(programs.remove(NAME, Some(3)).unwrap(), 1);
    assert_eq!(programs.remove(NAME, Some(3)).unwrap(), 0);
    assert_eq!(kept.program().version(), 3);
    assert_eq!(versions(&open(dir.path())), [1, 2]);
    assert_eq!(programs.remove(NAME, None).unwrap(), 2);
    assert_eq!(programs.remove("nothing", None).unwrap(), 0);
    assert!(versions(&open(dir.path())).is_empty());
}

#[test]
fn another_program_of_the_same_version_is_refused_unless_it_is_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let programs = open(dir.path());
    programs.install(&model(1, "one"), false).unwrap();
    let (_, again) = programs.install(&model(1, "one"), false).unwrap();
    assert_eq!(again, Installed::Unchanged);
    let refused = programs.install(&model(1, "two"), false).err().unwrap();
    assert!(
        matches!(refused, ProgramsError::Another { .. }),
        "{refused}"
    );
    let (_, replaced) = programs.install(&model(1, "two"), true).unwrap();
    assert_eq!(replaced, Installed::Replaced);
    let there = open(dir.path()).get(NAME).unwrap();
    assert_eq!(there.program().file().description, "two");
}

#[test]
fn what_does_not_fit_or_is_not_sound_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let one = make(&model(1, ""), dir.path()).unwrap().bytes;
    let programs = Programs::load(dir.path(), one + one / 2).unwrap();
    programs.install(&model(1, ""), false).unwrap();
    let refused = programs.install(&model(2, ""), false).err().unwrap();
    assert!(
        refused.to_string().contains("program_memory_bytes"),
        "{refused}"
    );
    // In place of the first it fits.
    programs.install(&model(1, "other"), true).unwrap();
    assert!(programs.install(b"{}", false).is_err());
    assert_eq!(versions(&open(dir.path())), [1]);
}

#[test]
fn an_interrupted_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("half.veilgate-tmp");
    std::fs::write(&left, b"{").unwrap();
    assert!(open(dir.path()).all().is_empty());
    assert!(!left.exists());
}

#[test]
fn a_file_that_is_called_like_a_program_and_holds_another_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let digest = |bytes: &[u8]| Program::from_json(bytes).unwrap().digest();
    let (first, second) = (model(1, ""), model(2, ""));
    // As if version 1 had been installed and then changed by hand: once before the start, once after it.
    let named = dir.path().join(format!("{}.json", digest(&first)));
    std::fs::write(&named, &second).unwrap();
    let programs = open(dir.path());
    let later = dir.path().join(format!("{}-1.json", digest(&first)));
    std::fs::write(&later, model(3, "")).unwrap();
    let (_, installed) = programs.install(&first, false).unwrap();
    assert_eq!(installed, Installed::New);
    assert_eq!(versions(&programs), [1, 2]);
    assert_eq!(std::fs::read(&named).unwrap(), second);
    assert_eq!(versions(&open(dir.path())), [1, 2, 3]);
    programs.remove(NAME, Some(1)).unwrap();
    assert_eq!(versions(&open(dir.path())), [2, 3]);
}

#[test]
fn a_program_that_was_put_there_by_hand_is_not_installed_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let programs = open(dir.path());
    std::fs::write(dir.path().join("by-hand.json"), model(1, "")).unwrap();
    std::fs::write(dir.path().join("unsound.json"), b"{}").unwrap();
    let refused = programs.install(&model(1, "another"), false).err().unwrap();
    assert!(refused.to_string().contains("by-hand.json"), "{refused}");
    assert!(programs.all().is_empty());
    // The same one is taken into service from where it lies, and the next start finds one of it.
    let (entry, installed) = programs.install(&model(1, ""), false).unwrap();
    assert_eq!(installed, Installed::New);
    assert_eq!(entry.path, dir.path().join("by-hand.json"));
    std::fs::remove_file(dir.path().join("unsound.json")).unwrap();
    assert_eq!(versions(&open(dir.path())), [1]);
}
