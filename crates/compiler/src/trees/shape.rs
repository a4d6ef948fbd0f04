//! A tree as the layout sees it: tests of places, leaf values of every score, and nothing that no row can reach.

use std::collections::BTreeMap;

use models::Node;

use super::edges::{Column, Missing, Region, Test};

/// What stands in a leaf, as what is looked for: one value a score.
pub type LeafValue<'a> = dyn Fn(&[(u32, f64)]) -> Vec<f64> + 'a;

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Split {
        test: Test,
        above: usize,
        below: usize,
    },
    Leaf(Vec<f64>),
}

/// Node 0 is the root, and children come after their parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub nodes: Vec<Shape>,
    /// What led to each node: the columns that were tested, with the places that are left.
    pub paths: Vec<BTreeMap<usize, Region>>,
}

/// While it is being cut down.
#[derive(Clone, PartialEq)]
enum Draft {
    Split(Test, Box<Draft>, Box<Draft>),
    Leaf(Vec<f64>),
}

impl Tree {
    /// `value` makes of a leaf what is looked for: a value for each score.
    pub fn of(tree: &models::Tree, columns: &[Column], value: &LeafValue<'_>) -> Self {
        let cut = Cut {
            tree,
            columns,
            value,
        };
        let draft = cut.node(0, &BTreeMap::new());
        let mut this = Self {
            nodes: Vec::new(),
            paths: Vec::new(),
        };
        this.place(draft, columns, BTreeMap::new());
        this
    }

    fn place(&mut self, draft: Draft, columns: &[Column], path: BTreeMap<usize, Region>) -> usize {
        let at = self.nodes.len();
        self.paths.push(path.clone());
        match draft {
            Draft::Leaf(values) => self.nodes.push(Shape::Leaf(values)),
            Draft::Split(test, above, below) => {
                self.nodes.push(Shape::Leaf(Vec::new()));
                let behind = |is_above| behind(&path, columns, &test, is_above);
                let (to_above, to_below) = (behind(true), behind(false));
                let above = self.place(*above, columns, to_above.unwrap_or_default());
                let below = self.place(*below, columns, to_below.unwrap_or_default());
                self.nodes[at] = Shape::Split { test, above, below };
            }
        }
        at
    }

    pub fn leaves(&self) -> impl Iterator<Item = &Vec<f64>> {
        self.nodes.iter().filter_map(|node| match node {
            Shape::Leaf(values) => Some(values),
            Shape::Split { .. } => None,
        })
    }
}

/// The path behind a test; `None` if nothing gets there.
fn behind(
    path: &BTreeMap<usize, Region>,
    columns: &[Column],
    test: &Test,
    above: bool,
) -> Option<BTreeMap<usize, Region>> {
    let region = path.get(&test.column).copied();
    let region = region.unwrap_or_else(|| columns[test.column].whole());
    let mut path = path.clone();
    path.insert(test.column, region.behind(test, above)?);
    Some(path)
}

struct Cut<'a> {
    tree: &'a models::Tree,
    columns: &'a [Column],
    value: &'a LeafValue<'a>,
}

impl Cut<'_> {
    /// No deeper than the reader lets a tree be.
    fn node(&self, at: u32, path: &BTreeMap<usize, Region>) -> Draft {
        let (feature, edge, to_above, to_below, missing_above) =
            match self.tree.nodes.get(at as usize) {
                None => return Draft::Leaf((self.value)(&[])),
                Some(Node::Leaf { values }) => return Draft::Leaf((self.value)(values)),
                Some(Node::Split {
                    feature,
                    above,
                    if_above,
                    otherwise,
                    missing_above,
                }) => (*feature, *above, *if_above, *otherwise, *missing_above),
            };
        let test = Test {
            column: feature as usize,
            edge: self.columns[feature as usize].edge(edge),
            missing_above: missing_above
                && self.columns[feature as usize].missing == Missing::Apart,
        };
        let above = behind(path, self.columns, &test, true);
        let below = behind(path, self.columns, &test, false);
        let above = above.map(|path| self.node(to_above, &path));
        let below = below.map(|path| self.node(to_below, &path));
        match (above, below) {
            (Some(above), Some(below)) if above == below => above,
            (Some(above), Some(below)) => Draft::Split(test, Box::new(above), Box::new(below)),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => Draft::Leaf((self.value)(&[])),
        }
    }
}
