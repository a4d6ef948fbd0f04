//! Requests through a whole gateway process: requests/s, CPU per request and latency, with no policy and with all four. These twice:
//! as their settings are by default, and with the RateLimit fields on every response, which cost the protocols more than the policy.

use examples::client::{Error, Version};

use crate::report::Row;
use crate::turns::{self, Sum};
use crate::{Context, cpu, gateway, load};

/// Turns of each side.
const TURNS: u32 = 40;
const PATH: &str = "/bytes/1024";

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, address) = gateway::start_origin(context, folder.path()).await?;
    let plain = gateway::start(context, &folder.path().join("plain"), address, "", "[]").await?;
    let telling = policies(context);
    let by_default = telling.replace("headers = \"always\"", "headers = \"refused\"");
    let chain = r#"["rate-limit", "routing", "caching", "circuit-breaker"]"#;
    let start = async |name: &str, policies: &str| {
        gateway::start(context, &folder.path().join(name), address, policies, chain).await
    };
    let four = start("four", &by_default).await?;
    let fields = start("fields", &telling).await?;
    let mut rows = Vec::new();
    for version in Version::ALL {
        context.say(&format!(
            "http: {version}, {} requests at once, in turns",
            load::IN_FLIGHT
        ));
        let sides = [plain.side(), four.side(), fields.side()];
        let sums = turns::compare(&sides, version, PATH, TURNS).await?;
        push(&mut rows, &format!("{version}, no policy"), &sums[0], None);
        push(
            &mut rows,
            &format!("{version}, four policies"),
            &sums[1],
            Some(&sums[0]),
        );
        push(
            &mut rows,
            &format!("{version}, four policies, RateLimit fields"),
            &sums[2],
            Some(&sums[0]),
        );
    }
    for (name, gateway) in [("no policy", &plain), ("four policies", &four)] {
        if let Some(mib) = cpu::resident_mib(gateway.process.id()) {
            rows.push(Row::new(
                "http",
                format!("resident memory after the load, {name}"),
                mib,
                "MiB",
            ));
        }
    }
    Ok(rows)
}

fn push(rows: &mut Vec<Row>, what: &str, sum: &Sum, base: Option<&Sum>) {
    let latency = format!(
        "p50 {:.2} ms, p99 {:.2} ms",
        sum.p50_us as f64 / 1e3,
        sum.p99_us as f64 / 1e3
    );
    let row = Row::new(
        "http",
        format!("{what}: throughput"),
        sum.per_second(),
        "requests/s",
    )
    .note(latency);
    rows.push(match base {
        Some(base) => row.against(base.per_second(), "no policy"),
        None => row,
    });
    let Some(cpu) = sum.cpu_us() else { return };
    let row = Row::new(
        "http",
        format!("{what}: CPU of the gateway"),
        cpu,
        "µs/request",
    );
    rows.push(match base.and_then(Sum::cpu_us) {
        Some(base) => row.against(base, "no policy"),
        None => row,
    });
    let Some([low, median, high]) = base.and_then(|base| sum.added_us(base)) else {
        return;
    };
    let what = format!("{what}: CPU added");
    let spread = format!("half of the rounds from {low:.1} to {high:.1}");
    rows.push(Row::new("http", what, median, "µs/request").note(spread));
}

/// The four, each with settings under which it does its work on every request and refuses none.
pub fn policies(context: &Context) -> String {
    include_str!("policies.toml").replace("POLICIES", &context.policies.display().to_string())
}
