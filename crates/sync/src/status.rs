//! What the driver tells about itself.

use edge_types::{BatchNo, Epoch, Incarnation};
use serde::Serialize;
use transport::WireStats;

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// No connection; the next attempt comes by itself.
    Offline,
    Connecting,
    Enrolling,
    /// Connected; batches go as they are sealed.
    Online,
    /// The aggregator has asked to wait (its disk is full, it is overloaded).
    Paused,
    /// A person has to act: the problem says what about.
    Blocked,
}

/// Bytes since the start, for measuring what sync costs on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Acknowledged batches as sealed.
    pub sealed_bytes: u64,
    /// The records in them, as appended.
    pub record_bytes: u64,
    pub records: u64,
    pub batches: u64,
    /// UDP payload sent and received, all connections together.
    pub udp_tx_bytes: u64,
    pub udp_tx_datagrams: u64,
    pub udp_rx_bytes: u64,
    pub udp_rx_datagrams: u64,
    pub lost_packets: u64,
    pub connections: u64,
}

impl Traffic {
    /// Bytes sent as they cross an IPv4 link.
    pub fn ip_tx_bytes(&self) -> u64 {
        let wire = WireStats {
            udp_tx_bytes: self.udp_tx_bytes,
            udp_tx_datagrams: self.udp_tx_datagrams,
            ..WireStats::default()
        };
        wire.ip_tx_bytes()
    }

    /// Sealed payload per byte sent on the link: 1 would be no overhead at all.
    pub fn wire_efficiency(&self) -> f64 {
        self.sealed_bytes as f64 / (self.ip_tx_bytes() as f64).max(1.0)
    }

    /// Record bytes per byte sent on the link: above 1 thanks to compression.
    pub fn logical_efficiency(&self) -> f64 {
        self.record_bytes as f64 / (self.ip_tx_bytes() as f64).max(1.0)
    }

    pub(crate) fn add_connection(&mut self, wire: &WireStats) {
        self.udp_tx_bytes += wire.udp_tx_bytes;
        self.udp_tx_datagrams += wire.udp_tx_datagrams;
        self.udp_rx_bytes += wire.udp_rx_bytes;
        self.udp_rx_datagrams += wire.udp_rx_datagrams;
        self.lost_packets += wire.lost_packets;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncStatus {
    pub condition: Condition,
    /// What stands in the way, in words for an operator.
    pub problem: Option<String>,
    pub epoch: Option<Epoch>,
    /// Which store the aggregator has.
    pub store: Option<Incarnation>,
    pub in_flight: usize,
    /// Batches confirmed by the aggregator since the start, and the highest of them.
    pub acked_batches: u64,
    pub last_acked: BatchNo,
    /// Refused for good and set aside since the start.
    pub refused_batches: u64,
    /// Batches sent, counting every repeat.
    pub attempts: u64,
    pub traffic: Traffic,
}
