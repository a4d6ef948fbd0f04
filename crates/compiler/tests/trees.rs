//! Trees as programs: the same scores within what is promised, the same labels, and as few lookups as known shapes allow.

use std::fs;
use std::path::{Path, PathBuf};

use compiler::{Calibration, Compiled, Options, Output, compile};
use fhe::PublicProgram;
use models::{Body, Decide, Link, Model, Node, SourceFormat, Tree, Trees};
use proptest::prelude::*;

fn options() -> Options {
    Options::new("test")
}

fn labels_only() -> Options {
    Options {
        output: Output::Labels,
        ..options()
    }
}

/// "never off by more than 1.234e-2" of each score's note.
fn bounds(compiled: &Compiled) -> Vec<f64> {
    let after = |note: &String| {
        Some(
            note.split_once("never off by more than ")?
                .1
                .parse()
                .unwrap(),
        )
    };
    compiled.notes.iter().filter_map(after).collect()
}

fn clear(compiled: &Compiled, row: &[f64]) -> (Vec<f64>, Option<String>) {
    let public = PublicProgram::from(&compiled.program);
    let inputs = public.encode(0, row).unwrap();
    let results = compiled.program.evaluate_clear(&inputs).unwrap();
    let scores = public.clear_scores(&results);
    let label = public.label(&scores).map(str::to_owned);
    (scores.iter().map(|score| score.value).collect(), label)
}

/// Whether no score lies so near to where the label changes that the bound could cross it.
fn label_is_clear(model: &Model, scores: &[f64], bounds: &[f64]) -> bool {
    match &model.output.decide {
        Decide::None => true,
        Decide::Threshold { at, .. } => (scores[0] - at).abs() > bounds[0],
        Decide::Greatest { .. } => {
            let best = (0..scores.len()).reduce(|b, s| if scores[s] > scores[b] { s } else { b });
            let best = best.unwrap();
            (0..scores.len())
                .all(|s| s == best || scores[best] - scores[s] > bounds[s] + bounds[best])
        }
    }
}

/// Holds the program against the model on these rows; gives the share of rows with the model's label.
fn check(model: &Model, compiled: &Compiled, rows: &[Vec<f64>]) -> f64 {
    let bounds: Vec<f64> = bounds(compiled)
        .iter()
        .map(|bound| bound * 1.001 + 1e-9)
        .collect();
    assert_eq!(
        bounds.len(),
        model.output.names.len(),
        "{:?}",
        compiled.notes
    );
    let mut same = 0;
    for row in rows {
        let expected = model.scores(row);
        let (scores, label) = clear(compiled, row);
        for ((score, expected), bound) in scores.iter().zip(&expected).zip(&bounds) {
            assert!(
                (score - expected).abs() <= *bound,
                "{score} for {expected}, bound {bound}, row {row:?}"
            );
        }
        let is_same = label.as_deref() == model.label(&expected);
        same += usize::from(is_same);
        assert!(
            is_same || !label_is_clear(model, &expected, &bounds),
            "{row:?}"
        );
    }
    let leaves = leaves(model);
    let bootstraps = compiled.program.bootstraps_per_row();
    assert!(bootstraps <= leaves, "{bootstraps} for {leaves} leaves");
    same as f64 / rows.len() as f64
}

/// Leaves, each times the scores that it has values for.
fn leaves(model: &Model) -> usize {
    let Body::Trees(trees) = &model.body else {
        panic!("no trees")
    };
    let nodes = trees.trees.iter().flat_map(|tree| &tree.nodes);
    let values = nodes.map(|node| match node {
        Node::Leaf { values } => values.len().max(1),
        Node::Split { .. } => 0,
    });
    values.sum()
}

// Fixtures: what libraries wrote.

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/data");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "csv"))
        .collect();
    files.sort();
    files
}

