//! From a changed module file to the first request that the new module serves: a real gateway process, one policy, the file renamed
//! into place, a client that asks once a millisecond.
//!
//! A module is made another by one letter in its data: the name of a header that it adds. So each answer shows which module served it,
//! and each module is unknown to the compiler.

use std::path::Path;
use std::time::{Duration, Instant};

use examples::client::{Connection, Error, Version, plain_get};

use crate::gateway::{self, Gateway};
use crate::report::Row;
use crate::{Context, cpu, http};

/// Swaps of one kind; the median is told.
const TIMES: u8 = 15;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two requests of the client: it takes little of the processor, and sees a swap a millisecond late at most.
const PAUSE: Duration = Duration::from_millis(1);
/// The header whose last letter tells the modules apart.
const HEADER: &str = "ratelimit-policy";
const FIELDS: &[(&str, &str)] = &[("x-api-key", "bench")];

/// What one swap took.
#[derive(Clone, Copy)]
struct Swap {
    serving_ms: f64,
    /// Of the gateway, until then.
    cpu_ms: f64,
    optimised_ms: f64,
}

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, origin) = gateway::start_origin(context, folder.path()).await?;
    let place = folder.path().join("swaps");
    std::fs::create_dir_all(&place)?;
    let shipped = context.policies.join("rate-limit.wasm");
    let module = std::fs::read(&shipped)?;
    let file = place.join("rate-limit.wasm");
    std::fs::write(&file, &module)?;
    let policies = http::policies(context)
        .replace(&shipped.display().to_string(), &file.display().to_string());
    let chain = r#"["rate-limit"]"#;
    context.say("swap: compiled anew, then from disk");
    let start = async || gateway::start(context, &place, origin, &policies, chain).await;
    let first = start().await?;
    let anew = swaps(&first, &file, &module).await?;
    drop(first);
    // What the first gateway compiled is on disk, and new to this one.
    std::fs::write(&file, &module)?;
    let second = start().await?;
    let disk = swaps(&second, &file, &module).await?;
    Ok(rows(&anew, &disk, module.len() / 1024))
}

fn rows(anew: &[Swap], disk: &[Swap], kib: usize) -> Vec<Row> {
    let row = |what: &str, all: &[Swap], of: fn(&Swap) -> f64, more: String| {
        let ms = sorted(all, of);
        let (least, most) = (ms[0], ms[ms.len() - 1]);
        Row::new("swap", what, ms[ms.len() / 2], "ms").note(format!(
            "a module of {kib} KiB; {least:.1} to {most:.1} ms{more}"
        ))
    };
    let target = |all: &[Swap]| {
        let cpu: f64 = all.iter().map(|swap| swap.cpu_ms).sum();
        let each = cpu / all.len() as f64;
        format!("; CPU of the gateway {each:.0} ms each; target 50 ms")
    };
    let base = sorted(anew, |swap| swap.serving_ms)[anew.len() / 2];
    vec![
        row(
            "file change to first request, compiled anew",
            anew,
            |swap| swap.serving_ms,
            target(anew),
        ),
        row(
            "file change to optimised code, compiled anew",
            anew,
            |swap| swap.optimised_ms,
            String::new(),
        ),
        row(
            "file change to first request, compiled before",
            disk,
            |swap| swap.serving_ms,
            target(disk),
        )
        .against(base, "compiled anew"),
    ]
}

fn sorted(all: &[Swap], of: fn(&Swap) -> f64) -> Vec<f64> {
    let mut ms: Vec<f64> = all.iter().map(of).collect();
    ms.sort_by(f64::total_cmp);
    ms
}

/// To modules that this gateway has not seen, one after the other.
async fn swaps(gateway: &Gateway, file: &Path, module: &[u8]) -> Result<Vec<Swap>, Error> {
    let mut client = gateway.client.connect(Version::H1).await?;
    let mut all = Vec::new();
    for letter in (b'a'..=b'x').take(TIMES.into()) {
        let (module, header) = variant(module, letter)?;
        let beside = file.with_extension("new");
        std::fs::write(&beside, module)?;
        // What the file system tells of that is over.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let cpu = || cpu::time_of(gateway.process.id()).unwrap_or_default();
        let (before, began) = (cpu(), Instant::now());
        std::fs::rename(&beside, file)?;
        while !serves(&mut client, &header).await? {
            waited(began)?;
            tokio::time::sleep(PAUSE).await;
        }
        let serving = began.elapsed();
        let cpu = cpu().saturating_sub(before);
        while !optimised(gateway).await? {
            waited(began)?;
            tokio::time::sleep(PAUSE).await;
        }
        all.push(Swap {
            serving_ms: serving.as_secs_f64() * 1e3,
            cpu_ms: cpu.as_secs_f64() * 1e3,
            optimised_ms: began.elapsed().as_secs_f64() * 1e3,
        });
    }
    Ok(all)
}

fn waited(began: Instant) -> Result<(), Error> {
    match began.elapsed() > PATIENCE {
        true => Err(Error::new("the gateway did not take a new module")),
        false => Ok(()),
    }
}

/// The module with another last letter in the header's name, and that name.
fn variant(module: &[u8], letter: u8) -> Result<(Vec<u8>, String), Error> {
    let at = module
        .windows(HEADER.len())
        .position(|window| window == HEADER.as_bytes())
        .ok_or_else(|| Error::new(format!("the module has no `{HEADER}` in it")))?;
    let last = at + HEADER.len() - 1;
    let mut other = module.to_vec();
    other[last] = letter;
    let name = String::from_utf8_lossy(&other[at..=last]).into_owned();
    Ok((other, name))
}

async fn serves(client: &mut Connection, header: &str) -> Result<bool, Error> {
    let reply = client.get("/health", FIELDS).await?;
    match reply.status {
        200 => Ok(reply.header(header).is_some()),
        other => Err(Error::new(format!("a request was answered {other}"))),
    }
}

async fn optimised(gateway: &Gateway) -> Result<bool, Error> {
    let status = plain_get(gateway.admin, "/status").await?;
    let status: serde_json::Value =
        serde_json::from_str(&status.text()).map_err(|error| Error::of(&error))?;
    let all = status["policies"].as_array().map_or(&[][..], Vec::as_slice);
    let one = all.iter().find(|policy| policy["name"] == "rate-limit");
    Ok(one.is_some_and(|policy| policy["module"]["code"] == "optimised"))
}
