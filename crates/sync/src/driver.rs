//! Joins the state machine with an outbox, the clock and the network, in one task.

mod handle;
mod work;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_types::{BatchNo, Incarnation};
use outbox::Outbox;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use transport::h3client::Connector;
use transport::{BindError, H3Error};

use crate::client::{self, Client};
use crate::config::SyncConfig;
use crate::pace::Pacer;
use crate::state::{Action, Event, Limits, Memory, PutResult, Stage, SyncState};
use crate::status::{Condition, SyncStatus, Traffic};
use crate::survey::Explained;
pub use handle::SyncHandle;
use work::{Done, SentBatch};

/// Names of the outbox's notes in which the state's memory is kept.
const NOTE_STORE: &str = "sync.store";
const NOTE_EXPLAINED: &str = "sync.explained";

/// A stop waits this long for replies that are under way: each one that comes saves sending a batch again.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Starts syncing an outbox.
pub struct SyncDriver;

impl SyncDriver {
    /// Runs in a task of its own until `shutdown` resolves (or [`SyncHandle::stop`] is called). An aggregator that
    /// cannot be reached is no error: it is tried for ever.
    pub fn spawn(
        outbox: Outbox,
        config: SyncConfig,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<SyncHandle, BindError> {
        let connector = config.connector()?;
        let memory = recall(&outbox);
        let status = watch::Sender::new(first_status(&outbox, memory.store));
        let stop = watch::Sender::new(false);
        let driver = Driver::new(outbox.clone(), config, connector, memory, status.clone());
        let mut stopped = stop.subscribe();
        let task = tokio::spawn(async move {
            let shutdown = async move {
                tokio::select! {
                    () = shutdown => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            };
            driver.run(shutdown).await;
        });
        Ok(SyncHandle {
            outbox,
            status: status.subscribe(),
            stop,
            task: Arc::new(Mutex::new(Some(task))),
        })
    }
}

struct Driver {
    outbox: Outbox,
    config: Arc<SyncConfig>,
    connector: Connector,
    state: SyncState,
    pacer: Arc<Mutex<Pacer>>,
    client: Option<Client>,
    /// What depends on the connection: dropped with it.
    network: JoinSet<Done>,
    /// What does not.
    local: JoinSet<Event>,
    past: Traffic,
    status: watch::Sender<SyncStatus>,
    stopping: bool,
}

impl Driver {
    fn new(
        outbox: Outbox,
        config: SyncConfig,
        connector: Connector,
        memory: Memory,
        status: watch::Sender<SyncStatus>,
    ) -> Self {
        let limits = Limits {
            max_in_flight: config.max_in_flight.max(1),
            backoff_first: config.backoff_first,
            backoff_most: config.backoff_most,
        };
        let state = SyncState::new(limits, memory, Instant::now(), rand::random());
        Self {
            outbox,
            pacer: client::pacer(config.bytes_per_second),
            config: Arc::new(config),
            connector,
            state,
            client: None,
            network: JoinSet::new(),
            local: JoinSet::new(),
            past: Traffic::default(),
            status,
            stopping: false,
        }
    }

    async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut sealed = self.outbox.watch_sealed();
        let mut stop_at = None;
        loop {
            self.act();
            self.publish();
            if self.stopping
                && (self.network.is_empty() || stop_at.is_some_and(|at| at <= Instant::now()))
            {
                break;
            }
            let wake = [
                self.state
                    .wake_at(Instant::now())
                    .filter(|_| !self.stopping),
                stop_at,
            ];
            tokio::select! {
                () = &mut shutdown, if !self.stopping => {
                    self.stopping = true;
                    stop_at = Some(Instant::now() + STOP_TIMEOUT);
                }
                Some(done) = self.network.join_next(), if !self.network.is_empty() => self.network_done(done),
                Some(event) = self.local.join_next(), if !self.local.is_empty() => {
                    if let Ok(event) = event {
                        self.tell(event);
                    }
                }
                reason = closed(&self.client), if self.client.is_some() => self.lost(&reason),
                Ok(()) = sealed.changed(), if !self.stopping => {}
                () = sleep_until(wake.into_iter().flatten().min()) => {}
            }
        }
        if let Some(client) = self.client.take() {
            self.past.add_connection(&client.wire_stats());
            client.close().await;
        }
    }

    /// Does what the state asks for, until it has enough.
    fn act(&mut self) {
        while !self.stopping {
            let pending = self.outbox.pending_batches(BatchNo(0), self.state.window());
            let numbers: Vec<BatchNo> = pending.iter().map(|batch| batch.no).collect();
            let Some(action) = self.state.poll(Instant::now(), &numbers) else {
                return;
            };
            self.perform(action);
        }
        // Confirmations that still come in are noted; nothing new begins.
        while let Some(action) = self.state.poll(Instant::now(), &[]) {
            if matches!(action, Action::Ack(_) | Action::Remember(_)) {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect => {
                let (connector, config) = (self.connector.clone(), self.config.clone());
                let (site, pacer) = (self.outbox.config().site.clone(), self.pacer.clone());
                self.network
                    .spawn(async move { work::connect(connector, config, site, pacer).await });
            }
            Action::Enrol => self.on_connection(|client, outbox, _| work::enrol(client, outbox)),
            Action::Survey => self.on_connection(|client, outbox, _| work::survey(client, outbox)),
            Action::Send(no) => {
                self.on_connection(move |client, outbox, config| {
                    work::send(client, outbox, config, no)
                });
            }
            Action::Ack(no) => {
                self.outbox.ack(no);
            }
            Action::SetAside { no, reason } => {
                let outbox = self.outbox.clone();
                self.local.spawn(async move {
                    let result = outbox.dead_letter(no, &reason).await;
                    if let Err(error) = &result {
                        tracing::error!(%no, %error, "a refused batch could not be set aside yet");
                    }
                    Event::SetAside {
                        no,
                        done: result.is_ok(),
                    }
                });
                self.status
                    .send_modify(|status| status.refused_batches += 1);
            }
            Action::ResendFrom(no) => {
                let batches = self.outbox.resend_from(no);
                tracing::warn!(
                    from = no.0,
                    batches,
                    "the aggregator lost batches: sending again what is held"
                );
            }
            Action::Remember(memory) => remember(&self.outbox, &memory),
        }
    }

    fn on_connection<F>(&mut self, work: impl FnOnce(Client, Outbox, Arc<SyncConfig>) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        match self.client.clone() {
            Some(client) => {
                self.network
                    .spawn(work(client, self.outbox.clone(), self.config.clone()));
            }
            None => self.lost(&H3Error::ClosedByUs),
        }
    }

    fn network_done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Connected(client)) => {
                metrics::counter!("gateway_sync_connects_total", "outcome" => "ok").increment(1);
                self.past.connections += 1;
                self.client = Some(*client);
                self.tell(Event::Connected);
            }
            Ok(Done::Lost(reason)) => {
                if self.client.is_none() {
                    metrics::counter!("gateway_sync_connects_total", "outcome" => "failed")
                        .increment(1);
                }
                self.lost(&reason);
            }
            Ok(Done::Event(event)) => self.tell(event),
            Ok(Done::Put(sent, result)) => self.put_done(&sent, result),
            // Aborted with its connection: that has been told.
            Err(error) if error.is_cancelled() => {}
            Err(error) => self.lost(&H3Error::Internal {
                reason: error.to_string(),
            }),
        }
    }

    fn put_done(&mut self, sent: &SentBatch, result: PutResult) {
        work::count(&result, sent);
        if result == PutResult::Stored {
            self.past.sealed_bytes += sent.sealed_bytes;
            self.past.record_bytes += sent.record_bytes;
            self.past.records += sent.records;
            self.past.batches += 1;
        }
        let no = sent.no;
        self.status.send_modify(|status| {
            status.attempts += 1;
            if result == PutResult::Stored {
                status.acked_batches += 1;
                status.last_acked = status.last_acked.max(no);
            }
        });
        self.tell(Event::Put { no, result });
    }

    fn lost(&mut self, reason: &H3Error) {
        self.network.abort_all();
        self.network = JoinSet::new();
        if let Some(client) = self.client.take() {
            self.past.add_connection(&client.wire_stats());
        }
        tracing::info!(%reason, aggregator = %self.config.aggregator, "no connection to the aggregator");
        self.tell(Event::Lost {
            reason: reason.to_string(),
        });
    }

    fn tell(&mut self, event: Event) {
        self.state.handle(Instant::now(), event, rand::random());
    }

    fn publish(&self) {
        let mut traffic = self.past;
        if let Some(client) = &self.client {
            let wire = client.wire_stats();
            traffic.add_connection(&wire);
            metrics::gauge!("gateway_sync_round_trip_seconds").set(wire.round_trip.as_secs_f64());
        }
        let condition = condition(self.state.stage(Instant::now()));
        metrics::gauge!("gateway_sync_connected").set(f64::from(u8::from(self.client.is_some())));
        metrics::gauge!("gateway_sync_in_flight_batches").set(self.state.in_flight() as f64);
        self.status.send_modify(|status| {
            status.condition = condition;
            status.problem = self.state.problem().map(str::to_owned);
            status.epoch = self.outbox.epoch();
            status.store = self.state.store();
            status.in_flight = self.state.in_flight();
            status.traffic = traffic;
        });
    }
}

