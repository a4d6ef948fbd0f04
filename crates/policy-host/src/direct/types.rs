//! The contract's own types, as the canonical ABI lays them out. That these are the contract's is held against the WIT by a test.

use wasmtime::component::Resource;

use super::abi::{
    Flat, Load, Narrow, Place, Save, case, part, part_mut, set_case, unknown_case, up,
};
use super::guest::{Reader, Writer};
use crate::bindings::exports::veilgate::policy::{attempt_hook, outcome_hook};
use crate::bindings::veilgate::policy::{
    breakers, kv, limits, llm, log, metrics, request, response,
};
use crate::bindings::veilgate::policy::{scope, types, upstreams};
use crate::host::limits::{Asked, LimiterHandle};
use crate::primitives::Few;

/// What the tests hold against the WIT: a record's fields or an enum's cases, in order.
#[cfg(test)]
pub(super) trait Names {
    const NAMES: &'static [&'static str];
}

macro_rules! names {
    ($type:ty: $($name:ident),*) => {
        #[cfg(test)]
        impl Names for $type {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
        }
    };
}

macro_rules! loaded_record {
    ($type:ty { $($field:ident: $of:ty),* $(,)? }) => {
        names!($type: $($field),*);

        impl Load for $type {
            const PLACE: Place = Place::record(&[$(<$of as Load>::PLACE),*]);
            fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
                let mut next = 0;
                $(
                    next = up(next, <$of as Load>::PLACE.align);
                    let $field = <$of as Load>::load(guest, part(from, next, <$of as Load>::PLACE)?)?;
                    next += <$of as Load>::PLACE.size;
                )*
                let _ = next;
                Ok(Self { $($field),* })
            }
        }
    };
}

macro_rules! saved_record {
    ($type:ty { $($field:ident: $of:ty),* $(,)? }) => {
        names!($type: $($field),*);

        impl Save for $type {
            const PLACE: Place = Place::record(&[$(<$of as Save>::PLACE),*]);
            fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
                let mut next = 0;
                $(
                    next = up(next, <$of as Save>::PLACE.align);
                    self.$field.save(guest, part_mut(to, next, <$of as Save>::PLACE)?)?;
                    next += <$of as Save>::PLACE.size;
                )*
                let _ = next;
                Ok(())
            }
        }
    };
}

/// Up to 256 cases: one byte.
macro_rules! enumeration {
    ($type:ty { $($case:ident = $number:literal),* $(,)? }) => {
        names!($type: $($case),*);

        impl Narrow for $type {
            fn narrow(value: u32) -> wasmtime::Result<Self> {
                match value {
                    $($number => Ok(Self::$case),)*
                    _ => Err(unknown_case()),
                }
            }
        }

        impl Load for $type {
            const PLACE: Place = Place::of(1);
            fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
                Self::narrow(u8::load(guest, from)?.into())
            }
        }

        impl Flat for $type {
            type Core = u32;
            fn flat(self) -> u32 {
                match self {
                    $(Self::$case => $number,)*
                }
            }
        }

        impl Save for $type {
            const PLACE: Place = Place::of(1);
            fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
                (self.flat() as u8).save(guest, to)
            }
        }
    };
}

enumeration!(types::Error { Denied = 0, NotFound = 1, Limit = 2, Conflict = 3, Timeout = 4, Unavailable = 5, Invalid = 6 });
enumeration!(types::BodyNeed { None = 0, Whole = 1, Watch = 2 });
enumeration!(outcome_hook::Verdict { Accept = 0, Retry = 1, GiveUp = 2 });
enumeration!(response::Source { Upstream = 0, Cache = 1, StaleCache = 2, Fhe = 3, Local = 4 });
enumeration!(log::Level { Trace = 0, Debug = 1, Info = 2, Warn = 3, Error = 4 });
enumeration!(metrics::Kind { Counter = 0, Gauge = 1, Histogram = 2 });
enumeration!(limits::Algorithm { Gcra = 0, SlidingWindow = 1, FixedWindow = 2 });
enumeration!(breakers::State { Closed = 0, Open = 1, HalfOpen = 2 });

loaded_record!(types::LocalResponse { status: u16, headers: Vec<types::Field>, body: Vec<u8> });
loaded_record!(types::RouteChoice {
    upstream: String,
    endpoint: Option<u32>,
    hash_key: Option<u64>,
    timeout: Option<u64>,
});
loaded_record!(types::Decision {
    respond: Option<types::LocalResponse>,
    route: Option<types::RouteChoice>,
    body: types::BodyNeed,
    defer: bool,
    done: bool,
    reason: Option<String>,
    response_headers: Vec<types::Field>,
});
loaded_record!(limits::Share { limiter: Resource<LimiterHandle>, key: String, cost: u64 });

/// A share whose key stays where it is.
struct ShareInPlace {
    limiter: Resource<LimiterHandle>,
    key: (u32, u32),
    cost: u64,
}
loaded_record!(ShareInPlace { limiter: Resource<LimiterHandle>, key: (u32, u32), cost: u64 });

