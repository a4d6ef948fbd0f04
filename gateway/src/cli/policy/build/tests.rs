//! Bindings for the world that has everything: every interface is there, resources too.

use std::fs;

use super::super::template;
use super::*;

const EVERYTHING: &str =
    "package local:policy;\nworld policy { include veilgate:policy/full-policy@0.2.1; }\n";
/// A function of each imported interface, as the contract spells it.
const FUNCTIONS: [(&str, &str); 14] = [
    ("request", "identity-of"),
    ("response", "source-of"),
    ("log", "write"),
    ("clock", "monotonic-ns"),
    ("random", "number"),
    ("metrics", "observe"),
    ("limits", "take-all"),
    ("breakers", "admit"),
    ("kv", "cas"),
    ("cache", "stale-if-error"),
    ("upstreams", "stats-of"),
    ("llm", "usage-of"),
    ("outbox", "append"),
    ("http-call", "notify"),
];

fn project(language: &str) -> (tempfile::TempDir, Project) {
    let dir = tempfile::tempdir().expect("a folder");
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    put("wit/world.wit", EVERYTHING);
    put(template::CONTRACT.0, template::CONTRACT.1);
    put(
        "veilgate-policy.toml",
        &format!(
            "name = \"p\"\nlanguage = \"{language}\"\nentry = \"policy.x\"\nworld = \"policy\"\n"
        ),
    );
    let project = Project::open(dir.path()).unwrap_or_else(|failure| panic!("{failure}"));
    (dir, project)
}

fn everything_is_in(text: &str, spelled: impl Fn(&str) -> String) {
    for (interface, function) in FUNCTIONS {
        let name = spelled(function);
        assert!(text.contains(&name), "{interface}: {name}");
    }
}

fn camel(name: &str) -> String {
    let pascal = assemblyscript::pascal(name);
    pascal[..1].to_lowercase() + &pascal[1..]
}

#[test]
fn c_and_zig_have_every_interface() {
    let (_dir, project) = project("c");
    let folder = c::bindings(&project).unwrap_or_else(|error| panic!("{error}"));
    let header = fs::read_to_string(folder.join("policy.h")).expect("a header");
    everything_is_in(&header, |function| {
        format!("_{}(", function.replace('-', "_"))
    });
    assert!(
        header.contains("veilgate_policy_limits_own_gate_t"),
        "resources"
    );
    assert!(c::compiled(&folder).iter().all(|path| path.is_file()));
}

#[test]
fn assemblyscript_has_every_interface() {
    let (_dir, project) = project("assemblyscript");
    let (resolve, world) = wit::world(&project).unwrap_or_else(|error| panic!("{error}"));
    let made = assemblyscript::bindings(&resolve, world, "../../policy")
        .unwrap_or_else(|error| panic!("{error}"));
    everything_is_in(&made.imports, |function| format!("{}(", camel(function)));
    for class in [
        "class Limiter",
        "class Gate",
        "class Breaker",
        "class Store",
        "class Pending",
    ] {
        assert!(made.imports.contains(class), "{class}");
    }
    let hooks = [
        "configure",
        "onRequest",
        "onRequestBody",
        "before",
        "after",
        "onComplete",
        "onTick",
    ];
    for hook in hooks {
        assert!(made.exports.contains(&format!("policy.{hook}(")), "{hook}");
    }
}

#[test]
fn typescript_declares_every_interface() {
    let (_dir, project) = project("ts");
    let (resolve, world) = wit::world(&project).unwrap_or_else(|error| panic!("{error}"));
    let text = dts::declarations(&resolve, world);
    everything_is_in(&text, |function| format!("{}(", camel(function)));
    assert!(text.contains("export class Pending"), "{text}");
    assert_eq!(
        text.matches("export type Decision =").count(),
        1,
        "of the hooks"
    );
}

#[test]
fn go_has_every_interface_and_a_variable_for_each_hook() {
    let (_dir, project) = project("go");
    go::bindings(&project).unwrap_or_else(|error| panic!("{error}"));
    let bindings = project.folder.join("build/bindings");
    for (interface, function) in FUNCTIONS {
        let name = format!(
            "imports/veilgate_policy_{}/wit_bindings.go",
            interface.replace('-', "_")
        );
        let text = fs::read_to_string(bindings.join(name)).expect("a package");
        let function = assemblyscript::pascal(function);
        assert!(
            text.contains(&format!(" {function}(")),
            "{interface}: {function}"
        );
    }
    let hook = bindings.join("exports/export_veilgate_policy_attempt_hook/wit_bindings.go");
    let hook = fs::read_to_string(hook).expect("a package");
    assert!(
        hook.contains("var Hook func(") && !hook.contains("not implemented"),
        "{hook}"
    );
}

#[test]
fn a_build_is_told_apart_by_the_content_of_its_sources() {
    let (_dir, project) = project("c");
    let stamp = || stamp::of(&project).unwrap_or_else(|error| panic!("{error}"));
    let first = stamp();
    let module = project.module();
    assert!(!stamp::matches(&module, &first));
    stamp::write(&module, b"module", &first).expect("written");
    assert!(stamp::matches(&module, &stamp()), "results do not count");
    fs::write(project.folder.join("policy.x"), "new").expect("written");
    assert!(!stamp::matches(&module, &stamp()));
}
