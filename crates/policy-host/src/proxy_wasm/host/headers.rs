//! Header maps. Fields that frame a message are the gateway's: what a filter does to them is accepted and has no effect, because SDKs
//! stop on anything but "done" (a filter that changes a body removes `content-length` first, for instance).

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, header};

use crate::bindings::veilgate::policy::{request, response};
use crate::exchange::RequestParts;
use crate::host::fields::{self, MAX_FIELDS, MAX_VALUE_BYTES};
use crate::proxy_wasm::abi::{MapId, Status};
use crate::proxy_wasm::maps;
use crate::proxy_wasm::memory::{Answer, Guest, charge, give, put_u32, slice, split};
use crate::proxy_wasm::state::VmState;

/// Pseudo headers of a request: method, path, authority, scheme.
pub(in crate::proxy_wasm) const REQUEST_PSEUDO: u32 = 4;
/// Of a response: status.
pub(in crate::proxy_wasm) const RESPONSE_PSEUDO: u32 = 1;

/// A value on its way out: what is in a map is shared, the rest is copied.
enum Found {
    Field(HeaderValue),
    Text(String),
}

impl Found {
    fn bytes(&self) -> &[u8] {
        match self {
            Found::Field(value) => value.as_bytes(),
            Found::Text(text) => text.as_bytes(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Add,
    Replace,
}

fn map(number: u32) -> Answer<MapId> {
    Ok(MapId::from_guest(number).ok_or(Status::BadArgument)?)
}

pub(super) fn value(
    guest: &mut Guest<'_>,
    number: u32,
    key: u32,
    key_size: u32,
    data_at: u32,
    size_at: u32,
) -> Answer {
    let id = map(number)?;
    let (memory, state) = split(guest)?;
    let key = slice(memory, key, key_size)?;
    let found = find(state, id, key).ok_or(Status::NotFound)?;
    give(guest, found.bytes(), data_at, size_at)
}

fn find(state: &VmState, id: MapId, key: &[u8]) -> Option<Found> {
    let field = |headers: &HeaderMap| {
        let name = std::str::from_utf8(key).ok()?;
        headers.get(name).cloned().map(Found::Field)
    };
    match id {
        MapId::RequestHeaders if state.is_acting() => {
            let request = &state.base.exchange.request;
            match key {
                b":method" => Some(Found::Text(request.method.as_str().to_owned())),
                b":path" => Some(Found::Text(request.path_and_query.clone())),
                b":authority" | b"host" => Some(Found::Text(request.authority.clone())),
                b":scheme" => Some(Found::Text(scheme(state).to_owned())),
                _ => field(&request.headers),
            }
        }
        MapId::ResponseHeaders if state.is_acting() => {
            let response = state.base.exchange.response.as_ref()?;
            match key {
                b":status" => Some(Found::Text(response.status.as_str().to_owned())),
                _ => field(&response.headers),
            }
        }
        MapId::CallResponseHeaders => {
            let answer = state.reply.as_ref()?.answer.as_ref()?;
            match key {
                b":status" => Some(Found::Text(answer.status.as_str().to_owned())),
                _ => field(&answer.headers),
            }
        }
        MapId::Trailers(half) => field(state.trailers(half)?),
        MapId::RequestHeaders | MapId::ResponseHeaders | MapId::Empty => None,
    }
}

pub(in crate::proxy_wasm) fn scheme(state: &VmState) -> &'static str {
    if state.base.exchange.info.tls {
        "https"
    } else {
        "http"
    }
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// None: there is no such message here.
fn listed(state: &VmState, id: MapId) -> Option<Vec<Pair<'_>>> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    match id {
        MapId::RequestHeaders if state.is_acting() => {
            let request = &state.base.exchange.request;
            pairs.push((b":authority", request.authority.as_bytes()));
            pairs.push((b":path", request.path_and_query.as_bytes()));
            pairs.push((b":method", request.method.as_str().as_bytes()));
            pairs.push((b":scheme", scheme(state).as_bytes()));
            append_fields(&mut pairs, &request.headers);
        }
        MapId::ResponseHeaders if state.is_acting() => {
            let response = state.base.exchange.response.as_ref()?;
            pairs.push((b":status", response.status.as_str().as_bytes()));
            append_fields(&mut pairs, &response.headers);
        }
        MapId::CallResponseHeaders => {
            let answer = state.reply.as_ref()?.answer.as_ref()?;
            pairs.push((b":status", answer.status.as_str().as_bytes()));
            append_fields(&mut pairs, &answer.headers);
        }
        MapId::Trailers(half) => {
            if let Some(trailers) = state.trailers(half) {
                append_fields(&mut pairs, trailers);
            }
        }
        MapId::Empty => {}
        MapId::RequestHeaders | MapId::ResponseHeaders => return None,
    }
    Some(pairs)
}

fn append_fields<'a>(pairs: &mut Vec<Pair<'a>>, headers: &'a HeaderMap) {
    pairs.extend(
        headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
    );
}

