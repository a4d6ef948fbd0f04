//! What policies cost: a call of each hook against the same logic in native Rust, whole exchanges of the four that ship, and the least
//! that a policy can do in every language. Built components, warm instances, as the gateway calls them.

mod agree;
mod exchange;
mod load;
mod measure;
mod native;
mod small;

use std::sync::Arc;
use std::time::Instant;

use examples::client::Error;
use policy_host::{Chain, InstanceChoice, Policy};

use crate::report::{Call, Row};
use crate::{Context, http};
use exchange::{Hook, Subject, Trip};
use load::{Loaded, Loader, PolicySettings};

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let bench = Bench {
        loader: Loader::new()?,
        trip: Trip::new(),
    };
    let mut hooks = small::run(context, &bench)?;
    let mut exchanges = shipped(context, &bench, &mut hooks)?;
    exchanges.extend(hooks);
    Ok(exchanges)
}

/// What every part needs.
struct Bench {
    loader: Loader,
    trip: Trip,
}

impl Bench {
    /// A row for each hook that the policy is called at.
    fn calls(&self, what: &str, loaded: &Loaded, twin: &dyn Subject) -> Result<Vec<Row>, Error> {
        let (trip, chain) = (&self.trip, &loaded.chain);
        let called = measure::hooks_called(trip, &loaded.policy, chain)?;
        let hooks: Vec<Hook> = called.iter().map(|(hook, _)| *hook).collect();
        let [native, guest] = measure::side_by_side(trip, &hooks, [twin, chain]);
        let spreads = native.into_iter().zip(guest).zip(called);
        let row = |((native, guest), (_, fuel)): ((Timed, Timed), (Hook, u64))| {
            let call = Call {
                least_us: guest.1.least_us,
                native_us: native.1.median_us,
                over_native_us: guest.1.median_us - native.1.median_us,
                fuel,
                memory_bytes: loaded.policy.memory_bytes(),
            };
            let what = format!("{what}: {}", guest.0.name());
            Row::new("policy", what, guest.1.median_us, "µs/call").call(call)
        };
        Ok(spreads.map(row).collect())
    }
}

type Timed = (Hook, measure::Spread);

/// Rows of whole exchanges; those of hooks go to `hooks`.
fn shipped(context: &Context, bench: &Bench, hooks: &mut Vec<Row>) -> Result<Vec<Row>, Error> {
    let places = |text: &str| text.replace("POLICIES", &context.policies.display().to_string());
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let mut sum = 0.0;
    for settings in PolicySettings::read(&http::policies(context))? {
        context.say(&format!("policy: {}", settings.name));
        let one = One::load(bench, &settings)?;
        hooks.extend(bench.calls(&settings.name, &one.loaded, &*one.twin)?);
        sum += one.whole(bench, &settings, &mut rows)?;
        all.push(Arc::clone(&one.loaded.policy));
    }
    for settings in PolicySettings::read(&places(include_str!("more.toml")))? {
        context.say(&format!("policy: {}", settings.name));
        let one = One::load(bench, &settings)?;
        let what = settings.name.replace('-', " ");
        hooks.extend(bench.calls(&what, &one.loaded, &*one.twin)?);
    }
    context.say("policy: all in one chain");
    let [empty, together] = measure::exchanges(&bench.trip, [&Chain::default(), &Chain::new(all)]);
    rows.push(
        Row::new(
            "policy",
            "all four in one chain",
            together - empty,
            "µs/exchange",
        )
        .against(sum, "their sum"),
    );
    Ok(rows)
}

/// A policy that ships, and its twin, which decides the same.
struct One {
    loaded: Loaded,
    twin: Box<dyn Subject>,
    compiled_in: String,
}

impl One {
    fn load(bench: &Bench, settings: &PolicySettings) -> Result<Self, Error> {
        let began = Instant::now();
        let loaded = bench.loader.shipped(settings, InstanceChoice::Warm)?;
        let compiled_in = format!("compiled in {} ms", began.elapsed().as_millis());
        let twin = native::twin(settings, &bench.loader)?;
        agree::check(&bench.trip, &loaded, &*twin)?;
        Ok(Self {
            loaded,
            twin,
            compiled_in,
        })
    }

    /// Rows of whole exchanges, warm and with fresh instances; returns what the warm one costs.
    fn whole(
        &self,
        bench: &Bench,
        settings: &PolicySettings,
        rows: &mut Vec<Row>,
    ) -> Result<f64, Error> {
        let fresh = bench.loader.shipped(settings, InstanceChoice::PerRequest)?;
        let trip = &bench.trip;
        let empty = Chain::default();
        // apart from the fresh ones: what comes after them finds the processor's cache cold
        let [none, native, warm] =
            measure::exchanges(trip, [&empty, &*self.twin, &self.loaded.chain]);
        let (native, warm) = (native - none, warm - none);
        let [none, fresh] = measure::exchanges(trip, [&empty, &fresh.chain]);
        let fresh = fresh - none;
        let name = &settings.name;
        let note = format!(
            "hooks: {}; {}",
            exported(&self.loaded.policy),
            self.compiled_in
        );
        rows.push(
            Row::new("policy", name, warm, "µs/exchange")
                .against(native, "native Rust")
                .note(note),
        );
        let what = format!("{name}, a fresh instance for each call");
        rows.push(Row::new("policy", what, fresh, "µs/exchange").against(warm, "a warm one"));
        Ok(warm)
    }
}

fn exported(policy: &Policy) -> String {
    let present = [
        ("request", policy.has_request_hook()),
        ("attempt", policy.has_attempt_hook()),
        ("outcome", policy.has_outcome_hook()),
        ("response", policy.has_response_hook()),
    ];
    let names = present.iter().filter(|(_, has)| *has);
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
