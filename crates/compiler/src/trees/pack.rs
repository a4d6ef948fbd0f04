//! Several groups in one lookup: its sum tells all their digits apart, and its table adds their functions up.
//!
//! Groups whose digits are of the same columns take less room together than the product of what they take alone, down to
//! none at all for groups that read the same. A group's counted conditions may become digits for this, where that is less.

use std::collections::BTreeMap;

use super::cover::{ENTRIES, bootstraps};
use super::group::{Digit, Group};

/// A sum's function of each column's place, and what the lookup is to give at each value of the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub columns: BTreeMap<usize, Vec<i64>>,
    /// Per entry, per score.
    pub table: Vec<Vec<f64>>,
    /// How many groups share it.
    pub groups: usize,
}

struct Bin {
    /// Groups without counted conditions, joined.
    plain: Group,
    counted: Vec<Group>,
    /// All of its groups joined, with their conditions as digits, while that fits a table.
    spread: Option<Group>,
    outputs: Vec<bool>,
    groups: usize,
}

/// How a group is added to a bin.
enum Way {
    /// With the groups that have no counted conditions.
    Joined,
    /// With all groups, whose conditions become digits.
    Spread,
    Beside,
}

impl Bin {
    fn new(scores: usize) -> Self {
        Self {
            plain: Group::constant(scores),
            counted: vec![],
            spread: Some(Group::constant(scores)),
            outputs: vec![false; scores],
            groups: 0,
        }
    }

    fn capacity(&self) -> usize {
        let counted = self.counted.iter().map(Group::capacity);
        self.plain.codes() * counted.product::<usize>()
    }

    fn bootstraps(&self) -> usize {
        bootstraps(self.capacity(), self.outputs.iter().filter(|o| **o).count())
    }

    /// The best way to add an item, with the capacity after it; `None` if it saves no bootstrap.
    fn way(&self, item: &Item) -> Option<(Way, usize)> {
        let capacity = self.capacity();
        let beside = capacity * item.group.capacity();
        let mut best = (Way::Beside, beside);
        if let Some(spread) = &item.spread {
            let joined = capacity / self.plain.codes() * joint_codes(&self.plain, spread);
            if joined < best.1 {
                best = (Way::Joined, joined);
            }
            if let Some(own) = &self.spread {
                let joined = joint_codes(own, spread);
                if joined < best.1 {
                    best = (Way::Spread, joined);
                }
            }
        }
        if best.1 > ENTRIES {
            return None;
        }
        let both = self.outputs.iter().zip(&item.outputs);
        let outputs = both.filter(|(a, b)| **a || **b).count();
        let together = bootstraps(best.1, outputs);
        (together < self.bootstraps() + item.bootstraps).then_some(best)
    }

    fn add(&mut self, item: &Item, way: &Way) {
        let spread = self.spread.take().zip(item.spread.as_ref());
        let spread = spread.map(|(own, new)| own.join(new));
        self.spread = spread.filter(|spread| spread.codes() <= ENTRIES);
        match (way, &item.spread, &self.spread) {
            (Way::Joined, Some(spread), _) => self.plain = self.plain.join(spread),
            (Way::Spread, _, Some(spread)) => {
                self.plain = spread.clone();
                self.counted.clear();
            }
            (Way::Beside, _, _) if item.group.counted.is_empty() => {
                self.plain = self.plain.join(&item.group);
            }
            (Way::Beside | Way::Joined | Way::Spread, _, _) => {
                self.counted.push(item.group.clone());
            }
        }
        for (own, new) in self.outputs.iter_mut().zip(&item.outputs) {
            *own |= new;
        }
        self.groups += 1;
    }

    fn packed(&self) -> Packed {
        let mut columns: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        let mut add = |digit: &Digit, unit: usize| {
            let places = columns.entry(digit.column).or_default();
            places.resize(digit.classes.len(), 0);
            for (place, class) in places.iter_mut().zip(&digit.classes) {
                *place += unit as i64 * i64::from(*class);
            }
        };
        let mut unit = 1;
        for digit in &self.plain.digits {
            add(digit, unit);
            unit *= digit.radix;
        }
        for group in &self.counted {
            for digit in &group.digits {
                add(digit, unit);
                unit *= digit.radix;
            }
            for condition in &group.counted {
                add(condition, unit);
            }
            unit *= group.counted.len() + 1;
        }
        Packed {
            columns,
            table: (0..unit).map(|entry| self.entry(entry)).collect(),
            groups: self.groups,
        }
    }

    fn entry(&self, entry: usize) -> Vec<f64> {
        let mut values = self.plain.table[entry % self.plain.codes()].clone();
        let mut rest = entry / self.plain.codes();
        for group in &self.counted {
            let code = rest % group.codes();
            let holding = rest / group.codes() % (group.counted.len() + 1);
            rest /= group.capacity();
            if holding == group.counted.len() {
                for (value, own) in values.iter_mut().zip(&group.table[code]) {
                    *value += own;
                }
            }
        }
        values
    }
}

/// Entries that two groups take together: quickly, if they have no column in common.
fn joint_codes(a: &Group, b: &Group) -> usize {
    let shared = |digit: &Digit| a.digits.iter().any(|other| other.column == digit.column);
    match b.digits.iter().any(shared) {
        true => a.joint_codes(b),
        false => a.codes() * b.codes(),
    }
}

/// A group on its way into a bin.
struct Item {
    group: Group,
    /// With its conditions as digits, if that fits a table.
    spread: Option<Group>,
    outputs: Vec<bool>,
    bootstraps: usize,
}

impl Item {
    fn of(group: Group, scores: usize) -> Self {
        let mut outputs = vec![false; scores];
        for score in group.scores() {
            outputs[score] = true;
        }
        let count = outputs.iter().filter(|o| **o).count();
        let small = group.codes() << group.counted.len().min(ENTRIES) <= ENTRIES;
        Self {
            spread: small.then(|| group.spread()),
            bootstraps: bootstraps(group.capacity(), count),
            outputs,
            group,
        }
    }
}

/// Groups that take most room first, each to where it takes least more.
pub fn pack(groups: Vec<Group>, scores: usize) -> Vec<Packed> {
    let mut items: Vec<Item> = groups.into_iter().map(|g| Item::of(g, scores)).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.group.capacity()));
    let mut bins: Vec<Bin> = Vec::new();
    for item in &items {
        let growth = |(index, bin): (usize, &Bin)| {
            let (way, capacity) = bin.way(item)?;
            // In sixteenths, so that it is a whole number.
            Some((
                index,
                way,
                ENTRIES * ENTRIES * capacity / bin.capacity(),
                capacity,
            ))
        };
        let ways = bins.iter().enumerate().filter_map(growth);
        let best =
            ways.min_by_key(|(_, _, growth, capacity)| (*growth, std::cmp::Reverse(*capacity)));
        match best {
            Some((index, way, _, _)) => bins[index].add(item, &way),
            None => {
                let mut bin = Bin::new(scores);
                bin.add(item, &Way::Beside);
                bins.push(bin);
            }
        }
    }
    bins.iter().map(Bin::packed).collect()
}
