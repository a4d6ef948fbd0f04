//! `cargo xtask browser`: builds the page that encrypts in the browser, and tests it end to end in a headless Chromium.
//!
//! The page runs by itself (`?run=PROGRAM`) and reports to the server that its files come from, through the gateway. Its screenshots
//! stay in target/browser-test/.

mod chromium;
mod report;
mod serve;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{cargo, complete, heading, target_dir};
use crate::wasm;
use serve::PageServer;

/// The program that writes the JavaScript beside the module.
const PACK: &str = "xtask/browser-pack/Cargo.toml";
const CONFIG: &str = "edge-configs/browser.toml";
/// The ports that the config file names: of the gateway, and of the page's server.
const CONFIG_PORTS: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:8000"];
/// A debug build of the gateway on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Making keys that bootstrap takes most of it.
const RUN_PATIENCE: Duration = Duration::from_secs(300);

/// From the page's report to the end of Chromium, which takes a picture in between.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// What the page must find, in the order of its samples.
const RUNS: &[(&str, &[&str])] = &[
    ("breast-cancer-linear", &["malignant", "benign"]),
    ("log-lines", &["security", "routine", "security", "routine"]),
    ("breast-cancer-trees", &["malignant", "benign"]),
];

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let serve = match args {
        [] => false,
        [one] if one == "--serve" => true,
        _ => {
            return Err(format!(
                "`browser` takes --serve or nothing, and got {args:?}"
            ));
        }
    };
    heading("the gateway");
    let mut build = cargo(root);
    build.args(["build", "-p", "veilgate", "--bin", "veilgate"]);
    complete("build", &mut build)?;
    if serve {
        serve_until_stopped(root)
    } else {
        check(root)
    }
}

/// The test, with the debug build of the gateway that is there.
pub fn check(root: &Path) -> Result<(), String> {
    let Some(chromium) = chromium::find(root)? else {
        return Ok(());
    };
    heading("the page, in a headless Chromium");
    let (server, gateway, folder) = start(root)?;
    for (program, labels) in RUNS {
        let began = Instant::now();
        let address = format!("http://{}/?run={program}", gateway.address);
        let screenshot = folder.join(format!("{program}.png"));
        server.forget();
        let mut browser = chromium::open(&chromium, &folder, &address, &screenshot)?;
        let said = server.wait_for_report(RUN_PATIENCE);
        let ended = chromium::end(&mut browser, END_PATIENCE);
        let said = said.ok_or_else(|| {
            let log = folder.join("chromium.log");
            format!(
                "{program}: the page reported nothing; what Chromium said is in {}",
                log.display()
            )
        })?;
        report::check(program, labels, &said)?;
        ended?;
        let took = began.elapsed().as_secs_f64();
        eprintln!("   {program}: {}; {took:.1} s", report::summary(&said));
    }
    eprintln!("   screenshots are in {}", folder.display());
    Ok(())
}

fn serve_until_stopped(root: &Path) -> Result<(), String> {
    let (_server, mut gateway, _) = start(root)?;
    eprintln!(
        "\n   open http://{}/ and stop this with Ctrl-C",
        gateway.address
    );
    gateway.wait()
}

/// The page's server, the gateway before it, and the folder that it runs in.
fn start(root: &Path) -> Result<(PageServer, Gateway, PathBuf), String> {
    let page = build_page(root)?;
    let folder = target_dir(root).join("browser-test");
    let server = PageServer::start(page).map_err(|e| format!("cannot serve the page: {e}"))?;
    let gateway = Gateway::start(root, &folder, server.port())?;
    Ok((server, gateway, folder))
}

/// The page's folder, with everything that it loads.
fn build_page(root: &Path) -> Result<PathBuf, String> {
    let module = wasm::build_fhe_web(root)?;
    let page = target_dir(root).join("browser");
    fs::create_dir_all(&page).map_err(|e| format!("cannot create {}: {e}", page.display()))?;
    let mut pack = cargo(root);
    pack.args(["run", "--quiet", "--locked", "--manifest-path", PACK, "--"])
        .env("CARGO_TARGET_DIR", target_dir(root).join("browser-pack"));
    complete("its JavaScript", pack.arg(&module).arg(&page))?;
    let sources = root.join("examples/browser");
    let entries =
        fs::read_dir(&sources).map_err(|e| format!("cannot list {}: {e}", sources.display()))?;
    for entry in entries.flatten() {
        fs::copy(entry.path(), page.join(entry.file_name()))
            .map_err(|e| format!("cannot copy {}: {e}", entry.path().display()))?;
    }
    Ok(page)
}

/// A gateway with the programs of the example, in a folder of its own; it ends with this.
struct Gateway {
    child: Child,
    address: String,
}

impl Gateway {
    fn start(root: &Path, folder: &Path, page_port: u16) -> Result<Self, String> {
        let said = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let _ = fs::remove_dir_all(folder);
        let programs = folder.join("programs");
        fs::create_dir_all(&programs).map_err(|e| said("cannot make the test's folder", e))?;
        for (program, _) in RUNS {
            let name = format!("{program}.json");
            fs::copy(
                root.join("examples/models").join(&name),
                programs.join(&name),
            )
            .map_err(|e| said(&name, e))?;
        }
        let port = free_port().map_err(|e| said("no free port", e))?;
        let address = format!("127.0.0.1:{port}");
        let config = fs::read_to_string(root.join(CONFIG)).map_err(|e| said(CONFIG, e))?;
        let config = config
            .replace(CONFIG_PORTS[0], &address)
            .replace(CONFIG_PORTS[1], &format!("127.0.0.1:{page_port}"));
        let file = folder.join("browser.toml");
        fs::write(&file, config).map_err(|e| said("cannot write the config", e))?;
        let log =
            fs::File::create(folder.join("gateway.log")).map_err(|e| said("gateway.log", e))?;
        let errors = log.try_clone().map_err(|e| said("gateway.log", e))?;
        let child = Command::new(target_dir(root).join("debug/veilgate"))
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| said("cannot start the gateway", e))?;
        let mut this = Self { child, address };
        this.wait_until_it_listens(folder)?;
        Ok(this)
    }

    fn wait_until_it_listens(&mut self, folder: &Path) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < START_PATIENCE {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!(
            "the gateway does not listen; see {}",
            folder.join("gateway.log").display()
        ))
    }

    fn wait(&mut self) -> Result<(), String> {
        let ended = self.child.wait().map_err(|e| format!("the gateway: {e}"))?;
        Err(format!("the gateway ended ({ended})"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
