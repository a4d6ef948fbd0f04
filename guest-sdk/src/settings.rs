//! Reads settings by hand from a JSON tree. What goes wrong says which key is meant, what may be there, and what was probably meant.
//!
//! A policy whose settings are `Deserialize` needs none of this; the ones that ship use it, because it makes a module a quarter of
//! the size, and a module's size is what a swap waits for.

pub use crate::config::Settings;
use crate::config::{ConfigError, MAX_CONFIG_BYTES};
use crate::json::{Json, push_text};
use crate::{Period, StatusSet};

/// Of a value that is quoted in a message.
const MAX_QUOTED_BYTES: usize = 80;
/// Of a name whose nearest neighbour is looked for.
const MAX_COMPARED_BYTES: usize = 40;

/// Reads the whole of some settings. No settings at all (empty text, `null`) are those of `{}`.
pub fn read<T>(
    text: &str,
    read: impl FnOnce(&Node<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(ConfigError::at(
            "",
            "more than 262144 bytes of settings; that is all that is taken",
        ));
    }
    let text = match text.trim_ascii() {
        "" | "null" => "{}",
        other => other,
    };
    let json = Json::parse(text).map_err(|error| {
        let at = digits(error.at as u64);
        ConfigError::at("", [error.problem, " (byte ", &at, ")"].concat())
    })?;
    let path = String::new();
    read(&Node { value: &json, path })
}

/// One value of the settings, and where it stands.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    value: &'a Json<'a>,
    /// `rules[2].ttl`.
    path: String,
}

/// A table whose keys are all known.
#[derive(Debug)]
pub struct Table<'a> {
    node: Node<'a>,
    known: &'static [&'static str],
}

