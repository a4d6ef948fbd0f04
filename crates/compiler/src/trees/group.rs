//! A function of a few columns that one lookup can give: what a part of a tree adds to the scores.
//!
//! A group reads *digits*, each the class of one column's place, and is *live* only where all its *counted* conditions hold:
//! elsewhere it gives 0. Its capacity is how many entries of a table it takes: the product of its digits' radices times one
//! more than it has counted conditions.

use std::collections::BTreeMap;

use super::cover::Piece;
use super::edges::{Column, Region, Test};
use super::shape::{Shape, Tree};

/// The places of one column, sorted into classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Digit {
    pub column: usize,
    /// Of each place.
    pub classes: Vec<u8>,
    pub radix: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub digits: Vec<Digit>,
    /// Class 1 where the condition holds, else 0.
    pub counted: Vec<Digit>,
    /// Per code (the first digit counts 1, the next one the first one's radix, …), per score.
    pub table: Vec<Vec<f64>>,
}

/// Stands for all places that do not lead to the group's root.
const DEAD: u32 = u32::MAX;

impl Group {
    pub fn constant(scores: usize) -> Self {
        Self {
            digits: vec![],
            counted: vec![],
            table: vec![vec![0.0; scores]],
        }
    }

    /// What a piece of a tree adds.
    pub fn of(tree: &Tree, columns: &[Column], piece: &Piece) -> Self {
        let path = &tree.paths[piece.root];
        let mut tests: BTreeMap<usize, Vec<Test>> = BTreeMap::new();
        for &node in &piece.inner {
            if let Shape::Split { test, .. } = &tree.nodes[node] {
                let tests = tests.entry(test.column).or_default();
                if !tests.contains(test) {
                    tests.push(*test);
                }
            }
        }
        let coded: Vec<Coded> = tests
            .into_iter()
            .map(|(at, tests)| {
                let region = path.get(&at).copied();
                let dead = piece.merged.contains(&at);
                let region = region.unwrap_or_else(|| columns[at].whole());
                Coded::of(at, &columns[at], tests, region, dead)
            })
            .collect();
        let counted = path.iter().filter(|(at, _)| !piece.merged.contains(at));
        let counted = counted
            .map(|(&at, region)| agrees(at, &columns[at], region))
            .collect();
        let walk = Walk {
            tree,
            piece,
            coded: &coded,
        };
        let digits: Vec<Digit> = coded.iter().map(|coded| coded.digit.clone()).collect();
        let codes = digits.iter().map(|digit| digit.radix).product::<usize>();
        let table = (0..codes)
            .map(|code| walk.value(&decode(&digits, code)))
            .collect();
        let mut group = Self {
            digits,
            counted,
            table,
        };
        group.collapse();
        group
    }

    pub fn codes(&self) -> usize {
        self.table.len()
    }

    pub fn capacity(&self) -> usize {
        self.codes() * (self.counted.len() + 1)
    }

    pub fn is_zero(&self) -> bool {
        self.table.iter().flatten().all(|value| *value == 0.0)
    }

