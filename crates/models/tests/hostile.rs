//! Files that were made up or damaged: each is refused with an error that says what is wrong, and none panics, loops or takes long.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use models::{
    Body, Decide, Link, Model, ModelError, Node, Output, SourceFormat, Tree, Trees, limits,
    read_bytes,
};
use proptest::prelude::*;

/// The error of a file, which must have one, within a time that no loop would keep to.
fn refused(bytes: &[u8]) -> String {
    let start = Instant::now();
    let error = read_bytes(bytes)
        .expect_err("this file must be refused")
        .to_string();
    assert!(start.elapsed() < Duration::from_secs(20), "{error}");
    error
}

fn says(bytes: &[u8], words: &[&str]) {
    let error = refused(bytes);
    for word in words {
        assert!(error.contains(word), "\"{word}\" is not in: {error}");
    }
}

// ---- XGBoost ----

fn list<T: ToString>(values: &[T]) -> String {
    values
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A file with one tree of the given lists, and with two features.
fn xgboost(left: &[i64], right: &[i64], features: &[u32], conditions: &str) -> Vec<u8> {
    let defaults = list(&vec![0; left.len()]);
    let (left, right, features) = (list(left), list(right), list(features));
    format!(
        r#"{{"learner":{{"feature_names":[],"gradient_booster":{{"name":"gbtree","model":{{"tree_info":[0],"trees":[
        {{"left_children":[{left}],"right_children":[{right}],"split_indices":[{features}],"split_conditions":[{conditions}],"default_left":[{defaults}]}}]}}}},
        "learner_model_param":{{"base_score":"5E-1","num_class":"0","num_feature":"2"}},"objective":{{"name":"binary:logistic"}}}}}}"#
    )
    .into_bytes()
}

fn good() -> String {
    String::from_utf8(xgboost(&[1, -1, -1], &[2, -1, -1], &[0, 0, 0], "0.5,1,-1")).unwrap()
}

#[test]
fn the_file_that_the_others_are_made_of_is_good() {
    let model = read_bytes(good().as_bytes()).unwrap();
    assert_eq!(model.scores(&[0.5, 0.0]), [-1.0]);
    assert_eq!(model.scores(&[0.4, 0.0]), [1.0]);
    assert_eq!(model.features, ["f0", "f1"]);
}

#[test]
fn a_tree_whose_nodes_form_a_circle_is_refused() {
    says(
        &xgboost(&[1, 0, -1], &[2, 2, -1], &[0, 0, 0], "0,0,0"),
        &["circle", "Save it again"],
    );
    says(&xgboost(&[0], &[0], &[0], "0"), &["circle"]);
    // Two splits that share a leaf.
    says(
        &xgboost(&[1, 2, -1], &[2, 2, -1], &[0, 0, 0], "0,0,0"),
        &["reached twice"],
    );
}

