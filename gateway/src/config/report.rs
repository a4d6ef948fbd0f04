//! What is wrong with a config file, worded for the person who wrote it: place, the line itself, the fault, and what to do.

use std::fmt;
use std::ops::Range;

/// Edits between an unknown key and a known one up to which the known one is offered.
const MAX_TYPO_EDITS: usize = 3;
/// Problems shown of one file; the rest are counted.
const MAX_SHOWN: usize = 10;

/// A config that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable { file: String, cause: String },
    /// The file says something that cannot be.
    Wrong {
        file: String,
        problems: Vec<Located>,
    },
}

/// One problem and the place it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub line: usize,
    pub column: usize,
    pub text: String,
    /// Characters to underline from `column` on.
    pub width: usize,
    pub message: String,
    pub help: Option<String>,
}

/// One problem and the bytes it is about.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
    /// What it is about is not to be shown.
    hidden: bool,
}

impl Problem {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            help: None,
            hidden: false,
        }
    }

    /// For what may hold a secret.
    pub(crate) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// From serde's words: an unknown key gets the closest known one.
    pub(crate) fn from_toml(error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let Some((key, known)) = unknown_key(message) else {
            return Self::new(span, message.trim_end().replace('\n', ", "));
        };
        let keys = known.join("`, `");
        let help = match closest(key, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "no key is expected here".to_owned(),
            None => format!("the keys here are `{keys}`"),
        };
        let problem = Self::new(span, format!("unknown key `{key}`")).help(help);
        match key.contains("password") || key.contains("token") {
            true => problem.hidden(),
            false => problem,
        }
    }

    pub(crate) fn locate(self, source: &str) -> Located {
        let start = self.span.start.min(source.len());
        let before = source.get(..start).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = source
            .get(line_start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let column = before
            .get(line_start..)
            .map_or(0, |part| part.chars().count())
            + 1;
        let marked = source
            .get(start..self.span.end.min(source.len()))
            .unwrap_or_default();
        let width = marked
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            .max(1);
        Located {
            line: before.matches('\n').count() + 1,
            column,
            text: self.shown(line, column),
            width: if self.hidden { 1 } else { width },
            message: self.message,
            help: self.help,
        }
    }

    /// The line, without what is hidden.
    fn shown(&self, line: &str, column: usize) -> String {
        match self.hidden {
            true => line.chars().take(column - 1).chain(['…']).collect(),
            false => line.to_owned(),
        }
    }
}

/// Reads ``unknown field `x`, expected one of `a`, `b` `` as the key and the known ones.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((key, known))
}

/// The known word nearest to `word`, if any is near enough to be what was meant.
pub(crate) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = MAX_TYPO_EDITS.min(word.chars().count().div_ceil(2));
    known
        .iter()
        .map(|candidate| (edits(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance. Keys are short: the quadratic table of one row is enough.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, cause } => write!(f, "{file}: cannot be read: {cause}"),
            Self::Wrong { file, problems } => {
                for (index, problem) in problems.iter().take(MAX_SHOWN).enumerate() {
                    if index > 0 {
                        writeln!(f)?;
                    }
                    problem.write(f, file)?;
                }
                match problems.len().saturating_sub(MAX_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, "\n… and {more} more"),
                }
            }
        }
    }
}

impl Located {
    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{file}:{}:{}: {}", self.line, self.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.text)?;
        write!(
            f,
            "{margin} | {}{}",
            " ".repeat(self.column - 1),
            "^".repeat(self.width)
        )?;
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = {help}")?;
        }
        writeln!(f)
    }
}

impl std::error::Error for ConfigError {}
