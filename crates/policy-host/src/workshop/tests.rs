//! Orders, and what is said of a process that failed. What it does is tested with a real one by the gateway.

use super::*;

fn program(path: &str, args: &[&str]) -> CompilerProgram {
    CompilerProgram {
        program: path.into(),
        args: args.iter().map(OsString::from).collect(),
    }
}

fn ended(path: &str, args: &[&str]) -> String {
    let module = b"\0asm\x01\0\0\0";
    match compile::<Module>(&program(path, args), Tier::Quick, false, module) {
        Ok(_) => panic!("it compiled"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_order_is_read_as_it_was_written_and_nothing_else_is_one() {
    for tier in [Tier::Quick, Tier::Optimised] {
        for (gently, component) in [(false, false), (false, true), (true, false), (true, true)] {
            let order = Order {
                tier,
                gently,
                component,
            };
            let words = order.words().map(str::to_owned);
            assert_eq!(Order::parse(&words), Some(order));
        }
    }
    for bad in [
        &["quick", "now"][..],
        &["fast", "now", "module"],
        &["quick", "soon", "module"],
        &["quick", "now", "text"],
        &["quick", "now", "module", "x"],
    ] {
        let words: Vec<String> = bad.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(Order::parse(&words), None, "{bad:?}");
        assert!(compile_here(&words, &b""[..], io::sink()).is_err());
    }
}

#[test]
fn why_a_process_failed_is_said() {
    let said = ended(
        "/bin/sh",
        &["-c", "cat >/dev/null; echo because >&2; exit 1"],
    );
    assert_eq!(said, "because");
    let said = ended("/bin/sh", &["-c", "echo no room >&2; kill -ABRT $$"]);
    assert!(
        said.contains("2048 MiB") && said.contains("no room"),
        "{said}"
    );
    let said = ended("/bin/sh", &["-c", "kill -XCPU $$"]);
    assert!(said.contains("120 s of processor time"), "{said}");
    let said = ended("/nowhere/to/be/found", &[]);
    assert!(said.contains("/nowhere/to/be/found"), "{said}");
}
