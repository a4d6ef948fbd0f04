//! Every limit of the format and of the protocol, with its reason.

/// One record. Events are about 1 KB; this leaves room for a large one and keeps a batch in a few records at worst.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;

/// What a sealer aims at for the encoded body: requests of 64 KiB to 1 MiB use a link best.
pub const TARGET_ENCODED_BYTES: usize = 1024 * 1024;

/// Hard cap of the encoded body: what a receiver must be ready to hold in memory for one request.
pub const MAX_ENCODED_BYTES: usize = 4 * 1024 * 1024;

/// Hard cap of the decoded body, checked before anything is decompressed.
pub const MAX_RAW_BYTES: usize = 16 * 1024 * 1024;

/// Missing ranges in one batch. More than that in 1 MiB of records means that something else is wrong: the batch is cut there.
pub const MAX_GAPS: usize = 1024;

/// Longest header: the fixed part, the longest site name, all gaps, the checksum.
pub const MAX_HEADER_BYTES: usize =
    crate::header::FIXED_LEN + edge_types::MAX_SITE_ID_LEN + 16 * MAX_GAPS + 4;

/// A whole sealed batch: the largest body of a PUT.
pub const MAX_BATCH_BYTES: usize = MAX_HEADER_BYTES + MAX_ENCODED_BYTES;

/// Body of an enrolment request: one JSON object of two fields.
pub const MAX_ENROLL_BYTES: usize = 1024;

/// Ranges listed per lane in a state reply. A site that sees the list cut sends the rest again, which is harmless.
pub const MAX_STATE_RANGES: usize = 4096;

/// Any JSON reply of the protocol: the largest is a state reply, some 45 bytes for each range.
pub const MAX_REPLY_BYTES: usize = 256 * 1024;
