//! The limits that several gateways share, in a Redis: each step is one script there, and one trip to it.
//!
//! Invariants: a request waits for the store at most `timeout`, once; while the store is known to be away nobody waits for it, and
//! one task looks whether it is back. An outage is one line in the log. What the store says is checked.
//!
//! Why a script that counts, and not a compare-and-swap around our own code: it is one trip, also for a key that everybody takes
//! from at the same time, where a compare-and-swap would be tried again and again. `step.lua` says why its doubles are exact;
//! policy-host reckons each decision again from what the store had, and does not believe another.

mod link;
mod outage;
mod script;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use policy_host::{LimitAnswer, LimitStep, LimitStore, ServiceError};
use redis::{RedisError, Script, ScriptInvocation, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::config::LimitsStoreConfig;
pub use link::LimitsStoreError;
use link::{Link, Place};
use outage::{Outages, Outcome};

/// From nothing to a connection that may be used: never on a request's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The first pause between two attempts, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lasted so long was a good one: the next is tried at once.
const STEADY: Duration = Duration::from_secs(5);

static SCRIPT: LazyLock<Script> = LazyLock::new(script::script);

/// The store, and the task that keeps the way to it.
pub struct RedisLimits {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

struct Shared {
    place: Place,
    prefix: String,
    timeout: Duration,
    /// None: the store is away.
    link: ArcSwapOption<Link>,
    lost: Notify,
    outages: Outages,
}

/// Why there was no answer.
enum Trouble {
    /// The store, or the way to it.
    Away(String),
    /// One key holds something that is not ours.
    Foreign(String),
    /// The caller had less time than the store may take.
    Hurried,
}

impl RedisLimits {
    /// Tries to connect, but a store that is away is no error: it is tried for ever. Needs a tokio runtime.
    pub async fn start(config: &LimitsStoreConfig) -> Result<Self, LimitsStoreError> {
        let place = Place::new(config)?;
        let shared = Arc::new(Shared {
            outages: Outages::new(place.address(), config.without),
            place,
            prefix: config.prefix.clone(),
            timeout: config.timeout,
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
        });
        shared.try_open().await;
        let keeper = tokio::spawn(shared.clone().keep());
        Ok(Self { shared, keeper })
    }

    /// What policies are given.
    pub fn store(&self) -> Arc<dyn LimitStore> {
        Arc::new(Asking(self.shared.clone()))
    }

    /// Tells whether the store answers.
    pub fn watch(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || shared.link.load().is_some()
    }

    /// No more connections; what is asked from here on is answered as without the store.
    pub fn stop(&self) {
        self.keeper.abort();
        self.shared.link.store(None);
    }
}

/// Whether everything that the section names can be opened, for `veilgate check`.
pub fn check(config: &LimitsStoreConfig) -> Result<(), LimitsStoreError> {
    Place::new(config)?.check()
}

struct Asking(Arc<Shared>);

impl LimitStore for Asking {
    fn step(&self, step: &LimitStep, within: Duration) -> policy_host::Later<LimitAnswer> {
        let shared = self.0.clone();
        let Some(link) = shared.link.load_full() else {
            shared.outages.count(Outcome::Away);
            return Box::pin(std::future::ready(Err(ServiceError::Unavailable)));
        };
        let call = script::invocation(&SCRIPT, &shared.prefix, step);
        Box::pin(async move {
            let begun = Instant::now();
            let answer = shared.ask(&link, &call, within).await;
            shared.outages.took(begun.elapsed());
            answer.map_err(|trouble| shared.told(&link, trouble))
        })
    }
}

impl Shared {
    async fn ask(
        &self,
        link: &Link,
        call: &ScriptInvocation<'_>,
        within: Duration,
    ) -> Result<LimitAnswer, Trouble> {
        let mut connection = link.connection();
        let asking = call.invoke_async::<Value>(&mut connection);
        let value = match timeout(within.min(self.timeout), asking).await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => return Err(trouble(&error)),
            Err(_) if within < self.timeout => return Err(Trouble::Hurried),
            Err(_) => {
                return Err(Trouble::Away(format!(
                    "no answer within {:?}",
                    self.timeout
                )));
            }
        };
        let answer = script::answer(value);
        let answer = answer.ok_or_else(|| Trouble::Foreign("the answer".to_owned()))?;
        self.outages.count(Outcome::Answered);
        Ok(answer)
    }

    fn told(&self, link: &Arc<Link>, trouble: Trouble) -> ServiceError {
        match trouble {
            Trouble::Away(reason) => {
                self.outages.count(Outcome::Failed);
                let before = self.link.compare_and_swap(link, None);
                // The first who notices: the others had the same connection.
                if before
                    .as_ref()
                    .is_some_and(|before| Arc::ptr_eq(before, link))
                {
                    self.outages.begins(&reason);
                    self.lost.notify_one();
                }
                ServiceError::Unavailable
            }
            Trouble::Foreign(what) => {
                self.outages.count(Outcome::Foreign);
                self.outages.foreign(&what);
                ServiceError::Unavailable
            }
            Trouble::Hurried => {
                self.outages.count(Outcome::Failed);
                ServiceError::Timeout
            }
        }
    }

    /// A connection on which a step was done: a server that may not be written to is not there.
    async fn open(&self) -> Result<Link, String> {
        let connecting = timeout(CONNECT_TIMEOUT, self.place.connect()).await;
        let link =
            connecting.map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))??;
        // The script is loaded first, which may take longer than a step.
        let mut connection = link.connection();
        let loading = timeout(CONNECT_TIMEOUT, SCRIPT.load_async(&mut connection)).await;
        let loaded = loading.map_err(|_| format!("no answer within {CONNECT_TIMEOUT:?}"))?;
        loaded.map_err(|error| error.to_string())?;
        let call = script::invocation(&SCRIPT, &self.prefix, &script::trial());
        match self.ask(&link, &call, Duration::MAX).await {
            Ok(_) => Ok(link),
            Err(Trouble::Away(reason)) => Err(reason),
            Err(Trouble::Foreign(what)) => Err(format!("{what} is not a limit's")),
            Err(Trouble::Hurried) => Err("no time".to_owned()),
        }
    }

    async fn try_open(&self) {
        match self.open().await {
            Ok(link) => {
                self.link.store(Some(Arc::new(link)));
                self.outages.ends();
            }
            Err(reason) => self.outages.begins(&reason),
        }
    }

    /// Opens a connection whenever there is none.
    async fn keep(self: Arc<Self>) {
        let mut pause = Duration::ZERO;
        loop {
            let since = Instant::now();
            while self.link.load().is_some() {
                self.lost.notified().await;
            }
            pause = match since.elapsed() > STEADY {
                true => Duration::ZERO,
                false => longer(pause),
            };
            tokio::time::sleep(pause).await;
            self.try_open().await;
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}

fn trouble(error: &RedisError) -> Trouble {
    match error.code() {
        Some("FOREIGN") => Trouble::Foreign(error.detail().unwrap_or("a key").to_owned()),
        _ => Trouble::Away(error.to_string()),
    }
}
