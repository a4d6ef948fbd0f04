//! Programs that come and go while a gateway runs, by `veilgate model`: what serves, what is refused, what a restart finds.

use std::path::Path;

use crate::origin::Origin;
use crate::site::{Folder, free_port, plain};

const NAME: &str = "breast-cancer-linear";

fn model(version: u32, description: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let bytes = std::fs::read(path.join(format!("{NAME}.json"))).expect("a model");
    let mut file: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    file["version"] = version.into();
    file["description"] = description.into();
    file.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_installed_listed_and_removed_in_a_gateway_that_runs() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    folder.write("one.json", model(1, "one"));
    folder.write("other.json", model(1, "other"));
    folder.write("two.json", model(2, "two"));
    folder.write("bad.json", "{}");
    let port = free_port();
    let config = plain(
        origin,
        "[[route]]\nname = \"other\"\npath_prefix = \"/\"\nupstream = \"origin\"\n\
             [[route]]\nname = \"fhe\"\npath_prefix = \"/fhe/v1\"\nhandler = \"fhe\"\n\
             [fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\nthreads = 1\n",
    );
    let config = config.replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        &format!("[admin]\nlisten = \"127.0.0.1:{port}\""),
    );
    let admin = format!("http://127.0.0.1:{port}");
    let ask = |args: &[&str]| {
        let target = ["--admin", &*admin];
        folder.veilgate(&[&["model"], args, &target].concat())
    };
    ask(&["list"]).refused(1, &["no gateway answers"]);

    let gateway = folder.run(&config).await;
    assert!(ask(&["list"]).fine().out.contains("no program"));
    let said = ask(&["install", "one.json"]).fine().out;
    assert!(said.starts_with("installed: "), "{said}");
    let said = ask(&["install", "one.json"]).fine().out;
    assert!(said.starts_with("unchanged: "), "{said}");
    ask(&["install", "two.json"]).fine();
    ask(&["install", "other.json"]).refused(1, &["409", "another program"]);
    ask(&["install", "bad.json"]).refused(1, &["422", "not a program file"]);
    ask(&["install", "other.json", "--replace"]).fine();
    ask(&["remove", NAME, "3"]).refused(1, &["404"]);
    assert_eq!(ask(&["remove", "../keys"]).code, Some(2));
    ask(&["remove", NAME, "2"]).fine();
    drop(gateway);

    let _gateway = folder.run(&config).await;
    let list = ask(&["list", "--json"]).fine().out;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let programs = list["programs"].as_array().expect("a list");
    assert_eq!(programs.len(), 1, "{list}");
    assert_eq!(programs[0]["version"], 1);
    ask(&["remove", NAME]).fine();
    assert!(ask(&["list"]).fine().out.contains("no program"));
}
