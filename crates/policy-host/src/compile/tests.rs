//! What is remembered, what is stored, and what becomes of entries that somebody spoilt.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::artifacts::ArtifactDir;

fn component(n: u32) -> Vec<u8> {
    wat::parse_str(format!(
        "(component (core module (func (result i32) (i32.const {n}))))"
    ))
    .unwrap()
}

fn core_module(n: u32) -> Vec<u8> {
    wat::parse_str(format!("(module (func (result i32) (i32.const {n})))")).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self, max_bytes: u64) -> ArtifactDir {
        ArtifactDir {
            path: self.0.path().join("compiled"),
            max_bytes,
        }
    }

    /// As a new process has it: nothing in memory.
    fn compiler_of(&self, engine: Engine, max_bytes: u64) -> Compiler {
        let artifacts = Artifacts::open(&self.settings(max_bytes), &engine).unwrap();
        Compiler::new(engine, 4, Some(artifacts))
    }

    fn compiler(&self) -> Compiler {
        self.compiler_of(Engine::default(), 1 << 30)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = fs::read_dir(self.settings(0).path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some())
            .collect();
        all.sort();
        all
    }
}

fn from(compiler: &Compiler, wasm: &[u8]) -> From {
    compiler.compiled(&compiler.components, wasm).unwrap().1
}

#[test]
fn the_same_bytes_are_compiled_once_and_the_memory_is_bounded() {
    let compiler = Compiler::new(Engine::default(), 2, None);
    assert_eq!(from(&compiler, &component(1)), From::Compiler);
    assert_eq!(from(&compiler, &component(2)), From::Compiler);
    assert_eq!(from(&compiler, &component(1)), From::Memory);
    assert_eq!(from(&compiler, &component(3)), From::Compiler);
    assert_eq!(from(&compiler, &component(1)), From::Memory, "used lately");
    assert_eq!(from(&compiler, &component(2)), From::Compiler, "made room");
    assert_eq!(compiler.components.known.lock().len(), 2);
    assert!(compiler.component(b"no component").is_err());
}

#[test]
fn what_one_process_compiled_the_next_one_loads() {
    let folder = Folder::new();
    let first = folder.compiler();
    assert_eq!(from(&first, &component(1)), From::Compiler);
    assert!(first.module(&core_module(1)).is_ok());
    assert_eq!(folder.entries().len(), 2);
    let second = folder.compiler();
    assert_eq!(from(&second, &component(1)), From::Disk);
    assert_eq!(from(&second, &component(1)), From::Memory);
    let (module, came_from) = second.compiled(&second.modules, &core_module(1)).unwrap();
    assert_eq!(came_from, From::Disk);
    assert_eq!(module.exports().count(), 0);
    assert_eq!(from(&second, &component(2)), From::Compiler);
}

#[test]
fn an_entry_with_any_byte_changed_or_cut_off_is_compiled_again_and_mended() {
    let folder = Folder::new();
    from(&folder.compiler(), &component(1));
    let entry = folder.entries().remove(0);
    let whole = fs::read(&entry).unwrap();
    let middle = whole.len() / 2;
    let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&entry, bytes).unwrap();
        assert_eq!(from(&folder.compiler(), &component(1)), From::Compiler);
        assert_eq!(
            from(&folder.compiler(), &component(1)),
            From::Disk,
            "mended"
        );
    };
    spoilt(&|bytes| bytes[0] ^= 1);
    spoilt(&|bytes| bytes[middle] ^= 0x80);
    spoilt(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    spoilt(&|bytes| bytes.push(0));
    spoilt(&Vec::clear);
    spoilt(&|bytes| bytes.truncate(31));
    spoilt(&|bytes| bytes.truncate(32));
    spoilt(&|bytes| bytes.truncate(middle));
}

