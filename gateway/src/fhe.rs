//! Encrypted scoring: `/fhe/v1/…` in front of the kernels (docs/specs/fhe-http.md).
//!
//! ```text
//! request → http (routes, limits, problems) → programs (what may be run)
//!                                           → keys     (whose key, on disk and expanded)
//!                                           → batch    (admission, gathering, the engine's threads) → reply
//!                                           → jobs     (on disk, for batch to do behind everything else)
//!                                           → counters (added up, on disk, and to the outbox when a window is over)
//! ```
//!
//! Invariants: nothing is computed with before its size and parameter set were checked; a key is only ever used for
//! the tenant that registered it; no arithmetic runs on a thread of the async runtime; every queue is bounded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kernels::survey::{OpenError, Wanted};
use kernels::{Accelerated, CpuBackend, KernelError};

mod batch;
mod counters;
mod desk;
mod devices;
mod durable;
mod http;
mod jobs;
mod keys;
#[cfg(all(feature = "nvml", target_os = "linux"))]
mod nvml;
mod problem;
mod programs;
mod scorer;
mod service;
mod tenant;

pub use batch::{Busy, Evaluated, Refusal};
pub use counters::{CounterError, CounterSink};
pub use http::RouteDeadline;
pub use jobs::JobError;
pub use keys::{KeyStoreError, UploadError};
pub use problem::Problem;
pub use programs::ProgramsError;
pub use tenant::{Tenant, TenantSettings, TenantsError, TokenHash, TokenSource};

/// Uploads that are read at once: each holds 30 MB.
const MAX_UPLOADS: usize = 4;

/// What an operator sets; see `[fhe]` in the configuration.
#[derive(Clone, Debug)]
pub struct FheOptions {
    pub keys_dir: PathBuf,
    pub programs_dir: PathBuf,
    /// Where jobs and their results are.
    pub jobs_dir: PathBuf,
    /// How long a job's result stays.
    pub job_ttl: Duration,
    /// Disk for jobs; one tenant has half of it.
    pub job_store_bytes: u64,
    /// Where counter streams and their windows are.
    pub counters_dir: PathBuf,
    pub max_streams: usize,
    /// Memory for expanded keys (90 MB each with bootstraps); at least one is always held.
    pub key_cache_bytes: u64,
    /// Disk for registered keys (30 MB each with bootstraps).
    pub key_store_bytes: u64,
    /// Memory for programs, by a cautious estimate.
    pub program_memory_bytes: u64,
    pub max_request_bytes: u64,
    /// Requests that one batch holds at most.
    pub batch_size: usize,
    /// How long the first request of a batch waits for others.
    pub batch_wait: Duration,
    /// A batch is gathered up to so much estimated work, and is at least one request.
    pub batch_time: Duration,
    /// Requests waiting at most; more are answered 503.
    pub max_queue: usize,
    /// Of one tenant; more are answered 429. `None` for half of `max_queue`.
    pub max_tenant_queue: Option<usize>,
    /// Memory for requests that wait; one tenant has half of it.
    pub queue_bytes: usize,
    /// Who would wait longer is turned away at once.
    pub max_wait: Duration,
    /// Of each of the two engines (sums alone, and bootstraps); `None` for one per core.
    pub threads: Option<usize>,
    /// What bootstraps are computed with.
    pub devices: Wanted,
    /// Memory for keys on each GPU; `None` for what there is.
    pub device_key_memory: Option<u64>,
    /// How long a key lives at most, and if its client does not say; `None` for as long as it is not deleted.
    pub key_ttl: Option<Duration>,
    /// How long a key that was replaced can still be used.
    pub rotation_grace: Duration,
    /// Whether keys are expanded before they are needed.
    pub prewarm: bool,
    /// Whether who names nobody is served, as the default tenant.
    pub anonymous: bool,
    /// What tenants may have that are not among `tenants`.
    pub tenant_defaults: TenantSettings,
    pub tenants: Vec<(Tenant, Vec<TokenSource>)>,
    /// How far the engine's threads stand back behind the proxy's, 0 to 19.
    pub nice: u8,
}

