//! The service levels of encrypted scoring through a whole gateway: for each model what it can do at most, and then how long
//! clients wait that come at 70 % of that, or as often as is asked. Every answer is decrypted and held against the program in the clear.

mod loads;
mod model;

use std::sync::Arc;
use std::time::Duration;

use examples::client::{Error, Version};
use fhe::{ClientKey, OsEntropy, ParamSet};

use crate::fhe_latency::{CONFIG, register};
use crate::report::Row;
use crate::{Context, cpu, gateway, load};
use loads::Load;
use model::Model;

/// Until keys are expanded and connections are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// The loads of a model take turns: what it can do at most is asked again soon before it is relied on, because a machine that runs other
/// things is not the same a minute later.
const TURNS: usize = 2;
const SATURATION: Duration = Duration::from_secs(3);
const ARRIVALS: Duration = Duration::from_secs(10);

struct Level {
    program: &'static str,
    data: &'static str,
    version: Version,
    arrivals: &'static [(Rate, Targets)],
}

/// How often requests of an open loop begin.
#[derive(Clone, Copy)]
enum Rate {
    /// A share of saturation, in per cent: what a service is planned for.
    Percent(f64),
    PerSecond(f64),
}

/// What is asked of a model, in ms, per cent and requests a second.
#[derive(Clone, Copy)]
struct Targets {
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    slowest_ms: Option<f64>,
    errors_percent: Option<f64>,
    per_second: Option<f64>,
}

const PLANNED: Rate = Rate::Percent(70.0);

const NONE: Targets = Targets {
    p95_ms: None,
    p99_ms: None,
    slowest_ms: None,
    errors_percent: None,
    per_second: None,
};

const SCORING: Targets = Targets {
    p95_ms: Some(300.0),
    p99_ms: Some(500.0),
    errors_percent: Some(0.5),
    ..NONE
};

/// 1000 events an hour.
const EVENTS: Targets = Targets {
    slowest_ms: Some(2000.0),
    per_second: Some(1000.0 / 3600.0),
    ..NONE
};

const TEXTS: Targets = Targets {
    p95_ms: Some(50.0),
    per_second: Some(100.0),
    ..NONE
};

const LEVELS: [Level; 5] = [
    Level {
        program: "breast-cancer-linear",
        data: "breast-cancer-test.csv",
        version: Version::H2,
        arrivals: &[(PLANNED, SCORING)],
    },
    Level {
        program: "breast-cancer-tree",
        data: "breast-cancer-test.csv",
        version: Version::H2,
        arrivals: &[(PLANNED, SCORING)],
    },
    Level {
        program: "breast-cancer-mlp",
        data: "breast-cancer-test.csv",
        version: Version::H2,
        arrivals: &[(PLANNED, SCORING)],
    },
    Level {
        program: "flows-boosted",
        data: "flows-test.csv",
        version: Version::H2,
        arrivals: &[(PLANNED, NONE), (Rate::PerSecond(2.0), EVENTS)],
    },
    Level {
        program: "log-lines",
        data: "log-lines-test.csv",
        version: Version::H3,
        arrivals: &[(PLANNED, NONE), (Rate::PerSecond(120.0), TEXTS)],
    },
];

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, origin) = gateway::start_origin(context, folder.path()).await?;
    let own = folder.path().join("gateway");
    let models = context.root.join("examples/models");
    std::fs::create_dir_all(own.join("programs"))?;
    for level in &LEVELS {
        let file = format!("{}.json", level.program);
        std::fs::copy(models.join(&file), own.join("programs").join(&file))?;
    }
    let gateway = gateway::start(context, &own, origin, CONFIG, "[]").await?;
    context.say("fhe-levels: making and registering a key");
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(of)?;
    let key = secret.evaluation_key(&mut OsEntropy).map_err(of)?;
    register(&gateway.client, &key).await?;
    let client = fhe::Client::new(secret, key.id());
    let mut rows = Vec::new();
    for level in &LEVELS {
        context.say(&format!("fhe-levels: {}", level.program));
        let model = Model::load(&models, level.program, level.data, client.clone())?;
        rows.extend(level.measure(&gateway, &Arc::new(model)).await?);
    }
    Ok(rows)
}

