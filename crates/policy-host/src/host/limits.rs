//! `limits`: limiters and gates. The decision is the primitive's; here handles become primitives, and verdicts go back.

use std::sync::Arc;

use http::HeaderName;
use wasmtime::component::Resource;

use crate::bindings::veilgate::policy::limits::{
    Algorithm, Host, HostGate, HostLimiter, KeySource, Share, Spec, StandingShare as GuestShare,
    Verdict,
};
use crate::bindings::veilgate::policy::types::Error;
use crate::error::HostRefusal;
use crate::primitives::shared::StoredName;
use crate::primitives::{self, DefineError, Few, Gate, Limiter, RateSpec, RateVerdict};
use crate::standing::{self, Shares, StandingShare};
use crate::state::{HostState, unknown_handle};

/// Limits that one request can be under at once.
const MAX_SHARES: usize = 16;
/// Of a key that stands, or of what comes before a value in it.
const MAX_STANDING_KEY_BYTES: usize = 128;

/// A limiter, and its name in the store outside, if its counts are kept there.
pub struct LimiterHandle(Arc<Limiter>, Option<Box<StoredName>>);
pub struct GateHandle(Arc<Gate>);

/// A share as it was asked for; its key is where the guest has it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'k> {
    /// The host's number of the limiter.
    pub(crate) limiter: u32,
    pub(crate) key: &'k str,
    pub(crate) cost: u64,
}

impl<'k> Asked<'k> {
    pub(super) fn of(share: &'k Share) -> Self {
        Self {
            limiter: share.limiter.rep(),
            key: &share.key,
            cost: share.cost,
        }
    }
}

pub(super) fn check_shares(shares: usize) -> wasmtime::Result<()> {
    if !(1..=MAX_SHARES).contains(&shares) {
        return Err(HostRefusal("shares to take at once: none, or more than 16").into());
    }
    Ok(())
}

fn key_source(key: KeySource) -> Result<standing::KeySource, HostRefusal> {
    let (text, key) = match key {
        KeySource::Text(text) => (text.len(), standing::KeySource::Text(text)),
        KeySource::Header((prefix, name)) => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| HostRefusal("a standing key by a header whose name is none"))?;
            (prefix.len(), standing::KeySource::Header(prefix, name))
        }
        KeySource::ClientIp(prefix) => (prefix.len(), standing::KeySource::ClientIp(prefix)),
    };
    match text <= MAX_STANDING_KEY_BYTES {
        true => Ok(key),
        false => Err(HostRefusal("a standing key of more than 128 bytes")),
    }
}

pub(super) fn define_error(error: &DefineError) -> Error {
    match error {
        DefineError::Name | DefineError::Spec(_) => Error::Invalid,
        DefineError::TooMany => Error::Limit,
        DefineError::Conflict => Error::Conflict,
    }
}

impl LimiterHandle {
    pub(super) fn limiter(&self) -> &Limiter {
        &self.0
    }

    /// Empty if nothing is kept outside.
    pub(super) fn stored_key(&self, caller: &str) -> String {
        self.1
            .as_ref()
            .map(|name| name.key(caller))
            .unwrap_or_default()
    }
}

pub(super) fn verdict(verdict: RateVerdict) -> Verdict {
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        limit: verdict.limit,
        retry_after: verdict.retry_after_ms,
        reset: verdict.reset_ms,
        // `shared_limits.rs` says otherwise where a store did not answer.
        degraded: false,
    }
}

impl HostState {
    pub(super) fn limiter(&self, handle: &Resource<LimiterHandle>) -> wasmtime::Result<&Limiter> {
        self.handles
            .get(handle)
            .map(|limiter| &*limiter.0)
            .map_err(|_| unknown_handle())
    }

    fn gate(&self, handle: &Resource<GateHandle>) -> wasmtime::Result<&Arc<Gate>> {
        self.handles
            .get(handle)
            .map(|gate| &gate.0)
            .map_err(|_| unknown_handle())
    }

    /// The answer to a definition; the host's log says why when it is refused.
    pub(super) fn defined<T, H: Send + 'static>(
        &mut self,
        name: &str,
        defined: Result<T, DefineError>,
        handle: impl FnOnce(T) -> H,
    ) -> Result<Resource<H>, Error> {
        match defined {
            Ok(primitive) => self
                .handles
                .push(handle(primitive))
                .map_err(|_| Error::Limit),
            Err(error) => {
                tracing::warn!(target: "policy", policy = %self.shared.policy, name, %error, "a definition was refused");
                Err(define_error(&error))
            }
        }
    }
}

impl HostState {
    /// None: its counts are this process's own.
    fn stored_name(
        &self,
        name: &str,
        spec: &RateSpec,
    ) -> Result<Option<Box<StoredName>>, DefineError> {
        if !self.shared.shared_limits {
            return Ok(None);
        }
        spec.check_stored()?;
        Ok(Some(Box::new(StoredName::new(
            &self.shared.scope,
            name,
            spec,
        ))))
    }
}