pub(super) fn pairs(guest: &mut Guest<'_>, number: u32, data_at: u32, size_at: u32) -> Answer {
    let id = map(number)?;
    let pairs = listed(guest.data(), id).ok_or(Status::NotFound)?;
    let bytes = maps::serialized(pairs.into_iter());
    give(guest, &bytes, data_at, size_at)
}

pub(super) fn size(guest: &mut Guest<'_>, number: u32, size_at: u32) -> Answer {
    let id = map(number)?;
    let pairs = listed(guest.data(), id).ok_or(Status::NotFound)?;
    let size = maps::serialized_len(pairs.into_iter());
    put_u32(guest, size_at, size as u32)
}

pub(super) fn add(
    guest: &mut Guest<'_>,
    number: u32,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
) -> Answer {
    write(guest, Write::Add, number, (key, key_size), (value, size))
}

pub(super) fn replace(
    guest: &mut Guest<'_>,
    number: u32,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
) -> Answer {
    write(
        guest,
        Write::Replace,
        number,
        (key, key_size),
        (value, size),
    )
}

fn write(
    guest: &mut Guest<'_>,
    how: Write,
    number: u32,
    key: (u32, u32),
    value: (u32, u32),
) -> Answer {
    let id = map(number)?;
    let (memory, state) = split(guest)?;
    let (key, value) = (
        slice(memory, key.0, key.1)?,
        slice(memory, value.0, value.1)?,
    );
    put(state, id, how, key, value)
}

fn put(state: &mut VmState, id: MapId, how: Write, key: &[u8], value: &[u8]) -> Answer {
    if !state.is_acting() {
        return Err(Status::BadArgument.into());
    }
    match id {
        MapId::RequestHeaders => match key.strip_prefix(b":") {
            Some(pseudo) => set_request_pseudo(state, pseudo, value),
            None if key.eq_ignore_ascii_case(b"host") => {
                set_request_pseudo(state, b"authority", value)
            }
            None => {
                let request = state.base.changeable().ok_or(Status::BadArgument)?;
                put_field(&mut request.headers, how, key, value)
            }
        },
        MapId::ResponseHeaders => match key.strip_prefix(b":") {
            Some(b"status") => set_status(state, value),
            Some(_) => Err(Status::BadArgument.into()),
            None => {
                let response = state.base.response_mut().ok_or(Status::BadArgument)?;
                put_field(&mut response.headers, how, key, value)
            }
        },
        MapId::Trailers(half) => {
            let trailers = state.trailers_mut(half).ok_or(Status::BadArgument)?;
            put_field(trailers, how, key, value)
        }
        // Nobody would read them.
        MapId::CallResponseHeaders | MapId::Empty => Err(Status::BadArgument.into()),
    }
}