impl FheOptions {
    /// Sensible for one machine: the defaults of the configuration.
    pub fn new(keys_dir: impl Into<PathBuf>, programs_dir: impl Into<PathBuf>) -> Self {
        let keys_dir = keys_dir.into();
        Self {
            jobs_dir: beside(&keys_dir, "jobs"),
            counters_dir: beside(&keys_dir, "counters"),
            max_streams: 64,
            job_ttl: Duration::from_secs(24 * 3600),
            job_store_bytes: 1 << 30,
            keys_dir,
            programs_dir: programs_dir.into(),
            key_cache_bytes: 512 << 20,
            key_store_bytes: 4 << 30,
            program_memory_bytes: 256 << 20,
            max_request_bytes: 32 << 20,
            batch_size: 64,
            batch_wait: Duration::from_millis(2),
            batch_time: Duration::from_millis(250),
            max_queue: 1024,
            max_tenant_queue: None,
            queue_bytes: 64 << 20,
            max_wait: Duration::from_secs(5),
            threads: None,
            devices: Wanted::default(),
            device_key_memory: None,
            key_ttl: None,
            rotation_grace: Duration::from_secs(24 * 3600),
            prewarm: true,
            anonymous: true,
            tenant_defaults: TenantSettings::default(),
            tenants: Vec::new(),
            nice: 10,
        }
    }
}

