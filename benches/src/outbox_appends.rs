//! Durable appends: many callers, each waiting for its receipt (one fsync for a group of them) before the next.

use std::time::Duration;

use edge_types::SiteId;
use examples::client::Error;
use outbox::load::{LoadSpec, run as append};
use outbox::{Outbox, OutboxConfig};

use crate::Context;
use crate::report::Row;

const LENGTH: Duration = Duration::from_secs(3);
/// (what, bytes of a record, callers at once).
const LOADS: [(&str, usize, usize); 3] = [
    ("1 KB, 256 callers", 1000, 256),
    ("1 KB, 1 caller", 1000, 1),
    ("200 KB, 16 callers", 200_000, 16),
];

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (what, record_bytes, callers) in LOADS {
        context.say(&format!("outbox: {what}"));
        let folder = tempfile::tempdir_in(&context.bin_dir)?;
        let site = SiteId::new("bench").map_err(|error| Error::of(&error))?;
        let (outbox, _) = Outbox::open(OutboxConfig::new(folder.path(), site))
            .map_err(|error| Error::of(&error))?;
        let spec = LoadSpec {
            record_bytes,
            callers,
            duration: LENGTH,
        };
        let result = append(&outbox, spec)
            .await
            .map_err(|error| Error::of(&error))?;
        outbox.close().await;
        let note = format!(
            "durable; p50 {:.1} ms, p99 {:.1} ms; {:.1} MB/s",
            result.percentile(50.0).as_secs_f64() * 1e3,
            result.percentile(99.0).as_secs_f64() * 1e3,
            result.per_second() * record_bytes as f64 / 1e6
        );
        if result.refused > 0 {
            return Err(Error::new(format!(
                "{} appends of {what} were refused: is the disk nearly full?",
                result.refused
            )));
        }
        rows.push(Row::new("outbox", what, result.per_second(), "appends/s").note(note));
    }
    Ok(rows)
}