fn fixture_rows(model: &Path) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(model.with_extension("csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let columns = head.iter().filter(|name| name.starts_with('x')).count();
    let value = |cell: &&str| match cell.is_empty() {
        true => f64::NAN,
        false => cell.parse().unwrap(),
    };
    let rows = lines.map(|cells| cells[..columns].iter().map(value).collect());
    // A client encrypts finite numbers and missing ones.
    rows.filter(|row: &Vec<f64>| !row.iter().any(|x| x.is_infinite()))
        .collect()
}

#[test]
fn every_fixture_with_trees_keeps_its_labels() {
    let mut met = 0;
    for path in fixtures() {
        let model = models::read(&path).unwrap();
        let Body::Trees(trees) = &model.body else {
            continue;
        };
        met += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let rows = fixture_rows(&path);
        let calibration = Calibration { rows: rows.clone() };
        let compiled = compile(&model, &calibration, &options())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let same = check(&model, &compiled, &rows);
        println!(
            "{name}: {} trees, {} leaf values, {} bootstraps, {} results, {} inputs, labels {same:.3}\n    {}",
            trees.trees.len(),
            leaves(&model),
            compiled.program.bootstraps_per_row(),
            compiled.program.result_count(),
            compiled.program.input_count(),
            compiled.notes.join("\n    ")
        );
        assert!(same >= 0.97, "{name}: {same}");
    }
    assert!(met >= 30, "{met}");
}

// Shapes that are made up.

/// Numbers that are the same in every run for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Maker {
    random: Random,
    columns: u64,
    edges: u64,
    scores: u32,
    /// Each tree speaks for one score, or has a value for all of them in each leaf.
    vectors: bool,
    missing: bool,
    /// Different leaf values.
    values: u64,
}

impl Maker {
    fn node(&mut self, nodes: &mut Vec<Node>, depth: u32, score: u32) -> u32 {
        let at = nodes.len() as u32;
        nodes.push(Node::Leaf { values: vec![] });
        if depth == 0 || self.random.one_in(5) {
            let scores = if self.vectors {
                0..self.scores
            } else {
                score..score + 1
            };
            let value = |s| (s, self.random.below(self.values) as f64 * 0.37 - 1.0);
            nodes[at as usize] = Node::Leaf {
                values: scores.map(value).collect(),
            };
            return at;
        }
        let feature = self.random.below(self.columns) as u32;
        let above = self.random.below(self.edges) as f64;
        let missing_above = self.missing && self.random.one_in(2);
        let if_above = self.node(nodes, depth - 1, score);
        let otherwise = self.node(nodes, depth - 1, score);
        nodes[at as usize] = Node::Split {
            feature,
            above,
            if_above,
            otherwise,
            missing_above,
        };
        at
    }

    fn model(&mut self, trees: u64, depth: u32) -> Model {
        let trees: Vec<Tree> = (0..trees)
            .map(|tree| {
                let mut nodes = Vec::new();
                self.node(&mut nodes, depth, tree as u32 % self.scores);
                Tree { nodes }
            })
            .collect();
        model(trees, self.columns as usize, self.scores as usize)
    }

    /// On the edges, between them, beyond them; and missing.
    fn rows(&mut self, count: usize) -> Vec<Vec<f64>> {
        let value = |random: &mut Random, edges: u64, missing: bool| match random.below(8) {
            0 if missing => f64::NAN,
            1..=3 => random.below(edges) as f64,
            _ => random.below(2 * edges + 2) as f64 / 2.0 - 0.75,
        };
        (0..count)
            .map(|_| {
                let columns = 0..self.columns;
                columns
                    .map(|_| value(&mut self.random, self.edges, self.missing))
                    .collect()
            })
            .collect()
    }
}

