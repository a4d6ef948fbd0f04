//! Model and program files, and which column of a table is which feature of a model.

use std::path::Path;

use fhe::Program;
use fhe::program::MAX_PROGRAM_BYTES;
use models::Model;

use super::super::Failure;
use super::super::infer::data::Table;

pub(super) fn read_program(path: &Path) -> Result<Program, Failure> {
    let wrong = |why: String| Failure::wrong_input(format!("{}: {why}", path.display()));
    let bytes = std::fs::metadata(path)
        .map_err(|e| wrong(e.to_string()))?
        .len();
    if bytes > MAX_PROGRAM_BYTES as u64 {
        return Err(wrong(format!(
            "{bytes} bytes; a program has at most {MAX_PROGRAM_BYTES}"
        )));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    Program::from_json(&bytes).map_err(|e| wrong(e.to_string()))
}

pub(super) fn read_model(path: &Path) -> Result<Model, Failure> {
    models::read(path).map_err(|e| Failure::wrong_input(format!("{}: {e}", path.display())))
}

/// Gives a model the table's names for its features where its own are none of the table's: many files hold no names, only an
/// order. True if that was done.
pub(super) fn adopt_names(
    model: &mut Model,
    table: &Table,
    label: Option<&str>,
) -> Result<bool, Failure> {
    let header = table.header();
    if model.features.iter().any(|name| header.contains(name)) {
        return Ok(false);
    }
    let rest: Vec<&String> = header
        .iter()
        .filter(|n| Some(n.as_str()) != label)
        .collect();
    if rest.len() != model.features.len() {
        return Err(Failure::wrong_input(format!(
            "the model takes {} columns, `{}` the first, and names none of the {} in the file: leave just its columns in the file, in its order, and name that of the right answers with --label",
            model.features.len(),
            model.features[0],
            rest.len()
        )));
    }
    if let Some(twice) = rest
        .iter()
        .find(|name| rest.iter().filter(|n| n == name).count() > 1)
    {
        return Err(Failure::wrong_input(format!(
            "two columns of the file are called `{twice}`: rename one"
        )));
    }
    model.features = rest.into_iter().cloned().collect();
    Ok(true)
}

/// Gives the model's labels other names, in their order. False, and nothing done, if there are not as many.
pub(super) fn rename_labels(model: &mut Model, names: &[String]) -> bool {
    if model.output.decide.labels().len() != names.len() {
        return false;
    }
    match (&mut model.output.decide, names) {
        (models::Decide::Threshold { below, above, .. }, [first, second]) => {
            (*below, *above) = (first.clone(), second.clone());
        }
        (models::Decide::Greatest { labels }, names) => *labels = names.to_vec(),
        _ => {}
    }
    true
}

/// A column of right answers, in the words of `labels`: 1.0 is the same answer as 1.
pub(super) fn truths(
    table: &Table,
    column: &str,
    labels: &[String],
    limit: usize,
) -> Result<Vec<String>, Failure> {
    let cells = table.texts(column, limit, "--label names it")?;
    let known = |cell: &String| labels.iter().find(|label| same(label, cell));
    if let Some(first) = cells.first()
        && !cells.iter().any(|cell| known(cell).is_some())
    {
        return Err(Failure::wrong_input(format!(
            "column `{column}` holds {first:?} and the like, and the labels are `{}`: give a column that holds those",
            labels.join("`, `")
        )));
    }
    let word = |cell: &String| known(cell).unwrap_or(cell).clone();
    Ok(cells.iter().map(word).collect())
}

fn same(label: &str, cell: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    label == cell || number(label).is_some_and(|label| number(cell) == Some(label))
}

/// Writes through a file beside it, so that nobody ever sees half of it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("cannot write {}: {e}", path.display()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    std::fs::write(&beside, bytes).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_the_same_label() {
        for (label, cell, expected) in [
            ("1", "1.0", true),
            ("1", "2", false),
            ("yes", "yes", true),
            ("yes", "1", false),
        ] {
            assert_eq!(same(label, cell), expected, "{label} {cell}");
        }
    }
}
