//! The JSON and the paths of the sync protocol (docs/specs/batch.md, "Protocol").
//!
//! Replies may gain fields: unknown ones are ignored. Requests and paths are read strictly.

use std::fmt;

use edge_types::{BatchNo, Digest, Epoch, Incarnation, Lane, SiteId};
use serde::{Deserialize, Serialize};

use crate::limits;

const PREFIX: &str = "/sync/v1/sites/";
/// A client certificate names its site as `<site>.site.veilgate`.
const SITE_DNS_SUFFIX: &str = ".site.veilgate";

/// RFC 9457.
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// Body of `POST {epochs_path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    pub incarnation: Incarnation,
    /// The epoch that this incarnation was given before, if any: a store that lost it must give it again when no other has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_epoch: Option<Epoch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollReply {
    pub epoch: Epoch,
}

/// Body of the reply to `GET {state_path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReply {
    /// Changes when the store is made anew: what was acknowledged before may be gone.
    pub store_incarnation: Incarnation,
    /// The site's current (highest) epoch; 0 when it never enrolled.
    pub epoch: Epoch,
    pub lanes: Vec<LaneState>,
    pub server_time_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    pub lane: Lane,
    /// Every batch from 1 to this one is stored; 0 for none.
    pub through_batch: BatchNo,
    /// All stored batches as inclusive ranges, ascending.
    pub ranges: Vec<(BatchNo, BatchNo)>,
}

impl LaneState {
    /// From the ascending numbers of the batches that are stored.
    pub fn of_stored(lane: Lane, stored: impl IntoIterator<Item = BatchNo>) -> Self {
        let ranges = batch_ranges(stored);
        let through_batch = match ranges.first() {
            Some((BatchNo(1), last)) => *last,
            _ => BatchNo(0),
        };
        Self {
            lane,
            through_batch,
            ranges,
        }
    }
}

/// Ascending numbers as inclusive ranges, at most `MAX_STATE_RANGES` of them.
pub fn batch_ranges(ascending: impl IntoIterator<Item = BatchNo>) -> Vec<(BatchNo, BatchNo)> {
    let mut ranges: Vec<(BatchNo, BatchNo)> = Vec::new();
    for no in ascending {
        let full = ranges.len() == limits::MAX_STATE_RANGES;
        match ranges.last_mut() {
            Some((_, last)) if no <= last.next() => *last = no.max(*last),
            _ if full => break,
            _ => ranges.push((no, no)),
        }
    }
    ranges
}

/// Body of the reply to a PUT of a batch: 201 the first time, 200 when it was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReply {
    pub hash: Digest,
}

/// Why the aggregator said no. Each has one `type` URI and one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// 409: the name holds another batch; `stored_hash` says which.
    Conflict,
    /// 409: a newer epoch of the site exists.
    Fenced,
    /// 400: the request is not what the protocol allows.
    BadRequest,
    /// 422: the batch is not valid, or not of this name.
    InvalidBatch,
    /// 413
    TooLarge,
    /// 403: the client certificate is not this site's.
    WrongSite,
    /// 404: no such path, or the epoch was never issued.
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 503, with Retry-After.
    Unavailable,
    /// 507, with Retry-After.
    StoreFull,
}

/// What the site does about a refused batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutStatus {
    /// It is stored: acknowledge.
    Stored,
    /// Never going to be accepted: set it aside, leave a gap record, go on.
    Refused,
    /// Another batch has its name, or a newer epoch fences this one.
    Conflict,
    /// Try again later, for ever.
    Later,
}

impl PutStatus {
    pub const fn of_http(status: u16) -> Self {
        match status {
            200 | 201 => Self::Stored,
            409 => Self::Conflict,
            400 | 413 | 422 => Self::Refused,
            // Includes 401, 403 and 404: a wrong certificate or address is for an operator to mend; no record is dropped for it.
            _ => Self::Later,
        }
    }
}

impl ProblemKind {
    pub const ALL: [Self; 10] = [
        Self::Conflict,
        Self::Fenced,
        Self::BadRequest,
        Self::InvalidBatch,
        Self::TooLarge,
        Self::WrongSite,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Unavailable,
        Self::StoreFull,
    ];

