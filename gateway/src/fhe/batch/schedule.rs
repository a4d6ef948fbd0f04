//! Who is computed for next, and who is turned away: decided from what waits and the time, and nothing else.
//!
//! Tenants share the engine by cost: each has a clock that runs by what was computed for it, divided by its weight, and
//! the one whose clock is furthest behind is next. Whoever was idle starts at the present, so that nobody saves up. One
//! tenant's ten thousand rows hold up another's one row by a single batch: a request that is longer than a batch is taken
//! in parts, and what is left of it keeps its place at the head of its tenant's line. What nobody waits for has a class of
//! its own, whose turn comes when the other's queue is empty.
//!
//! Invariants: everything that was admitted is taken once (in one piece or in parts that follow one another), or given
//! back as dropped once; requests and bytes never exceed their limits; within a tenant more urgent ones go first, and
//! equally urgent ones in their order; nothing behind is taken while anything waits before it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::fhe::Tenant;

/// In what costs are counted: one multiplication of a ring element by an integer. A bootstrap takes as long as so many.
pub(in crate::fhe) const BOOTSTRAP_COST: u64 = 10_000;
/// What one unit is taken to need until something was measured: a bootstrap of 20 ms, on one slow core.
const FIRST_UNIT_NS: f64 = 2_000.0;
/// Of the last measurement in the smoothed one.
const SMOOTHING: f64 = 0.25;
/// Of a tenant; each step up doubles its share.
const MAX_PRIORITY: u8 = 9;
/// Nobody is told to stay away for longer: by then the queue is another one.
const MAX_RETRY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(in crate::fhe) struct Limits {
    /// Requests and bytes that wait, of all tenants and of one.
    pub requests: usize,
    pub bytes: usize,
    pub tenant_requests: usize,
    pub tenant_bytes: usize,
    /// Who would wait longer is turned away at once.
    pub max_wait: Duration,
}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::fhe) enum Class {
    /// A client does.
    Awaited,
    /// It is fetched later: computed while nobody else's waits. Who submits these keeps them few, so that no limit of the
    /// queue turns them away.
    Behind,
}

/// What the decisions need to know of a request.
#[derive(Clone, Debug)]
pub(in crate::fhe) struct Terms {
    pub tenant: Tenant,
    pub class: Class,
    /// Of the tenant, 0 to 9.
    pub priority: u8,
    /// RFC 9218: 0 is the most urgent, 7 the least.
    pub urgency: u8,
    pub cost: u64,
    pub bytes: usize,
    pub deadline: Option<Instant>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant's own share of the queue is used up: its other requests are in the way.
    TenantFull,
    /// The whole queue is, in requests, in bytes or in time.
    Full,
    /// It would be answered after its deadline.
    TooLate,
}

/// A request that was turned away, and when it may be worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    pub refusal: Refusal,
    pub retry_after_s: u64,
}

struct Waiting<T> {
    terms: Terms,
    item: T,
}

struct Line<T> {
    /// Where this tenant's clock stands.
    clock: u128,
    /// Clock steps per unit of cost.
    pace: u128,
    cost: u64,
    bytes: usize,
    /// By urgency, then by order of arrival.
    waiting: BTreeMap<(u8, u64), Waiting<T>>,
}

type Name = (Class, Tenant);

/// One of something for each class.
#[derive(Clone, Copy, Debug, Default)]
struct PerClass<V> {
    awaited: V,
    behind: V,
}

impl<V> PerClass<V> {
    fn of(&mut self, class: Class) -> &mut V {
        match class {
            Class::Awaited => &mut self.awaited,
            Class::Behind => &mut self.behind,
        }
    }
}

/// Whether a request has room in a batch.
pub(in crate::fhe) enum Fit<T> {
    Whole,
    /// A piece of its front, and what the piece costs; the rest stays where it is.
    Part(T, u64),
    No,
}

/// What is taken from the queue at once.
pub(in crate::fhe) struct Taken<T> {
    pub batch: Vec<T>,
    pub cost: u64,
    /// Past their deadline: nothing is to be computed for them.
    pub late: Vec<T>,
    /// Nobody waits for them any more.
    pub gone: usize,
}

pub(in crate::fhe) struct Scheduler<T> {
    limits: Limits,
    lines: HashMap<Name, Line<T>>,
    /// Clock of the tenant that was served last.
    present: PerClass<u128>,
    arrivals: u64,
    requests: PerClass<usize>,
    bytes: PerClass<usize>,
    unit_ns: f64,
    /// Cost of what is being computed, and since when.
    running: Option<(Instant, u64)>,
}