async fn closed(client: &Option<Client>) -> H3Error {
    match client {
        Some(client) => client.closed().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn condition(stage: Stage) -> Condition {
    match stage {
        Stage::Waiting => Condition::Offline,
        Stage::Connecting => Condition::Connecting,
        Stage::Enrolling => Condition::Enrolling,
        Stage::Sending => Condition::Online,
        Stage::Paused => Condition::Paused,
        Stage::Blocked => Condition::Blocked,
    }
}

fn recall(outbox: &Outbox) -> Memory {
    Memory {
        store: outbox.note(NOTE_STORE).and_then(|text| text.parse().ok()),
        explained: outbox
            .note(NOTE_EXPLAINED)
            .map_or_else(Explained::default, |text| Explained::from_text(&text)),
    }
}

fn remember(outbox: &Outbox, memory: &Memory) {
    // The list first: excuses must not outlive the store that they are about. Losing both costs one repeat.
    let kept = outbox.set_note(NOTE_EXPLAINED, &memory.explained.to_text())
        && memory
            .store
            .is_none_or(|store| outbox.set_note(NOTE_STORE, &store.to_string()));
    if !kept {
        tracing::warn!("what is known about the aggregator's store does not fit into a note");
    }
}

fn first_status(outbox: &Outbox, store: Option<Incarnation>) -> SyncStatus {
    SyncStatus {
        condition: Condition::Offline,
        problem: None,
        epoch: outbox.epoch(),
        store,
        in_flight: 0,
        acked_batches: 0,
        last_acked: BatchNo(0),
        refused_batches: 0,
        attempts: 0,
        traffic: Traffic::default(),
    }
}
