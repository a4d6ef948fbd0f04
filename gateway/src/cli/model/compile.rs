//! `veilgate model compile`: a trained model and rows like those to be asked → a program, and what that cost.

use std::path::PathBuf;

use compiler::{Calibration, Compiled, Options, Output, TextOptions};
use fhe::program::{MAX_NAME_BYTES, MAX_PROGRAM_BYTES};
use fhe::text::Norm;
use fhe::{Program, PublicProgram};
use models::Model;

use super::super::Failure;
use super::super::infer::data;
use super::super::keys::size;
use super::files;

/// More than this share of labels, or of accuracy, and a person is warned.
const TOLERATED: f64 = 0.02;

#[derive(clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// The model: ONNX, XGBoost JSON, LightGBM text or CatBoost JSON
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Rows like those that will be asked: a CSV file with a header. Ranges and costs are taken from it
    #[arg(long, value_name = "FILE")]
    calibration: PathBuf,
    /// Where the program is written
    #[arg(long, short, value_name = "FILE")]
    output_file: PathBuf,
    /// The program's name: a-z, 0-9 and `-`; by default the model file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The program's version
    #[arg(long, value_name = "N", default_value_t = 1)]
    version: u32,
    /// What the program is, for those who use it
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// What a client gets: scores tell more of the model than labels do
    #[arg(long, value_enum, default_value_t = Gets::Scores)]
    output: Gets,
    /// Trees: so many evenly filled bins a column, in place of the model's own edges (clients see the edges)
    #[arg(long, value_name = "N")]
    uniform_bins: Option<usize>,
    /// Linear models and networks: bits of an encrypted input
    #[arg(long, value_name = "N", default_value_t = 10)]
    input_bits: u32,
    /// The column of the calibration file that holds the right answer, to show what the program costs in accuracy
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// What the model's labels are called, in their order: many files only number them
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// The column of the calibration file that holds a text: of linear models of HashingVectorizer(alternate_sign=False)
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["uniform_bins", "label"])]
    text: Option<String>,
    /// With --text: the norm that the vectorizer was told
    #[arg(long, value_enum, default_value_t = TextNorm::None, requires = "text")]
    text_norm: TextNorm,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum TextNorm {
    /// Plain counts of words
    None,
    /// Counts as shares of their Euclidean length
    L2,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Gets {
    /// The model's scores, from which the client makes label and probabilities
    Scores,
    /// The label alone
    Labels,
    /// The probability in 16 steps: of logistic models with one score that are no trees
    Probability,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(column) = &args.text {
        return run_texts(args, column);
    }
    let mut model = files::read_model(&args.model)?;
    let table = data::read(&args.calibration)?;
    let adopted = files::adopt_names(&mut model, &table, args.label.as_deref())?;
    let rows = table.columns_with_gaps(&model.features, usize::MAX)?;
    rename_labels(&mut model, args)?;
    let known = model.output.decide.labels();
    let labels = args.label.as_deref();
    let labels = labels
        .map(|name| files::truths(&table, name, &known, usize::MAX))
        .transpose()?;
    let calibration = Calibration { rows };
    let options = options(args)?;
    let Compiled { program, notes } = compiler::compile(&model, &calibration, &options)
        .map_err(|e| Failure::wrong_input(format!("{}: {e}", args.model.display())))?;
    write_program(args, &model, &program)?;
    if adopted {
        println!("  the model names none of the file's columns: they are taken in their order");
    }
    notes.iter().for_each(|note| println!("  {note}"));
    warn(&model, &program, &calibration.rows, labels.as_deref());
    println!(
        "  see what it costs with `veilgate model inspect {0}`, and what it finds with `veilgate model evaluate {0}`",
        args.output_file.display()
    );
    Ok(())
}

/// A model of texts: its columns are buckets, which the table does not have.
fn run_texts(args: &Args, column: &str) -> Result<(), Failure> {
    let mut model = files::read_model(&args.model)?;
    rename_labels(&mut model, args)?;
    let table = data::read(&args.calibration)?;
    let texts = table.texts(column, usize::MAX, "--text names it")?;
    let how = TextOptions {
        column: column.to_owned(),
        norm: match args.text_norm {
            TextNorm::None => Norm::None,
            TextNorm::L2 => Norm::L2,
        },
        most: None,
    };
    let Compiled { program, notes } = compiler::text(&model, &texts, &how, &options(args)?)
        .map_err(|e| Failure::wrong_input(format!("{}: {e}", args.model.display())))?;
    write_program(args, &model, &program)?;
    notes.iter().for_each(|note| println!("  {note}"));
    Ok(())
}

fn write_program(args: &Args, model: &Model, program: &Program) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(program.file()).map_err(|e| Failure::new(e.to_string()))?;
    if bytes.len() > MAX_PROGRAM_BYTES {
        return Err(Failure::wrong_input(format!(
            "{}: the program would take {}, and {} is the most that a gateway reads; train a smaller model",
            args.model.display(),
            size(bytes.len() as u64),
            size(MAX_PROGRAM_BYTES as u64)
        )));
    }
    files::write(&args.output_file, &bytes)?;
    println!(
        "{} (version {}) from {}: {}, written to {}",
        program.name(),
        program.version(),
        model.source,
        size(bytes.len() as u64),
        args.output_file.display()
    );
    Ok(())
}

