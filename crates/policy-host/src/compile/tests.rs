//! What is remembered, what is stored, and what becomes of entries that somebody spoilt.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::artifacts::ArtifactDir;
use crate::engine::engine_config;

/// With the rules of the one that compiles.
fn engine() -> Engine {
    Engine::new(&engine_config()).unwrap()
}

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
        Compiler::new(engine, 4, Some(artifacts), None)
    }

    fn compiler(&self) -> Compiler {
        self.compiler_of(engine(), 1 << 30)
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
    from_with(compiler, wasm, Effort::Full)
}

fn from_with(compiler: &Compiler, wasm: &[u8], effort: Effort) -> From {
    let compiled = compiler.compiled(&compiler.components, wasm, effort);
    compiled.unwrap().1
}

#[test]
fn the_same_bytes_are_compiled_once_and_the_memory_is_bounded() {
    let compiler = Compiler::new(engine(), 2, None, None);
    assert_eq!(
        from(&compiler, &component(1)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(
        from(&compiler, &component(2)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(from(&compiler, &component(1)), From::Memory);
    assert_eq!(
        from(&compiler, &component(3)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(from(&compiler, &component(1)), From::Memory, "used lately");
    assert_eq!(
        from(&compiler, &component(2)),
        From::Compiler(Tier::Optimised),
        "made room"
    );
    assert_eq!(compiler.components.known.lock().len(), 2);
    assert!(compiler.component(b"no component", Effort::Full).is_err());
    assert!(compiler.component(b"no component", Effort::Soon).is_err());
}

#[test]
fn what_one_process_compiled_the_next_one_loads() {
    let folder = Folder::new();
    let first = folder.compiler();
    assert_eq!(from(&first, &component(1)), From::Compiler(Tier::Optimised));
    assert!(first.module(&core_module(1), Effort::Full).is_ok());
    assert_eq!(folder.entries().len(), 2);
    let second = folder.compiler();
    assert_eq!(from(&second, &component(1)), From::Disk);
    assert_eq!(from(&second, &component(1)), From::Memory);
    let (module, came_from) = second
        .compiled(&second.modules, &core_module(1), Effort::Full)
        .unwrap();
    assert_eq!(came_from, From::Disk);
    assert_eq!(module.code.exports().count(), 0);
    assert_eq!(
        from(&second, &component(2)),
        From::Compiler(Tier::Optimised)
    );
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
        assert_eq!(
            from(&folder.compiler(), &component(1)),
            From::Compiler(Tier::Optimised)
        );
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
    assert_eq!(
        from(&folder.compiler(), &component(2)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(from(&folder.compiler(), &component(1)), From::Disk);
    // Sealed by somebody else's key.
    let other = Folder::new();
    from(&other.compiler(), &component(1));
    fs::copy(other.entries().remove(0), &first).unwrap();
    assert_eq!(
        from(&folder.compiler(), &component(1)),
        From::Compiler(Tier::Optimised)
    );
}

#[test]
fn another_engine_has_entries_of_its_own_and_refuses_code_that_is_not_for_it() {
    let folder = Folder::new();
    from(&folder.compiler(), &component(1));
    let other = || {
        let mut config = engine_config();
        config.consume_fuel(false);
        Engine::new(&config).unwrap()
    };
    let compiler = folder.compiler_of(other(), 1 << 30);
    assert_eq!(
        from(&compiler, &component(1)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(folder.entries().len(), 2);
    // A foreign code that is sealed as ours: the engine's own check is the second door.
    let code = engine().precompile_component(&component(3)).unwrap();
    let artifacts = compiler.artifacts.as_ref().unwrap();
    artifacts.keep("component", &Digest::of(&component(3)), &code);
    assert_eq!(
        from(&compiler, &component(3)),
        From::Compiler(Tier::Optimised)
    );
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
    let compiler = || folder.compiler_of(engine(), one * 5 / 2);
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
        From::Compiler(Tier::Optimised),
        "made room"
    );
    // What is larger than the whole directory may be is not kept, and drives nothing out.
    let before = folder.entries();
    let tiny = folder.compiler_of(engine(), 100);
    assert_eq!(from(&tiny, &component(4)), From::Compiler(Tier::Optimised));
    assert_eq!(folder.entries(), before);
}

#[test]
fn a_directory_that_cannot_be_written_any_more_costs_nothing_but_time() {
    let folder = Folder::new();
    let compiler = folder.compiler();
    fs::remove_dir_all(folder.settings(0).path).unwrap();
    assert_eq!(
        from(&compiler, &component(1)),
        From::Compiler(Tier::Optimised)
    );
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

#[test]
fn what_is_wanted_soon_is_compiled_quickly_and_optimised_later() {
    let folder = Folder::new();
    let compiler = folder.compiler();
    let soon = |compiler: &Compiler, n| from_with(compiler, &component(n), Effort::Soon);
    assert_eq!(soon(&compiler, 1), From::Compiler(Tier::Quick));
    assert_eq!(soon(&compiler, 1), From::Memory);
    let tier = |n| {
        let known = compiler
            .components
            .recall(&Digest::of(&component(n)))
            .unwrap();
        known.tier
    };
    assert_eq!(tier(1), Tier::Quick);
    assert!(folder.entries().is_empty(), "a stopgap is not stored");
    compiler.optimise(&component(1), true).unwrap();
    assert_eq!(tier(1), Tier::Optimised);
    assert_eq!(folder.entries().len(), 1);
    assert_eq!(soon(&compiler, 1), From::Memory);
    assert_eq!(soon(&folder.compiler(), 1), From::Disk, "the next process");
    // Nothing is done twice, and nothing good is driven out by what was quick.
    compiler.optimise(&component(1), true).unwrap();
    let quick = compiler.quick::<Component>(&component(1), false).unwrap();
    compiler
        .components
        .remember(Digest::of(&component(1)), quick);
    assert_eq!(tier(1), Tier::Optimised);
    // Who has the time gets the best.
    assert_eq!(soon(&compiler, 2), From::Compiler(Tier::Quick));
    assert_eq!(
        from(&compiler, &component(2)),
        From::Compiler(Tier::Optimised)
    );
    assert_eq!(soon(&compiler, 2), From::Memory);
    assert_eq!(tier(2), Tier::Optimised);
}

#[test]
fn a_module_that_cannot_be_optimised_serves_with_what_was_made_quickly() {
    // A program that fails always: as if every module went over its limits.
    let program = CompilerProgram {
        program: "/bin/false".into(),
        args: Vec::new(),
    };
    let compiler = Compiler::new(engine(), 4, None, Some(program));
    let first = compiler.component(&component(1), Effort::Full).unwrap();
    assert_eq!(first.tier, Tier::Quick);
    assert_eq!(
        from(&compiler, &component(1)),
        From::Memory,
        "not tried again"
    );
    assert_eq!(
        from_with(&compiler, &component(2), Effort::Soon),
        From::Compiler(Tier::Quick)
    );
    assert!(compiler.optimise(&component(2), true).is_err());
    assert_eq!(from(&compiler, &component(2)), From::Memory);
}

#[test]
fn both_tiers_count_the_same_fuel_and_stop_at_the_same_place() {
    let wasm = wat::parse_str(
        r#"(module (memory 1)
          (func (export "f") (param $n i32) (result i32) (local $sum i32)
            (loop $again
              (local.set $sum (i32.add (local.get $sum) (i32.mul (local.get $n) (i32.load (i32.const 8)))))
              (i32.store (i32.const 8) (i32.add (local.get $n) (i32.const 3)))
              (if (i32.and (local.get $n) (i32.const 1)) (then (local.set $sum (i32.xor (local.get $sum) (i32.const 77)))))
              (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#,
    )
    .unwrap();
    let engine = engine();
    let run = |tier: Tier, fuel: u64| {
        let code = Module::compile(&compiling_engine(tier).unwrap(), &wasm).unwrap();
        let module = Module::revive(&engine, &code).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(1000);
        store.set_fuel(fuel).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        let answer = f.call(&mut store, 1000);
        (answer.ok(), store.get_fuel().unwrap())
    };
    let (answer, left) = run(Tier::Optimised, 100_000);
    assert!(answer.is_some() && left < 99_000, "{answer:?} {left}");
    assert_eq!(run(Tier::Quick, 100_000), (answer, left));
    let needed = 100_000 - left;
    for tier in [Tier::Quick, Tier::Optimised] {
        assert_eq!(run(tier, needed + 1).0, answer);
        assert_eq!(run(tier, needed / 2).0, None, "{tier:?} has no fuel left");
    }
}
