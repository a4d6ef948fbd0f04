//! The names of the objects in a store (pure). Numbers have twenty digits, so that names sort as numbers do.
//!
//! ```text
//! sites/{site}/epochs/{epoch}.json                       who an epoch was given to
//! sites/{site}/batches/{epoch}/{lane}/{batch_no}.vgb     a sealed batch, verbatim
//! ```

use edge_types::{BatchNo, Epoch, Lane, SiteId};

/// Where the sites are.
pub const SITES: &str = "sites";

pub fn epochs_dir(site: &SiteId) -> String {
    format!("{SITES}/{site}/epochs")
}

pub fn epoch(site: &SiteId, epoch: Epoch) -> String {
    format!("{}/{:020}.json", epochs_dir(site), epoch.0)
}

/// Where a site's batches are: one directory per epoch.
pub fn batch_epochs_dir(site: &SiteId) -> String {
    format!("{SITES}/{site}/batches")
}

pub fn batches_dir(site: &SiteId, epoch: Epoch, lane: Lane) -> String {
    format!("{}/{:020}/{lane}", batch_epochs_dir(site), epoch.0)
}

pub fn batch(site: &SiteId, epoch: Epoch, lane: Lane, batch_no: BatchNo) -> String {
    format!("{}/{:020}.vgb", batches_dir(site, epoch, lane), batch_no.0)
}

/// The epoch in a file name of `epochs_dir`; `None` for anything that [`epoch`] does not write.
pub fn parse_epoch(file_name: &str) -> Option<Epoch> {
    number(file_name, ".json").map(Epoch)
}

/// The epoch in a directory name of `batch_epochs_dir`.
pub fn parse_epoch_dir(name: &str) -> Option<Epoch> {
    number(name, "").map(Epoch)
}

/// The batch number in a file name of `batches_dir`.
pub fn parse_batch(file_name: &str) -> Option<BatchNo> {
    number(file_name, ".vgb").map(BatchNo)
}

fn number(file_name: &str, suffix: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_as_numbers() {
        let site = SiteId::new("mill-7").unwrap();
        let name = |no| batch(&site, Epoch(3), Lane::Events, BatchNo(no));
        assert_eq!(
            name(9),
            "sites/mill-7/batches/00000000000000000003/events/00000000000000000009.vgb"
        );
        assert!(name(9) < name(10) && name(99) < name(u64::MAX));
        for no in [1, 10, u64::MAX] {
            let name = name(no);
            assert_eq!(
                parse_batch(name.rsplit('/').next().unwrap()),
                Some(BatchNo(no))
            );
            let name = epoch(&site, Epoch(no));
            assert_eq!(
                parse_epoch(name.rsplit('/').next().unwrap()),
                Some(Epoch(no))
            );
        }
    }

    #[test]
    fn foreign_names_are_not_numbers() {
        for name in [
            "",
            ".vgb",
            "1.vgb",
            "+0000000000000000001.vgb",
            "00000000000000000000.vgb",
            "x.json",
        ] {
            assert_eq!(parse_batch(name), None, "{name}");
        }
    }
}
