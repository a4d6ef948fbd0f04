//! From a changed module file to the gateway serving with it: a real gateway process, one policy, the file renamed into place.
//!
//! A module is made another by one more byte in a custom section: the same code, unknown to the compiler. What is asked for is
//! `/status`, which tells of a swap once requests are served by the new module.

use std::path::Path;
use std::time::{Duration, Instant};

use examples::client::{Error, plain_get};

use crate::gateway::{self, Gateway};
use crate::report::Row;
use crate::{Context, http};

/// Swaps of one kind; the median is told.
const TIMES: u8 = 9;
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, origin) = gateway::start_origin(context, folder.path()).await?;
    let place = folder.path().join("swaps");
    std::fs::create_dir_all(&place)?;
    let module = std::fs::read(context.policies.join("rate-limit.wasm"))?;
    let kib = module.len() / 1024;
    let file = place.join("rate-limit.wasm");
    std::fs::write(&file, &module)?;
    let policies = http::policies(context).replace(
        &context
            .policies
            .join("rate-limit.wasm")
            .display()
            .to_string(),
        &file.display().to_string(),
    );
    let chain = r#"["rate-limit"]"#;
    context.say("swap: compiled anew, then from disk, then from memory");
    let start = async || gateway::start(context, &place, origin, &policies, chain).await;
    let first = start().await?;
    let anew = swaps(&first, &file, &module).await?;
    drop(first);
    // What the first gateway compiled is on disk, and new to this one.
    std::fs::write(&file, &module)?;
    let second = start().await?;
    let disk = swaps(&second, &file, &module).await?;
    let row = |what: &str, ms: f64| {
        Row::new("swap", what, ms, "ms").note(format!("a module of {kib} KiB; target 50 ms"))
    };
    Ok(vec![
        row("file change to serving, compiled anew", anew),
        row("file change to serving, compiled before", disk).against(anew, "compiled anew"),
    ])
}

/// The median in ms over modules that this gateway has not seen.
async fn swaps(gateway: &Gateway, file: &Path, module: &[u8]) -> Result<f64, Error> {
    let mut all = Vec::new();
    for number in 1..=TIMES {
        let beside = file.with_extension("new");
        std::fs::write(&beside, variant(module, number))?;
        let began = Instant::now();
        std::fs::rename(&beside, file)?;
        while swapped(gateway).await? < u64::from(number) {
            if began.elapsed() > PATIENCE {
                return Err(Error::new("the gateway did not take a new module"));
            }
        }
        all.push(began.elapsed().as_secs_f64() * 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

/// With a custom section `v` of one byte at its end.
fn variant(module: &[u8], number: u8) -> Vec<u8> {
    [module, &[0, 3, 1, b'v', number]].concat()
}

async fn swapped(gateway: &Gateway) -> Result<u64, Error> {
    let status = plain_get(gateway.admin, "/status").await?;
    let status: serde_json::Value =
        serde_json::from_str(&status.text()).map_err(|error| Error::of(&error))?;
    let all = status["policies"].as_array().map_or(&[][..], Vec::as_slice);
    let one = all.iter().find(|policy| policy["name"] == "rate-limit");
    Ok(one.map_or(0, |policy| policy["module"]["swaps"].as_u64().unwrap_or(0)))
}
