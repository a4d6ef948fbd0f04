//! How well labels and scores answer the truth: accuracy, precision, recall, F1, the area under the ROC curve, confusion.
//!
//! Two classes: precision, recall and F1 are those of the second label, the one above the threshold. More: the mean over the
//! classes that are there (macro average), and the area is the mean over each class against the rest.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Metrics {
    pub accuracy: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// `None` where there are no scores to rank, or but one class.
    pub roc_auc: Option<f64>,
    pub confusion: Confusion,
}

/// Rows of the matrix are the truth, columns the answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Confusion {
    pub labels: Vec<String>,
    pub matrix: Vec<Vec<usize>>,
}

/// One row: the truth, the answer, and how much speaks for each class (or, of one number, for the second class).
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub truth: String,
    pub label: String,
    pub scores: Vec<f64>,
}

impl Metrics {
    /// `labels`: those that the program knows, in its order. Others that come up are put behind them.
    pub fn of(labels: &[String], answers: &[Answer]) -> Self {
        let confusion = Confusion::of(labels, answers);
        let count = answers.len().max(1) as f64;
        let right: usize = (0..confusion.labels.len())
            .map(|class| confusion.matrix[class][class])
            .sum();
        let classes: Vec<usize> = match confusion.labels.len() {
            2 => vec![1],
            classes => (0..classes).filter(|&c| confusion.met(c)).collect(),
        };
        let mean = |of: fn(&Confusion, usize) -> f64| {
            let sum: f64 = classes.iter().map(|&class| of(&confusion, class)).sum();
            sum / classes.len().max(1) as f64
        };
        Self {
            accuracy: right as f64 / count,
            precision: mean(Confusion::precision),
            recall: mean(Confusion::recall),
            f1: mean(Confusion::f1),
            roc_auc: area(labels, answers),
            confusion,
        }
    }
}

/// 0 where nothing is asked about, as scikit-learn has it.
fn part(of: usize, all: usize) -> f64 {
    match all {
        0 => 0.0,
        all => of as f64 / all as f64,
    }
}

impl Confusion {
    fn of(known: &[String], answers: &[Answer]) -> Self {
        let mut labels = known.to_vec();
        for answer in answers {
            for label in [&answer.truth, &answer.label] {
                if !labels.contains(label) {
                    labels.push(label.clone());
                }
            }
        }
        let mut matrix = vec![vec![0; labels.len()]; labels.len()];
        let place = |label: &String| labels.iter().position(|l| l == label);
        for answer in answers {
            if let Some((truth, label)) = place(&answer.truth).zip(place(&answer.label)) {
                matrix[truth][label] += 1;
            }
        }
        Self { labels, matrix }
    }

    fn truths(&self, class: usize) -> usize {
        self.matrix[class].iter().sum()
    }

    fn answers(&self, class: usize) -> usize {
        self.matrix.iter().map(|row| row[class]).sum()
    }

    fn met(&self, class: usize) -> bool {
        self.truths(class) + self.answers(class) > 0
    }

    fn precision(&self, class: usize) -> f64 {
        part(self.matrix[class][class], self.answers(class))
    }

    fn recall(&self, class: usize) -> f64 {
        part(self.matrix[class][class], self.truths(class))
    }

    fn f1(&self, class: usize) -> f64 {
        let both = self.truths(class) + self.answers(class);
        part(2 * self.matrix[class][class], both)
    }
}

fn area(labels: &[String], answers: &[Answer]) -> Option<f64> {
    let scores = answers.first()?.scores.len();
    let against_rest = |class: usize, score: &dyn Fn(&Answer) -> f64| {
        let ranked = answers.iter().map(|a| (score(a), a.truth == labels[class]));
        roc_auc(&ranked.collect::<Vec<_>>())
    };
    match (labels.len(), scores) {
        (2, 1) => against_rest(1, &|a| a.scores[0]),
        (2, 2) => against_rest(1, &|a| a.scores[1] - a.scores[0]),
        (classes, scores) if classes == scores => {
            let each = (0..classes).filter_map(|c| against_rest(c, &|a| a.scores[c]));
            let each: Vec<f64> = each.collect();
            match each.len() {
                0 => None,
                count => Some(each.iter().sum::<f64>() / count as f64),
            }
        }
        _ => None,
    }
}

