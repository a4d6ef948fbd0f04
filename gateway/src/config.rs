//! The checked configuration: whatever holds a `Config` need not check it again.
//!
//! `raw.rs` reads TOML (unknown keys refused), `check.rs` turns it into these types, `report.rs` words what is wrong with file,
//! line and column. Paths are resolved against the folder of the config file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy_host::{Canary, CompilerProgram, InstanceChoice, Pin, WithoutStore};

mod check;
mod raw;
pub(crate) mod report;
#[cfg(test)]
mod tests;
pub(crate) mod values;

pub(crate) use check::policies::{DEFAULT_CACHE_BYTES, user_cache_dir};
pub(crate) use check::{fields::Fields, load_as};
pub use check::{load, parse};
pub use report::{ConfigError, Located};

/// Everything that the gateway was told.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerConfig,
    pub listeners: Vec<ListenerConfig>,
    pub admin: Option<AdminConfig>,
    pub limits: LimitsConfig,
    pub limits_store: Option<LimitsStoreConfig>,
    pub upstreams: Vec<UpstreamConfig>,
    pub policies: Vec<PolicyConfig>,
    pub policy_host: PolicyHostConfig,
    pub routes: Vec<RouteConfig>,
    pub cache: Option<CacheConfig>,
    pub fhe: Option<FheConfig>,
    pub outbox: Option<OutboxConfig>,
    pub sync: Option<SyncConfig>,
    /// `None` if it was not read from a file.
    pub source: Option<Source>,
}

/// The config file, as it was when it was read.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        check::read(path)
    }
}

/// `[server]`: the process as a whole.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The name in `Via`, and of this gateway in `Cache-Status` and `Proxy-Status`.
    pub name: String,
    /// Worker threads; `None` for one per core.
    pub workers: Option<usize>,
    /// How long a stop waits for exchanges in flight.
    pub drain_timeout: Duration,
    /// The access log: JSON lines on standard output.
    pub access_log: bool,
}

/// `[[listener]]`: one address, one port number (TCP, and UDP for h3).
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    pub addr: SocketAddr,
    pub protocols: Protocols,
    pub tls: Option<ListenerTls>,
    /// Announce h3 on h1 and h2 answers.
    pub alt_svc: bool,
}

/// Which protocols a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    pub h1: bool,
    pub h2: bool,
    pub h3: bool,
}

/// Certificates of a listener.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of this authority.
    pub client_ca: Option<PathBuf>,
}

/// `[admin]`: health, metrics, status; never on the listeners of the traffic.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub listen: SocketAddr,
}

/// `[limits]`: what one client, connection or request may take. Each has a reason in docs/config.md.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub tls_handshake_timeout: Duration,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_headers: usize,
    pub max_header_bytes: usize,
    pub max_target_bytes: usize,
    pub max_body_bytes: u64,
    pub body_timeout: Duration,
    pub h2_max_streams: u32,
    pub h2_max_resets: usize,
    pub max_exchanges: usize,
    /// Of one key-value store of policies.
    pub kv_max_bytes: usize,
}

/// `[limits_store]`: the Redis that gateways share limits in.
#[derive(Debug, Clone)]
pub struct LimitsStoreConfig {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub database: u32,
    pub user: Option<String>,
    /// Read at every connection, so that it can be changed.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long one decision may wait.
    pub timeout: Duration,
    pub without: WithoutStore,
}

/// `[[upstream]]`: a named service.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    pub name: String,
    /// At least one.
    pub endpoints: Vec<EndpointConfig>,
    pub balance: Balance,
    pub connect_timeout: Duration,
    /// From the request sent to the response's header section.
    pub first_byte_timeout: Duration,
    /// Longest silence inside a response body.
    pub between_bytes_timeout: Duration,
    /// How long an unused pooled connection is kept.
    pub idle_timeout: Duration,
    /// Requests in flight to one endpoint; more are refused with `connection_limit_reached`.
    pub max_connections: usize,
    /// Further attempts after the first (retries happen for requests that can be sent again only).
    pub retries: u32,
    pub tls: UpstreamTls,
    pub health: Option<HealthConfig>,
}

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// `https` if true, `http` otherwise.
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub weight: u32,
    pub zone: String,
}

