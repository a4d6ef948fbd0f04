//! Limits of tokens: charged by an estimate before the request goes on, put right when it has ended. What was charged travels in an
//! exchange attribute, with the key: what the request says of its caller may be changed on the way.

use guest_sdk::llm::Usage;
use guest_sdk::settings::push_digits;

use super::Charge;

/// What one limit was charged.
#[derive(Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub limit: usize,
    pub charged: u64,
    pub key: &'a str,
}

/// A line for each: the limit, what was charged, the key (which has no line breaks: see `key`).
pub fn write(charges: &[Charge]) -> String {
    let mut note = String::new();
    for charge in charges {
        push_digits(&mut note, charge.limit as u64);
        note.push(' ');
        push_digits(&mut note, charge.cost);
        note.push(' ');
        note.push_str(&charge.key);
        note.push('\n');
    }
    note
}

pub fn read(note: &str) -> impl Iterator<Item = Note<'_>> {
    note.split_terminator('\n').filter_map(|line| {
        let (limit, rest) = line.split_once(' ')?;
        let (charged, key) = rest.split_once(' ')?;
        Some(Note {
            limit: limit.parse().ok()?,
            charged: charged.parse().ok()?,
            key,
        })
    })
}

/// What is still to be taken (above zero) or given back. An exchange that no upstream answered has cost nothing; one whose cost is
/// not known has cost what was estimated.
pub fn correction(charged: u64, used: Option<&Usage>, answered: bool) -> i64 {
    let cost = match used {
        _ if !answered => 0,
        Some(usage) => usage.prompt.saturating_add(usage.completion),
        None => charged,
    };
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    signed(cost) - signed(charged)
}
