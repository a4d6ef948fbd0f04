//! The normal form of a JSON body: two bodies that ask for the same answer have the same one, and share a stored response.
//!
//! What is evened out is what JSON says means nothing: blanks between tokens, the order of members, how a character or a number is
//! written. For prompts, also top-level members that do not change the answer (who asks, say), and top-level members that are null.
//! Everything else stays as it is: a body that differs in anything else has another normal form. An answer that is drawn by chance
//! is stored only if the operator says so: a temperature of 0 must be in the body.

use std::borrow::Cow;

use guest_sdk::ConfigError;
use guest_sdk::json::{Json, push_text};
use guest_sdk::settings::{Node, digits};

const KEYS: &[&str] = &["any-temperature", "ignore", "trim"];
const MAX_IGNORED: usize = 64;

/// Who asks and how it is kept, not what is asked. `stream` is not among them: the answer to it has another form.
const IGNORED: &[&str] = &[
    "keep_alive",
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "store",
    "user",
];

/// Members whose texts are what a person wrote, in the shapes that OpenAI and Ollama take.
const WRITTEN: &[&str] = &["content", "input", "prompt", "system", "text"];

const NOT_JSON: &str = "caching/not-json";
const BY_CHANCE: &str = "caching/temperature";

/// How a body is brought into its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Top-level members that are left out.
    ignore: Vec<String>,
    /// Null at the top level is as good as not there.
    nulls_mean_nothing: bool,
    /// Answers may be drawn by chance.
    any_temperature: bool,
    /// Blanks around what a person wrote mean nothing.
    trim: bool,
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            ignore: IGNORED.iter().map(|name| (*name).to_owned()).collect(),
            nulls_mean_nothing: true,
            any_temperature: false,
            trim: false,
        }
    }
}

impl Prompt {
    /// For JSON that is no prompt: everything in it means something.
    pub fn any_json() -> Self {
        Self {
            ignore: Vec::new(),
            nulls_mean_nothing: false,
            any_temperature: true,
            trim: false,
        }
    }

    pub fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let table = node.table(KEYS)?;
        let mut prompt = Self::default();
        if let Some(ignore) = table.read("ignore", Node::texts)? {
            if ignore.len() > MAX_IGNORED || ignore.iter().any(String::is_empty) {
                return Err(table.wrong("ignore", "must be at most 64 names of members"));
            }
            prompt.ignore = ignore;
        }
        prompt.any_temperature = table.read("any-temperature", Node::flag)?.unwrap_or(false);
        prompt.trim = table.read("trim", Node::flag)?.unwrap_or(false);
        Ok(prompt)
    }

    /// The normal form, or why this request leaves the cache out.
    pub fn normal_form(&self, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        let text = str::from_utf8(body).map_err(|_| NOT_JSON)?;
        let json = Json::parse(text).map_err(|_| NOT_JSON)?;
        if !self.any_temperature && !is_certain(&json) {
            return Err(BY_CHANCE);
        }
        // Two rules may normalise alike and differ in what they ignore: the form says which it was.
        let mut form = String::with_capacity(text.len() + 64);
        form.push_str(if self.nulls_mean_nothing {
            "prompt\n"
        } else {
            "json\n"
        });
        match &json {
            Json::Table(members) => {
                let counts = |name: &str, value: &Json<'_>| {
                    let means_nothing = self.nulls_mean_nothing && *value == Json::Null;
                    !means_nothing && !self.ignore.iter().any(|ignored| ignored == name)
                };
                let members = members.iter().filter(|(name, value)| counts(name, value));
                self.push_table(&mut form, members);
            }
            _ if self.nulls_mean_nothing => return Err(NOT_JSON),
            other => self.push(&mut form, other, false),
        }
        Ok(form.into_bytes())
    }

    fn push_table<'m>(
        &self,
        form: &mut String,
        members: impl Iterator<Item = &'m (Cow<'m, str>, Json<'m>)>,
    ) {
        form.push('{');
        for (nth, (name, value)) in members.enumerate() {
            form.push_str(if nth > 0 { "," } else { "" });
            push_text(form, name);
            form.push(':');
            self.push(form, value, self.trim && WRITTEN.contains(&&**name));
        }
        form.push('}');
    }

    /// `written`: the value is what a person wrote, or a list of it.
    fn push(&self, form: &mut String, value: &Json<'_>, written: bool) {
        match value {
            Json::Null => form.push_str("null"),
            Json::Flag(flag) => form.push_str(if *flag { "true" } else { "false" }),
            Json::Number(number) => push_number(form, number),
            Json::Text(text) => push_text(form, if written { text.trim() } else { text }),
            Json::List(values) => {
                form.push('[');
                for (nth, value) in values.iter().enumerate() {
                    form.push_str(if nth > 0 { "," } else { "" });
                    self.push(form, value, written);
                }
                form.push(']');
            }
            Json::Table(members) => self.push_table(form, members.iter()),
        }
    }
}

/// Whether the body asks for the likeliest answer: OpenAI's `temperature`, Ollama's `options.temperature`. Without one, both draw.
fn is_certain(body: &Json<'_>) -> bool {
    let options = body.at("options");
    let mut temperatures = [
        body.at("temperature"),
        options.and_then(|options| options.at("temperature")),
    ]
    .into_iter()
    .flatten()
    .filter(|value| **value != Json::Null)
    .peekable();
    let is_zero = |value: &Json<'_>| {
        let mantissa = |number: &str| {
            number
                .split(['e', 'E'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        matches!(value, Json::Number(number) if !mantissa(number).bytes().any(|byte| (b'1'..=b'9').contains(&byte)))
    };
    temperatures.peek().is_some() && temperatures.all(is_zero)
}

/// A number by its value: its digits without zeros at either end, and its power of ten. An exponent that no machine holds stays as
/// it was written.
fn push_number(form: &mut String, number: &str) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let Ok(mut power) = exponent.parse::<i32>().map(i64::from) else {
        return form.push_str(number);
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    power -= fraction.len() as i64;
    let all = [whole, fraction].concat();
    let kept = all.trim_end_matches('0');
    power += (all.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return form.push('0');
    }
    form.push_str(if negative { "-" } else { "" });
    form.push_str(kept);
    form.push_str(if power < 0 { "e-" } else { "e" });
    form.push_str(&digits(power.unsigned_abs()));
}

#[cfg(test)]
mod tests;