    /// Scores that it adds anything to.
    pub fn scores(&self) -> impl Iterator<Item = usize> + '_ {
        let all = 0..self.table.first().map_or(0, Vec::len);
        all.filter(|&score| self.table.iter().any(|values| values[score] != 0.0))
    }

    /// Classes between which the table makes no difference become one.
    fn collapse(&mut self) {
        for at in 0..self.digits.len() {
            let below: usize = self.digits[..at].iter().map(|d| d.radix).product();
            let radix = self.digits[at].radix;
            let same = |a: usize, b: usize| {
                let of = |code: usize, class: usize| {
                    let (low, high) = (code % below, code / below);
                    &self.table[low + below * (class + radix * high)]
                };
                (0..self.table.len() / radix).all(|code| of(code, a) == of(code, b))
            };
            // Each class by the first one that is like it.
            let first: Vec<usize> = (0..radix)
                .map(|class| {
                    (0..class)
                        .find(|&other| same(other, class))
                        .unwrap_or(class)
                })
                .collect();
            let kept: Vec<usize> = (0..radix).filter(|&class| first[class] == class).collect();
            if kept.len() == radix {
                continue;
            }
            let new = |class: u8| {
                let first = first[usize::from(class)];
                kept.iter().take_while(|&&k| k != first).count() as u8
            };
            let classes = self.digits[at].classes.iter().map(|&c| new(c)).collect();
            let entries = self.table.iter().enumerate();
            let table = entries
                .filter(|(code, _)| kept.contains(&(code / below % radix)))
                .map(|(_, values)| values.clone())
                .collect();
            self.table = table;
            self.digits[at].classes = classes;
            self.digits[at].radix = kept.len();
        }
        self.digits.retain(|digit| digit.radix > 1);
    }

    /// The same function with each counted condition as a digit of its own.
    pub fn spread(&self) -> Self {
        if self.counted.is_empty() {
            return self.clone();
        }
        let live = (1 << self.counted.len()) - 1;
        let zero = vec![0.0; self.table[0].len()];
        let mut table = Vec::new();
        for conditions in 0..=live {
            table.extend(self.table.iter().map(|values| match conditions == live {
                true => values.clone(),
                false => zero.clone(),
            }));
        }
        let digits = self.digits.iter().chain(&self.counted).cloned();
        // A column with a digit and a condition has two digits then: joining makes one of them.
        let mut spread = Self::constant(zero.len());
        let digits: Vec<Digit> = digits.collect();
        spread = spread.with_digits(&digits);
        spread.table = spread.read_through(&digits, &table);
        spread.collapse();
        spread
    }

    /// The codes of `digits` as well as its own, with a table that is yet to be filled.
    fn with_digits(&self, digits: &[Digit]) -> Self {
        let mut joint = self.digits.clone();
        for digit in digits {
            match joint.iter_mut().find(|own| own.column == digit.column) {
                Some(own) => *own = refine(own, digit),
                None => joint.push(digit.clone()),
            }
        }
        Self {
            digits: joint,
            counted: vec![],
            table: vec![],
        }
    }

    /// What a table over `digits` gives at each of this group's codes, whose digits tell theirs apart.
    fn read_through(&self, digits: &[Digit], table: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let codes: usize = self.digits.iter().map(|digit| digit.radix).product();
        let places: Vec<Vec<usize>> = self.digits.iter().map(representatives).collect();
        let value = |code: usize| {
            let classes = decode(&self.digits, code);
            let mut at = 0;
            let mut unit = 1;
            for digit in digits {
                let own = self.digits.iter().position(|d| d.column == digit.column);
                let own = own.unwrap_or(0);
                at += unit * usize::from(digit.classes[places[own][classes[own]]]);
                unit *= digit.radix;
            }
            table[at].clone()
        };
        (0..codes).map(value).collect()
    }

    /// Entries that both take together, with the digits that they share; neither has counted conditions.
    pub fn joint_codes(&self, other: &Self) -> usize {
        let joint = self.with_digits(&other.digits);
        joint.digits.iter().map(|digit| digit.radix).product()
    }

    /// The sum of both; neither has counted conditions.
    pub fn join(&self, other: &Self) -> Self {
        let mut joint = self.with_digits(&other.digits);
        let ours = joint.read_through(&self.digits, &self.table);
        let theirs = joint.read_through(&other.digits, &other.table);
        let add = |(ours, theirs): (Vec<f64>, Vec<f64>)| {
            let pairs = ours.iter().zip(&theirs);
            pairs.map(|(a, b)| a + b).collect()
        };
        joint.table = ours.into_iter().zip(theirs).map(add).collect();
        joint
    }
}

/// A place of each class.
fn representatives(digit: &Digit) -> Vec<usize> {
    let of = |class: usize| digit.classes.iter().position(|&c| usize::from(c) == class);
    (0..digit.radix)
        .map(|class| of(class).unwrap_or(0))
        .collect()
}