fn put_field(headers: &mut HeaderMap, how: Write, name: &[u8], value: &[u8]) -> Answer {
    let name = HeaderName::from_bytes(name).map_err(|_| Status::BadArgument)?;
    if fields::is_reserved(&name) {
        return Ok(());
    }
    let value = HeaderValue::from_bytes(value)
        .ok()
        .filter(|value| value.len() <= MAX_VALUE_BYTES)
        .ok_or(Status::BadArgument)?;
    let grows = how == Write::Add || !headers.contains_key(&name);
    if grows && headers.len() >= MAX_FIELDS {
        return Err(Status::BadArgument.into());
    }
    let done = match how {
        Write::Add => headers.try_append(name, value).map(|_| ()),
        Write::Replace => headers.try_insert(name, value).map(|_| ()),
    };
    Ok(done.map_err(|_| Status::BadArgument)?)
}

/// Method and scheme can be set to what they are: another method would be another request.
fn set_request_pseudo(state: &mut VmState, name: &[u8], value: &[u8]) -> Answer {
    let text = std::str::from_utf8(value).map_err(|_| Status::BadArgument)?;
    let done = match name {
        b"path" => request::Host::set_path(&mut state.base, text.to_owned())?,
        b"authority" => request::Host::set_authority(&mut state.base, text.to_owned())?,
        b"method" => state.base.exchange.request.method.as_str() == text,
        b"scheme" => scheme(state) == text,
        _ => false,
    };
    if done {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

fn set_status(state: &mut VmState, value: &[u8]) -> Answer {
    let status = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Status::BadArgument)?;
    if response::Host::set_status(&mut state.base, status)? {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

/// Removing what is not there is done, too. Pseudo headers stay.
pub(super) fn remove(guest: &mut Guest<'_>, number: u32, key: u32, key_size: u32) -> Answer {
    let id = map(number)?;
    let (memory, state) = split(guest)?;
    let key = slice(memory, key, key_size)?;
    if !state.is_acting() || key.starts_with(b":") {
        return Err(Status::BadArgument.into());
    }
    let headers = changeable(state, id)?;
    let name = HeaderName::from_bytes(key).map_err(|_| Status::BadArgument)?;
    if !fields::is_reserved(&name) {
        headers.remove(name);
    }
    Ok(())
}

fn changeable(state: &mut VmState, id: MapId) -> Answer<&mut HeaderMap> {
    let headers = match id {
        MapId::RequestHeaders => state
            .base
            .changeable()
            .map(|request: &mut RequestParts| &mut request.headers),
        MapId::ResponseHeaders => state
            .base
            .response_mut()
            .map(|response| &mut response.headers),
        MapId::Trailers(half) => state.trailers_mut(half),
        MapId::CallResponseHeaders | MapId::Empty => None,
    };
    Ok(headers.ok_or(Status::BadArgument)?)
}

/// All or none: a map with one field that cannot be set changes nothing.
pub(super) fn set_pairs(guest: &mut Guest<'_>, number: u32, data: u32, size: u32) -> Answer {
    let id = map(number)?;
    charge(guest, size as usize)?;
    let (memory, state) = split(guest)?;
    let pairs = maps::parsed(slice(memory, data, size)?).ok_or(Status::ParseFailure)?;
    if !state.is_acting() {
        return Err(Status::BadArgument.into());
    }
    let mut fresh = HeaderMap::with_capacity(pairs.len());
    let (pseudo, plain): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .partition(|(key, _)| key.starts_with(b":"));
    for (key, value) in plain {
        put_field(&mut fresh, Write::Add, key, value)?;
    }
    for (key, value) in pseudo {
        put(state, id, Write::Replace, key, value)?;
    }
    let headers = changeable(state, id)?;
    keep_reserved(headers, &mut fresh);
    *headers = fresh;
    Ok(())
}

fn keep_reserved(old: &HeaderMap, fresh: &mut HeaderMap) {
    for (name, value) in old {
        if fields::is_reserved(name) && name != header::HOST {
            fresh.append(name.clone(), value.clone());
        }
    }
}

/// The fields of a response that a filter makes up. None: malformed, or over a limit.
pub(super) fn local_fields(bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (key, value) in maps::parsed(bytes)? {
        if !key.starts_with(b":") {
            put_field(&mut headers, Write::Add, key, value).ok()?;
        }
    }
    Some(headers)
}