impl Level {
    async fn measure(
        &self,
        gateway: &gateway::Gateway,
        model: &Arc<Model>,
    ) -> Result<Vec<Row>, Error> {
        let connections = load::open(&gateway.client, self.version).await?;
        loads::closed(model, &connections, WARM_UP).await?;
        let mut most = Load::none()?;
        let mut cpu = Duration::ZERO;
        let mut held = Vec::new();
        for _ in self.arrivals {
            held.push(Load::none()?);
        }
        for _ in 0..TURNS {
            let before = cpu::time_of(gateway.process.id());
            let turn = loads::closed(model, &connections, SATURATION).await?;
            let after = cpu::time_of(gateway.process.id());
            cpu += before.zip(after).map_or(Duration::ZERO, |(before, after)| {
                after.saturating_sub(before)
            });
            for ((rate, _), held) in self.arrivals.iter().zip(&mut held) {
                let per_second = match rate {
                    Rate::Percent(share) => turn.per_second() * share / 100.0,
                    Rate::PerSecond(rate) => *rate,
                };
                held.add(loads::open(model, &connections, per_second, ARRIVALS).await?)?;
            }
            most.add(turn)?;
        }
        Ok(self.report(&most, cpu, &held))
    }

    fn report(&self, most: &Load, cpu: Duration, held: &[Load]) -> Vec<Row> {
        let note = format!(
            "{} in flight over {}, p50 {:.0} ms, {} refused, {:.2} ms CPU of the gateway each",
            load::IN_FLIGHT,
            self.version,
            most.ms(0.5),
            most.counts.refused,
            cpu.as_secs_f64() * 1e3 / most.counts.answered().max(1) as f64
        );
        let saturation = self.row("saturation", most.per_second(), "requests/s");
        let mut rows = vec![saturation.note(note)];
        let (mut differ, mut checked) = (most.counts.differ, most.counts.answered());
        for ((rate, targets), held) in self.arrivals.iter().zip(held) {
            let name = match rate {
                Rate::Percent(share) => format!("at {share} %"),
                Rate::PerSecond(rate) => format!("at {rate}/s"),
            };
            (differ, checked) = (
                differ + held.counts.differ,
                checked + held.counts.answered(),
            );
            rows.extend(self.held(&name, most, held, targets));
        }
        let note = format!("of {checked}, each held against the program in the clear");
        let differ = self.row("labels that differ", differ as f64, "labels");
        rows.push(differ.note(note));
        rows
    }

    fn row(&self, what: &str, value: f64, unit: &'static str) -> Row {
        let what = format!("{}: {what}", self.program);
        Row::new("fhe-levels", what, value, unit)
    }

    fn held(&self, name: &str, most: &Load, held: &Load, targets: &Targets) -> Vec<Row> {
        let row = |what: &str, value, unit| self.row(&format!("{name}: {what}"), value, unit);
        let below = |row: Row, bound: Option<f64>| match bound {
            Some(bound) => {
                let is_met = row.value < bound;
                with_target(row, bound, "under", is_met)
            }
            None => row,
        };
        let rate = row("answered", held.per_second(), "requests/s");
        let rate = match targets.per_second {
            Some(bound) => {
                let is_met = rate.value > bound;
                with_target(rate, bound, "more than", is_met)
            }
            None => rate.against(most.per_second(), "saturation"),
        };
        let (missed, all) = (held.counts.refused + held.counts.failed, held.counts.all());
        let errors = row("errors", missed as f64 * 100.0 / all as f64, "%");
        let mut errors = below(errors, targets.errors_percent);
        if let Some(why) = &held.counts.why {
            errors.note = format!("{} ({missed} of {all}; the first: {why})", errors.note);
        }
        vec![
            rate,
            row("p50", held.ms(0.5), "ms"),
            below(row("p95", held.ms(0.95), "ms"), targets.p95_ms),
            below(row("p99", held.ms(0.99), "ms"), targets.p99_ms),
            below(row("slowest", held.ms(1.0), "ms"), targets.slowest_ms),
            errors,
        ]
    }
}

fn with_target(row: Row, bound: f64, side: &str, is_met: bool) -> Row {
    let met = if is_met { "met" } else { "MISSED" };
    let shown = (bound * 1e3).round() / 1e3;
    let note = format!("target: {side} {shown} {}, {met}", row.unit);
    row.against(bound, "the target").note(note)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}
