//! JSON as a tree that borrows from its text: for settings, and for what a policy must read of a body. One type, no generics: a
//! guest that reads its settings so is a fraction of the size of one with a serializer for each of its types.
//!
//! Invariants: nothing is taken that RFC 8259 does not allow; a table has each name once, and its members in the order of their
//! names; nesting is bounded, so that no text exhausts the stack.

use std::borrow::Cow;

/// Settings and chat requests are nested a few levels deep.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json<'a> {
    Null,
    Flag(bool),
    /// As it was written.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    /// Sorted by name.
    Table(Vec<Member<'a>>),
}

pub type Member<'a> = (Cow<'a, str>, Json<'a>);

/// Why a text is no JSON, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    pub at: usize,
    pub problem: &'static str,
}

impl<'a> Json<'a> {
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.blank();
        if parser.at < text.len() {
            return Err(parser.error("something follows the JSON text"));
        }
        Ok(value)
    }

    /// The member of a table; none if this is no table.
    pub fn at(&self, name: &str) -> Option<&Json<'a>> {
        let Json::Table(members) = self else {
            return None;
        };
        let found = members.binary_search_by(|(known, _)| known.as_bytes().cmp(name.as_bytes()));
        found.ok().map(|place| &members[place].1)
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "nothing",
            Json::Flag(_) => "true or false",
            Json::Number(_) => "a number",
            Json::Text(_) => "a text",
            Json::List(_) => "a list",
            Json::Table(_) => "a table",
        }
    }
}

/// Appends `text` as a JSON string.
pub fn push_text(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        out.push('\\');
        if byte >= 0x20 {
            out.push(char::from(byte));
            continue;
        }
        out.push_str("u00");
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, problem: &'static str) -> JsonError {
        JsonError {
            at: self.at,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes past `byte`, if it is next.
    fn took(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.blank();
        match self.peek() {
            Some(b'{') => self.table(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Flag(true)),
            Some(b'f') => self.word("false", Json::Flag(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.error("no JSON value begins so")),
            None => Err(self.error("the JSON text ends too early")),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("no JSON value begins so"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let mut values = Vec::new();
        self.blank();
        if self.took(b']') {
            return Ok(Json::List(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blank();
            if self.took(b']') {
                return Ok(Json::List(values));
            }
            if !self.took(b',') {
                return Err(self.error("a list goes on with \",\" or ends with \"]\""));
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.blank();
        if self.took(b'}') {
            return Ok(Json::Table(members));
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.error("a member begins with its name in quotes"));
            }
            let name = self.string()?;
            self.blank();
            if !self.took(b':') {
                return Err(self.error("\":\" follows a member's name"));
            }
            members.push((name, self.value(depth + 1)?));
            self.blank();
            if self.took(b'}') {
                break;
            }
            if !self.took(b',') {
                return Err(self.error("a table goes on with \",\" or ends with \"}\""));
            }
        }
        sort(&mut members);
        if members.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(self.error("a table has one name twice"));
        }
        Ok(Json::Table(members))
    }

    //= https://www.rfc-editor.org/rfc/rfc8259#section-6
    //# number = [ minus ] int [ frac ] [ exp ]
    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        self.took(b'-');
        if !self.took(b'0') {
            self.digits()?;
        }
        if self.took(b'.') {
            self.digits()?;
        }
        if self.took(b'e') || self.took(b'E') {
            let _ = self.took(b'+') || self.took(b'-');
            self.digits()?;
        }
        Ok(Json::Number(&self.text[start..self.at]))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error("a digit is missing in a number"));
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        let mut plain = self.at;
        loop {
            let byte = self.peek();
            match byte {
                Some(b'"' | b'\\') => {
                    let before = &self.text[plain..self.at];
                    match &mut text {
                        Cow::Borrowed("") => text = Cow::Borrowed(before),
                        other => other.to_mut().push_str(before),
                    }
                    self.at += 1;
                    if byte == Some(b'"') {
                        return Ok(text);
                    }
                    text.to_mut().push(self.escape()?);
                    plain = self.at;
                }
                Some(0..=0x1f) => return Err(self.error("a control character in a text")),
                Some(_) => self.at += 1,
                None => return Err(self.error("a text has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => return Err(self.error("an escape that is none")),
        })
    }

    fn code_point(&mut self) -> Result<char, JsonError> {
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff if self.took(b'\\') && self.took(b'u') => {
                let second = self.hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.error("half of a surrogate pair"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = match self.peek() {
                Some(byte @ b'0'..=b'9') => byte - b'0',
                Some(byte @ (b'a'..=b'f' | b'A'..=b'F')) => (byte | 0x20) - b'a' + 10,
                _ => return Err(self.error("four hexadecimal digits follow \"\\u\"")),
            };
            code = code * 16 + u32::from(digit);
            self.at += 1;
        }
        Ok(code)
    }
}

/// A heap sort: bounded whatever the order, and a tenth of the code of the standard library's.
fn sort(members: &mut [Member<'_>]) {
    let less = |members: &[Member<'_>], a: usize, b: usize| {
        members[a].0.as_bytes() < members[b].0.as_bytes()
    };
    let sink = |members: &mut [Member<'_>], mut root: usize, end: usize| {
        loop {
            let mut child = 2 * root + 1;
            if child >= end {
                return;
            }
            if child + 1 < end && less(members, child, child + 1) {
                child += 1;
            }
            if !less(members, root, child) {
                return;
            }
            members.swap(root, child);
            root = child;
        }
    };
    let count = members.len();
    for root in (0..count / 2).rev() {
        sink(members, root, count);
    }
    for end in (1..count).rev() {
        members.swap(0, end);
        sink(members, 0, end);
    }
}

#[cfg(test)]
mod tests;
