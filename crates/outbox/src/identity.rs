//! Which outbox this is: `identity.json`, one small file that is replaced whole.

use std::io;

use edge_types::{Epoch, Incarnation, SiteId};
use serde::{Deserialize, Serialize};

use crate::{
    disk::{self, Disk},
    layout::{IDENTITY_NAME, Layout},
};

/// Far more than one has; a larger file is damaged.
const MAX_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub v: u32,
    pub site: SiteId,
    pub incarnation: Incarnation,
    pub epoch: Option<Epoch>,
    pub created_ms: u64,
}

impl Identity {
    /// `None` when it is missing or damaged: the other files name the incarnation too.
    pub(crate) fn read(disk: &dyn Disk, layout: &Layout) -> Option<Self> {
        let bytes = disk
            .read(&layout.root.join(IDENTITY_NAME), 0, MAX_BYTES)
            .ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(crate) fn write(&self, disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        disk::write_whole(disk, &layout.root, IDENTITY_NAME, &json)
    }
}