#[test]
fn an_entry_under_another_modules_name_or_another_key_is_not_loaded() {
    let folder = Folder::new();
    let compiler = folder.compiler();
    from(&compiler, &component(1));
    let first = folder.entries().remove(0);
    from(&compiler, &component(2));
    let second = folder
        .entries()
        .into_iter()
        .find(|path| *path != first)
        .unwrap();
    fs::copy(&first, &second).unwrap();
    assert_eq!(from(&folder.compiler(), &component(2)), From::Compiler);
    assert_eq!(from(&folder.compiler(), &component(1)), From::Disk);
    // Sealed by somebody else's key.
    let other = Folder::new();
    from(&other.compiler(), &component(1));
    fs::copy(other.entries().remove(0), &first).unwrap();
    assert_eq!(from(&folder.compiler(), &component(1)), From::Compiler);
}

#[test]
fn another_engine_has_entries_of_its_own_and_refuses_code_that_is_not_for_it() {
    let folder = Folder::new();
    from(&folder.compiler(), &component(1));
    let other = || {
        let mut config = wasmtime::Config::new();
        config.consume_fuel(true);
        Engine::new(&config).unwrap()
    };
    let compiler = folder.compiler_of(other(), 1 << 30);
    assert_eq!(from(&compiler, &component(1)), From::Compiler);
    assert_eq!(folder.entries().len(), 2);
    // A foreign code that is sealed as ours: the engine's own check is the second door.
    let code = Component::new(&Engine::default(), component(3))
        .unwrap()
        .serialize()
        .unwrap();
    let artifacts = compiler.artifacts.as_ref().unwrap();
    artifacts.keep("component", &Digest::of(&component(3)), &code);
    assert_eq!(from(&compiler, &component(3)), From::Compiler);
    assert_eq!(
        from(&folder.compiler_of(other(), 1 << 30), &component(3)),
        From::Disk
    );
}

#[test]
fn the_directory_is_bounded_and_the_least_recently_used_goes() {
    let folder = Folder::new();
    from(&folder.compiler(), &component(1));
    let one = fs::metadata(&folder.entries()[0]).unwrap().len();
    let compiler = || folder.compiler_of(Engine::default(), one * 5 / 2);
    let age = |n: u32, seconds: u64| {
        let artifacts = compiler().artifacts.unwrap();
        let digest = Digest::of(&component(n));
        let path = folder
            .entries()
            .into_iter()
            .find(|path| path.to_string_lossy().contains(&digest.to_string()));
        let file = fs::File::options().write(true).open(path.unwrap()).unwrap();
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
        drop(artifacts);
    };
    from(&compiler(), &component(2));
    age(1, 200);
    age(2, 100);
    assert_eq!(
        from(&compiler(), &component(1)),
        From::Disk,
        "used: it is young again"
    );
    from(&compiler(), &component(3));
    assert_eq!(folder.entries().len(), 2);
    assert_eq!(from(&compiler(), &component(1)), From::Disk);
    assert_eq!(
        from(&compiler(), &component(2)),
        From::Compiler,
        "made room"
    );
    // What is larger than the whole directory may be is not kept, and drives nothing out.
    let before = folder.entries();
    let tiny = folder.compiler_of(Engine::default(), 100);
    assert_eq!(from(&tiny, &component(4)), From::Compiler);
    assert_eq!(folder.entries(), before);
}

#[test]
fn a_directory_that_cannot_be_written_any_more_costs_nothing_but_time() {
    let folder = Folder::new();
    let compiler = folder.compiler();
    fs::remove_dir_all(folder.settings(0).path).unwrap();
    assert_eq!(from(&compiler, &component(1)), From::Compiler);
    assert_eq!(from(&compiler, &component(1)), From::Memory);
}

#[test]
fn two_processes_that_store_the_same_at_once_leave_one_good_entry() {
    let folder = Folder::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let compiler = folder.compiler();
                from(&compiler, &component(1));
                from(&compiler, &component(2));
            });
        }
    });
    assert_eq!(folder.entries().len(), 2);
    assert_eq!(from(&folder.compiler(), &component(1)), From::Disk);
    assert_eq!(from(&folder.compiler(), &component(2)), From::Disk);
}