impl EndpointConfig {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How an endpoint is picked when no policy pins one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Weighted round robin.
    #[default]
    RoundRobin,
    /// The better of two picked at random, by requests in flight.
    LeastLoaded,
    /// By the hash key a policy gave (rendezvous), round robin without one.
    Hash,
}

/// How `https` endpoints are verified. There is no way to switch verification off.
#[derive(Debug, Clone, Default)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The name to verify, where it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// Active health checks of an upstream.
#[derive(Debug, Clone)]
pub struct HealthConfig {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row until an endpoint is used again.
    pub healthy_after: u32,
    /// Failures in a row until it is left alone.
    pub unhealthy_after: u32,
}

/// `[policies]`: what all policies have in common.
#[derive(Debug, Clone)]
pub struct PolicyHostConfig {
    /// Where compiled modules are kept; `None` for nowhere.
    pub cache_dir: Option<PathBuf>,
    pub cache_bytes: u64,
    /// Take modules that change while the gateway serves.
    pub watch: bool,
    /// What compiles modules in a process of its own. Not of the file: the program says it, since it is the program.
    pub compiler: Option<CompilerProgram>,
}

/// `[[policy]]`: a Wasm module with its grants and its own configuration.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    pub name: String,
    pub module: PathBuf,
    /// The module's digest; another module is refused.
    pub digest: Option<Pin>,
    /// What a module must get through before it serves; `None` for a plain request before a swap, and nothing at the start.
    pub canary: Option<Canary>,
    /// Capabilities by name.
    pub grants: Vec<String>,
    /// Its limiters are kept in the store of `[limits_store]`.
    pub shared_limits: bool,
    /// Key-value stores that all policies share that list them.
    pub kv_shared: Vec<String>,
    /// Upstreams that it may send requests of its own to.
    pub calls: Vec<String>,
    /// Of a policy that may wait: calls at the same time.
    pub instances: Option<u64>,
    /// Of a policy that may wait: how long one call may take.
    pub max_wait: Option<Duration>,
    /// The policy's own table, as JSON text.
    pub config_json: String,
    pub on_fault: OnFault,
    pub instance: InstanceChoice,
    pub fuel: Option<u64>,
    pub max_memory_bytes: Option<u64>,
    pub deadline: Option<Duration>,
    /// The longest body that is gathered for it.
    pub max_body_bytes: Option<u64>,
    /// How often its tick hook is called.
    pub tick: Option<Duration>,
}

/// What happens to a request when a policy faults on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFault {
    /// 503.
    #[default]
    Deny,
    /// As if the policy were not there.
    Skip,
}

/// `[[route]]`: which exchanges, which policies, which handler.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    pub name: String,
    /// Lower case, without port; `None` for every host. `*.example.org` matches one label or more.
    pub host: Option<String>,
    pub path: PathMatch,
    /// Empty for every method.
    pub methods: Vec<http::Method>,
    /// Names, in the order in which their hooks run.
    pub policies: Vec<String>,
    pub handler: Handler,
    pub record: RecordMode,
    pub max_body_bytes: u64,
    /// The whole exchange up to the response's header section, retries included.
    pub timeout: Duration,
}

/// Which paths a route takes. Prefixes match whole segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    Prefix(String),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// The upstream used when no policy chooses one.
    Upstream(String),
    /// The encrypted-scoring engine.
    Fhe,
}

/// What is kept of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordMode {
    #[default]
    None,
    /// Recorded just after; a crash may lose the last group commit.
    Lazy,
    /// The response waits until its record is on disk.
    Durable,
}

/// `[cache]`.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    pub max_bytes: u64,
    pub max_object_bytes: u64,
}

