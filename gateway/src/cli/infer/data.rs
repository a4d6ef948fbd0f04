//! A CSV file with a header, as RFC 4180 has it: cells in quotes may hold commas, quotes and line breaks.

use std::path::Path;

use crate::cli::Failure;

/// Larger files are for another tool.
const MAX_FILE_BYTES: u64 = 256 << 20;

#[derive(Debug)]
pub(in crate::cli) struct Table {
    name: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

pub(in crate::cli) fn read(path: &Path) -> Result<Table, Failure> {
    let wrong = |why: String| Failure::wrong_input(format!("{}: {why}", path.display()));
    let bytes = std::fs::metadata(path)
        .map_err(|e| wrong(e.to_string()))?
        .len();
    if bytes > MAX_FILE_BYTES {
        return Err(wrong(format!(
            "{bytes} bytes; at most {MAX_FILE_BYTES} are read"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    parse(&path.display().to_string(), &text).map_err(wrong)
}

fn parse(name: &str, text: &str) -> Result<Table, String> {
    let mut records = records(text.trim_start_matches('\u{feff}'))?.into_iter();
    let header = records.next().ok_or("the file is empty")?.cells;
    let row = |record: Record| match record.cells.len() == header.len() {
        true => Ok(record.cells),
        false => Err(format!(
            "line {}: {} cells, and the header has {}",
            record.line,
            record.cells.len(),
            header.len()
        )),
    };
    Ok(Table {
        name: name.to_owned(),
        rows: records.map(row).collect::<Result<_, _>>()?,
        header,
    })
}

/// Cells that end with one line break outside of quotes, and the line on which they begin.
struct Record {
    line: usize,
    cells: Vec<String>,
}

/// All records but those of empty lines.
fn records(text: &str) -> Result<Vec<Record>, String> {
    let (mut records, mut cells) = (Vec::new(), Vec::new());
    let (mut cell, mut quoted) = (String::new(), false);
    let (mut line, mut begun, mut opened) = (1, 1, 1);
    let mut chars = text.chars().peekable();
    let mut end = |cells: &mut Vec<String>, cell: &mut String, line: usize| {
        cells.push(std::mem::take(cell).trim().to_owned());
        let cells = std::mem::take(cells);
        if cells.iter().any(|cell| !cell.is_empty()) || cells.len() > 1 {
            records.push(Record { line, cells });
        }
    };
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => (quoted, opened) = (!quoted, line),
            ',' if !quoted => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            '\n' if !quoted => {
                end(&mut cells, &mut cell, begun);
                begun = line;
            }
            c => cell.push(c),
        }
    }
    if quoted {
        return Err(format!("line {opened}: a quote is not closed"));
    }
    end(&mut cells, &mut cell, begun);
    Ok(records)
}

impl Table {
    fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The first `limit` rows as numbers, in the order of `names`.
    pub fn columns(&self, names: &[String], limit: usize) -> Result<Vec<Vec<f64>>, Failure> {
        self.numbers(names, limit, false)
    }

    /// The same; an empty cell, or `nan`, is a missing value (NaN).
    pub fn columns_with_gaps(
        &self,
        names: &[String],
        limit: usize,
    ) -> Result<Vec<Vec<f64>>, Failure> {
        self.numbers(names, limit, true)
    }

    fn numbers(
        &self,
        names: &[String],
        limit: usize,
        gaps: bool,
    ) -> Result<Vec<Vec<f64>>, Failure> {
        let missing: Vec<&str> = names
            .iter()
            .filter(|n| self.column(n).is_none())
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let list = missing.join("`, `");
            return Err(Failure::wrong_input(format!(
                "{}: the program needs the columns `{list}`",
                self.name
            )));
        }
        let at: Vec<usize> = names.iter().filter_map(|name| self.column(name)).collect();
        if self.rows.is_empty() || limit == 0 {
            return Err(Failure::wrong_input(format!(
                "{}: there is no row to score",
                self.name
            )));
        }
        let rows = self.rows.iter().take(limit).enumerate();
        rows.map(|(index, row)| {
            at.iter()
                .map(|&column| match gaps && is_gap(&row[column]) {
                    true => Ok(f64::NAN),
                    false => self.number(index, row, column),
                })
                .collect()
        })
        .collect()
    }

    fn number(&self, index: usize, row: &[String], column: usize) -> Result<f64, Failure> {
        let text = &row[column];
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Failure::wrong_input(format!(
                "{}: row {}, column `{}`: {text:?} is not a number",
                self.name,
                index + 1,
                self.header[column]
            ))),
        }
    }

    /// The first `limit` cells of one column. `why` says who wants it.
    pub fn texts(&self, name: &str, limit: usize, why: &str) -> Result<Vec<String>, Failure> {
        let column = self.column(name).ok_or_else(|| {
            Failure::wrong_input(format!("{}: there is no column `{name}`: {why}", self.name))
        })?;
        Ok(self
            .rows
            .iter()
            .take(limit)
            .map(|row| row[column].clone())
            .collect())
    }
}

fn is_gap(cell: &str) -> bool {
    cell.is_empty() || cell.eq_ignore_ascii_case("nan")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        parse("x.csv", text).unwrap()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let table = table("\u{feff}b, \"a, c\" ,label\r\n1,2.5,\"x \"\"y\"\"\"\n\n-3,4e2,z\n");
        let names = ["a, c".to_owned(), "b".to_owned()];
        assert_eq!(
            table.columns(&names, 9).unwrap(),
            [[2.5, 1.0], [400.0, -3.0]]
        );
        assert_eq!(table.texts("label", 1, "").unwrap(), ["x \"y\""]);
    }

    #[test]
    fn texts_keep_their_line_breaks_and_quotes() {
        let table = table("text,label\r\n\"one, \"\"two\"\"\r\nthree\",a\r\n\r\nfour,b");
        let texts = table.texts("text", 9, "").unwrap();
        assert_eq!(texts, ["one, \"two\"\r\nthree", "four"]);
        assert!(
            parse("x", "a\n\"b\nc\n")
                .unwrap_err()
                .contains("line 2: a quote")
        );
        assert!(
            parse("x", "a,b\n\"x\ny\",1\nz\n")
                .unwrap_err()
                .contains("line 4: 1 cells")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |result: Result<Vec<Vec<f64>>, Failure>| result.unwrap_err().to_string();
        let table = table("a,b\n1,x\n");
        assert!(refused(table.columns(&["a".into(), "zz".into()], 9)).contains("`zz`"));
        assert!(refused(table.columns(&["b".into()], 9)).contains("row 1, column `b`: \"x\""));
        assert!(refused(table.columns(&["a".into()], 0)).contains("no row"));
        assert!(
            table
                .texts("nope", 1, "--label names it")
                .unwrap_err()
                .to_string()
                .contains("--label")
        );
        assert!(parse("x", "").unwrap_err().contains("empty"));
        assert!(parse("x", "a,b\n1\n").unwrap_err().contains("line 2"));
        assert!(parse("x", "a\n\"1\n").unwrap_err().contains("quote"));
        let gaps = parse("x", "a\n \nNaN\n1\n").unwrap();
        assert!(gaps.columns(&["a".into()], 9).is_err());
        let gaps = parse("x", "a,b\n,1\nNaN,2\n3,4\n").unwrap();
        let rows = gaps.columns_with_gaps(&["a".into()], 9).unwrap();
        assert!(rows[0][0].is_nan() && rows[1][0].is_nan());
        assert_eq!(rows[2], [3.0]);
        let inf = parse("x", "a\ninf\n").unwrap();
        assert!(inf.columns(&["a".into()], 1).is_err());
    }
}