#[test]
fn children_and_features_out_of_range_are_refused() {
    says(
        &xgboost(&[1, -1], &[7, -1], &[0, 0], "0,0"),
        &["leads to node 7"],
    );
    says(
        &xgboost(&[1, -1], &[-5, -1], &[0, 0], "0,0"),
        &["leads to node"],
    );
    says(
        &xgboost(&[1, -1, -1], &[2, -1, -1], &[2, 0, 0], "0,0,0"),
        &["feature 2", "there are 2"],
    );
    says(
        &xgboost(&[1, -1, -1], &[2, -1, -1], &[0, 0], "0,0,0"),
        &["different lengths"],
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    says(
        &xgboost(&[1, -1, -1], &[2, -1, -1], &[0, 0, 0], "1e39,1,1"),
        &["threshold", "not a finite number"],
    );
    says(
        &xgboost(&[1, -1, -1], &[2, -1, -1], &[0, 0, 0], "0,-1e39,1"),
        &["not a finite number"],
    );
    says(
        &xgboost(&[1, -1, -1], &[2, -1, -1], &[0, 0, 0], "NaN,1,1"),
        &["begin like JSON, and are not"],
    );
    says(good().replace("5E-1", "2").as_bytes(), &["base_score"]);
    says(good().replace("5E-1", "NaN").as_bytes(), &["base_score"]);
}

#[test]
fn counts_that_are_declared_take_no_memory() {
    says(
        good()
            .replace(r#""num_feature":"2""#, r#""num_feature":"4000000000""#)
            .as_bytes(),
        &["4000000000 features"],
    );
    says(
        good()
            .replace(r#""num_class":"0""#, r#""num_class":"99999999999""#)
            .as_bytes(),
        &["scores", "more than"],
    );
    says(
        good()
            .replace(r#""num_class":"0""#, r#""num_class":"-1""#)
            .as_bytes(),
        &["num_class", "no count"],
    );
}

#[test]
fn names_that_are_double_or_too_long_are_refused() {
    let named = |names: &str| {
        good().replace(
            r#""feature_names":[]"#,
            &format!(r#""feature_names":[{names}]"#),
        )
    };
    says(
        named(r#""a","a""#).as_bytes(),
        &["two features are called \"a\""],
    );
    says(named(r#""a""#).as_bytes(), &["names 1 features and has 2"]);
    says(
        named(&format!(r#""a","{}""#, "b".repeat(300))).as_bytes(),
        &["300 bytes"],
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_splits_is_refused_and_overflows_no_stack() {
    let nodes = 200_001_i64;
    // Node 2k is a split with the leaf 2k + 1 and the split 2k + 2.
    let child = |first: i64| {
        (0..nodes)
            .map(|at| {
                if at % 2 == 0 && at + 2 < nodes {
                    at + first
                } else {
                    -1
                }
            })
            .collect::<Vec<_>>()
    };
    let file = xgboost(
        &child(1),
        &child(2),
        &vec![0; nodes as usize],
        &list(&vec![1; nodes as usize]),
    );
    says(&file, &["257 splits above a leaf", "256"]);
}

#[test]
fn what_is_not_supported_says_what_to_do() {
    says(
        good().replace("binary:logistic", "survival:aft").as_bytes(),
        &["survival:aft", "use binary:logistic"],
    );
    says(
        good()
            .replace(
                r#""default_left""#,
                r#""split_type":[1,0,0],"default_left""#,
            )
            .as_bytes(),
        &["categorical", "one-hot"],
    );
}

// ---- LightGBM ----

fn lightgbm(tree: &str) -> Vec<u8> {
    format!(
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=binary sigmoid:1\nfeature_names=a b\n\nTree=0\n{tree}\n\nend of trees\n"
    )
    .into_bytes()
}

fn two_leaves(decision: u8, threshold: &str, left: i64) -> Vec<u8> {
    lightgbm(&format!(
        "num_leaves=2\nnum_cat=0\nsplit_feature=1\nthreshold={threshold}\ndecision_type={decision}\nleft_child={left}\nright_child=-2\nleaf_value=1 2\nis_linear=0"
    ))
}

#[test]
fn lightgbm_files_that_lie_are_refused() {
    assert_eq!(
        read_bytes(&two_leaves(2, "0.5", -1))
            .unwrap()
            .scores(&[0.0, 0.5]),
        [1.0]
    );
    says(&two_leaves(1, "0.5", -1), &["categorical", "one-hot"]);
    says(&two_leaves(2, "nan", -1), &["not a finite number"]);
    says(&two_leaves(2, "inf", -1), &["not a finite number"]);
    says(&two_leaves(2, "x", -1), &["no number"]);
    says(&two_leaves(2, "0.5", 0), &["circle"]);
    says(&two_leaves(2, "0.5", -2), &["reached twice"]);
    says(&two_leaves(2, "0.5", i64::MIN), &["leads to node"]);
    says(&two_leaves(2, "0.5", i64::MAX), &["leads to node"]);
    says(&two_leaves(4, "0.5", -1), &["zero_as_missing"]);
    says(
        &lightgbm("num_leaves=4000000000"),
        &["8000000000 tree nodes"],
    );
    says(
        &lightgbm("num_leaves=18446744073709551615"),
        &["tree nodes"],
    );
    says(&lightgbm("num_leaves=0"), &["no leaves"]);
    says(
        &lightgbm("num_leaves=1\nleaf_value=1\nis_linear=1"),
        &["linear trees"],
    );
    let text = String::from_utf8(two_leaves(2, "0.5", -1)).unwrap();
    says(text.replace("end of trees", "").as_bytes(), &["cut off"]);
    says(
        text.replace("Tree=0", "Tree=1").as_bytes(),
        &["tree 0 is missing"],
    );
    says(
        text.replace("feature_names=a b", "feature_names=a a")
            .as_bytes(),
        &["two features are called"],
    );
    says(
        text.replace("max_feature_idx=1", "max_feature_idx=18446744073709551615")
            .as_bytes(),
        &["features"],
    );
    says(
        text.replace("iteration=1", "iteration=0").as_bytes(),
        &["num_tree_per_iteration"],
    );
}

// ---- CatBoost ----

fn catboost(trees: &str, scores: &str) -> Vec<u8> {
    format!(
        r#"{{"features_info":{{"float_features":[{{"feature_index":0,"flat_feature_index":0,"borders":[0.5],"nan_value_treatment":"AsIs"}}]}},
        "model_info":{{"params":{{"loss_function":{{"type":"RMSE"}}}}}},{trees},"scale_and_bias":[1,[{scores}]]}}"#
    )
    .into_bytes()
}

#[test]
fn catboost_files_that_lie_are_refused() {
    let split = r#"{"border":0.5,"float_feature_index":0,"split_type":"FloatFeature"}"#;
    let symmetric = |splits: &str, values: &str| {
        catboost(
            &format!(r#""oblivious_trees":[{{"splits":[{splits}],"leaf_values":[{values}]}}]"#),
            "0",
        )
    };
    assert_eq!(
        read_bytes(&symmetric(split, "1,2")).unwrap().scores(&[0.6]),
        [2.0]
    );
    says(&symmetric(split, "1,2,3"), &["3 leaf values for 2 leaves"]);
    says(
        &symmetric(&[split; 17].join(","), "1"),
        &["17 splits above a leaf"],
    );
    says(&symmetric(&[split; 2000].join(","), "1"), &["2000 splits"]);
    says(
        &symmetric(&split.replace("index\":0", "index\":1"), "1,2"),
        &["feature 1", "there are 1"],
    );
    says(
        &symmetric(&split.replace("0.5", "1e200"), "1,2"),
        &["border", "not a finite number"],
    );
    says(
        &symmetric(&split.replace("FloatFeature", "OnlineCtr"), "1,2"),
        &["OnlineCtr", "one-hot"],
    );
    says(
        &catboost(r#""trees":[{"left":{"value":1},"right":{"value":2}}]"#, "0"),
        &["neither a split"],
    );
    says(
        &catboost(r#""trees":[{"value":[1,2]}]"#, "0"),
        &["2 values for 1 scores"],
    );
    says(&catboost(r#""x":1"#, "0"), &["one list of trees"]);
    // As deep as a file can be nested.
    let deep = [
        r#"{"left":"#.repeat(100_000),
        r#"{"value":1}"#.to_owned(),
        format!(r#","right":{{"value":1}},"split":{split}}}"#).repeat(100_000),
    ]
    .concat();
    says(
        &catboost(&format!(r#""trees":[{deep}]"#), "0"),
        &["nested", "smaller depth"],
    );
    says(
        &catboost(&format!(r#""trees":[{}0]"#, "{},".repeat(20_000)), "0"),
        &["10000 entries"],
    );
    says("[".repeat(1_000_000).as_bytes(), &["begin like none"]);
    says(
        "{\"a\":".repeat(1_000_000).as_bytes(),
        &["begin like JSON, and are not"],
    );
}

// ---- ONNX, written field by field ----

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

fn int(number: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3, &mut out);
    varint(value as u64, &mut out);
    out
}

fn ints(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| int(8, *value)).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    field(
        7,
        &values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    )
}

fn texts(values: &[&str]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| field(9, value.as_bytes()))
        .collect()
}

fn attribute(name: &str, content: Vec<u8>) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), content].concat())
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs
        .iter()
        .flat_map(|input| field(1, input.as_bytes()))
        .collect::<Vec<_>>();
    field(
        1,
        &[
            inputs,
            field(2, output.as_bytes()),
            field(4, operator.as_bytes()),
            attributes.concat(),
        ]
        .concat(),
    )
}

fn info(number: u64, name: &str, width: i64) -> Vec<u8> {
    let dims = [field(1, &[]), field(1, &int(1, width))].concat();
    let tensor = [int(1, 1), field(2, &dims)].concat();
    field(
        number,
        &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat(),
    )
}

fn constant(name: &str, dims: &[i64], raw: &[f32]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|dim| int(1, *dim)).collect::<Vec<_>>();
    let raw = field(
        9,
        &raw.iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<_>>(),
    );
    field(
        5,
        &[dims, int(2, 1), field(8, name.as_bytes()), raw].concat(),
    )
}

fn onnx(parts: &[Vec<u8>], width: i64) -> Vec<u8> {
    let graph = [parts.concat(), info(11, "x", width), info(12, "y", 1)].concat();
    [int(1, 8), field(7, &graph)].concat()
}

/// One tree of two leaves, with its lists replaced.
fn onnx_tree(mode: &str, feature: i64, threshold: f32, if_true: i64, value: f32) -> Vec<u8> {
    let tree = node(
        "TreeEnsembleRegressor",
        &["x"],
        "y",
        &[
            attribute("nodes_treeids", ints(&[0, 0, 0])),
            attribute("nodes_nodeids", ints(&[0, 1, 2])),
            attribute("nodes_featureids", ints(&[feature, 0, 0])),
            attribute("nodes_modes", texts(&[mode, "LEAF", "LEAF"])),
            attribute("nodes_values", floats(&[threshold, 0.0, 0.0])),
            attribute("nodes_truenodeids", ints(&[if_true, 0, 0])),
            attribute("nodes_falsenodeids", ints(&[2, 0, 0])),
            attribute("target_treeids", ints(&[0, 0])),
            attribute("target_nodeids", ints(&[1, 2])),
            attribute("target_ids", ints(&[0, 0])),
            attribute("target_weights", floats(&[value, 2.0])),
        ],
    );
    onnx(&[tree], 2)
}

#[test]
fn every_comparison_of_onnx_goes_the_right_way() {
    // True leads to 1, false to 2; NaN is never true.
    for (mode, below, at, above) in [
        ("BRANCH_LEQ", 1.0, 1.0, 2.0),
        ("BRANCH_LT", 1.0, 2.0, 2.0),
        ("BRANCH_GTE", 2.0, 1.0, 1.0),
        ("BRANCH_GT", 2.0, 2.0, 1.0),
    ] {
        let model = read_bytes(&onnx_tree(mode, 0, 0.5, 1, 1.0)).unwrap();
        let score = |x: f64| model.scores(&[x, 0.0])[0];
        assert_eq!(
            [score(0.4), score(0.5), score(0.6), score(f64::NAN)],
            [below, at, above, 2.0],
            "{mode}"
        );
        // These round to the threshold.
        assert_eq!(
            [score(0.5_f64.next_down()), score(0.5_f64.next_up())],
            [at, at],
            "{mode}"
        );
    }
}

#[test]
fn onnx_trees_that_lie_are_refused() {
    for mode in ["BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "what"] {
        says(&onnx_tree(mode, 0, 0.5, 1, 1.0), &[mode, "BRANCH_LEQ"]);
    }
    says(
        &onnx_tree("BRANCH_LEQ", 2, 0.5, 1, 1.0),
        &["feature 2", "there are 2"],
    );
    says(&onnx_tree("BRANCH_LEQ", -1, 0.5, 1, 1.0), &["feature -1"]);
    says(
        &onnx_tree("BRANCH_LEQ", 0, f32::NAN, 1, 1.0),
        &["threshold", "not a finite number"],
    );
    says(
        &onnx_tree("BRANCH_LEQ", 0, f32::NEG_INFINITY, 1, 1.0),
        &["not a finite number"],
    );
    says(
        &onnx_tree("BRANCH_LEQ", 0, 0.5, 1, f32::INFINITY),
        &["not a finite number"],
    );
    says(&onnx_tree("BRANCH_LEQ", 0, 0.5, 9, 1.0), &["leads to node"]);
    says(&onnx_tree("BRANCH_LEQ", 0, 0.5, 0, 1.0), &["circle"]);
    says(&onnx_tree("BRANCH_LEQ", 0, 0.5, 2, 1.0), &["reached twice"]);
}

#[test]
fn onnx_graphs_that_lie_are_refused() {
    let matmul = || node("MatMul", &["x", "w"], "y", &[]);
    let file = |dims: &[i64], raw: &[f32]| onnx(&[constant("w", dims, raw), matmul()], 2);
    assert_eq!(
        read_bytes(&file(&[2, 1], &[1.0, 2.0]))
            .unwrap()
            .scores(&[3.0, 4.0]),
        [11.0]
    );
    says(&file(&[1 << 40, 1 << 40], &[1.0]), &["numbers in a tensor"]);
    says(&file(&[i64::MAX, 3], &[1.0]), &["numbers in a tensor"]);
    says(&file(&[-1, 3], &[1.0]), &["dimension -1"]);
    says(&file(&[2, 1], &[1.0]), &["has 1 numbers", "say 2"]);
    says(&file(&[1; 9], &[1.0]), &["9 dimensions"]);
    says(
        &file(&[3, 1], &[1.0, 2.0, 3.0]),
        &["shape [3, 1]", "2 inputs"],
    );
    says(
        &file(&[2, 1], &[1.0, f32::NAN]),
        &["NaN", "not a finite number"],
    );
    says(&onnx(&[matmul()], 2), &["nothing before its use", "\"w\""]);
    says(&onnx(&[], 2), &["nothing before its use"]);
    says(
        &onnx(
            &[constant("x", &[1], &[1.0]), constant("x", &[1], &[1.0])],
            2,
        ),
        &["two values are called \"x\""],
    );
    says(&onnx(&[], 1 << 40), &["features"]);
    says(&onnx(&[], 0), &["number of features is not said"]);
    says(
        &onnx(&[node("Conv", &["x"], "y", &[])], 2),
        &["operator Conv", "TreeEnsembleRegressor"],
    );
    says(
        &onnx(&[node("Imputer", &["x"], "y", &[])], 2),
        &["Imputer", "missing values"],
    );
    says(
        &onnx(&[node("Relu", &["x"], "y", &[])], 2),
        &["Relu on the input"],
    );
    says(
        &onnx(&[node("Normalizer", &["x"], "y", &[])], 2),
        &["Normalizer", "StandardScaler"],
    );
    says(
        &onnx(&[node("Identity", &["x"], "y", &[])], 2),
        &["the output y, which is the input"],
    );
    let regression = || {
        node(
            "LinearRegressor",
            &["x"],
            "s",
            &[attribute("coefficients", floats(&[1.0, 2.0]))],
        )
    };
    let greatest = node("ArgMax", &["s"], "y", &[attribute("axis", int(3, 1))]);
    says(&onnx(&[regression(), greatest], 2), &["ArgMax on scores"]);
    let two = [regression(), node("Identity", &["s"], "y", &[])];
    assert_eq!(
        read_bytes(&onnx(&two, 2)).unwrap().scores(&[3.0, 4.0]),
        [11.0]
    );
    let probit = attribute("post_transform", field(4, b"PROBIT"));
    says(
        &onnx(
            &[node(
                "LinearRegressor",
                &["x"],
                "y",
                &[attribute("coefficients", floats(&[1.0, 2.0])), probit],
            )],
            2,
        ),
        &["PROBIT", "LOGISTIC"],
    );
}

#[test]
fn an_onnx_graph_of_many_small_parts_is_refused_before_it_is_decoded() {
    let empty_nodes = [0x0a, 0x00].repeat(5_000_000);
    says(
        &[int(1, 8), field(7, &empty_nodes)].concat(),
        &["parts in an ONNX graph"],
    );
    let many_texts = field(1, &field(5, &[0x4a, 0x00].repeat(3_000_000)));
    says(
        &[int(1, 8), field(7, &many_texts)].concat(),
        &["texts in an ONNX graph"],
    );
    // Each joins all columns to themselves: twice as many every time.
    let mut nodes = vec![node(
        "Concat",
        &["x", "x"],
        "a0",
        &[attribute("axis", int(3, 1))],
    )];
    for at in 0..40 {
        let input = format!("a{at}");
        nodes.push(node(
            "Concat",
            &[&input, &input],
            &format!("a{}", at + 1),
            &[attribute("axis", int(3, 1))],
        ));
    }
    says(&onnx(&nodes, 2), &["features"]);
    let mut nodes = Vec::new();
    for at in 0..2_000 {
        let input = if at == 0 {
            "x".to_owned()
        } else {
            format!("b{}", at - 1)
        };
        nodes.push(node(
            "Cast",
            &[&input],
            &format!("b{at}"),
            &[attribute("to", int(3, 1))],
        ));
    }
    says(
        &onnx(&nodes, 16_384),
        &["numbers in operators that follow one another"],
    );
}

// ---- Models put together by hand, and files of no format ----

fn by_hand(nodes: Vec<Node>) -> Result<(), ModelError> {
    let model = Model {
        source: SourceFormat::Onnx,
        features: vec!["a".to_owned()],
        body: Body::Trees(Trees {
            trees: vec![Tree { nodes }],
            base: vec![0.0],
        }),
        output: Output {
            names: vec!["b".to_owned()],
            link: Link::Identity,
            decide: Decide::None,
        },
    };
    // Whatever a model is, evaluating it ends.
    model.scores(&[1.0]);
    model.scores(&[]);
    model.check()
}

#[test]
fn a_model_made_by_hand_is_held_to_the_rules() {
    let split = |if_above, otherwise| Node::Split {
        feature: 0,
        above: 0.0,
        if_above,
        otherwise,
        missing_above: false,
    };
    let leaf = || Node::Leaf {
        values: vec![(0, 1.0)],
    };
    assert_eq!(by_hand(vec![split(1, 2), leaf(), leaf()]), Ok(()));
    for nodes in [
        vec![],
        vec![split(0, 0)],
        vec![split(1, 1), leaf()],
        vec![split(1, 9), leaf()],
        vec![leaf(), leaf()],
        vec![Node::Leaf {
            values: vec![(1, 0.0)],
        }],
        vec![Node::Leaf {
            values: vec![(0, f64::NAN)],
        }],
        vec![Node::Leaf {
            values: vec![(0, 0.0), (0, 0.0)],
        }],
    ] {
        assert!(matches!(by_hand(nodes), Err(ModelError::Invalid(_))));
    }
}

#[test]
fn bytes_of_no_format_say_what_can_be_read() {
    says(b"", &["empty", "What can be read", "LightGBM"]);
    says(b"   ", &["empty"]);
    says(b"hello", &["begin like none"]);
    says(b"{}", &["neither \"learner\""]);
    says(b"{\"learner\":1}", &["XGBoost", "damaged"]);
    says(b"CBM1xxxx", &["format=\"json\""]);
    says(b"{L\0\0\0\0\0\0\0\x07learner", &["UBJSON", ".json"]);
    says(b"tree\n\xff", &["UTF-8"]);
    says(&[0x08], &["ONNX"]);
    says(&vec![b' '; limits::BYTES_MAX + 1], &["bytes", "more than"]);
    let missing = models::read(Path::new("no/such/file"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no/such/file cannot be read"), "{missing}");
}

// ---- Fixtures, damaged ----

fn fixtures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "csv"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Reads what may be anything; where it is a model after all, it keeps the rules and can be evaluated.
fn survive(bytes: &[u8]) {
    let start = Instant::now();
    if let Ok(model) = read_bytes(bytes) {
        model.check().unwrap();
        for value in [0.0, 1e300, -1.5, f64::NAN] {
            let scores = model.scores(&vec![value; model.features.len()]);
            assert_eq!(scores.len(), model.output.names.len());
            assert_eq!(model.linked(&scores).len(), scores.len());
            model.label(&scores);
        }
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_fixture_cut_off_anywhere_is_survived() {
    for fixture in fixtures() {
        for part in 0..100 {
            survive(&fixture[..fixture.len() * part / 100]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_damaged_fixture_is_survived(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        splice in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..80)),
    ) {
        thread_local!(static FIXTURES: Vec<Vec<u8>> = fixtures());
        FIXTURES.with(|all| {
            let mut bytes = which.get(all).clone();
            for (at, with) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            if let Some((from, to, other, len)) = splice {
                let other = other.get(all);
                let from = from.index(other.len());
                let part = &other[from..(from + len).min(other.len())];
                let to = to.index(bytes.len());
                bytes.splice(to..(to + len / 2).min(bytes.len()), part.iter().copied());
            }
            survive(&bytes);
        });
    }

    /// Digits become other digits, and numbers others of their kind: what is still well formed, and false.
    #[test]
    fn numbers_that_were_changed_are_survived(
        which in any::<prop::sample::Index>(),
        places in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..8),
        number in prop::sample::select(vec!["-1", "99999999999999999999", "1e999", "1e38", "4294967296", "null", "[]", "0.5"]),
        at in any::<prop::sample::Index>(),
    ) {
        thread_local!(static TEXTS: Vec<Vec<u8>> = fixtures().into_iter().filter(|bytes| bytes[0] != 8).collect());
        TEXTS.with(|all| {
            let mut bytes = which.get(all).clone();
            let digits: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
            for (place, digit) in places {
                bytes[*place.get(&digits)] = digit;
            }
            survive(&bytes);
            let at = *at.get(&digits);
            bytes.splice(at..=at, number.bytes());
            survive(&bytes);
        });
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), start in prop::sample::select(vec!["", "{", "tree\n", "\x08\x08", "\x08\x08:"])) {
        survive(&[start.as_bytes(), &bytes].concat());
    }
}