/// `[fhe]`.
#[derive(Debug, Clone)]
pub struct FheConfig {
    pub keys_dir: PathBuf,
    pub programs_dir: PathBuf,
    pub jobs_dir: PathBuf,
    /// How long the result of a job stays.
    pub job_ttl: Duration,
    /// Disk for jobs.
    pub job_store_bytes: u64,
    pub counters_dir: PathBuf,
    /// Streams of counters; each takes up to some megabytes of memory and disk.
    pub max_streams: usize,
    /// Memory for evaluation keys.
    pub key_cache_bytes: u64,
    /// Disk for evaluation keys.
    pub key_store_bytes: u64,
    pub program_memory_bytes: u64,
    pub max_request_bytes: u64,
    /// Jobs gathered for one launch.
    pub batch_size: usize,
    pub batch_wait: Duration,
    pub batch_time: Duration,
    /// Jobs waiting; more are answered 503.
    pub max_queue: usize,
    /// Of one tenant; `None` for half of `max_queue`.
    pub max_tenant_queue: Option<usize>,
    pub queue_bytes: usize,
    pub max_wait: Duration,
    /// Threads of the CPU backend; `None` for all cores.
    pub threads: Option<usize>,
    pub devices: FheDevices,
    /// Memory for keys on each GPU; `None` for what there is.
    pub device_key_memory: Option<u64>,
    /// How long a key lives at most, and if its client does not say; `None` for no end.
    pub key_ttl: Option<Duration>,
    /// How long a key that was replaced can still be used.
    pub rotation_grace: Duration,
    /// Keys are expanded before they are needed.
    pub prewarm: bool,
    /// Who names nobody is served, as the tenant `default`.
    pub anonymous: bool,
    /// Of tenants that have no section of their own.
    pub tenant_defaults: FheQuotas,
    pub tenants: Vec<FheTenantConfig>,
    /// How far the engines' threads stand back behind the proxy's.
    pub nice: u8,
}

/// What bootstraps are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FheDevices {
    /// GPUs, if there are any that are faster than the CPU.
    #[default]
    Best,
    Cpu,
    /// These, or no start.
    Cuda,
    Wgpu,
}

/// What one tenant may have.
#[derive(Debug, Clone)]
pub struct FheQuotas {
    pub max_keys: usize,
    pub max_key_bytes: u64,
    /// 0 to 9; a higher one is computed for earlier.
    pub priority: u8,
}

/// `[[fhe.tenant]]`.
#[derive(Debug, Clone)]
pub struct FheTenantConfig {
    pub name: String,
    pub quotas: FheQuotas,
    pub tokens: Vec<FheToken>,
}

/// Where a bearer token is known from; never the token itself.
#[derive(Debug, Clone)]
pub enum FheToken {
    /// `blake3:` and 64 hexadecimal digits.
    Hash(String),
    File(PathBuf),
}

/// `[outbox]`.
#[derive(Debug, Clone)]
pub struct OutboxConfig {
    pub dir: PathBuf,
    pub site: edge_types::SiteId,
    /// Bytes that the whole outbox may take on disk.
    pub quota_bytes: u64,
    /// Appends stop while the disk has less than this free.
    pub min_free_bytes: u64,
    /// How long a group commit gathers.
    pub commit_wait: Duration,
    /// A segment is sealed into a batch after this long, or when it is large enough.
    pub seal_after: Duration,
    pub hold: Duration,
    /// How long a durable route waits for its record.
    pub durable_timeout: Duration,
}

/// `[sync]`.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    pub aggregator: String,
    pub server_name: String,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Bytes per second to stay under; `None` for no pacing.
    pub rate_bytes_per_second: Option<u64>,
}

impl Config {
    /// Routes by the policies they use, for the reader of `check`'s summary.
    pub fn policy_uses(&self) -> BTreeMap<&str, usize> {
        let mut uses: BTreeMap<&str, usize> = self
            .policies
            .iter()
            .map(|policy| (policy.name.as_str(), 0))
            .collect();
        for name in self.routes.iter().flat_map(|route| &route.policies) {
            *uses.entry(name).or_default() += 1;
        }
        uses
    }
}
