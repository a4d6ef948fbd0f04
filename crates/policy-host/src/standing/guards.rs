//! Breakers that the host asks by itself before an attempt; the policy is called only where one refuses.

use std::borrow::Cow;
use std::sync::Arc;

use crate::exchange::ExchangeContext;
use crate::permits::Counting;
use crate::primitives::{Admission, Breaker};

/// Of one policy.
const MAX_GUARDS: usize = 64;

/// One breaker, and which attempts are its own.
pub(crate) struct Guard {
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) counting: Option<Arc<Counting>>,
    /// `*`: any.
    pub(crate) upstreams: Vec<String>,
    /// None: any.
    pub(crate) routes: Vec<String>,
    /// Whether the key has the route in it.
    pub(crate) per_route: bool,
}

impl Guard {
    fn is_for(&self, upstream: &str, route: &str) -> bool {
        let of = |names: &[String], name: &str| names.iter().any(|one| one == "*" || one == name);
        of(&self.upstreams, upstream) && (self.routes.is_empty() || of(&self.routes, route))
    }

    fn key<'u>(&self, upstream: &'u str, route: &str) -> Cow<'u, str> {
        match self.per_route {
            true => Cow::Owned([upstream, " ", route].concat()),
            false => Cow::Borrowed(upstream),
        }
    }
}

/// In the order in which they were said: the first that fits an attempt counts.
#[derive(Default)]
pub(crate) struct Guards(Vec<Guard>);

impl Guards {
    /// False: there are too many.
    #[must_use]
    pub(crate) fn add(&mut self, guard: Guard) -> bool {
        let room = self.0.len() < MAX_GUARDS;
        if room {
            self.0.push(guard);
        }
        room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the attempt may begin without a word of the policy: its breaker admits it, and has given a permit, or none of them is for
    /// it.
    pub(crate) fn admit(
        &self,
        exchange: &mut ExchangeContext,
        (attempt, upstream): (u32, &str),
        now_ns: u64,
    ) -> bool {
        let route = exchange.info.route.clone();
        let Some(guard) = self.0.iter().find(|guard| guard.is_for(upstream, &route)) else {
            return true;
        };
        let key = guard.key(upstream, &route);
        let asked = (&guard.breaker, &guard.counting);
        let admission = exchange.permits.admit(attempt, asked, &key, now_ns);
        !matches!(admission, Admission::Refuse { .. })
    }
}