fn rename_labels(model: &mut Model, args: &Args) -> Result<(), Failure> {
    let Some(names) = &args.labels else {
        return Ok(());
    };
    let known = model.output.decide.labels();
    if files::rename_labels(model, names) {
        return Ok(());
    }
    Err(Failure::wrong_input(format!(
        "--labels names {}, and the model has {}: {}",
        names.len(),
        known.len(),
        known.join(", ")
    )))
}

fn options(args: &Args) -> Result<Options, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.model),
    };
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(sound) {
        return Err(Failure::wrong_input(format!(
            "{name:?} is no name of a program: give one with --name, 1 to {MAX_NAME_BYTES} of a-z, 0-9 and `-`"
        )));
    }
    Ok(Options {
        name,
        version: args.version,
        description: args.description.clone(),
        output: match args.output {
            Gets::Scores => Output::Scores,
            Gets::Labels => Output::Labels,
            Gets::Probability => Output::Probability,
        },
        input_bits: args.input_bits,
        uniform_bins: args.uniform_bins,
    })
}

/// A program's name from that of a model's file.
fn name_of(path: &std::path::Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let name: String = stem.chars().map(letter).take(MAX_NAME_BYTES).collect();
    name.trim_matches('-').to_owned()
}

/// Says what compiling cost in accuracy, and what would help where it cost too much.
fn warn(model: &Model, program: &Program, rows: &[Vec<f64>], labels: Option<&[String]>) {
    let mut much = false;
    if let Some(labels) = labels {
        let before = share(rows, labels, |row| {
            model.label(&model.scores(row)).map(str::to_owned)
        });
        let asked = Asked::new(model, program);
        let after = share(rows, labels, |row| asked.label(row));
        if let Some((before, after)) = before.zip(after) {
            println!(
                "  right labels: {:.1} % by the model, {:.1} % by the program in the clear",
                before * 100.0,
                after * 100.0
            );
            much |= before - after > TOLERATED;
        }
    }
    let agreement = compiler::agreement(model, program, rows);
    much |= agreement.labels_changed_by_noise.unwrap_or(0.0) > TOLERATED;
    if much {
        eprintln!(
            "veilgate: warning: this program answers otherwise than its model on more than {:.0} % of the rows; {}",
            TOLERATED * 100.0,
            help(model)
        );
    }
}

fn help(model: &Model) -> &'static str {
    match &model.body {
        models::Body::Linear(_) => {
            "give more --input-bits, and calibration rows that cover all that will be asked"
        }
        models::Body::Mlp(_) => {
            "more --input-bits help little: train with weight decay, with fewer inputs a unit, or with activations that saturate (ReLU6, tanh), and calibrate with more rows"
        }
        models::Body::Trees(_) => {
            "give more --uniform-bins, or leave them out: the model's own edges cost no accuracy"
        }
    }
}

/// How many rows get the right label; `None` where there are no labels.
fn share(
    rows: &[Vec<f64>],
    labels: &[String],
    mut label: impl FnMut(&[f64]) -> Option<String>,
) -> Option<f64> {
    let found: Vec<bool> = rows
        .iter()
        .zip(labels)
        .filter_map(|(row, right)| Some(label(row)? == *right))
        .collect();
    match found.len() {
        0 => None,
        count => Some(found.iter().filter(|right| **right).count() as f64 / count as f64),
    }
}

/// A program asked in the clear, with rows in the order of a model's features.
struct Asked<'a> {
    program: &'a Program,
    public: PublicProgram,
    places: Vec<usize>,
}

impl<'a> Asked<'a> {
    fn new(model: &Model, program: &'a Program) -> Self {
        let public = PublicProgram::from(program);
        let place = |name: &String| model.features.iter().position(|f| f == name);
        Self {
            places: public.columns.iter().filter_map(place).collect(),
            program,
            public,
        }
    }

    fn label(&self, row: &[f64]) -> Option<String> {
        let row: Vec<f64> = self.places.iter().map(|&place| row[place]).collect();
        let inputs = self.public.encode(0, &row).ok()?;
        let scores = self
            .public
            .clear_scores(&self.program.evaluate_clear(&inputs)?);
        self.public.label(&scores).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_from_the_file() {
        for (path, name) in [
            ("a/Breast_Cancer v2.onnx", "breast-cancer-v2"),
            ("-x-.json", "x"),
            ("é.json", ""),
        ] {
            assert_eq!(name_of(std::path::Path::new(path)), name);
        }
    }

    #[test]
    fn rows_without_a_label_do_not_count() {
        let rows = [vec![1.0], vec![2.0], vec![3.0]];
        let labels = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
        let found = share(&rows, &labels, |row| (row[0] < 2.5).then(|| "a".to_owned()));
        assert_eq!(found, Some(0.5));
        assert_eq!(share(&rows, &labels, |_| None), None);
    }
}
