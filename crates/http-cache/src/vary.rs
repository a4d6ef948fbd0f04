//! The secondary key: which request headers chose this response (`Vary`), and what they were. RFC 9111, section 4.1.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName};

/// A response that varies by more headers than this is not worth storing: it would hardly ever be chosen again.
const MAX_VARY_NAMES: usize = 16;

/// Why a `Vary` cannot be stored under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryRefusal {
    /// `Vary: *` never matches another request.
    Any,
    TooMany,
    NotAFieldName,
}

/// The named headers in order, and the normalised value each had in the request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct VaryKey {
    fields: Vec<(HeaderName, Option<Vec<u8>>)>,
}

impl VaryKey {
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Result<Self, VaryRefusal> {
        let mut names: Vec<HeaderName> = Vec::new();
        for line in response.get_all(VARY) {
            let text = line.to_str().map_err(|_| VaryRefusal::NotAFieldName)?;
            for name in text.split(',').map(|name| name.trim_matches([' ', '\t'])) {
                if name.is_empty() {
                    continue;
                }
                //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
                //# A stored response with a Vary header field value containing a member "*" always fails to match.
                if name == "*" {
                    return Err(VaryRefusal::Any);
                }
                let name = HeaderName::try_from(name).map_err(|_| VaryRefusal::NotAFieldName)?;
                if !names.contains(&name) {
                    names.push(name);
                }
                if names.len() > MAX_VARY_NAMES {
                    return Err(VaryRefusal::TooMany);
                }
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let fields = names
            .into_iter()
            .map(|name| {
                let value = normalised(&name, request);
                (name, value)
            })
            .collect();
        Ok(Self { fields })
    }

    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
    //# the cache MUST NOT use that stored response without revalidation unless all the presented request header fields
    //# nominated by that Vary field value match those fields in the original request
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.fields
            .iter()
            .all(|(name, stored)| normalised(name, request) == *stored)
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// How many bytes it holds, for the store's budget.
    pub fn bytes(&self) -> usize {
        self.fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Vec::len) + 64)
            .sum()
    }
}

/// Lines joined; where the field is a list known not to mind, white space and case are levelled too. Bytes, not text: two
/// values that are not UTF-8 must not become the same one.
//= https://www.rfc-editor.org/rfc/rfc9111#section-4.1
//# adding or removing whitespace, where allowed in the header field's syntax; combining multiple header field lines
//# with the same field name; normalizing both header field values in a way that is known to have identical semantics
fn normalised(name: &HeaderName, request: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let mut value = Vec::new();
    for line in lines {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(line.as_bytes().trim_ascii());
    }
    if *name == ACCEPT_ENCODING || *name == ACCEPT_LANGUAGE {
        value.retain(|byte| !matches!(byte, b' ' | b'\t'));
        value.make_ascii_lowercase();
    }
    Some(value)
}