impl<'a> Node<'a> {
    pub fn wrong(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path.as_str(), problem)
    }

    /// An error that was found further in.
    pub fn inside(&self, error: ConfigError) -> ConfigError {
        error.inside(&self.path)
    }

    /// It is of the wrong kind.
    pub fn expected(&self, what: &str) -> ConfigError {
        self.wrong(["must be ", what, ", not ", self.value.kind()].concat())
    }

    pub fn value(&self) -> &'a Json<'a> {
        self.value
    }

    pub fn is_text(&self) -> bool {
        matches!(self.value, Json::Text(_))
    }

    /// A table with no other keys than these.
    pub fn table(&self, known: &'static [&'static str]) -> Result<Table<'a>, ConfigError> {
        let Json::Table(members) = self.value else {
            return Err(self.expected("a table"));
        };
        for (name, _) in members {
            if !known.contains(&&**name) {
                let problem = ["there is no such setting", &instead(name, known)].concat();
                return Err(ConfigError::at(self.key(name), problem));
            }
        }
        Ok(Table {
            node: self.clone(),
            known,
        })
    }

    /// The members of a table with any names.
    pub fn members(&self) -> Result<Vec<(&'a str, Node<'a>)>, ConfigError> {
        let Json::Table(members) = self.value else {
            return Err(self.expected("a table"));
        };
        let member = |(name, value): &'a (std::borrow::Cow<'a, str>, Json<'a>)| {
            let path = self.key(name);
            (&**name, Node { value, path })
        };
        Ok(members.iter().map(member).collect())
    }

    pub fn list(&self) -> Result<Vec<Node<'a>>, ConfigError> {
        let Json::List(values) = self.value else {
            return Err(self.expected("a list"));
        };
        let node = |(at, value): (usize, &'a Json<'a>)| {
            let path = element(&self.path, at);
            Node { value, path }
        };
        Ok(values.iter().enumerate().map(node).collect())
    }

    /// A list of `min` to `max`.
    pub fn list_of(&self, min: usize, max: usize) -> Result<Vec<Node<'a>>, ConfigError> {
        let list = self.list()?;
        if list.len() < min || list.len() > max {
            let (count, min, max) = (list.len() as u64, digits(min as u64), digits(max as u64));
            let problem = [
                "has ",
                &digits(count),
                "; from ",
                &min,
                " to ",
                &max,
                " are taken",
            ];
            return Err(self.wrong(problem.concat()));
        }
        Ok(list)
    }

    /// A list, or one value that stands for a list of it.
    pub fn one_or_many(&self) -> Vec<Node<'a>> {
        self.list().unwrap_or_else(|_| vec![self.clone()])
    }

    pub fn text(&self) -> Result<&'a str, ConfigError> {
        self.value.text().ok_or_else(|| self.expected("a text"))
    }

    /// A text that is not empty.
    pub fn name(&self) -> Result<String, ConfigError> {
        match self.text()? {
            "" => Err(self.wrong("is empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// A text, or a list of texts.
    pub fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let text = |node: Node<'a>| match node.value {
            Json::Text(text) => Ok(text.to_string()),
            _ => Err(node.expected("a text, or a list of texts")),
        };
        self.one_or_many().into_iter().map(text).collect()
    }

    pub fn flag(&self) -> Result<bool, ConfigError> {
        match self.value {
            Json::Flag(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A whole number from `min` to `max`.
    pub fn whole(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let Json::Number(number) = self.value else {
            return Err(self.expected("a number"));
        };
        match number.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => {
                let range = ["from ", &digits(min), " to ", &digits(max)].concat();
                Err(self.wrong(["is ", number, "; it must be a whole number ", &range].concat()))
            }
        }
    }

    /// A share of a whole, from 0 to 1.
    pub fn share(&self) -> Result<f32, ConfigError> {
        let Json::Number(number) = self.value else {
            return Err(self.expected("a number from 0 to 1"));
        };
        fraction(number)
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| {
                self.wrong(["is ", number, "; it must be from 0 (none) to 1 (all)"].concat())
            })
    }

    pub fn period(&self) -> Result<Period, ConfigError> {
        let text = self
            .value
            .text()
            .ok_or_else(|| self.expected("a length of time in quotes, such as \"10s\""))?;
        text.parse().map_err(|problem: String| self.wrong(problem))
    }

    /// From `min` to `max`.
    pub fn period_within(&self, min: Period, max: Period) -> Result<Period, ConfigError> {
        let period = self.period()?;
        if period < min || period > max {
            let range = [
                "must be from \"",
                &min.text(),
                "\" to \"",
                &max.text(),
                "\"",
            ];
            return Err(self.wrong(range.concat()));
        }
        Ok(period)
    }

    /// `429`, `"5xx"`, `"500-504"`, or a list of these.
    pub fn statuses(&self) -> Result<StatusSet, ConfigError> {
        let mut set = StatusSet::default();
        for node in self.one_or_many() {
            let text = match node.value {
                Json::Number(text) => text,
                Json::Text(text) => &**text,
                _ => {
                    return Err(node.expected("a status, \"5xx\", \"500-504\", or a list of these"));
                }
            };
            set.add(text).map_err(|problem| node.wrong(problem))?;
        }
        Ok(set)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T, ConfigError> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let text = self.text()?;
        match words.iter().position(|word| *word == text) {
            Some(place) => Ok(choices[place].1),
            None => {
                Err(self.wrong([&quoted(text), " is not one", &instead(text, &words)].concat()))
            }
        }
    }

    fn key(&self, name: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        [&self.path, dot, name].concat()
    }
}

impl<'a> Table<'a> {
    /// The value of a key; none if it is not given.
    pub fn at(&self, key: &'static str) -> Option<Node<'a>> {
        debug_assert!(
            self.known.contains(&key),
            "{key} is not among the known keys"
        );
        let value = self.node.value.at(key)?;
        (*value != Json::Null).then(|| Node {
            value,
            path: self.node.key(key),
        })
    }

    /// The value of a key that must be given.
    pub fn need(&self, key: &'static str) -> Result<Node<'a>, ConfigError> {
        self.at(key).ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// What `read` makes of a key, if it is given.
    pub fn read<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Node<'a>) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.at(key).map(|node| read(&node)).transpose()
    }

    pub fn wrong(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::at(self.node.key(key), problem)
    }

    /// The table itself, for problems that are no single key's.
    pub fn node(&self) -> &Node<'a> {
        &self.node
    }
}

/// `limits[3]`.
pub fn element(list: &str, index: usize) -> String {
    [list, "[", &digits(index as u64), "]"].concat()
}

/// `text` in quotes, cut to a length that a message can have.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    push_text(
        &mut quoted,
        &text[..text.floor_char_boundary(MAX_QUOTED_BYTES)],
    );
    quoted
}

/// A number in decimal, without the formatting machinery.
pub fn digits(number: u64) -> String {
    let mut text = String::new();
    push_digits(&mut text, number);
    text
}

pub fn push_digits(text: &mut String, mut number: u64) {
    // of u64::MAX
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    // Most fit into 32 bits, where a division by ten is a multiplication.
    let mut small = loop {
        match u32::try_from(number) {
            Ok(small) => break small,
            Err(_) => {
                at -= 1;
                digits[at] = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    };
    loop {
        at -= 1;
        digits[at] = b'0' + (small % 10) as u8;
        small /= 10;
        if small == 0 {
            break;
        }
    }
    text.push_str(str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// "; did you mean …? There are: …".
fn instead(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|other| (distance(word, other), *other))
        .min();
    let hint = match near {
        Some((distance, other)) if distance <= 1 + word.len() / 4 => {
            ["; did you mean \"", other, "\"?"].concat()
        }
        _ => ".".to_owned(),
    };
    match known {
        [] => hint,
        _ => [&hint, " There are: ", &known.join(", ")].concat(),
    }
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > MAX_COMPARED_BYTES || b.len() > MAX_COMPARED_BYTES {
        return usize::MAX;
    }
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=b.len()).collect()];
    for i in 1..=a.len() {
        rows.rotate_left(1);
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[0][j - 2] + 1);
            }
            row.push(least);
        }
        rows[2] = row;
    }
    rows[2][b.len()]
}

/// A decimal number that is not negative. Exact enough for shares (the standard library's parser is exact, and 15 KB of tables).
fn fraction(number: &str) -> Option<f32> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (mut value, mut scale, mut fractional) = (0.0_f64, exponent, false);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => fractional = true,
            b'0'..=b'9' => {
                value = value * 10.0 + f64::from(byte - b'0');
                scale = scale.checked_sub(i32::from(fractional))?;
            }
            _ => return None,
        }
    }
    // Beyond this it is nothing or too much, either way no share that anybody means.
    if !(-300..=300).contains(&scale) {
        return None;
    }
    for _ in 0..scale.unsigned_abs() {
        value = if scale < 0 {
            value / 10.0
        } else {
            value * 10.0
        };
    }
    Some(value as f32)
}

#[cfg(test)]
mod tests;