    /// The `type` member.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Conflict => "urn:veilgate:sync:conflict",
            Self::Fenced => "urn:veilgate:sync:fenced",
            Self::BadRequest => "urn:veilgate:sync:bad-request",
            Self::InvalidBatch => "urn:veilgate:sync:invalid-batch",
            Self::TooLarge => "urn:veilgate:sync:too-large",
            Self::WrongSite => "urn:veilgate:sync:wrong-site",
            Self::NotFound => "urn:veilgate:sync:not-found",
            Self::MethodNotAllowed => "urn:veilgate:sync:method-not-allowed",
            Self::Unavailable => "urn:veilgate:sync:unavailable",
            Self::StoreFull => "urn:veilgate:sync:store-full",
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Self::Conflict | Self::Fenced => 409,
            Self::BadRequest => 400,
            Self::InvalidBatch => 422,
            Self::TooLarge => 413,
            Self::WrongSite => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Unavailable => 503,
            Self::StoreFull => 507,
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Conflict => "Another batch has this name",
            Self::Fenced => "A newer epoch of this site exists",
            Self::BadRequest => "Not a request of the sync protocol",
            Self::InvalidBatch => "Not a valid sealed batch of this name",
            Self::TooLarge => "Body too large",
            Self::WrongSite => "The client certificate is not this site's",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Unavailable => "Try again later",
            Self::StoreFull => "The store is full; try again later",
        }
    }
}

/// An error reply (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: String,
    pub status: u16,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// With `Conflict`: the hash of the batch that has the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_hash: Option<Digest>,
}

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            type_uri: kind.uri().to_string(),
            title: kind.title().to_string(),
            status: kind.status(),
            detail: detail.into(),
            stored_hash: None,
        }
    }

    pub fn conflict(stored: Digest) -> Self {
        let detail = "the batch that is stored under this name has another hash";
        Self {
            stored_hash: Some(stored),
            ..Self::new(ProblemKind::Conflict, detail)
        }
    }

    /// `None` for a `type` that this version does not know.
    pub fn kind(&self) -> Option<ProblemKind> {
        ProblemKind::ALL
            .into_iter()
            .find(|kind| kind.uri() == self.type_uri)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.status)?;
        if self.detail.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.detail)
    }
}

pub fn epochs_path(site: &SiteId) -> String {
    format!("{PREFIX}{site}/epochs")
}

pub fn state_path(site: &SiteId) -> String {
    format!("{PREFIX}{site}/state")
}

pub fn batch_path(site: &SiteId, epoch: Epoch, lane: Lane, batch_no: BatchNo) -> String {
    format!("{PREFIX}{site}/epochs/{epoch}/lanes/{lane}/batches/{batch_no}")
}

/// What a path of the protocol names. The method is the caller's to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Epochs {
        site: SiteId,
    },
    State {
        site: SiteId,
    },
    Batch {
        site: SiteId,
        epoch: Epoch,
        lane: Lane,
        batch_no: BatchNo,
    },
}

impl Route {
    /// Exactly what the builders write; anything else, a leading zero or an escape included, is `None`.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(PREFIX)?.split('/');
        let site = SiteId::new(parts.next()?).ok()?;
        let rest: Vec<&str> = parts.take(7).collect();
        match rest.as_slice() {
            ["epochs"] => Some(Self::Epochs { site }),
            ["state"] => Some(Self::State { site }),
            ["epochs", epoch, "lanes", lane, "batches", batch_no] => Some(Self::Batch {
                site,
                epoch: Epoch(number(epoch)?),
                lane: lane.parse().ok()?,
                batch_no: BatchNo(number(batch_no)?),
            }),
            _ => None,
        }
    }

    pub fn site(&self) -> &SiteId {
        match self {
            Self::Epochs { site } | Self::State { site } | Self::Batch { site, .. } => site,
        }
    }
}

/// A number from 1 on, with one spelling only: two paths must never name one batch.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// The DNS name that a site's client certificate carries.
pub fn site_dns_name(site: &SiteId) -> String {
    format!("{site}{SITE_DNS_SUFFIX}")
}

/// The site that a certificate's DNS name stands for, if it is one.
pub fn site_of_dns_name(name: &str) -> Option<SiteId> {
    SiteId::new(name.strip_suffix(SITE_DNS_SUFFIX)?).ok()
}

#[cfg(test)]
mod tests;
