//! The sections that occur once: `[server]`, `[limits]`, `[cache]`, `[fhe]`, `[outbox]`, `[sync]`. Defaults stand here, with reasons
//! in docs/config.md.

use std::time::Duration;

use toml::Spanned;

use super::fields::{Fields, span};
use super::tenants;
use crate::config::raw::{RawCache, RawFhe, RawLimits, RawOutbox, RawServer, RawSync};
use crate::config::report::Problem;
use crate::config::{
    CacheConfig, FheConfig, FheDevices, LimitsConfig, OutboxConfig, ServerConfig, SyncConfig,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const DEVICES: [(&str, FheDevices); 4] = [
    ("best", FheDevices::Best),
    ("cpu", FheDevices::Cpu),
    ("cuda", FheDevices::Cuda),
    ("wgpu", FheDevices::Wgpu),
];
/// One key of a set with bootstraps takes 90 MB on a device.
const LEAST_DEVICE_KEYS: u64 = 128 * MIB;

pub(super) fn server(raw: &RawServer, fields: &mut Fields<'_>) -> ServerConfig {
    if let Some(name) = &raw.name {
        fields.name(name);
    }
    ServerConfig {
        name: raw
            .name
            .as_ref()
            .map_or("veilgate", |name| name.get_ref().as_str())
            .to_owned(),
        workers: raw
            .workers
            .as_ref()
            .map(|count| fields.count(Some(count), 1, 1..=1024) as usize),
        drain_timeout: span(raw.drain_timeout, Duration::from_secs(20)),
        access_log: raw.access_log.unwrap_or(true),
    }
}

pub(super) fn limits(raw: &RawLimits, fields: &mut Fields<'_>) -> LimitsConfig {
    LimitsConfig {
        max_connections: fields.count(raw.max_connections.as_ref(), 10_000, 1..=1_000_000) as usize,
        max_exchanges: fields.count(raw.max_exchanges.as_ref(), 10_000, 1..=1_000_000) as usize,
        tls_handshake_timeout: span(raw.tls_handshake_timeout, Duration::from_secs(10)),
        header_timeout: span(raw.header_timeout, Duration::from_secs(10)),
        idle_timeout: span(raw.idle_timeout, Duration::from_secs(60)),
        body_timeout: span(raw.body_timeout, Duration::from_secs(30)),
        max_headers: fields.count(raw.max_headers.as_ref(), 100, 8..=1000) as usize,
        max_header_bytes: fields.size(raw.max_header_bytes.as_ref(), 32 * KIB, 8 * KIB..=MIB)
            as usize,
        max_target_bytes: fields.size(raw.max_target_bytes.as_ref(), 8 * KIB, 256..=64 * KIB)
            as usize,
        max_body_bytes: raw.max_body_bytes.map_or(64 * MIB, |size| size.0),
        h2_max_streams: fields.count(raw.h2_max_streams.as_ref(), 100, 1..=10_000) as u32,
        h2_max_resets: fields.count(raw.h2_max_resets.as_ref(), 50, 1..=10_000) as usize,
        // The largest value with its entry fits in 128 KiB.
        kv_max_bytes: fields.size(raw.kv_max_bytes.as_ref(), 16 * MIB, 128 * KIB..=64 * GIB)
            as usize,
    }
}

pub(super) fn cache(raw: &RawCache, fields: &mut Fields<'_>) -> CacheConfig {
    let max_bytes = fields.size(raw.max_bytes.as_ref(), 64 * MIB, 64 * KIB..=TIB);
    let max_object_bytes = fields.size(
        raw.max_object_bytes.as_ref(),
        (8 * MIB).min(max_bytes),
        KIB..=TIB,
    );
    if let Some(object) = &raw.max_object_bytes
        && object.get_ref().0 > max_bytes
    {
        fields.problem(Problem::new(
            object.span(),
            "one object may not be larger than the whole cache",
        ));
    }
    CacheConfig {
        max_bytes,
        max_object_bytes,
    }
}

pub(super) fn fhe(raw: &RawFhe, fields: &mut Fields<'_>) -> Option<FheConfig> {
    let (tenant_defaults, tenants) = tenants::check(raw, fields);
    Some(FheConfig {
        key_ttl: tenants::key_ttl(raw, fields),
        rotation_grace: tenants::rotation_grace(raw, fields),
        prewarm: raw.prewarm.unwrap_or(true),
        // As soon as tenants are named, nobody is served without a name unless the operator says so.
        anonymous: raw.anonymous.unwrap_or(tenants.is_empty()),
        tenant_defaults,
        tenants,
        jobs_dir: tenants::beside_keys(raw, raw.jobs_dir.as_deref(), "jobs", fields),
        counters_dir: tenants::beside_keys(raw, raw.counters_dir.as_deref(), "counters", fields),
        max_streams: fields.count(raw.max_streams.as_ref(), 64, 0..=100_000) as usize,
        job_ttl: tenants::job_ttl(raw, fields),
        job_store_bytes: fields.size(raw.job_store_bytes.as_ref(), GIB, 16 * MIB..=TIB),
        keys_dir: fields.path(&raw.keys_dir),
        programs_dir: fields.path(&raw.programs_dir),
        key_cache_bytes: raw.key_cache_bytes.map_or(512 * MIB, |size| size.0),
        key_store_bytes: raw.key_store_bytes.map_or(4 * GIB, |size| size.0),
        program_memory_bytes: raw.program_memory_bytes.map_or(256 * MIB, |size| size.0),
        max_request_bytes: raw.max_request_bytes.map_or(32 * MIB, |size| size.0),
        batch_size: fields.count(raw.batch_size.as_ref(), 64, 1..=100_000) as usize,
        batch_wait: span(raw.batch_wait, Duration::from_millis(2)),
        batch_time: span(raw.batch_time, Duration::from_millis(250)),
        max_queue: fields.count(raw.max_queue.as_ref(), 1024, 1..=1_000_000) as usize,
        max_tenant_queue: raw
            .max_tenant_queue
            .as_ref()
            .map(|count| fields.count(Some(count), 1, 1..=1_000_000) as usize),
        queue_bytes: fields.size(raw.queue_bytes.as_ref(), 64 * MIB, MIB..=64 * GIB) as usize,
        max_wait: span(raw.max_wait, Duration::from_secs(5)),
        threads: raw
            .threads
            .as_ref()
            .map(|count| fields.count(Some(count), 1, 1..=1024) as usize),
        devices: fields.word(raw.devices.as_ref(), &DEVICES, FheDevices::default()),
        device_key_memory: raw
            .device_key_memory
            .as_ref()
            .map(|size| fields.size(Some(size), LEAST_DEVICE_KEYS, LEAST_DEVICE_KEYS..=TIB)),
        nice: fields.count(raw.nice.as_ref(), 10, 0..=19) as u8,
    })
}

pub(super) fn outbox(raw: &RawOutbox, fields: &mut Fields<'_>) -> Option<OutboxConfig> {
    let site = match raw.site.get_ref().parse() {
        Ok(site) => site,
        Err(error) => {
            fields.problem(Problem::new(
                raw.site.span(),
                format!("{:?} is {error}", raw.site.get_ref()),
            ));
            return None;
        }
    };
    Some(OutboxConfig {
        dir: fields.path(&raw.dir),
        site,
        quota_bytes: fields.size(raw.quota_bytes.as_ref(), GIB, MIB..=1024 * TIB),
        min_free_bytes: raw.min_free_bytes.map_or(256 * MIB, |size| size.0),
        commit_wait: span(raw.commit_wait, Duration::from_millis(2)),
        seal_after: span(raw.seal_after, Duration::from_secs(1)),
        hold: span(raw.hold, Duration::from_secs(24 * 3600)),
        durable_timeout: span(raw.durable_timeout, Duration::from_secs(5)),
    })
}

pub(super) fn sync(
    section: &Spanned<RawSync>,
    has_outbox: bool,
    fields: &mut Fields<'_>,
) -> SyncConfig {
    let raw = section.get_ref();
    if !has_outbox {
        fields.problem(
            Problem::new(
                raw.aggregator.span(),
                "[sync] sends what the outbox holds, and there is no [outbox]",
            )
            .help("add [outbox] with dir and site"),
        );
    }
    let address = raw.aggregator.get_ref();
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        fields.problem(
            Problem::new(
                raw.aggregator.span(),
                format!("{address:?} is not the address of an aggregator"),
            )
            .help("write \"host:port\""),
        );
    }
    let rate = raw
        .rate_bytes_per_second
        .as_ref()
        .map(|rate| fields.size(Some(rate), MIB, KIB..=1024 * GIB));
    SyncConfig {
        aggregator: address.clone(),
        server_name: raw.server_name.get_ref().clone(),
        ca: fields.path(&raw.ca),
        cert: fields.path(&raw.cert),
        key: fields.path(&raw.key),
        rate_bytes_per_second: rate,
    }
}