impl HostLimiter for HostState {
    fn define(
        &mut self,
        name: String,
        spec: Spec,
    ) -> wasmtime::Result<Result<Resource<LimiterHandle>, Error>> {
        let algorithm = match spec.algorithm {
            Algorithm::Gcra => primitives::Algorithm::Gcra,
            Algorithm::SlidingWindow => primitives::Algorithm::SlidingWindow,
            Algorithm::FixedWindow => primitives::Algorithm::FixedWindow,
        };
        let limiter = RateSpec::new(algorithm, spec.limit, spec.per, spec.burst)
            .map_err(DefineError::from)
            .and_then(|spec| {
                let stored = self.stored_name(&name, &spec)?;
                let limiter = self
                    .shared
                    .primitives
                    .limiter(&self.shared.scope, &name, spec)?;
                Ok((limiter, stored))
            });
        Ok(self.defined(&name, limiter, |(limiter, stored)| {
            LimiterHandle(limiter, stored)
        }))
    }

    fn take(
        &mut self,
        this: Resource<LimiterHandle>,
        key: String,
        cost: u64,
    ) -> wasmtime::Result<Verdict> {
        self.take_by(this, &key, cost)
    }

    fn peek(&mut self, this: Resource<LimiterHandle>, key: String) -> wasmtime::Result<Verdict> {
        Ok(verdict(self.limiter(&this)?.peek(&key, self.now_ns())))
    }

    fn settle(
        &mut self,
        this: Resource<LimiterHandle>,
        key: String,
        delta: i64,
    ) -> wasmtime::Result<()> {
        self.limiter(&this)?.settle(&key, delta, self.now_ns());
        Ok(())
    }

    fn drop(&mut self, this: Resource<LimiterHandle>) -> wasmtime::Result<()> {
        self.handles
            .delete(this)
            .map(|_| ())
            .map_err(|_| unknown_handle())
    }
}

impl HostGate for HostState {
    fn define(
        &mut self,
        name: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Resource<GateHandle>, Error>> {
        let gate = self
            .shared
            .primitives
            .gate(&self.shared.scope, &name, limit);
        Ok(self.defined(&name, gate, GateHandle))
    }

    /// Outside an exchange there is nothing that could end, so nothing can be entered.
    fn enter(&mut self, this: Resource<GateHandle>, key: String) -> wasmtime::Result<bool> {
        let place = self.gate(&this)?.enter(&key);
        let Some(place) =
            place.filter(|_| self.exchange.is_real() && self.exchange.permits.may_enter())
        else {
            return Ok(false);
        };
        self.exchange.permits.keep_place(place);
        Ok(true)
    }

    fn in_flight(&mut self, this: Resource<GateHandle>, key: String) -> wasmtime::Result<u32> {
        Ok(self.gate(&this)?.in_flight(&key))
    }

    fn drop(&mut self, this: Resource<GateHandle>) -> wasmtime::Result<()> {
        self.handles
            .delete(this)
            .map(|_| ())
            .map_err(|_| unknown_handle())
    }
}

impl HostState {
    pub(crate) fn take_by(
        &mut self,
        this: Resource<LimiterHandle>,
        key: &str,
        cost: u64,
    ) -> wasmtime::Result<Verdict> {
        let taken = self.limiter(&this)?.take(key, cost, self.now_ns());
        Ok(verdict(taken))
    }

    pub(super) fn shares<'s>(
        &'s self,
        asked: impl ExactSizeIterator<Item = Asked<'s>>,
    ) -> wasmtime::Result<Few<primitives::Share<'s>>> {
        check_shares(asked.len())?;
        let mut shares = Few::new();
        for asked in asked {
            shares.push(primitives::Share {
                limiter: self.limiter(&Resource::new_borrow(asked.limiter))?,
                key: asked.key,
                cost: asked.cost,
            });
        }
        Ok(shares)
    }

    pub(crate) fn take_all_of(&mut self, asked: &[Asked<'_>]) -> wasmtime::Result<Verdict> {
        let shares = self.shares(asked.iter().copied())?;
        let tightest = primitives::take_all(&shares, self.now_ns());
        tightest
            .map(verdict)
            .ok_or_else(|| HostRefusal("take-all of nothing").into())
    }

    pub(crate) fn take_each_of(&mut self, asked: &[Asked<'_>]) -> wasmtime::Result<Vec<Verdict>> {
        let shares = self.shares(asked.iter().copied())?;
        let mut verdicts = Few::new();
        primitives::take_into(&mut verdicts, &shares, self.now_ns());
        Ok(verdicts.iter().copied().map(verdict).collect())
    }
}

impl Host for HostState {
    fn take_all(&mut self, shares: Vec<Share>) -> wasmtime::Result<Verdict> {
        let asked: Few<Asked<'_>> = shares.iter().map(Asked::of).collect();
        self.take_all_of(&asked)
    }

    fn stand(&mut self, shares: Vec<GuestShare>) -> wasmtime::Result<()> {
        self.only_in_configure("shares that are to stand, outside of configure")?;
        check_shares(shares.len())?;
        let mut standing = Vec::with_capacity(shares.len());
        for share in shares {
            let handle = self.handles.get(&share.limiter);
            let LimiterHandle(limiter, stored) = handle.map_err(|_| unknown_handle())?;
            if stored.is_some() {
                // To ask a store is to wait.
                self.standing.shares = Shares::default();
                return Ok(());
            }
            standing.push(StandingShare {
                limiter: limiter.clone(),
                key: key_source(share.key)?,
                cost: share.cost,
            });
        }
        self.standing.shares = Shares(standing);
        Ok(())
    }

    fn take_each(&mut self, shares: Vec<Share>) -> wasmtime::Result<Vec<Verdict>> {
        let asked: Few<Asked<'_>> = shares.iter().map(Asked::of).collect();
        self.take_each_of(&asked)
    }
}
