//! What the host keeps in the store of one instance: the exchange it is lent, its handles, its budgets.
//!
//! Invariant: an idle instance holds a vacant exchange; the caller's is swapped in for the length of one call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use crate::clock::Clock;
use crate::direct::Guest;
use crate::error::HostRefusal;
use crate::exchange::{ExchangeContext, Phase};
use crate::host::metrics::MAX_OBSERVATIONS_PER_CALL;
use crate::host::wasi::Wasi;
use crate::primitives::{Meter, Primitives};
use crate::services::Services;
use crate::standing::Standing;
use crate::waits::Waits;

/// Handles of limiters, gates, breakers and stores that one instance may hold: they are defined once, when it is configured.
const MAX_HANDLES: usize = 192;
/// Bytes a guest may have the host allocate for the arguments of one of its calls: a large response with its headers.
pub(crate) const HOST_CALL_BYTES: usize = 4 << 20;
/// What an instance keeps for answers: header fields are seldom longer.
const MAX_ANSWER_ROOM: usize = 4096;
/// Elements of one table: the functions of the largest runtimes; each is a pointer of the host's.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 65_536;

/// What one component brings at most: a Rust or C guest has three core instances, one memory and two tables; QuickJS 11 and three
/// memories, CPython 38.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 4;
pub(crate) const TABLES_PER_COMPONENT: u32 = 8;

/// What every instance of one policy shares.
pub(crate) struct Shared {
    pub(crate) policy: Arc<str>,
    /// Under which the policy's primitives are found.
    pub(crate) scope: String,
    /// Whether its limiters are kept in a store outside.
    pub(crate) shared_limits: bool,
    /// Names of stores that are not the policy's own.
    pub(crate) kv_shared: Vec<String>,
    pub(crate) primitives: Arc<Primitives>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) services: Services,
    /// The longest body that the policy is given, or gives.
    pub(crate) max_body_bytes: usize,
    /// Upstreams that the policy may call.
    pub(crate) calls: Vec<String>,
    pub(crate) calls_in_flight: Arc<Semaphore>,
    pub(crate) max_wait: Duration,
}

pub(crate) struct HostState {
    pub(crate) exchange: ExchangeContext,
    pub(crate) handles: ResourceTable,
    /// What the guest leaves with the host when it is configured.
    pub(crate) standing: Box<Standing>,
    /// Of a guest that is called directly.
    pub(crate) guest: Option<Box<Guest>>,
    /// Where an answer is kept while the guest makes room for it.
    pub(crate) answer: String,
    pub(crate) shared: Arc<Shared>,
    /// What it defined, by the numbers that it uses.
    pub(crate) meters: Vec<Arc<Meter>>,
    pub(crate) log: LogBudget,
    /// How many more times this call may observe a histogram.
    pub(crate) observations_left: u32,
    pub(crate) memory: MemoryBudget,
    /// None: it never waits.
    pub(crate) waits: Option<Box<Waits>>,
}

impl HostState {
    pub(crate) fn new(shared: Arc<Shared>, memory_bytes: usize) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(MAX_HANDLES);
        Self {
            exchange: ExchangeContext::vacant(),
            handles,
            standing: Box::default(),
            guest: None,
            answer: String::new(),
            shared,
            meters: Vec::new(),
            log: LogBudget::default(),
            observations_left: MAX_OBSERVATIONS_PER_CALL,
            memory: MemoryBudget {
                limit: memory_bytes,
                used: 0,
                refused: false,
            },
            waits: None,
        }
    }

    /// For an instance that may wait.
    pub(crate) fn may_wait(mut self, with_wasi: bool) -> Self {
        let wasi = with_wasi.then(|| Box::new(Wasi::new(&self.shared.clock)));
        self.waits = Some(Box::new(Waits::new(wasi)));
        self
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.shared.clock.monotonic_ns()
    }

    /// Swaps the caller's exchange in, or out again.
    pub(crate) fn swap(&mut self, exchange: &mut ExchangeContext) {
        std::mem::swap(&mut self.exchange, exchange);
    }

    /// Bytes that the guest may have the host take over in one call: a body, if those are longer than anything else.
    pub(crate) fn host_call_bytes(&self) -> usize {
        self.shared
            .max_body_bytes
            .saturating_add(HOST_CALL_BYTES / 4)
            .max(HOST_CALL_BYTES)
    }

    /// What stands for every exchange is said before the first one; `late` is the refusal.
    pub(crate) fn only_in_configure(&self, late: &'static str) -> Result<(), HostRefusal> {
        match self.exchange.phase {
            Phase::Configure => Ok(()),
            _ => Err(HostRefusal(late)),
        }
    }

    /// Room for the next answer, unless a long one made it large.
    pub(crate) fn keep_room(&mut self, answer: String) {
        if answer.capacity() <= MAX_ANSWER_ROOM {
            self.answer = answer;
        }
    }

    pub(crate) fn begin_call(&mut self) {
        self.log = LogBudget::default();
        self.observations_left = MAX_OBSERVATIONS_PER_CALL;
        self.memory.refused = false;
        if let Some(waits) = self.waits.as_deref_mut() {
            waits.begin(self.shared.max_wait);
        }
    }

    /// The instance is started and configured: from now on its calls are exchanges'.
    pub(crate) fn serves(&mut self) {
        if let Some(waits) = self.waits.as_deref_mut() {
            waits.serving = true;
        }
    }
}

/// How much one call may still log.
pub(crate) struct LogBudget {
    pub(crate) lines: u32,
    pub(crate) bytes: usize,
    pub(crate) dropped: u32,
}

impl Default for LogBudget {
    fn default() -> Self {
        Self {
            lines: crate::host::log::MAX_LINES_PER_CALL,
            bytes: crate::host::log::MAX_BYTES_PER_CALL,
            dropped: 0,
        }
    }
}

/// The linear memory of one store, all of its memories together.
pub(crate) struct MemoryBudget {
    limit: usize,
    used: usize,
    /// In the current call: a trap that follows is a fault of memory.
    pub(crate) refused: bool,
}

impl MemoryBudget {
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Err(error)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT as usize
    }
}

/// A handle that the guest made up, or one that it dropped.
pub(crate) fn unknown_handle() -> wasmtime::Error {
    wasmtime::Error::from(HostRefusal("a handle that is not there"))
}