impl<T> Scheduler<T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lines: HashMap::new(),
            present: PerClass::default(),
            arrivals: 0,
            requests: PerClass::default(),
            bytes: PerClass::default(),
            unit_ns: FIRST_UNIT_NS,
            running: None,
        }
    }

    pub fn len(&self) -> usize {
        self.requests.awaited + self.requests.behind
    }

    /// Takes a request in, or gives it back with the reason.
    pub fn admit(&mut self, now: Instant, terms: Terms, item: T) -> Result<(), (T, Busy)> {
        if terms.class == Class::Awaited
            && let Err(busy) = self.decide(now, &terms)
        {
            return Err((item, busy));
        }
        let pace = 1 << (MAX_PRIORITY - terms.priority.min(MAX_PRIORITY));
        let class = terms.class;
        let clock = *self.present.of(class);
        let name = (class, terms.tenant.clone());
        let line = self.lines.entry(name).or_insert(Line {
            clock,
            pace,
            cost: 0,
            bytes: 0,
            waiting: BTreeMap::new(),
        });
        line.pace = pace;
        line.cost += terms.cost;
        line.bytes += terms.bytes;
        *self.requests.of(class) += 1;
        *self.bytes.of(class) += terms.bytes;
        self.arrivals += 1;
        line.waiting
            .insert((terms.urgency, self.arrivals), Waiting { terms, item });
        Ok(())
    }

    fn decide(&self, now: Instant, terms: &Terms) -> Result<(), Busy> {
        let wait = self.wait_of(now, terms);
        let own = self.line(terms);
        let (own_len, own_bytes) = own.map_or((0, 0), |line| (line.waiting.len(), line.bytes));
        let busy = |refusal| {
            Err(Busy {
                refusal,
                // When half of it is done there is room again.
                retry_after_s: (wait / 2)
                    .clamp(Duration::from_secs(1), MAX_RETRY)
                    .as_secs(),
            })
        };
        if own_len >= self.limits.tenant_requests
            || own_bytes + terms.bytes > self.limits.tenant_bytes.max(terms.bytes)
        {
            return busy(Refusal::TenantFull);
        }
        if self.requests.awaited >= self.limits.requests
            || self.bytes.awaited + terms.bytes > self.limits.bytes.max(terms.bytes)
        {
            return busy(Refusal::Full);
        }
        if wait > self.limits.max_wait {
            // Would it wait too long even if only its tenant's own requests were there?
            let own_time = self.time(own.map_or(0, |line| line.cost));
            return match own_time > wait / 2 {
                true => busy(Refusal::TenantFull),
                false => busy(Refusal::Full),
            };
        }
        match terms.deadline {
            Some(deadline) if now + wait + self.time(terms.cost) > deadline => {
                busy(Refusal::TooLate)
            }
            _ => Ok(()),
        }
    }

    fn line(&self, terms: &Terms) -> Option<&Line<T>> {
        self.lines.get(&(terms.class, terms.tenant.clone()))
    }

    /// Until a request of these terms, that is awaited, would begin: what runs, what its tenant has before it, and what the others get
    /// meanwhile by their shares.
    fn wait_of(&self, now: Instant, terms: &Terms) -> Duration {
        let pace = 1u128 << (MAX_PRIORITY - terms.priority.min(MAX_PRIORITY));
        let own = self.line(terms);
        let before: u64 = own.map_or(0, |line| {
            let ahead = line.waiting.range(..(terms.urgency + 1, 0));
            ahead.map(|(_, one)| one.terms.cost).sum()
        });
        let begins =
            own.map_or(self.present.awaited, |line| line.clock) + u128::from(before) * pace;
        let others: u64 = self
            .lines
            .iter()
            .filter(|((class, tenant), _)| *class == terms.class && *tenant != terms.tenant)
            .map(|(_, line)| {
                let share = begins.saturating_sub(line.clock) / line.pace;
                line.cost.min(u64::try_from(share).unwrap_or(u64::MAX))
            })
            .sum();
        let running = self.running.map_or(Duration::ZERO, |(since, cost)| {
            self.time(cost)
                .saturating_sub(now.saturating_duration_since(since))
        });
        running + self.time(before.saturating_add(others))
    }

    fn time(&self, cost: u64) -> Duration {
        Duration::from_nanos((cost as f64 * self.unit_ns) as u64)
    }

    /// As much cost as this time is good for; at least a unit.
    fn cost_in(&self, time: Duration) -> u64 {
        ((time.as_nanos() as f64 / self.unit_ns) as u64).max(1)
    }

    /// The next batch: at least one request (or a part of one) if any is left, and more of the same class while they fit
    /// and stay within the time that a batch is to take. `fits` is asked of each with the cost that is left of that time and
    /// how many are in the batch; the first is never refused.
    pub fn take(
        &mut self,
        now: Instant,
        batch_time: Duration,
        is_gone: impl Fn(&T) -> bool,
        mut fits: impl FnMut(&mut T, u64, usize) -> Fit<T>,
    ) -> Taken<T> {
        let budget = self.cost_in(batch_time);
        let mut taken = Taken {
            batch: Vec::new(),
            cost: 0,
            late: Vec::new(),
            gone: 0,
        };
        let mut class = None;
        while let Some((name, at)) = self.next() {
            let line = self.lines.get_mut(&name);
            let Some(one) = line.and_then(|line| line.waiting.get_mut(&at)) else {
                break;
            };
            if is_gone(&one.item) {
                taken.gone += usize::from(self.remove(&name, at).is_some());
                continue;
            }
            if one.terms.deadline.is_some_and(|deadline| deadline <= now) {
                let late = self.remove(&name, at).map(|one| one.item);
                taken.late.extend(late);
                continue;
            }
            if *class.get_or_insert(name.0) != name.0 {
                break;
            }
            let is_first = taken.batch.is_empty();
            let left = budget.saturating_sub(taken.cost);
            let cost = one.terms.cost;
            match fits(&mut one.item, left, taken.batch.len()) {
                Fit::Part(piece, cost) => {
                    let cost = cost.min(one.terms.cost);
                    one.terms.cost -= cost;
                    self.charge(&name, cost);
                    if let Some(line) = self.lines.get_mut(&name) {
                        line.cost -= cost;
                    }
                    taken.cost += cost;
                    taken.batch.push(piece);
                    break;
                }
                Fit::Whole if is_first || cost <= left => {
                    self.charge(&name, cost);
                    let Some(one) = self.remove(&name, at) else {
                        break;
                    };
                    taken.cost += cost;
                    taken.batch.push(one.item);
                }
                Fit::Whole | Fit::No => break,
            }
        }
        if !taken.batch.is_empty() {
            self.running = Some((now, taken.cost));
        }
        taken
    }

    /// The first of the tenant whose clock is furthest behind; of several, the one whose first arrived before.
    fn next(&self) -> Option<(Name, (u8, u64))> {
        self.lines
            .iter()
            .filter_map(|(name, line)| {
                let at = *line.waiting.keys().next()?;
                Some((name.0, line.clock, at.1, name, at))
            })
            .min_by_key(|&(class, clock, arrival, ..)| (class, clock, arrival))
            .map(|(.., name, at)| (name.clone(), at))
    }

    /// So much of what waits in this line is computed now.
    fn charge(&mut self, name: &Name, cost: u64) {
        let Some(line) = self.lines.get_mut(name) else {
            return;
        };
        let present = self.present.of(name.0);
        *present = line.clock.max(*present);
        line.clock += u128::from(cost) * line.pace;
    }

    fn remove(&mut self, name: &Name, at: (u8, u64)) -> Option<Waiting<T>> {
        let line = self.lines.get_mut(name)?;
        let one = line.waiting.remove(&at)?;
        line.cost -= one.terms.cost;
        line.bytes -= one.terms.bytes;
        *self.requests.of(name.0) -= 1;
        *self.bytes.of(name.0) -= one.terms.bytes;
        // A tenant whose clock is ahead is remembered until the others have caught up: leaving and coming back is no
        // way past them.
        let present = &mut self.present;
        self.lines.retain(|(class, _), line| {
            !line.waiting.is_empty() || line.clock > *present.of(*class)
        });
        Some(one)
    }

    /// What the batch really took.
    pub fn finished(&mut self, took: Duration) {
        let Some((_, cost)) = self.running.take() else {
            return;
        };
        let measured = took.as_nanos() as f64 / cost.max(1) as f64;
        self.unit_ns += SMOOTHING * (measured - self.unit_ns);
        if self.len() == 0 {
            // Nobody is there to be fair to.
            self.lines.clear();
            self.present = PerClass::default();
        }
    }

    /// Everything that waits, when nobody will compute it.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.requests = PerClass::default();
        self.bytes = PerClass::default();
        self.present = PerClass::default();
    }
}

#[cfg(test)]
mod tests;
