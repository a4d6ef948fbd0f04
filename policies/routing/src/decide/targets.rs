//! The targets of a rule: by weight (a number in, an upstream out), by latency, or in order.

use guest_sdk::ConfigError;
use guest_sdk::settings::Node;

/// A split over more upstreams is a balancer's work.
const MAX_TARGETS: usize = 16;
/// Per cent of a per cent is fine enough; sums of these stay far from overflow.
const MAX_WEIGHT: u64 = 1_000_000;
/// Targets whose median is within this part of the best one's are as good: median buckets are a fifth wide.
const AS_GOOD: u64 = 5;

const KEYS: &[&str] = &["full-at", "model", "upstream", "weight"];

/// How an upstream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Endpoints that are up.
    pub healthy: u32,
    pub in_flight: u32,
    /// Zero: not known, no request of late.
    pub p50_us: u64,
}

#[derive(Debug)]
pub struct Target {
    pub upstream: String,
    /// What the model in the body is changed to.
    pub model: Option<String>,
    /// So many requests on their way to it are all it takes.
    full_at: u32,
    /// The sum of the weights up to and with this one.
    upto: u64,
}

/// Never empty; the last sum is above zero.
#[derive(Debug)]
pub struct Targets {
    list: Vec<Target>,
    total: u64,
}

impl Targets {
    /// The name of an upstream, or a list of names and of tables.
    pub fn read(node: &Node<'_>, in_order: bool) -> Result<Self, ConfigError> {
        let nodes = node.one_or_many();
        if nodes.is_empty() || nodes.len() > MAX_TARGETS {
            return Err(node.wrong("must be 1 to 16 upstreams"));
        }
        let mut list = Vec::with_capacity(nodes.len());
        let mut total = 0;
        for node in &nodes {
            list.push(Target::read(node, in_order, &mut total)?);
        }
        if total == 0 {
            return Err(node.wrong("every weight is 0: no request could go anywhere"));
        }
        Ok(Self { list, total })
    }

    /// Whether one of them changes the model's name.
    pub fn rewrites(&self) -> bool {
        self.list.iter().any(|target| target.model.is_some())
    }

    pub fn first(&self) -> &Target {
        &self.list[0]
    }

    pub fn last(&self) -> &Target {
        &self.list[self.list.len() - 1]
    }

    /// `number` is asked for only if there is a choice; over all numbers, each target gets its share.
    pub fn by_weight(&self, number: impl FnOnce() -> u64) -> &Target {
        if self.list.len() == 1 {
            return self.first();
        }
        let point = scaled(number(), self.total);
        // the point is below the total, which is the last sum
        let found = self.list.iter().find(|target| point < target.upto);
        found.unwrap_or_else(|| self.last())
    }

    /// One of the quickest, by chance. One that nobody asked of late counts as quick: how else would it be found out?
    pub fn by_latency(
        &self,
        standing: impl Fn(&str) -> Option<Standing>,
        number: impl FnOnce() -> u64,
    ) -> &Target {
        if self.list.len() == 1 {
            return self.first();
        }
        let median = |target: &Target| {
            let standing = standing(&target.upstream).filter(|standing| standing.healthy > 0);
            standing.map_or(u64::MAX, |standing| standing.p50_us)
        };
        let medians: Vec<u64> = self.list.iter().map(median).collect();
        let known = medians
            .iter()
            .filter(|&&median| median > 0 && median < u64::MAX);
        let most = match known.min() {
            Some(best) => best + best / AS_GOOD,
            None if medians.contains(&0) => 0,
            // All are down: one of them has to say so.
            None => u64::MAX,
        };
        let good = medians.iter().filter(|&&median| median <= most).count();
        let nth = scaled(number(), good as u64) as usize;
        let mut quickest = self
            .list
            .iter()
            .zip(&medians)
            .filter(|(_, median)| **median <= most);
        quickest.nth(nth).map_or(self.first(), |(target, _)| target)
    }

    /// The first that has an endpoint that is up, and is not full. One of which nothing is known is not up.
    pub fn first_free(&self, standing: impl Fn(&str) -> Option<Standing>) -> Option<&Target> {
        self.list.iter().find(|target| {
            standing(&target.upstream)
                .is_some_and(|now| now.healthy > 0 && now.in_flight < target.full_at)
        })
    }
}

impl Target {
    fn read(node: &Node<'_>, in_order: bool, total: &mut u64) -> Result<Self, ConfigError> {
        if node.is_text() {
            *total += 1;
            return Ok(Self {
                upstream: node.name()?,
                model: None,
                full_at: u32::MAX,
                upto: *total,
            });
        }
        let table = node.table(KEYS)?;
        let full_at = table.read("full-at", |node| node.whole(1, u64::from(u32::MAX)))?;
        if full_at.is_some() && !in_order {
            return Err(table.wrong("full-at", "goes with choose = \"order\" only"));
        }
        *total += table
            .read("weight", |node| node.whole(0, MAX_WEIGHT))?
            .unwrap_or(1);
        Ok(Self {
            upstream: table.need("upstream")?.name()?,
            model: table.read("model", Node::name)?,
            full_at: full_at.map_or(u32::MAX, |full_at| full_at as u32),
            upto: *total,
        })
    }
}

/// Scaled by multiplication: the share does not depend on the number's low bits. Below `total`, if that is above zero.
fn scaled(number: u64, total: u64) -> u64 {
    ((u128::from(number) * u128::from(total)) >> 64) as u64
}

/// FNV-1a with a finisher that spreads short texts over all bits. The same in every version: callers stay where they are.
pub fn stable_hash(salt: &str, value: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.bytes().chain([0xff]).chain(value.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}
