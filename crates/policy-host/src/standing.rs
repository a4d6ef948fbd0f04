//! What a policy left with the host when it was configured, so that the host need not call it where there is nothing to decide: for
//! which requests it is there, under which limits they are, and which attempts may begin while its breakers are closed.

mod guards;
mod scope;
mod shares;

pub(crate) use guards::{Guard, Guards};
pub(crate) use scope::{Scope, Test};
pub(crate) use shares::{KeySource, Shares, StandingShare};

/// Of one policy. Every instance is configured the same; the first one's word stands.
#[derive(Default)]
pub(crate) struct Standing {
    /// None: it is there for every request.
    pub(crate) scope: Option<Scope>,
    pub(crate) guards: Guards,
    pub(crate) shares: Shares,
}
