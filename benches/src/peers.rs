//! Veilgate beside Envoy, in one run: what one Wasm policy that reads a header and adds two costs a request in each of them.
//!
//! The same lines of Rust are a proxy-wasm filter (in Envoy, and unchanged in Veilgate) and a Veilgate policy (a component).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use examples::client::{Client, Error, Version};
use examples::ports::free_address;

use crate::gateway::{self, Gateway, Running};
use crate::report::Row;
use crate::turns::{self, Side, Sum};
use crate::{Context, load};

const TURNS: u32 = 5;
const PATH: &str = "/bytes/1024";
/// Worker threads of Envoy: as many as Veilgate takes by itself.
const CONFIG: &str = include_str!("envoy.yaml");

struct Envoy {
    process: Running,
    client: Client,
}

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let peers = context.peers.as_deref().ok_or_else(|| {
        Error::new("`peers` needs --peers FOLDER; `cargo xtask bench peers` prepares it")
    })?;
    let folder = tempfile::tempdir()?;
    let (_origin, origin) = gateway::start_origin(context, folder.path()).await?;
    let policy = |file: &str| {
        let module = peers.join(file);
        format!("[[policy]]\nname = \"header\"\nmodule = {module:?}\ngrants = []\n")
    };
    let mut ours = Vec::new();
    for (name, policies, chain) in [
        ("Veilgate, no policy", String::new(), "[]"),
        (
            "Veilgate, a component",
            policy("peer_policy.wasm"),
            r#"["header"]"#,
        ),
        (
            "Veilgate, the proxy-wasm filter",
            policy("peer_filter.wasm"),
            r#"["header"]"#,
        ),
    ] {
        let place = folder.path().join(format!("veilgate-{}", ours.len()));
        let started = gateway::start(context, &place, origin, &policies, chain).await?;
        ours.push((name, started));
    }
    let certificates = folder.path().join("veilgate-0/certs");
    let mut theirs = Vec::new();
    for (name, filter) in [
        ("Envoy, no filter", None),
        ("Envoy, the proxy-wasm filter", Some("peer_filter.wasm")),
    ] {
        let place = folder.path().join(format!("envoy-{}", theirs.len()));
        let started = envoy(peers, &place, &certificates, origin, filter).await?;
        theirs.push((name, started));
    }
    context.say(&format!(
        "peers: {} over TLS, {} requests at once, five gateways in turns",
        Version::H1,
        load::IN_FLIGHT
    ));
    let sides: Vec<Side<'_>> = ours
        .iter()
        .map(|(_, gateway): &(_, Gateway)| gateway.side())
        .chain(theirs.iter().map(|(_, envoy)| Side {
            client: &envoy.client,
            process: envoy.process.id(),
        }))
        .collect();
    let names = ours
        .iter()
        .map(|(name, _)| *name)
        .chain(theirs.iter().map(|(name, _)| *name));
    let sums = turns::compare(&sides, Version::H1, PATH, TURNS).await?;
    Ok(rows(&names.zip(&sums).collect::<Vec<_>>()))
}

/// The cost of a filter is what its gateway takes more than the same gateway without.
fn rows(sums: &[(&str, &Sum)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, sum) in sums {
        let Some(cpu) = sum.cpu_us() else { continue };
        let note = format!("{:.0} requests/s", sum.per_second());
        rows.push(Row::new("peers", format!("{name}: CPU"), cpu, "µs/request").note(note));
    }
    let cpu = |at: usize| sums.get(at).and_then(|(_, sum)| sum.cpu_us());
    let added = |with: usize, without: usize| Some(cpu(with)? - cpu(without)?);
    if let (Some(component), Some(filter), Some(envoy)) = (added(1, 0), added(2, 0), added(4, 3)) {
        let row = |what: &str, value: f64| Row::new("peers", what, value, "µs/request");
        rows.push(row("added by the filter in Envoy", envoy));
        rows.push(
            row("added by the component in Veilgate", component).against(envoy, "Envoy's filter"),
        );
        rows.push(row("added by the filter in Veilgate", filter).against(envoy, "Envoy's filter"));
    }
    rows
}

async fn envoy(
    peers: &Path,
    folder: &Path,
    certificates: &Path,
    origin: SocketAddr,
    filter: Option<&str>,
) -> Result<Envoy, Error> {
    std::fs::create_dir_all(folder)?;
    let (listen, admin) = (free_address()?, free_address()?);
    let wasm = filter.map_or(String::new(), |file| {
        include_str!("envoy-filter.yaml").replace("MODULE", &peers.join(file).display().to_string())
    });
    let text = CONFIG
        .replace("LISTEN_PORT", &listen.port().to_string())
        .replace("ADMIN_PORT", &admin.port().to_string())
        .replace("ORIGIN_PORT", &origin.port().to_string())
        .replace("CERTIFICATES", &certificates.display().to_string())
        .replace("# WASM\n", &wasm);
    let config = folder.join("envoy.yaml");
    std::fs::write(&config, text)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(peers.join("envoy"));
    command
        .args(["--log-level", "warn", "--disable-hot-restart"])
        .args(["--concurrency", &workers.to_string(), "-c"])
        .arg(&config);
    let log = folder.join("envoy.log");
    let mut process = gateway::spawn(&mut command, &log)?;
    gateway::until_ok(&mut process, admin, "/ready", &log).await?;
    Ok(Envoy {
        process,
        client: Client::new(listen, &certificates.join("ca.pem"))?,
    })
}
