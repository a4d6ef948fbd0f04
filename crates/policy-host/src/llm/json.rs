//! Reads JSON as it passes, in pieces of any length, and reports numbers and the length of texts by the names they stand under.
//!
//! It holds one name of bounded length and a few bits per level; what is not JSON gives meaningless reports, never an error.

/// The longest name that is told apart: `reasoning_content` has 17.
const MAX_NAME_BYTES: usize = 24;
/// Levels whose names are known; usage stands at the second or third.
const NAMED_LEVELS: usize = 4;
/// Levels whose kind is known; deeper ones count as lists, in which there are no names.
const KNOWN_LEVELS: u32 = 64;

/// A name of at most `MAX_NAME_BYTES`; longer ones are nobody's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Name {
    bytes: [u8; MAX_NAME_BYTES],
    len: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(b"")
    }
}

/// Where a value stands: the names from the outermost object inwards. Lists have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) depth: u32,
    names: &'p [Name; NAMED_LEVELS],
    own: &'p Name,
}

impl Place<'_> {
    /// The name that the value itself stands under.
    pub(super) fn name(&self) -> &[u8] {
        self.own.as_bytes()
    }

    /// The name in the object at a level that encloses the value, 1 for the outermost.
    pub(super) fn at(&self, level: usize) -> &[u8] {
        level
            .checked_sub(1)
            .and_then(|at| self.names.get(at))
            .map_or(b"", |name| name.as_bytes())
    }
}

/// What is told of the values.
pub(super) trait Values {
    fn number(&mut self, place: Place<'_>, value: u64);
    /// A piece of a text that is a value.
    fn text(&mut self, place: Place<'_>, bytes: u64);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Between,
    Key,
    Text,
    Number,
    /// true, false, null, or the rest of a number that is not whole.
    Word,
}

#[derive(Debug)]
pub(super) struct Json {
    at: At,
    /// Within a text: the bytes of an escape that are still to come.
    escaped: u8,
    depth: u32,
    /// A bit per level: an object.
    objects: u64,
    /// The next text is a name.
    name_is_next: bool,
    names: [Name; NAMED_LEVELS],
    own: Name,
    number: u64,
}

impl Json {
    pub(super) fn new() -> Self {
        Self {
            at: At::Between,
            escaped: 0,
            depth: 0,
            objects: 0,
            name_is_next: false,
            names: [Name::default(); NAMED_LEVELS],
            own: Name::default(),
            number: 0,
        }
    }

    pub(super) fn read(&mut self, piece: &[u8], values: &mut impl Values) {
        for &byte in piece {
            match self.at {
                At::Key | At::Text => self.within_text(byte, values),
                At::Number if byte.is_ascii_digit() => {
                    self.number = self
                        .number
                        .saturating_mul(10)
                        .saturating_add(u64::from(byte - b'0'));
                }
                At::Number => {
                    values.number(self.place(), self.number);
                    self.between(byte, true);
                }
                At::Word => self.between(byte, true),
                At::Between => self.between(byte, false),
            }
        }
    }

    /// A number at the very end has nothing after it that would end it.
    pub(super) fn end(&mut self, values: &mut impl Values) {
        if self.at == At::Number {
            values.number(self.place(), self.number);
        }
        *self = Self::new();
    }

    fn place(&self) -> Place<'_> {
        Place {
            depth: self.depth,
            names: &self.names,
            own: &self.own,
        }
    }

    fn within_text(&mut self, byte: u8, values: &mut impl Values) {
        if self.escaped > 0 {
            // `\u` is followed by four digits; the whole counts as one byte of text, like any other escape.
            self.escaped = if byte == b'u' && self.escaped == 1 {
                5
            } else {
                self.escaped
            } - 1;
            return;
        }
        match (byte, self.at) {
            (b'"', _) => self.at = At::Between,
            (b'\\', At::Key) => {
                self.escaped = 1;
                // No name that matters is written with escapes.
                self.own.len = MAX_NAME_BYTES + 1;
            }
            (b'\\', _) => {
                self.escaped = 1;
                values.text(self.place(), 1);
            }
            (_, At::Key) => self.own.push(byte),
            _ => values.text(self.place(), 1),
        }
    }

    /// `in_word`: a number or a word was under way, which `byte` may end or continue.
    fn between(&mut self, byte: u8, in_word: bool) {
        self.at = At::Between;
        match byte {
            b'"' if self.name_is_next => {
                self.own = Name::default();
                self.name_is_next = false;
                self.at = At::Key;
            }
            b'"' => self.at = At::Text,
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'}' | b']' => self.close(),
            b',' => self.name_is_next = self.is_object(),
            b'0'..=b'9' if !in_word => {
                self.number = u64::from(byte - b'0');
                self.at = At::Number;
            }
            b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.at = At::Word,
        }
    }

    fn open(&mut self, object: bool) {
        let level = (self.depth as usize).checked_sub(1);
        if let Some(name) = level.and_then(|level| self.names.get_mut(level)) {
            *name = self.own;
        }
        self.depth = self.depth.saturating_add(1);
        if let Some(bit) = bit(self.depth) {
            self.objects = if object {
                self.objects | bit
            } else {
                self.objects & !bit
            };
        }
        self.own = Name::default();
        self.name_is_next = self.is_object();
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.own = Name::default();
        self.name_is_next = false;
    }

    fn is_object(&self) -> bool {
        bit(self.depth).is_some_and(|bit| self.objects & bit != 0)
    }
}

fn bit(depth: u32) -> Option<u64> {
    (1..=KNOWN_LEVELS)
        .contains(&depth)
        .then(|| 1_u64 << (depth - 1))
}