/// Tells apart what either tells apart.
fn refine(a: &Digit, b: &Digit) -> Digit {
    let mut met: Vec<(u8, u8)> = Vec::new();
    let pairs = a.classes.iter().zip(&b.classes);
    let classes = pairs
        .map(
            |(&a, &b)| match met.iter().position(|&pair| pair == (a, b)) {
                Some(class) => class as u8,
                None => {
                    met.push((a, b));
                    (met.len() - 1) as u8
                }
            },
        )
        .collect();
    Digit {
        column: a.column,
        classes,
        radix: met.len(),
    }
}

pub fn decode(digits: &[Digit], mut code: usize) -> Vec<usize> {
    let class = |digit: &Digit| {
        let class = code % digit.radix;
        code /= digit.radix;
        class
    };
    digits.iter().map(class).collect()
}

fn agrees(at: usize, column: &Column, region: &Region) -> Digit {
    let classes = (0..column.places()).map(|place| u8::from(region.contains(column, place)));
    Digit {
        column: at,
        classes: classes.collect(),
        radix: 2,
    }
}

/// A digit made of the tests of one column.
struct Coded {
    digit: Digit,
    tests: Vec<Test>,
    /// Of each class, which tests hold, a bit each; or `DEAD`.
    signatures: Vec<u32>,
}

impl Coded {
    fn of(at: usize, column: &Column, tests: Vec<Test>, region: Region, dead: bool) -> Self {
        let signature = |place: usize| {
            let bits = tests.iter().enumerate();
            bits.fold(0, |sum, (bit, test)| {
                sum | u32::from(test.holds(column, place)) << bit
            })
        };
        let inside = |place: &usize| region.contains(column, *place);
        let any = (0..column.places()).find(inside).unwrap_or(0);
        let of_place = |place: usize| match (inside(&place), dead) {
            (true, _) => signature(place),
            (false, true) => DEAD,
            // Its conditions make it dead, whatever is read here: like its neighbour, for the simplest sum.
            (false, false) if region.low <= region.high && place <= column.edges.len() => {
                signature(place.clamp(region.low, region.high))
            }
            (false, false) => signature(any),
        };
        let mut signatures: Vec<u32> = Vec::new();
        let classes = (0..column.places())
            .map(|place| {
                let signature = of_place(place);
                match signatures.iter().position(|&s| s == signature) {
                    Some(class) => class as u8,
                    None => {
                        signatures.push(signature);
                        (signatures.len() - 1) as u8
                    }
                }
            })
            .collect();
        Self {
            digit: Digit {
                column: at,
                classes,
                radix: signatures.len(),
            },
            tests,
            signatures,
        }
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    piece: &'a Piece,
    coded: &'a [Coded],
}

impl Walk<'_> {
    fn value(&self, classes: &[usize]) -> Vec<f64> {
        let signatures = self.coded.iter().zip(classes);
        let signatures: Vec<u32> = signatures.map(|(c, &at)| c.signatures[at]).collect();
        if signatures.contains(&DEAD) {
            return vec![0.0; self.piece.given.len()];
        }
        let mut at = self.piece.root;
        loop {
            let value = match &self.tree.nodes[at] {
                Shape::Leaf(values) => values,
                Shape::Split { test, above, below } => match self.piece.left.get(&at) {
                    Some(default) => default,
                    None => {
                        at = match self.holds(test, &signatures) {
                            true => *above,
                            false => *below,
                        };
                        continue;
                    }
                },
            };
            let pairs = value.iter().zip(&self.piece.given);
            return pairs.map(|(value, given)| value - given).collect();
        }
    }

    fn holds(&self, test: &Test, signatures: &[u32]) -> bool {
        let coded = self.coded.iter().zip(signatures);
        let mut own = coded.filter(|(coded, _)| coded.digit.column == test.column);
        own.next().is_some_and(|(coded, signature)| {
            let bit = coded.tests.iter().position(|t| t == test);
            bit.is_some_and(|bit| signature >> bit & 1 == 1)
        })
    }
}
