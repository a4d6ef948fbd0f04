//! The contract's promise to policies that are built already: a host takes modules of every version that it still supports, and the
//! contract only grows within them. The frozen copies are in `tests/contract`; its README says how a version is frozen.

mod common;
#[path = "contract/every.rs"]
mod every;
#[path = "contract/shape.rs"]
mod shape;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::{Bench, exchange, granted};
use policy_host::{Chain, LoadError, OnFault, Outcome};
use wit_parser::{PackageId, Resolve};

const CURRENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../guest-sdk/wit/policy.wit"
);

/// A contract, parsed: its name (that of its folder), and the whole of its text.
struct Contract {
    version: String,
    text: String,
    resolve: Resolve,
    package: PackageId,
}

impl Contract {
    fn parse(version: &str, text: String) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve
            .push_str("policy.wit", &text)
            .unwrap_or_else(|error| panic!("{version}: {error:?}"));
        Self {
            version: version.to_owned(),
            text,
            resolve,
            package,
        }
    }

    fn current() -> Self {
        Self::parse("current", std::fs::read_to_string(CURRENT).unwrap())
    }

    fn worlds(&self) -> Vec<&str> {
        self.resolve.packages[self.package]
            .worlds
            .keys()
            .map(String::as_str)
            .collect()
    }

    /// A component of this world that imports and exports everything in it.
    fn component(&self, world: &str) -> Vec<u8> {
        let id = self.resolve.select_world(&[self.package], Some(world));
        every::component(&self.resolve, id.unwrap())
    }
}

fn frozen() -> Vec<Contract> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract"));
    let mut found: Vec<Contract> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let text = std::fs::read_to_string(path.join("policy.wit")).unwrap();
            Contract::parse(path.file_name().unwrap().to_str().unwrap(), text)
        })
        .collect();
    found.sort_by(|a, b| a.version.cmp(&b.version));
    assert!(!found.is_empty(), "no version is frozen");
    found
}

/// Loads it with everything granted, and calls every hook of an exchange that the world has.
fn works(bench: &Bench, name: &str, wasm: Vec<u8>) {
    let policy = match bench.load(granted("p", wasm, OnFault::Deny)) {
        // `basics` alone has no hook that could be called.
        Err(LoadError::NoHook { .. }) if name.ends_with("/basics") => return,
        loaded => loaded.unwrap_or_else(|error| panic!("{name}: {error}")),
    };
    let chain = Chain::new(vec![policy]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    // Worlds with `http-call` or `outbox` are those of policies that may wait.
    let outcome = runtime.block_on(chain.on_request(&mut exchange(&[])));
    assert!(matches!(outcome, Outcome::Continue), "{name}: {outcome:?}");
    let faults: u64 = chain.policies()[0]
        .stats()
        .faults
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(faults, 0, "{name}");
}

#[test]
fn modules_of_every_supported_version_load_and_run() {
    let bench = Bench::with_workers(1);
    for contract in frozen() {
        let worlds = contract.worlds();
        assert!(worlds.contains(&"full-policy"), "{}", contract.version);
        for world in worlds {
            let name = format!("{}/{world}", contract.version);
            works(&bench, &name, contract.component(world));
        }
    }
}

/// Built against a later patch version, and using only what there is here; as this host is later than the frozen ones.
#[test]
fn modules_of_another_patch_version_load_and_run() {
    let bench = Bench::with_workers(1);
    let current = Contract::current();
    let text = current.text.replacen(
        "package veilgate:policy@0.2.1;",
        "package veilgate:policy@0.2.7;",
        1,
    );
    assert_ne!(text, current.text, "the version is where it was");
    let later = Contract::parse("0.2.7", text);
    for world in later.worlds() {
        works(&bench, &format!("0.2.7/{world}"), later.component(world));
    }
}

#[test]
fn modules_of_another_line_are_refused_with_the_reason() {
    let current = Contract::current();
    let text = current.text.replacen(
        "package veilgate:policy@0.2.1;",
        "package veilgate:policy@0.3.0;",
        1,
    );
    let wasm = Contract::parse("0.3.0", text).component("request-policy");
    let refused = Bench::with_workers(1)
        .load(granted("p", wasm, OnFault::Deny))
        .err()
        .map(|error| error.to_string());
    assert!(
        refused.as_deref().is_some_and(|text| text.contains("0.2")),
        "{refused:?}"
    );
}

#[test]
fn the_contract_has_all_that_the_frozen_versions_have_as_it_was() {
    let current = Contract::current();
    let now = shape::of(&current.resolve, current.package);
    for contract in frozen() {
        for (name, was) in shape::of(&contract.resolve, contract.package) {
            let is = now.get(&name);
            assert_eq!(is, Some(&was), "{} in {}", name, contract.version);
        }
    }
}

#[test]
fn a_change_of_what_is_frozen_does_not_go_unnoticed() {
    let text = "package a:b@0.2.0;
        interface i { record r { a: u8, b: list<option<string>> } resource s { m: func(x: r) -> result<s, u8>; } f: func(); }
        interface j { use i.{r}; g: func(x: r); } interface k { e: func(); }
        world w { import i; import k; export j; }";
    let shape = |text: &str| -> BTreeMap<String, String> {
        let contract = Contract::parse("test", text.to_owned());
        shape::of(&contract.resolve, contract.package)
    };
    let was = shape(text);
    let kept = |changed: &str| {
        let now = shape(changed);
        was.iter().all(|(name, shape)| now.get(name) == Some(shape))
    };
    assert!(kept(text));
    // What is only added, and the names of packages.
    assert!(kept(
        &text.replace("f: func();", "f: func(); h: func() -> r;")
    ));
    assert!(kept(&text.replace(
        "world w {",
        "interface l { e: func(); } world w { import l;"
    )));
    assert!(kept(&text.replace("@0.2.0", "@0.2.1")));
    for (old, new) in [
        ("a: u8", "a: u16"),
        ("a: u8", "c: u8"),
        ("a: u8,", "a: u8, c: u8,"),
        ("list<option<string>>", "list<string>"),
        ("result<s, u8>", "result<s>"),
        ("m: func(x: r)", "m: func(y: r)"),
        ("f: func();", ""),
        ("f: func();", "f: func(x: u8);"),
        ("import k;", ""),
        ("export j;", ""),
        ("g: func(x: r);", ""),
    ] {
        assert!(text.contains(old));
        assert!(!kept(&text.replace(old, new)), "{old} became {new}");
    }
}
