//! What is known of a key beside its bytes: when it was made and used, when it ends, what it replaces.
//!
//! In a small JSON file beside the key. Pure: the time is an argument, in seconds since 1970.

use edge_types::Digest;
use fhe::KeyId;
use serde::{Deserialize, Serialize};

/// A label is for people: a line of a list.
pub(in crate::fhe) const MAX_LABEL_CHARS: usize = 64;
/// A key that ends sooner has ended before it was used.
pub(in crate::fhe) const MIN_EXPIRES_S: u64 = 60;
/// Ten years: more is a mistake, and never an overflow.
pub(in crate::fhe) const MAX_EXPIRES_S: u64 = 10 * 365 * 86_400;

/// What the client asks for when it registers a key. Nothing, for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fhe) struct Wishes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<Digest>,
}

impl Wishes {
    /// The words of the error are for the client.
    pub fn new(
        label: Option<String>,
        expires_s: Option<u64>,
        replaces: Option<KeyId>,
    ) -> Result<Self, String> {
        if let Some(label) = &label
            && (label.is_empty()
                || label.chars().count() > MAX_LABEL_CHARS
                || label.chars().any(char::is_control))
        {
            return Err(format!(
                "a label has 1 to {MAX_LABEL_CHARS} characters, none of them a control character"
            ));
        }
        if let Some(seconds) = expires_s
            && !(MIN_EXPIRES_S..=MAX_EXPIRES_S).contains(&seconds)
        {
            return Err(format!(
                "expires_s is {MIN_EXPIRES_S} to {MAX_EXPIRES_S} seconds"
            ));
        }
        Ok(Self {
            label,
            expires_s,
            replaces: replaces.map(|id| id.0),
        })
    }

    pub fn replaces(&self) -> Option<KeyId> {
        self.replaces.map(KeyId)
    }
}

/// What the operator says of how long keys live.
#[derive(Clone, Copy, Debug)]
pub(in crate::fhe) struct Lifetimes {
    /// Both the default and the most.
    pub key_ttl_s: Option<u64>,
    /// How long a key that was replaced can still be used.
    pub rotation_grace_s: u64,
}

impl Lifetimes {
    fn expires(&self, now: u64, wished_s: Option<u64>) -> Option<u64> {
        let seconds = match (wished_s, self.key_ttl_s) {
            (Some(wished), Some(most)) => Some(wished.min(most)),
            (wished, most) => wished.or(most),
        };
        seconds.map(|seconds| now.saturating_add(seconds))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fhe) struct Meta {
    pub created: u64,
    /// Coarse on disk: written behind.
    pub last_used: Option<u64>,
    pub expires: Option<u64>,
    pub label: Option<String>,
    pub replaces: Option<Digest>,
    pub replaced_by: Option<Digest>,
}

impl Meta {
    pub fn new(now: u64, wishes: &Wishes, lifetimes: &Lifetimes) -> Self {
        Self {
            created: now,
            last_used: None,
            expires: lifetimes.expires(now, wishes.expires_s),
            label: wishes.label.clone(),
            replaces: wishes.replaces,
            replaced_by: None,
        }
    }

    /// Of a key whose file is all there is: an older gateway wrote it, or the note beside it was lost.
    pub fn adopted(created: u64, now: u64, lifetimes: &Lifetimes) -> Self {
        let wishes = Wishes::default();
        Self {
            created,
            ..Self::new(now, &wishes, lifetimes)
        }
    }

    /// Registering a key again changes what it says anew, and nothing else. True if anything changed.
    pub fn renew(&mut self, now: u64, wishes: &Wishes, lifetimes: &Lifetimes) -> bool {
        let before = self.clone();
        if wishes.label.is_some() {
            self.label.clone_from(&wishes.label);
        }
        if wishes.expires_s.is_some() {
            self.expires = lifetimes.expires(now, wishes.expires_s);
        }
        if wishes.replaces.is_some() {
            self.replaces = wishes.replaces;
        }
        *self != before
    }

    /// Another key is there in its place: it ends after the grace, or sooner if it would have.
    pub fn retire(&mut self, by: KeyId, now: u64, lifetimes: &Lifetimes) {
        let last = now.saturating_add(lifetimes.rotation_grace_s);
        self.replaced_by = Some(by.0);
        self.expires = Some(self.expires.map_or(last, |expires| expires.min(last)));
    }

    pub fn expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// When it was last of use: what the order of pre-warming goes by.
    pub fn recency(&self) -> u64 {
        self.last_used.unwrap_or(self.created)
    }
}
