//! Requests through a whole gateway process: requests/s, CPU per request and latency, with no policy and with all four.

use std::time::Duration;

use examples::client::{Client, Error, Version};

use crate::gateway::{self, Gateway};
use crate::report::Row;
use crate::{Context, cpu, load};

/// Each side is measured in turns, so that a slow spell of the machine falls on both.
const TURNS: u32 = 3;
const TURN: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(500);
const PATH: &str = "/bytes/1024";

#[derive(Default)]
struct Sum {
    requests: u64,
    wall: Duration,
    cpu: Option<Duration>,
    p50_us: u64,
    p99_us: u64,
}

impl Sum {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    fn cpu_us(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / self.requests as f64)
    }
}

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, address) = gateway::start_origin(context, folder.path()).await?;
    let plain = gateway::start(context, &folder.path().join("plain"), address, "", "[]").await?;
    let policies = policies(context);
    let chain = r#"["rate-limit", "routing", "caching", "circuit-breaker"]"#;
    let four = gateway::start(
        context,
        &folder.path().join("four"),
        address,
        &policies,
        chain,
    )
    .await?;
    let mut rows = Vec::new();
    for version in Version::ALL {
        context.say(&format!(
            "http: {version}, {} requests at once, in turns",
            load::IN_FLIGHT
        ));
        let (without, with) = compare(&plain, &four, version).await?;
        push(&mut rows, &format!("{version}, no policy"), &without, None);
        push(
            &mut rows,
            &format!("{version}, four policies"),
            &with,
            Some(&without),
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

async fn compare(plain: &Gateway, four: &Gateway, version: Version) -> Result<(Sum, Sum), Error> {
    let (mut without, mut with) = (Sum::default(), Sum::default());
    for side in [plain, four] {
        load::run(&side.client, version, PATH, WARM_UP).await?;
    }
    for _ in 0..TURNS {
        turn(&plain.client, plain.process.id(), version, &mut without).await?;
        turn(&four.client, four.process.id(), version, &mut with).await?;
    }
    Ok((without, with))
}

async fn turn(client: &Client, process: u32, version: Version, sum: &mut Sum) -> Result<(), Error> {
    let before = cpu::time_of(process);
    let load = load::run(client, version, PATH, TURN).await?;
    if let (Some(before), Some(after)) = (before, cpu::time_of(process)) {
        *sum.cpu.get_or_insert_default() += after.saturating_sub(before);
    }
    sum.requests += load.requests;
    sum.wall += load.wall;
    // The best turn: the others were disturbed.
    let (p50, p99) = (
        load.latency_us.value_at_quantile(0.5),
        load.latency_us.value_at_quantile(0.99),
    );
    sum.p50_us = if sum.p50_us == 0 {
        p50
    } else {
        sum.p50_us.min(p50)
    };
    sum.p99_us = if sum.p99_us == 0 {
        p99
    } else {
        sum.p99_us.min(p99)
    };
    Ok(())
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
}

/// The four, each with settings under which it does its work on every request and refuses none.
pub fn policies(context: &Context) -> String {
    include_str!("policies.toml").replace("POLICIES", &context.policies.display().to_string())
}
