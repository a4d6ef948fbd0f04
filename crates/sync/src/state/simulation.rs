//! The state machine against a model of outbox, link and aggregator in virtual time: losses at every point, repeats,
//! reordering, restarts of both ends, a full store, and a store that is restored from an older backup.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// A small deterministic generator: a failing case replays from its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 20) as f64 / (1u64 << 20) as f64
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Pending,
    Acked,
    Aside,
}

#[derive(Default, Clone)]
struct Store {
    incarnation: u8,
    batches: BTreeSet<u64>,
}

/// Above every generation of a connection.
const LOCAL: u64 = 1 << 32;

struct World {
    now: Instant,
    chance: Chance,
    state: SyncState,
    outbox: BTreeMap<u64, Kept>,
    remembered: Memory,
    store: Store,
    backup: Store,
    /// Batches that the aggregator refuses for good.
    poison: u64,
    trouble: bool,
    /// Connections so far: what was under way on an earlier one never arrives.
    generation: u64,
    process: u64,
    sequence: u64,
    arriving: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    events: BTreeMap<u64, Event>,
    on_their_way: BTreeSet<u64>,
    ever_stored: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64, batches: u64, poison: u64) -> Self {
        let now = Instant::now();
        let store = Store {
            incarnation: 1,
            batches: BTreeSet::new(),
        };
        Self {
            now,
            chance: Chance(seed),
            state: SyncState::new(limits(), Memory::default(), now, 0.5),
            outbox: (1..=batches).map(|no| (no, Kept::Pending)).collect(),
            remembered: Memory::default(),
            backup: store.clone(),
            store,
            poison,
            trouble: true,
            generation: 0,
            process: 0,
            sequence: 0,
            arriving: BinaryHeap::new(),
            events: BTreeMap::new(),
            on_their_way: BTreeSet::new(),
            ever_stored: BTreeSet::new(),
        }
    }

    fn later(&mut self, event: Event) {
        let delay = Duration::from_millis(1 + self.chance.below(2000));
        self.sequence += 1;
        // The outbox's own answer does not depend on the link, only on the process.
        let generation = match event {
            Event::SetAside { .. } => LOCAL + self.process,
            _ => self.generation,
        };
        self.arriving
            .push(Reverse((self.now + delay, self.sequence, generation)));
        self.events.insert(self.sequence, event);
    }

    fn pending(&self) -> Vec<BatchNo> {
        let pending = self
            .outbox
            .iter()
            .filter(|(_, kept)| **kept == Kept::Pending);
        pending
            .take(self.state.window())
            .map(|(no, _)| BatchNo(*no))
            .collect()
    }

    /// Performs everything that the state asks for now.
    fn act(&mut self) {
        let mut turns = 0;
        while let Some(action) = self.state.poll(self.now, &self.pending()) {
            turns += 1;
            assert!(turns < 1000, "the state never has enough: {action:?}");
            self.perform(action);
        }
        assert!(self.state.in_flight() <= limits().max_in_flight);
    }

    fn perform(&mut self, action: Action) {
        let fails = self.trouble && self.chance.percent(20);
        match action {
            Action::Connect | Action::Enrol | Action::Survey if fails => {
                self.later(Event::Lost {
                    reason: "link".into(),
                });
            }
            Action::Connect => self.later(Event::Connected),
            Action::Enrol if self.trouble && self.chance.percent(10) => {
                self.later(Event::Failed {
                    retry_after: None,
                    reason: "busy".into(),
                });
            }
            Action::Enrol => self.later(Event::Enrolled),
            Action::Survey => {
                let survey = self.survey();
                self.later(survey);
            }
            Action::Send(no) => self.send(no, fails),
            Action::Ack(no) => {
                assert!(self.ever_stored.contains(&no.0), "{no} was never there");
                self.settle(no.0, Kept::Acked);
            }
            Action::SetAside { no, .. } => {
                assert_eq!(no.0 % self.poison, 0, "only what is refused is set aside");
                let done = !fails;
                if done {
                    self.settle(no.0, Kept::Aside);
                }
                self.later(Event::SetAside { no, done });
            }
            Action::ResendFrom(from) => {
                for (_, kept) in self.outbox.range_mut(from.0..) {
                    if *kept == Kept::Acked {
                        *kept = Kept::Pending;
                    }
                }
            }
            Action::Remember(memory) => self.remembered = memory,
        }
    }

    fn settle(&mut self, no: u64, to: Kept) {
        if let Some(kept) = self.outbox.get_mut(&no)
            && *kept == Kept::Pending
        {
            *kept = to;
        }
    }

    fn survey(&self) -> Event {
        let stored = sync_wire::batch_ranges(self.store.batches.iter().copied().map(BatchNo));
        let pending = self
            .outbox
            .iter()
            .filter(|(_, kept)| **kept == Kept::Pending)
            .map(|(no, _)| BatchNo(*no));
        Event::Surveyed {
            store: Incarnation([self.store.incarnation; 16]),
            holes: crate::survey::holes(&stored, pending, BatchNo(self.outbox.len() as u64)),
        }
    }

    /// The request may be lost, stored with its reply lost, stored, refused, or put off.
    fn send(&mut self, no: BatchNo, fails: bool) {
        assert!(self.on_their_way.insert(no.0), "{no} is sent twice at once");
        let result = if no.0.is_multiple_of(self.poison) {
            PutResult::Refused {
                reason: "poison".into(),
            }
        } else if fails && self.chance.percent(50) {
            PutResult::Failed {
                reason: "lost on the way there".into(),
            }
        } else if self.trouble && self.chance.percent(10) {
            PutResult::Later {
                retry_after: Some(Duration::from_secs(5)),
                reason: "full".into(),
            }
        } else {
            self.store.batches.insert(no.0);
            self.ever_stored.insert(no.0);
            match fails {
                true => PutResult::Failed {
                    reason: "lost on the way back".into(),
                },
                false => PutResult::Stored,
            }
        };
        self.later(Event::Put { no, result });
    }

    /// One thing that happens to the world by itself.
    fn mishap(&mut self) {
        match self.chance.below(200) {
            0 => self.lose_connection(),
            1 => self.restart_site(),
            2 => self.backup = self.store.clone(),
            // Restored under its old name, or made anew from the backup with a new one.
            3 => {
                let incarnation = self.store.incarnation + u8::from(self.chance.percent(50));
                self.store = Store {
                    incarnation,
                    ..self.backup.clone()
                };
                self.lose_connection();
            }
            _ => {}
        }
    }

    fn lose_connection(&mut self) {
        self.forget_requests();
        let chance = self.chance.unit();
        self.state.handle(
            self.now,
            Event::Lost {
                reason: "mishap".into(),
            },
            chance,
        );
    }

    fn restart_site(&mut self) {
        self.process += 1;
        self.forget_requests();
        let chance = self.chance.unit();
        self.state = SyncState::new(limits(), self.remembered.clone(), self.now, chance);
    }

    fn forget_requests(&mut self) {
        self.generation += 1;
        self.on_their_way.clear();
    }

    /// Advances to the next moment at which something happens; `false` when nothing ever will.
    fn step(&mut self) -> bool {
        self.act();
        let arrival = self.arriving.peek().map(|Reverse((at, ..))| *at);
        let Some(next) = [arrival, self.state.wake_at(self.now)]
            .into_iter()
            .flatten()
            .min()
        else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, sequence, generation))) = self.arriving.peek().copied() {
            if at > self.now {
                break;
            }
            self.arriving.pop();
            let Some(event) = self.events.remove(&sequence) else {
                continue;
            };
            if generation != self.generation && generation != LOCAL + self.process {
                continue;
            }
            if let Event::Put { no, .. } = &event {
                self.on_their_way.remove(&no.0);
            }
            if let Event::Lost { .. } = &event {
                self.forget_requests();
            }
            let chance = self.chance.unit();
            self.state.handle(self.now, event, chance);
        }
        if self.trouble {
            self.mishap();
        }
        true
    }
}

