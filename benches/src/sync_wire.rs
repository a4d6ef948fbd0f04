//! What sync costs on the wire: a real outbox and a real aggregator over loopback QUIC with mutual TLS.

use std::time::{Duration, Instant};

use ::outbox::load::record;
use ::outbox::{Outbox, OutboxConfig};
use ::sync::{SyncConfig, SyncDriver};
use aggregator::server::Aggregator;
use edge_types::SiteId;
use examples::client::Error;
use transport::{ClientTls, Identity, TrustRoots, certs};

use crate::Context;
use crate::report::Row;

const SITE: &str = "bench";
/// Records of each run, and their sizes: half of each record is noise that does not compress.
const RUNS: [(&str, usize, usize); 2] = [
    ("1 KB records", 1000, 20_000),
    ("16 KB records", 16_000, 2_000),
];
/// Every batch is at the aggregator by then, or the run has failed.
const TIMEOUT: Duration = Duration::from_secs(120);

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (what, bytes, count) in RUNS {
        context.say(&format!("sync: {count} × {what}"));
        rows.extend(one(context, what, bytes, count).await?);
    }
    Ok(rows)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}

async fn one(context: &Context, what: &str, bytes: usize, count: usize) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir_in(&context.bin_dir)?;
    let (ca_dir, store) = (folder.path().join("certs"), folder.path().join("store"));
    std::fs::create_dir_all(&ca_dir)?;
    let ca = certs::make_ca(&ca_dir, "bench")?;
    let server = certs::issue_server(&ca, &ca_dir, "server", &["localhost"])?;
    let client = certs::issue_client(&ca, &ca_dir, SITE)?;
    let centre = Aggregator::start(&aggregator::config::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        store,
        cert: server.cert,
        key: server.key,
        client_ca: ca.cert.clone(),
        admin: None,
        min_free_bytes: 0,
    })
    .map_err(of)?;

    let site = SiteId::new(SITE).map_err(of)?;
    let (outbox, _) =
        Outbox::open(OutboxConfig::new(folder.path().join("outbox"), site)).map_err(of)?;
    for seed in 0..count {
        // Not waited for one by one: the load here is on the wire, not on the disk.
        while outbox
            .append_later(record(bytes, seed as u64 + 1))
            .is_err_and(|error| error.is_retryable())
        {
            outbox.flush().await.map_err(of)?;
        }
    }
    outbox.flush().await.map_err(of)?;

    let identity = Identity::load(&client.cert, &client.key)?;
    let tls = ClientTls::new(TrustRoots::load(&ca.cert)?, Some(identity), &[]);
    let config = SyncConfig::new(centre.addr().to_string(), "localhost", tls);
    let began = Instant::now();
    let handle =
        SyncDriver::spawn(outbox.clone(), config, std::future::pending::<()>()).map_err(of)?;
    while handle.status().traffic.records < count as u64 {
        outbox.seal_now();
        if began.elapsed() > TIMEOUT {
            return Err(Error::new(format!(
                "sync was not done after {} s: {:?}",
                TIMEOUT.as_secs(),
                handle.status()
            )));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let traffic = handle.status().traffic;
    handle.stop().await;
    outbox.close().await;
    centre.stop().await;
    Ok(vec![
        Row::new(
            "sync",
            format!("{what}: sealed payload per byte sent (IP)"),
            traffic.wire_efficiency() * 100.0,
            "%",
        )
        .note(format!(
            "{} batches, {} datagrams",
            traffic.batches, traffic.udp_tx_datagrams
        )),
        Row::new(
            "sync",
            format!("{what}: record bytes per byte sent (IP)"),
            traffic.logical_efficiency(),
            "bytes/byte",
        ),
        Row::new(
            "sync",
            format!("{what}: bytes sent per payload byte"),
            traffic.ip_tx_bytes() as f64 / traffic.sealed_bytes as f64,
            "bytes/byte",
        ),
        Row::new(
            "sync",
            format!("{what}: records"),
            traffic.records as f64 / took.as_secs_f64(),
            "records/s",
        )
        .note("sealed, sent, durable at the aggregator"),
    ])
}
