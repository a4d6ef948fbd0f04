//! The only place where parts are built and joined, and where they are taken apart again, in order.

mod centre;
mod outlook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox::Outbox;
use policy_host::{CacheControl, PolicyRecords, Services, SharedLimits};
use sync::SyncHandle;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::cache::Cache;
use crate::calls::{OutboxForPolicies, UpstreamCalls};
use crate::config::{AdminConfig, Config, PolicyConfig};
use crate::drain::{Phase, Switch, Tally};
use crate::limits_store::{LimitsStoreError, RedisLimits};
use crate::listener::{ListenError, Listener};
use crate::pipeline::{Gateway, Parts, RecordSink, Service};
use crate::policies::{Policies, PolicyError};
use crate::records::{self, OutboxRecords};
use crate::reload::{self, Reloader};
use crate::telemetry::{AccessLog, MetricsHandle, Sink};
use crate::ticks;
use crate::upstream::{UpstreamTlsError, Upstreams};

use centre::SyncError;
use outlook::View;

/// After the deadline connections are cut; they get so long to notice.
const CUT_GRACE: Duration = Duration::from_secs(2);
/// How long a durable route waits where there is no outbox (there is then no durable route).
const NO_OUTBOX: Duration = Duration::ZERO;

/// Why the gateway cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot listen on {addr} for [admin]: {source}. Is another process using the port?")]
    Admin {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Upstream(#[from] UpstreamTlsError),
    #[error(transparent)]
    LimitsStore(#[from] LimitsStoreError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Outbox(#[from] outbox::OpenError),
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[cfg(feature = "fhe")]
    #[error(transparent)]
    Fhe(#[from] crate::fhe::FheStartError),
    #[error("the access log cannot be started: {0}")]
    AccessLog(std::io::Error),
    #[error("starting was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A gateway that serves.
pub struct Running {
    gateway: Arc<Gateway>,
    outbox: Option<Outbox>,
    sync: Option<SyncHandle>,
    limits_store: Option<RedisLimits>,
    switch: Switch,
    connections: Tally,
    tasks: JoinSet<()>,
    admin_task: Option<tokio::task::JoinHandle<()>>,
    view: Arc<View>,
    drain_timeout: Duration,
    lines: Vec<String>,
    addrs: Vec<SocketAddr>,
    admin_addr: Option<SocketAddr>,
    reloader: Arc<Reloader>,
}

/// Builds everything the config names and starts to serve. Needs a tokio runtime.
pub async fn start(config: Config, metrics: Option<MetricsHandle>) -> Result<Running, StartError> {
    let config = Arc::new(config);
    let cache = config.cache.as_ref().map(Cache::new);
    let outbox = match &config.outbox {
        Some(settings) => {
            let settings = settings.clone();
            let (outbox, report) =
                tokio::task::spawn_blocking(move || records::open(&settings)).await??;
            tracing::info!(report = ?report, "outbox opened");
            Some(outbox)
        }
        None => None,
    };
    let sync = match (&config.sync, &outbox) {
        (Some(settings), Some(outbox)) => Some(centre::start(settings, outbox.clone())?),
        _ => None,
    };
    let upstreams = Upstreams::start(&config.upstreams)?;
    let limits_store = match &config.limits_store {
        Some(settings) => Some(RedisLimits::start(settings).await?),
        None => None,
    };
    let services = Services {
        limits: shared_limits(&config, limits_store.as_ref()),
        ..services(&config, cache.as_ref(), &upstreams, outbox.as_ref())
    };
    let policies = {
        let config = config.clone();
        let loading = tokio::task::spawn_blocking(move || Policies::load(&config, services));
        Arc::new(loading.await??)
    };
    let limits = Arc::new(config.limits.clone());
    let access_log = match config.server.access_log {
        true => Some(AccessLog::start(&Sink::Stdout).map_err(StartError::AccessLog)?),
        false => None,
    };
    let gateway = Gateway::new(Parts {
        name: config.server.name.clone(),
        limits: limits.clone(),
        routes: policies.routes(&config),
        upstreams,
        cache,
        fhe: open_fhe(&config, outbox.as_ref()).await?,
        records: outbox
            .clone()
            .map(|outbox| Arc::new(OutboxRecords::new(outbox)) as Arc<dyn RecordSink>),
        durable_timeout: config
            .outbox
            .as_ref()
            .map_or(NO_OUTBOX, |outbox| outbox.durable_timeout),
        access_log,
    });
    let reloader = Arc::new(Reloader::new(
        config.clone(),
        policies.clone(),
        gateway.clone(),
    ));
    let connections = Tally::new(limits.max_connections);
    let mut running = Running {
        view: Arc::new(View {
            gateway: gateway.clone(),
            connections: connections.clone(),
            outbox: outbox.clone(),
            sync: sync.clone(),
            limits_store: limits_store.as_ref().map(watched),
            policies,
            reloader: reloader.clone(),
            started: Instant::now(),
        }),
        connections,
        switch: Switch::new(),
        tasks: JoinSet::new(),
        admin_task: None,
        drain_timeout: config.server.drain_timeout,
        lines: Vec::new(),
        addrs: Vec::new(),
        admin_addr: None,
        outbox,
        sync,
        limits_store,
        gateway,
        reloader,
    };
    if config.policy_host.watch && !config.policies.is_empty() {
        let watching = reload::watch(running.reloader.clone(), running.switch.signal());
        running.tasks.spawn(watching);
    }
    for listener in &config.listeners {
        running.listen(Listener::bind(listener, &limits)?, &limits);
    }
    if let Some(admin) = &config.admin {
        running.administer(admin, metrics).await?;
    }
    for (name, every) in ticking(&config) {
        let view = running.view.clone();
        let policy = move || view.policies.named(&name);
        let ticks = ticks::run(policy, every, running.switch.signal());
        running.tasks.spawn(ticks);
    }
    let view = running.view.clone();
    let filters = ticks::run_filters(move || view.policies.filters(), running.switch.signal());
    running.tasks.spawn(filters);
    running.gateway.set_ready(true);
    Ok(running)
}

/// The policies that do something by the clock.
fn ticking(config: &Config) -> impl Iterator<Item = (String, Duration)> {
    let every = |policy: &PolicyConfig| Some((policy.name.clone(), policy.tick?));
    config.policies.iter().filter_map(every)
}

/// The engine of `/fhe/v1/`, if there is a section for it. Loads programs and starts threads.
#[cfg(feature = "fhe")]
async fn open_fhe(
    config: &Arc<Config>,
    outbox: Option<&Outbox>,
) -> Result<Option<Arc<dyn Service>>, StartError> {
    use crate::fhe::{FheOptions, FheService};
    let Some(settings) = &config.fhe else {
        return Ok(None);
    };
    let options = FheOptions::from(settings);
    let sink = outbox.map(|outbox| records::counter_sink(outbox.clone()));
    let opening = tokio::task::spawn_blocking(move || FheService::open_with(&options, sink));
    let service = opening.await??;
    let programs = service.program_names();
    tracing::info!(programs = programs.join(", "), "encrypted scoring is ready");
    Ok(Some(Arc::new(service)))
}

#[cfg(not(feature = "fhe"))]
async fn open_fhe(
    _: &Arc<Config>,
    _: Option<&Outbox>,
) -> Result<Option<Arc<dyn Service>>, StartError> {
    Ok(None)
}

/// What policies may ask of the gateway.
fn services(
    config: &Config,
    cache: Option<&Arc<Cache>>,
    upstreams: &Arc<Upstreams>,
    outbox: Option<&Outbox>,
) -> Services {
    let timeout = config.outbox.as_ref().map(|outbox| outbox.durable_timeout);
    let records = outbox.zip(timeout).map(|(outbox, timeout)| {
        let sink = Arc::new(OutboxRecords::new(outbox.clone()));
        Arc::new(OutboxForPolicies { sink, timeout }) as Arc<dyn PolicyRecords>
    });
    Services {
        cache: cache.map(|cache| cache.clone() as Arc<dyn CacheControl>),
        calls: Some(Arc::new(UpstreamCalls(upstreams.clone()))),
        records,
        limits: None,
    }
}

fn shared_limits(config: &Config, store: Option<&RedisLimits>) -> Option<SharedLimits> {
    let without = config.limits_store.as_ref()?.without;
    let store = store?.store();
    Some(SharedLimits { store, without })
}

fn watched(store: &RedisLimits) -> Box<dyn Fn() -> bool + Send + Sync> {
    Box::new(store.watch())
}

impl Running {
    fn listen(&mut self, listener: Listener, limits: &Arc<crate::config::LimitsConfig>) {
        self.addrs.push(listener.addr);
        self.lines.push(listener.describe());
        let serving = listener.run(
            self.gateway.clone(),
            self.connections.clone(),
            self.switch.signal(),
            limits.clone(),
        );
        self.tasks.spawn(serving);
    }

    async fn administer(
        &mut self,
        config: &AdminConfig,
        metrics: Option<MetricsHandle>,
    ) -> Result<(), StartError> {
        let failed = |source| StartError::Admin {
            addr: config.listen,
            source,
        };
        let admin = Admin::bind(config.listen, metrics).await.map_err(failed)?;
        self.admin_addr = Some(admin.addr);
        self.lines.push(format!(
            "http://{} (admin: /healthz /readyz /metrics /status /cache/purge)",
            admin.addr
        ));
        self.admin_task = Some(tokio::spawn(
            admin.run(self.view.clone(), self.switch.signal()),
        ));
        Ok(())
    }

    /// What listens where, a line each, for people.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The address of a listener, in the order of the config.
    pub fn addr(&self, listener: usize) -> Option<SocketAddr> {
        self.addrs.get(listener).copied()
    }

    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// For whoever wants policies' modules taken anew.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    /// The graceful stop; see `drain.rs` for its order. True if everything in flight could finish.
    pub async fn stop(mut self) -> bool {
        self.gateway.set_ready(false);
        self.switch.advance(Phase::Draining);
        let in_time = self.connections.idle_within(self.drain_timeout).await;
        self.switch.advance(Phase::Cut);
        if !in_time {
            tracing::warn!(
                connections = self.connections.len(),
                "the drain timeout passed; connections are cut"
            );
            self.connections.idle_within(CUT_GRACE).await;
        }
        while self.tasks.join_next().await.is_some() {}
        // Policies are told of the last exchanges before what they report to is closed.
        self.gateway.endings.idle_within(CUT_GRACE).await;
        if let Some(store) = &self.limits_store {
            store.stop();
        }
        if let Some(sync) = &self.sync {
            sync.stop().await;
        }
        if let Some(outbox) = &self.outbox {
            outbox.close().await;
        }
        if let Some(log) = &self.gateway.access_log {
            log.close();
        }
        self.switch.advance(Phase::Over);
        if let Some(admin) = self.admin_task.take() {
            let _ = admin.await;
        }
        in_time
    }
}
