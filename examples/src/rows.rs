//! Labelled rows of a CSV file: numbers in the order of a program's columns, or texts.

use std::path::Path;

use crate::client::Error;

pub struct Table {
    pub rows: Vec<Vec<f64>>,
    pub labels: Vec<String>,
}

impl Table {
    /// The file has a header, numbers, and a column `label`.
    pub fn read(path: &Path, columns: &[String]) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let place = |column: &str| {
            let found = names.iter().position(|name| *name == column);
            found.ok_or_else(|| Error::new(format!("{}: no column {column:?}", path.display())))
        };
        let places = columns
            .iter()
            .map(|c| place(c))
            .collect::<Result<Vec<_>, _>>()?;
        let label = place("label")?;
        let mut table = Self {
            rows: Vec::new(),
            labels: Vec::new(),
        };
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            let value = |&place: &usize| fields.get(place).and_then(|field| field.parse().ok());
            let row: Option<Vec<f64>> = places.iter().map(value).collect();
            let wrong = || Error::new(format!("{}: not numbers: {line}", path.display()));
            table.rows.push(row.ok_or_else(wrong)?);
            table
                .labels
                .push((*fields.get(label).ok_or_else(wrong)?).to_owned());
        }
        Ok(table)
    }
}

/// Texts with their labels, of a file with the columns `text` and `label`. A text in quotes may hold commas and quotes, and no
/// line break.
pub fn texts(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let file = std::fs::read_to_string(path)?;
    let text_of = |line: &str| {
        let (text, label) = line.rsplit_once(',')?;
        let quoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let text = match quoted {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => text.to_owned(),
        };
        Some((text, label.to_owned()))
    };
    let wrong = |line: &str| Error::new(format!("{}: no text and label: {line}", path.display()));
    let lines = file.lines().skip(1);
    lines
        .map(|line| text_of(line).ok_or_else(|| wrong(line)))
        .collect()
}
