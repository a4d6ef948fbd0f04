//! Checks that many sections share: ranges, names, addresses, words from a list, paths. Each notes a problem and goes on, so that
//! one run shows everything that is wrong.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::config::report::{Problem, closest};
use crate::config::values::{Size, Span};

/// Names stand in logs, metric labels and headers.
const MAX_NAME_BYTES: usize = 64;

/// Collects problems; resolves paths.
pub(crate) struct Fields<'b> {
    base: &'b Path,
    problems: Vec<Problem>,
}

impl<'b> Fields<'b> {
    pub(crate) fn new(base: &'b Path) -> Self {
        Self {
            base,
            problems: Vec::new(),
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A path, relative to the folder of the file.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// A whole number in a range.
    pub(crate) fn count(
        &mut self,
        value: Option<&Spanned<u64>>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = value else { return default };
        if !range.contains(value.get_ref()) {
            let (low, high) = range.into_inner();
            self.problem(Problem::new(
                value.span(),
                format!("{} is not between {low} and {high}", value.get_ref()),
            ));
            return default;
        }
        *value.get_ref()
    }

    /// A size in a range.
    pub(crate) fn size(
        &mut self,
        value: Option<&Spanned<Size>>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = value else { return default };
        let bytes = value.get_ref().0;
        if !range.contains(&bytes) {
            let (low, high) = range.into_inner();
            self.problem(Problem::new(
                value.span(),
                format!("{bytes} bytes is not between {low} and {high} bytes"),
            ));
            return default;
        }
        bytes
    }

    /// Letters, digits, `-`, `_` and `.`.
    pub(crate) fn name(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        let fits = !text.is_empty()
            && text.len() <= MAX_NAME_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !fits {
            self.problem(
                Problem::new(name.span(), format!("{text:?} cannot be a name")).help(format!(
                    "use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`"
                )),
            );
        }
    }

    /// An address to listen on.
    pub(crate) fn addr(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        match text.get_ref().parse() {
            Ok(addr) => Some(addr),
            Err(_) => {
                self.problem(
                    Problem::new(text.span(), format!("{:?} is not an address to listen on", text.get_ref()))
                        .help("write an IP address and a port, such as \"127.0.0.1:8443\", \"0.0.0.0:443\" or \"[::]:443\""),
                );
                None
            }
        }
    }

    /// One word of a list.
    pub(crate) fn word<T: Copy>(
        &mut self,
        text: Option<&Spanned<String>>,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(text) = text else { return default };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text.get_ref()) {
            return *value;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.unknown(text, "value", &known);
        default
    }

    /// A reference to something that must exist.
    pub(crate) fn known(&mut self, text: &Spanned<String>, what: &str, known: &[String]) -> bool {
        let found = known.iter().any(|name| name == text.get_ref());
        if !found {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.unknown(text, what, &known);
        }
        found
    }

    pub(crate) fn unknown(&mut self, text: &Spanned<String>, what: &str, known: &[&str]) {
        let help = match closest(text.get_ref(), known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => format!("this file declares no {what}"),
            None => format!("there is \"{}\"", known.join("\", \"")),
        };
        self.problem(
            Problem::new(text.span(), format!("unknown {what} {:?}", text.get_ref())).help(help),
        );
    }
}

/// A duration or its default.
pub(crate) fn span(value: Option<Span>, default: Duration) -> Duration {
    value.map_or(default, |span| span.0)
}