/// How often a row of the class ranks above one that is not of it; equal ranks count half.
fn roc_auc(ranked: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = ranked.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let inside = sorted.iter().filter(|(_, is)| *is).count() as f64;
    let outside = sorted.len() as f64 - inside;
    if inside == 0.0 || outside == 0.0 {
        return None;
    }
    let (mut below, mut won) = (0.0, 0.0);
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let of_class = equal.iter().filter(|(_, is)| *is).count() as f64;
        let others = equal.len() as f64 - of_class;
        won += of_class * (below + others / 2.0);
        below += others;
    }
    Some(won / (inside * outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[&str], rows: &[(&str, &str, &[f64])]) -> Metrics {
        let labels: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
        let answers: Vec<Answer> = rows
            .iter()
            .map(|(truth, label, scores)| Answer {
                truth: (*truth).to_owned(),
                label: (*label).to_owned(),
                scores: scores.to_vec(),
            })
            .collect();
        Metrics::of(&labels, &answers)
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
    }

    #[test]
    fn two_classes_are_measured_by_the_second() {
        // Truth yes: 0.9, 0.4, 0.8; truth no: 0.7, 0.1. Above 0.5 is yes.
        let got = check(
            &["no", "yes"],
            &[
                ("yes", "yes", &[0.9]),
                ("yes", "no", &[0.4]),
                ("yes", "yes", &[0.8]),
                ("no", "yes", &[0.7]),
                ("no", "no", &[0.1]),
            ],
        );
        close(got.accuracy, 3.0 / 5.0);
        close(got.precision, 2.0 / 3.0);
        close(got.recall, 2.0 / 3.0);
        close(got.f1, 2.0 / 3.0);
        // Of 6 pairs, 0.4 lies below 0.7 alone.
        close(got.roc_auc.unwrap(), 5.0 / 6.0);
        assert_eq!(got.confusion.matrix, [[1, 1], [1, 2]]);
    }

    #[test]
    fn equal_scores_count_half() {
        close(
            roc_auc(&[(0.5, true), (0.5, false), (0.2, false), (0.5, true)]).unwrap(),
            // Each of two against two others: 1/2 and 1.
            0.75,
        );
        assert_eq!(roc_auc(&[(0.5, true)]), None);
        assert_eq!(roc_auc(&[]), None);
    }

    #[test]
    fn more_classes_are_averaged() {
        let got = check(
            &["a", "b", "c"],
            &[
                ("a", "a", &[3.0, 1.0, 0.0]),
                ("a", "b", &[1.0, 2.0, 0.0]),
                ("b", "b", &[0.0, 5.0, 1.0]),
                ("c", "c", &[0.0, 1.0, 2.0]),
            ],
        );
        close(got.accuracy, 0.75);
        close(got.precision, (1.0 + 0.5 + 1.0) / 3.0);
        close(got.recall, (0.5 + 1.0 + 1.0) / 3.0);
        close(got.f1, (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0);
        // a: both above both others. b: 5 above all. c: 2 above 0, 0 and 1.
        close(got.roc_auc.unwrap(), 1.0);
    }

    #[test]
    fn labels_alone_rank_two_classes_and_no_more() {
        let got = check(
            &["no", "yes"],
            &[
                ("yes", "yes", &[1.0]),
                ("no", "yes", &[1.0]),
                ("no", "no", &[0.0]),
            ],
        );
        close(got.roc_auc.unwrap(), 0.75);
        let got = check(&["a", "b", "c"], &[("a", "a", &[0.0]), ("b", "b", &[1.0])]);
        assert_eq!(got.roc_auc, None);
        // c never came up: it is not averaged.
        close(got.recall, 1.0);
    }

    #[test]
    fn a_truth_that_the_program_does_not_know_is_an_error_of_its_own() {
        let got = check(&["a", "b", "c"], &[("z", "a", &[0.0]), ("a", "a", &[0.0])]);
        assert_eq!(got.confusion.labels, ["a", "b", "c", "z"]);
        close(got.accuracy, 0.5);
        close(got.recall, 0.5);
    }

    #[test]
    fn no_rows_at_all_give_zeros() {
        let got = check(&["a", "b"], &[]);
        close(got.accuracy, 0.0);
        close(got.f1, 0.0);
        assert_eq!(got.roc_auc, None);
    }
}