fn limits() -> Limits {
    Limits {
        max_in_flight: 4,
        backoff_first: Duration::from_secs(1),
        backoff_most: Duration::from_secs(60),
    }
}

fn check(seed: u64, batches: u64, poison: u64, turbulent_steps: u64) {
    let mut world = World::new(seed, batches, poison);
    for _ in 0..turbulent_steps {
        if !world.step() {
            break;
        }
    }
    // Calm weather, and one more reconnect: what a restored store lost is found out then.
    world.trouble = false;
    world.lose_connection();
    let mut steps = 0;
    loop {
        world.act();
        let settled = world.outbox.values().all(|kept| *kept != Kept::Pending);
        if settled && world.arriving.is_empty() && world.state.stage(world.now) == Stage::Sending {
            break;
        }
        assert!(
            world.step(),
            "it sleeps for ever with work left: {:?}",
            world.state
        );
        steps += 1;
        assert!(steps < 100_000, "it never gets done: {:?}", world.state);
    }
    for (no, kept) in &world.outbox {
        match kept {
            Kept::Acked => assert!(
                world.store.batches.contains(no),
                "batch {no} is acknowledged and lost"
            ),
            Kept::Aside => assert_eq!(no % world.poison, 0),
            Kept::Pending => unreachable!("checked above"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_batch_gets_there_whatever_happens_on_the_way(
        seed in any::<u64>(),
        batches in 1u64..60,
        poison in prop_oneof![Just(1000u64), 3u64..20],
        turbulent_steps in 0u64..400,
    ) {
        check(seed, batches, poison, turbulent_steps);
    }
}