/// What is to be taken at once. Few are allowed, and those stay off the heap; more are counted by who takes them.
pub(super) fn shares<'m>(
    guest: &mut Reader<'m>,
    at: u32,
    length: u32,
) -> wasmtime::Result<Few<Asked<'m>>> {
    const EACH: Place = <ShareInPlace as Load>::PLACE;
    let list = guest.elements(at, length, EACH)?;
    guest.charge((length as usize).saturating_mul(size_of::<Asked<'_>>()))?;
    let mut shares = Few::new();
    for from in list.chunks_exact(EACH.size) {
        let share = ShareInPlace::load(guest, from)?;
        shares.push(Asked {
            limiter: share.limiter.rep(),
            key: guest.text_in_place(share.key.0, share.key.1)?,
            cost: share.cost,
        });
    }
    Ok(shares)
}

saved_record!(request::Identity { tenant: Option<String>, subject: Option<String>, method: String });
saved_record!(request::RequestInfo {
    id: String,
    client_ip: String,
    client_port: u16,
    protocol: String,
    tls: bool,
    sni: Option<String>,
    route: String,
    received_ms: u64,
    identity: request::Identity,
});
saved_record!(limits::Verdict {
    allowed: bool,
    remaining: u64,
    limit: u64,
    retry_after: u64,
    reset: u64,
    degraded: bool,
});
saved_record!(kv::Entry { value: Vec<u8>, version: u64, expires: Option<u64> });
saved_record!(upstreams::Endpoint {
    id: u32,
    address: String,
    healthy: bool,
    weight: u32,
    in_flight: u32,
    ewma_us: u64,
    zone: String,
});
saved_record!(upstreams::Stats {
    healthy: u32,
    total: u32,
    in_flight: u32,
    rate: f64,
    error_rate: f64,
    p50_us: u64,
    p99_us: u64,
});
saved_record!(llm::Usage {
    prompt: u64,
    completion: u64,
    estimated: bool
});

impl Save for breakers::Admission {
    const PLACE: Place = Place::variant(&[<u64 as Save>::PLACE]);
    fn save(self, guest: &mut Writer<'_>, to: &mut [u8]) -> wasmtime::Result<()> {
        match self {
            Self::Pass => set_case(to, 0),
            Self::Probe => set_case(to, 1),
            Self::Refuse(millis) => {
                const MILLIS: Place = <u64 as Save>::PLACE;
                set_case(to, 2)?;
                millis.save(guest, part_mut(to, Place::payload(&[MILLIS]), MILLIS)?)
            }
        }
    }
}

impl Load for types::ChunkAction {
    const PLACE: Place = Place::variant(&[<Vec<u8> as Load>::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        const BYTES: Place = <Vec<u8> as Load>::PLACE;
        match case(from)? {
            0 => Ok(Self::Keep),
            1 => {
                let bytes = part(from, Place::payload(&[BYTES]), BYTES)?;
                Vec::load(guest, bytes).map(Self::Replace)
            }
            2 => Ok(Self::Drop),
            3 => Ok(Self::Abort),
            4 => Ok(Self::StopWatching),
            _ => Err(unknown_case()),
        }
    }
}

impl Load for limits::KeySource {
    const PLACE: Place = Place::variant(&[<(String, String) as Load>::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        const TEXT: Place = <String as Load>::PLACE;
        const PAIR: Place = <(String, String) as Load>::PLACE;
        let payload = |place| part(from, Place::payload(&[PAIR]), place);
        match case(from)? {
            0 => String::load(guest, payload(TEXT)?).map(Self::Text),
            1 => <(String, String)>::load(guest, payload(PAIR)?).map(Self::Header),
            2 => String::load(guest, payload(TEXT)?).map(Self::ClientIp),
            _ => Err(unknown_case()),
        }
    }
}

loaded_record!(limits::StandingShare {
    limiter: Resource<LimiterHandle>,
    key: limits::KeySource,
    cost: u64,
});

impl Load for scope::Test {
    const PLACE: Place = Place::variant(&[<(String, String) as Load>::PLACE]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        const LIST: Place = <Vec<String> as Load>::PLACE;
        const TEXT: Place = <String as Load>::PLACE;
        const PAIR: Place = <(String, String) as Load>::PLACE;
        let payload = |place| part(from, Place::payload(&[PAIR]), place);
        match case(from)? {
            0 => Vec::load(guest, payload(LIST)?).map(Self::Method),
            1 => Vec::load(guest, payload(LIST)?).map(Self::Path),
            2 => Vec::load(guest, payload(LIST)?).map(Self::PathPrefix),
            3 => Vec::load(guest, payload(LIST)?).map(Self::Host),
            4 => String::load(guest, payload(TEXT)?).map(Self::HasHeader),
            5 => String::load(guest, payload(TEXT)?).map(Self::NoHeader),
            6 => <(String, String)>::load(guest, payload(PAIR)?).map(Self::Header),
            _ => Err(unknown_case()),
        }
    }
}

impl Load for attempt_hook::Choice {
    const PLACE: Place = Place::variant(&[
        <types::RouteChoice as Load>::PLACE,
        <types::LocalResponse as Load>::PLACE,
    ]);
    fn load(guest: &mut Reader<'_>, from: &[u8]) -> wasmtime::Result<Self> {
        const ROUTE: Place = <types::RouteChoice as Load>::PLACE;
        const RESPONSE: Place = <types::LocalResponse as Load>::PLACE;
        const PAYLOAD: usize = Place::payload(&[ROUTE, RESPONSE]);
        match case(from)? {
            0 => Ok(Self::Default),
            1 => {
                let route = part(from, PAYLOAD, ROUTE)?;
                types::RouteChoice::load(guest, route).map(Self::Route)
            }
            2 => {
                let response = part(from, PAYLOAD, RESPONSE)?;
                types::LocalResponse::load(guest, response).map(Self::Respond)
            }
            3 => Ok(Self::GiveUp),
            _ => Err(unknown_case()),
        }
    }
}

#[cfg(test)]
#[path = "types/tests.rs"]
mod tests;