/// Why encrypted scoring could not start.
#[derive(Debug, thiserror::Error)]
pub enum FheStartError {
    #[error("{} is in use by another gateway: stop that one, or give this one a keys_dir, a jobs_dir and a counters_dir of its own", .0.display())]
    InUse(PathBuf),
    #[error("{} cannot be made and locked for this gateway alone: {source}", dir.display())]
    Lock {
        dir: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    #[error(transparent)]
    Jobs(#[from] JobError),
    #[error(transparent)]
    Counters(#[from] CounterError),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error("the FHE engine could not start: {0}")]
    Engine(#[from] KernelError),
    #[error(
        "[fhe] devices: {0}; `veilgate doctor` shows what there is, and devices = \"best\" computes on the CPU where there is no GPU"
    )]
    Devices(#[from] OpenError),
    #[error("a thread of the FHE service could not be started: {0}")]
    Thread(std::io::Error),
}

/// Everything behind `/fhe/v1/`. Shared by all connections.
pub struct FheService {
    programs: Arc<programs::Programs>,
    keys: Arc<keys::KeyStore>,
    jobs: Arc<jobs::Jobs>,
    /// Before the engines, which its threads wait for.
    _feeders: jobs::Feeders,
    scorer: Arc<scorer::Scorer>,
    counters: Arc<counters::Counters>,
    _closer: counters::Closer,
    tenants: tenant::Tenants,
    uploads: tokio::sync::Semaphore,
    /// Where there is a GPU.
    #[cfg(all(feature = "nvml", target_os = "linux"))]
    _gauges: Option<nvml::Sampler>,
    /// After the engines, so that what was used last is known when it writes.
    _keeper: keys::Keeper,
    max_request_bytes: u64,
    /// After all that writes into them.
    _folders: durable::Held,
}

/// Loads every program of the directory and lets go of it: what `veilgate check` asks.
pub fn check_programs(dir: &Path, memory_bytes: u64) -> Result<(), ProgramsError> {
    programs::Programs::load(dir, memory_bytes).map(drop)
}

/// Opens the devices, says what they are and lets go of them: what `veilgate check` asks.
pub fn check_devices(options: &FheOptions) -> Result<Vec<String>, FheStartError> {
    let opened = devices::open(options.devices, options.device_key_memory)?;
    Ok(opened.map_or_else(Vec::new, |gpus| gpus.names().map(str::to_owned).collect()))
}

/// Reads every token that is in a file, and lets go of it: what `veilgate check` asks.
pub fn check_tenants(options: &FheOptions) -> Result<(), TenantsError> {
    open_tenants(options).map(drop)
}

fn open_tenants(options: &FheOptions) -> Result<tenant::Tenants, TenantsError> {
    tenant::Tenants::open(options.anonymous, options.tenant_defaults, &options.tenants)
}

/// In the folder that the folder of the keys is in.
fn beside(keys_dir: &Path, name: &str) -> PathBuf {
    keys_dir.parent().unwrap_or(Path::new("")).join(name)
}

fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn job_options(options: &FheOptions) -> jobs::JobOptions {
    jobs::JobOptions {
        dir: options.jobs_dir.clone(),
        ttl: options.job_ttl,
        limits: jobs::Limits {
            jobs: jobs::MAX_JOBS,
            bytes: options.job_store_bytes,
            tenant_jobs: jobs::MAX_TENANT_JOBS,
            tenant_bytes: options.job_store_bytes / 2,
        },
        clock: Arc::new(seconds_since_1970),
    }
}

fn key_store_options(options: &FheOptions) -> keys::KeyStoreOptions {
    keys::KeyStoreOptions {
        dir: options.keys_dir.clone(),
        max_bytes: options.key_store_bytes,
        cache_bytes: options.key_cache_bytes,
        lifetimes: keys::Lifetimes {
            key_ttl_s: options.key_ttl.map(|ttl| ttl.as_secs()),
            rotation_grace_s: options.rotation_grace.as_secs(),
        },
        clock: Arc::new(seconds_since_1970),
    }
}

impl FheService {
    /// Loads every program of the directory (one that is not sound is an error, not a surprise later), reads which
    /// keys are there, and starts the engine's threads. They end when the service is dropped.
    pub fn open(options: &FheOptions) -> Result<Self, FheStartError> {
        Self::open_with(options, None)
    }

    /// With an outbox for what counters add up to.
    pub fn open_with(
        options: &FheOptions,
        sink: Option<CounterSink>,
    ) -> Result<Self, FheStartError> {
        let programs =
            programs::Programs::load(&options.programs_dir, options.program_memory_bytes)?;
        let programs = Arc::new(programs);
        // Before anything is read: opening a store removes what it takes for the leavings of a crash.
        let stores = [&options.keys_dir, &options.jobs_dir, &options.counters_dir];
        let folders = durable::Held::take(stores.map(PathBuf::as_path))?;
        let keys = Arc::new(keys::KeyStore::open(key_store_options(options))?);
        let tenants = open_tenants(options)?;
        let gpus = devices::open(options.devices, options.device_key_memory)?;
        // One thread: what is expanded ahead of need never takes the cores from what is needed.
        let warm = match options.prewarm {
            true => Some(Accelerated::new(CpuBackend::new(Some(1))?, gpus.clone())),
            false => None,
        };
        let keeper = keys::Keeper::start(keys.clone(), warm).map_err(FheStartError::Thread)?;
        #[cfg(all(feature = "nvml", target_os = "linux"))]
        let gauges = gpus.as_ref().map(|_| nvml::Sampler::start()).transpose();
        let limits = batch::Limits::of(options);
        let start =
            |name, gpus| batch::Batcher::start(name, options.threads, gpus, keys.clone(), limits);
        let scorer = Arc::new(scorer::Scorer {
            // Sums alone are done before a card would have them.
            linear: start("linear", None)?,
            bootstrap: start("bootstrap", gpus)?,
            programs: programs.clone(),
            keys: keys.clone(),
        });
        let jobs = Arc::new(jobs::Jobs::open(job_options(options))?);
        let feeders = jobs::Feeders::start(jobs.clone(), scorer.clone());
        let counters = Arc::new(counters::Counters::open(counters::CountersOptions {
            dir: options.counters_dir.clone(),
            max_streams: options.max_streams,
        })?);
        let clock = Arc::new(seconds_since_1970);
        let closer = counters::Closer::start(counters.clone(), sink, clock);
        Ok(Self {
            counters,
            _closer: closer.map_err(FheStartError::Thread)?,
            _feeders: feeders.map_err(FheStartError::Thread)?,
            jobs,
            scorer,
            programs,
            keys,
            tenants,
            _keeper: keeper,
            uploads: tokio::sync::Semaphore::new(MAX_UPLOADS),
            #[cfg(all(feature = "nvml", target_os = "linux"))]
            _gauges: gauges.map_err(FheStartError::Thread)?,
            max_request_bytes: options.max_request_bytes,
            _folders: folders,
        })
    }

    /// The programs that can be asked for, by name.
    pub fn program_names(&self) -> Vec<String> {
        let name =
            |entry: &std::sync::Arc<programs::Entry>| entry.compiled.program().name().to_owned();
        let mut names: Vec<_> = self.programs.all().iter().map(name).collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests;
