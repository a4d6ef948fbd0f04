//! The `Cache-Status` field: RFC 9211.

use std::fmt;

use http::{HeaderValue, StatusCode};

/// Why a request went upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache was told not to handle this request.
    Bypass,
    /// The method's semantics require it.
    Method,
    UriMiss,
    VaryMiss,
    /// Stored, and usable but for the request's own directives.
    Request,
    Stale,
}

impl Forward {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// Whether the cache answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Hit,
    Fwd(Forward),
}

/// What this cache did with one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    pub outcome: Outcome,
    /// The status that came from upstream, where it is not the one sent (a 304 to our validation).
    pub fwd_status: Option<StatusCode>,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
    pub stored: bool,
    /// The request waited for another one's.
    pub collapsed: bool,
    /// A constant word more.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    pub fn hit(ttl: i64) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::of(Outcome::Hit)
        }
    }

    pub fn forwarded(why: Forward) -> Self {
        Self::of(Outcome::Fwd(why))
    }

    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            fwd_status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    /// A bounded label: `hit`, `stale-hit`, `uri-miss`, `vary-miss`, `stale`, `request`, `bypass`, `method`.
    pub fn label(&self) -> &'static str {
        match self.outcome {
            Outcome::Hit if self.ttl.is_some_and(|ttl| ttl < 0) => "stale-hit",
            Outcome::Hit => "hit",
            Outcome::Fwd(why) => why.as_str(),
        }
    }

    /// The field's value, with this cache's name (an RFC 9651 token) in front.
    pub fn to_header(&self, cache_name: &'static str) -> HeaderValue {
        let text = format!("{cache_name}{self}");
        // Tokens, integers and a quoted constant only, so this always fits; an empty value says the least.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The parameters alone, each led by `; `.
impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Fwd(why) => write!(f, "; fwd={}", why.as_str())?,
        }
        if let Some(status) = self.fwd_status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if let Some(detail) = self.detail {
            write!(f, "; detail={detail}")?;
        }
        Ok(())
    }
}