fn model(trees: Vec<Tree>, columns: usize, scores: usize) -> Model {
    let names: Vec<String> = (0..scores).map(|score| format!("class {score}")).collect();
    Model {
        source: SourceFormat::XgboostJson,
        features: (0..columns).map(|at| format!("f{at}")).collect(),
        body: Body::Trees(Trees {
            trees,
            base: vec![0.25; scores],
        }),
        output: models::Output {
            names: names.clone(),
            link: if scores == 1 {
                Link::Logistic
            } else {
                Link::LogisticShare
            },
            decide: match scores {
                1 => Decide::Threshold {
                    at: 0.1,
                    below: "no".into(),
                    above: "yes".into(),
                },
                _ => Decide::Greatest { labels: names },
            },
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_give_the_models_scores(
        seed in any::<u64>(),
        trees in 1u64..6,
        depth in 1u32..7,
        columns in 1u64..7,
        edges in 1u64..5,
        scores in 1u32..4,
        vectors in any::<bool>(),
        missing in any::<bool>(),
        values in prop_oneof![Just(2u64), Just(4), Just(1000)],
    ) {
        let mut maker = Maker { random: Random(seed), columns, edges, scores, vectors, missing, values };
        let model = maker.model(trees, depth);
        let calibration = Calibration { rows: maker.rows(60) };
        match compile(&model, &calibration, &options()) {
            Ok(compiled) => {
                check(&model, &compiled, &calibration.rows);
                let mut rows = maker.rows(60);
                let accepts = |row: &Vec<f64>| PublicProgram::from(&compiled.program).encode(0, row).is_ok();
                rows.retain(accepts);
                check(&model, &compiled, &rows);
            }
            Err(error) => prop_assert!(error.to_string().contains("same answer"), "{error}"),
        }
    }

    #[test]
    fn one_tree_gives_its_labels_exactly(
        seed in any::<u64>(),
        depth in 1u32..7,
        columns in 1u64..7,
        edges in 1u64..5,
        scores in 1u32..4,
        missing in any::<bool>(),
    ) {
        let mut maker = Maker { random: Random(seed), columns, edges, scores, vectors: true, missing, values: 9 };
        let model = maker.model(1, depth);
        let calibration = Calibration { rows: maker.rows(60) };
        if let Ok(compiled) = compile(&model, &calibration, &labels_only()) {
            for row in &calibration.rows {
                let label = clear(&compiled, row).1;
                prop_assert_eq!(label.as_deref(), model.label(&model.scores(row)));
            }
        }
    }
}

/// A complete tree: the test of each node from its level and its place in the level, all leaves different.
fn complete(depth: u32, test: &dyn Fn(u32, u32) -> (u32, f64)) -> Tree {
    let mut nodes = Vec::new();
    for level in 0..depth {
        for place in 0..1 << level {
            let (feature, above) = test(level, place);
            let child = (2 << level) - 1 + 2 * place;
            nodes.push(Node::Split {
                feature,
                above,
                if_above: child,
                otherwise: child + 1,
                missing_above: false,
            });
        }
    }
    let leaf = |place: u32| Node::Leaf {
        values: vec![(0, f64::from(place * place) * 0.1)],
    };
    nodes.extend((0..1 << depth).map(leaf));
    Tree { nodes }
}

/// Compiles, checks on random rows, and gives the number of bootstraps.
fn bootstraps(trees: Vec<Tree>, columns: usize) -> usize {
    let model = model(trees, columns, 1);
    model.check().unwrap();
    let mut maker = Maker {
        random: Random(7),
        columns: columns as u64,
        edges: 3,
        scores: 1,
        vectors: false,
        missing: true,
        values: 2,
    };
    let calibration = Calibration {
        rows: maker.rows(200),
    };
    let compiled = compile(&model, &calibration, &options()).unwrap();
    check(&model, &compiled, &calibration.rows);
    compiled.program.bootstraps_per_row()
}

#[test]
fn known_shapes_cost_what_they_can_cost_at_best() {
    let column_of_node = |level: u32, place: u32| ((1 << level) - 1 + place, 1.0);
    // Two splits in a chain, and three, fit one lookup.
    assert_eq!(bootstraps(vec![complete(1, &column_of_node)], 1), 1);
    assert_eq!(bootstraps(vec![complete(2, &column_of_node)], 3), 1);
    // Each half of a tree of depth 3 is three splits under one condition.
    assert_eq!(bootstraps(vec![complete(3, &column_of_node)], 7), 2);
    // Symmetric: the same test everywhere in a level.
    assert_eq!(
        bootstraps(vec![complete(4, &|level, _| (level, 1.0))], 4),
        1
    );
    // Stumps: four of different columns, or all of one.
    let stump = |column: u32, edge: f64| complete(1, &move |_, _| (column, edge));
    assert_eq!(bootstraps((0..4).map(|c| stump(c, 1.0)).collect(), 4), 1);
    assert_eq!(bootstraps((0..8).map(|c| stump(c, 1.0)).collect(), 8), 2);
    assert_eq!(
        bootstraps((0..15).map(|e| stump(0, f64::from(e))).collect(), 1),
        1
    );
    assert_eq!(
        bootstraps((0..40).map(|e| stump(0, f64::from(e % 15))).collect(), 1),
        1
    );
    // A ladder of splits on one column is one interval after the other.
    assert_eq!(
        bootstraps(
            vec![complete(3, &|level, place| (
                0,
                [3.0, 1.0, 5.0, 0.0, 2.0, 4.0, 6.0][((1 << level) - 1 + place) as usize]
            ))],
            1
        ),
        1
    );
}

#[test]
fn hundreds_of_trees_are_laid_out_in_a_while() {
    let mut maker = Maker {
        random: Random(3),
        columns: 12,
        edges: 40,
        scores: 1,
        vectors: false,
        missing: false,
        values: 1000,
    };
    let model = maker.model(100, 6);
    let calibration = Calibration {
        rows: maker.rows(500),
    };
    let start = std::time::Instant::now();
    let compiled = compile(&model, &calibration, &options()).unwrap();
    println!(
        "{:?}\n{} leaves\n{}",
        start.elapsed(),
        leaves(&model),
        compiled.notes.join("\n")
    );
    check(&model, &compiled, &maker.rows(100));
}

// What ships in examples/models: trained as their users would, with rows that they have not seen.

fn example_rows(name: &str) -> (Vec<Vec<f64>>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/models")
        .join(name);
    let text = fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let (values, label) = line.rsplit_once(',').unwrap();
        let values = values
            .split(',')
            .map(|cell| cell.parse().unwrap_or(f64::NAN));
        (values.collect(), label.to_owned())
    };
    text.lines().skip(1).map(row).unzip()
}

/// Compiles an example; gives the bootstraps, and how many held-out rows keep the model's label.
fn example(name: &str, data: &str, options: &Options) -> (usize, f64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/trained");
    let model = models::read(&path.join(name)).unwrap();
    let calibration = Calibration {
        rows: example_rows(&format!("trained/{data}-train.csv")).0,
    };
    let start = std::time::Instant::now();
    let compiled = compile(&model, &calibration, options).unwrap();
    let took = start.elapsed();
    let (rows, labels) = example_rows(&format!("{data}-test.csv"));
    let same = match options.output == Output::Scores && options.uniform_bins.is_none() {
        true => check(&model, &compiled, &rows),
        false => {
            let same = |row: &&Vec<f64>| {
                clear(&compiled, row).1.as_deref() == model.label(&model.scores(row))
            };
            rows.iter().filter(same).count() as f64 / rows.len() as f64
        }
    };
    let right = rows.iter().zip(&labels);
    let right = right.filter(|(row, label)| clear(&compiled, row).1.as_ref() == Some(label));
    println!(
        "{name}: {} bootstraps for {} leaves, {} results, labels kept {same:.4}, right {:.4}, {took:?}\n    {}",
        compiled.program.bootstraps_per_row(),
        leaves(&model),
        compiled.program.result_count(),
        right.count() as f64 / rows.len() as f64,
        compiled.notes.join("\n    ")
    );
    (compiled.program.bootstraps_per_row(), same)
}

#[test]
fn the_examples_keep_their_labels() {
    let check = |name: &str, data: &str, most: usize| {
        let (bootstraps, same) = example(name, data, &options());
        assert!(bootstraps <= most, "{name}: {bootstraps}");
        assert!(same >= 0.99, "{name}: {same}");
    };
    check("breast-cancer-tree.onnx", "breast-cancer", 10);
    check("breast-cancer-forest.onnx", "breast-cancer", 100);
    check("breast-cancer-boosted.json", "breast-cancer", 100);
    check("breast-cancer-trees.json", "breast-cancer", 12);
    check("flows-boosted.json", "flows", 100);
}

#[test]
fn labels_alone_and_uniform_bins() {
    let (bootstraps, same) = example("breast-cancer-tree.onnx", "breast-cancer", &labels_only());
    assert!(bootstraps <= 5 && same == 1.0, "{bootstraps}, {same}");
    let uniform = Options {
        uniform_bins: Some(16),
        ..options()
    };
    let (_, same) = example("breast-cancer-boosted.json", "breast-cancer", &uniform);
    assert!(same >= 0.95, "{same}");
}

fn check_refused(model: &Model, rows: Vec<Vec<f64>>, options: &Options, text: &str) {
    let error = compile(model, &Calibration { rows }, options).unwrap_err();
    assert!(error.to_string().contains(text), "{error}");
    println!("{error}");
}

/// Each split has a leaf above it, and the next split below it.
fn ladder(splits: u32) -> Tree {
    let mut nodes = Vec::new();
    for at in 0..splits {
        nodes.push(Node::Split {
            feature: at,
            above: 0.5,
            if_above: 2 * at + 1,
            otherwise: 2 * at + 2,
            missing_above: false,
        });
        nodes.push(Node::Leaf {
            values: vec![(0, f64::from(at * at))],
        });
    }
    nodes.push(Node::Leaf {
        values: vec![(0, -1.0)],
    });
    Tree { nodes }
}

#[test]
fn fifteen_conditions_are_counted_and_no_more() {
    let rows = |columns: usize| -> Vec<Vec<f64>> {
        let row = |one: usize| {
            (0..columns)
                .map(|at| f64::from(u8::from(at == one)))
                .collect()
        };
        (0..=columns).map(row).collect()
    };
    let most = model(vec![ladder(15)], 15, 1);
    most.check().unwrap();
    let calibration = Calibration { rows: rows(15) };
    let compiled = compile(&most, &calibration, &options()).unwrap();
    check(&most, &compiled, &calibration.rows);
    assert!(compiled.program.bootstraps_per_row() <= 10);
    let deep = model(vec![ladder(16)], 16, 1);
    check_refused(&deep, rows(16), &options(), "`max_depth` of 15");
}

#[test]
fn missing_values_that_cost_lookups_are_refused_unless_calibration_has_them() {
    let split = |above, missing_above, if_above| Node::Split {
        feature: 0,
        above,
        if_above,
        otherwise: if_above + 1,
        missing_above,
    };
    let leaf = |value| Node::Leaf {
        values: vec![(0, value)],
    };
    // Missing counts as not above 1, and as above 2: like no value.
    let nodes = vec![
        split(2.0, true, 1),
        leaf(1.0),
        split(1.0, false, 3),
        leaf(5.0),
        leaf(9.0),
    ];
    let second = Tree {
        nodes: vec![split(1.0, false, 1), leaf(0.5), leaf(0.0)],
    };
    let model = model(vec![Tree { nodes }, second], 1, 1);
    let mut rows = vec![vec![0.5], vec![1.5], vec![2.5], vec![1.0], vec![2.0]];
    let compiled = compile(&model, &Calibration { rows: rows.clone() }, &options()).unwrap();
    assert!(
        compiled
            .notes
            .iter()
            .any(|note| note.contains("refused in f0"))
    );
    let public = PublicProgram::from(&compiled.program);
    assert!(public.encode(0, &[f64::NAN]).is_err());
    rows.push(vec![f64::NAN]);
    let compiled = compile(&model, &Calibration { rows: rows.clone() }, &options()).unwrap();
    check(&model, &compiled, &rows);
    assert_eq!(compiled.program.bootstraps_per_row(), 1);
}

#[test]
fn a_vote_of_few_trees_gives_its_label_and_a_fine_sum_does_not() {
    let stump = |column: u32| {
        let mut tree = complete(1, &move |_, _| (column, 1.0));
        tree.nodes[1] = Node::Leaf {
            values: vec![(0, 1.0)],
        };
        tree.nodes[2] = Node::Leaf {
            values: vec![(0, 0.0)],
        };
        tree
    };
    let mut vote = model((0..9).map(stump).collect(), 9, 1);
    vote.output.decide = Decide::Threshold {
        at: 4.75,
        below: "no".into(),
        above: "yes".into(),
    };
    let rows = |columns: usize, count: u64| -> Vec<Vec<f64>> {
        let mut random = Random(5);
        let mut row = || (0..columns).map(|_| random.below(3) as f64).collect();
        (0..count).map(|_| row()).collect()
    };
    let calibration = Calibration { rows: rows(9, 300) };
    let compiled = compile(&vote, &calibration, &labels_only()).unwrap();
    for row in &calibration.rows {
        assert_eq!(
            clear(&compiled, row).1.as_deref(),
            vote.label(&vote.scores(row))
        );
    }
    assert_eq!(compiled.program.bootstraps_per_row(), 4);
    assert_eq!(compiled.program.rounds().len(), 2);

    // The same of two scores.
    let second = |mut tree: Tree| {
        tree.nodes[1] = Node::Leaf {
            values: vec![(0, 0.0), (1, 1.0)],
        };
        tree.nodes[2] = Node::Leaf {
            values: vec![(0, 1.0), (1, 0.0)],
        };
        tree
    };
    let two = model((0..9).map(stump).map(second).collect(), 9, 2);
    let compiled = compile(&two, &calibration, &labels_only()).unwrap();
    for row in &calibration.rows {
        assert_eq!(
            clear(&compiled, row).1.as_deref(),
            two.label(&two.scores(row))
        );
    }
    let mut many = model((0..60).map(stump).collect(), 60, 1);
    check_refused(
        &many,
        rows(60, 300),
        &labels_only(),
        "decide in the same way",
    );
    many.output.decide = Decide::Threshold {
        at: 20.75,
        below: "no".into(),
        above: "yes".into(),
    };
    check_refused(&many, rows(60, 300), &labels_only(), "keep only");
    let classes = model(vec![stump(0), stump(1)], 2, 3);
    check_refused(
        &classes,
        rows(2, 9),
        &labels_only(),
        "no lookup compares two sums",
    );
    let mut value = model(vec![stump(0), stump(1)], 2, 1);
    value.output.decide = Decide::None;
    check_refused(&value, rows(2, 9), &labels_only(), "ask for scores");
    let constant = model(
        vec![Tree {
            nodes: vec![Node::Leaf {
                values: vec![(0, 1.0)],
            }],
        }],
        2,
        1,
    );
    check_refused(&constant, rows(2, 9), &options(), "same answer");
}

#[test]
fn uniform_bins_are_all_inputs_and_hide_which_are_used() {
    let tree = complete(2, &|level, place| (level, 40.0 + f64::from(10 * place)));
    let model = model(vec![tree], 3, 1);
    let rows: Vec<Vec<f64>> = (0..100)
        .map(|at| vec![f64::from(at), f64::from(99 - at), 0.0])
        .collect();
    let uniform = Options {
        uniform_bins: Some(10),
        ..options()
    };
    let compiled = compile(&model, &Calibration { rows }, &uniform).unwrap();
    // Nine edges of each of the two columns that are used.
    assert_eq!(compiled.program.input_count(), 18);
    assert!(
        compiled.notes[0].contains("10 evenly filled bins"),
        "{:?}",
        compiled.notes
    );
    let one = Options {
        uniform_bins: Some(1),
        ..options()
    };
    check_refused(&model, vec![vec![0.0; 3]], &one, "2 or more");
}

#[test]
fn a_vote_in_parts_of_one_is_exact() {
    // Each of 9 trees gives a ninth or nothing, which no binary number is.
    let tree = |column: u32| {
        let mut tree = complete(2, &move |level, place| (column + level, f64::from(place)));
        for (at, node) in tree.nodes.iter_mut().enumerate().skip(3) {
            let value = if at % 2 == 0 { 1.0 / 9.0 } else { 0.0 };
            *node = Node::Leaf {
                values: vec![(0, value)],
            };
        }
        tree
    };
    let model = model((0..9).map(tree).collect(), 10, 1);
    let mut random = Random(9);
    let mut row = || {
        (0..10)
            .map(|_| random.below(4) as f64 - 0.5)
            .collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = (0..200).map(|_| row()).collect();
    let compiled = compile(&model, &Calibration { rows: rows.clone() }, &options()).unwrap();
    check(&model, &compiled, &rows);
    assert!(bounds(&compiled)[0] < 1e-9, "{:?}", compiled.notes);
}
