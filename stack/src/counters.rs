//! What the stack did, in numbers: no packet is dropped without a reason that is counted.

use crate::drops::drop_reasons;
use crate::ip;

drop_reasons! {
    "tcp";
    /// Why a segment, or a part of its payload, was not taken.
    pub enum DropReason, Drops {
        Martian => "martian": "An address that no connection has: multicast or broadcast; or the two ends are one.",
        TcpHeader => "tcp_header": "The TCP header or its options are malformed, or a port is 0.",
        TcpChecksum => "tcp_checksum": "The TCP checksum is wrong.",
        TcpFlags => "tcp_flags": "Flags that contradict each other, or none where one must be.",
        HalfOpenFull => "half_open_full": "A SYN above the limit of half-open connections; the client tries again.",
        SourceFull => "source_full": "A SYN above the limit of half-open connections of one source; the client tries again.",
        FlowsFull => "flows_full": "A SYN above the limit of connections; the client tries again.",
        NoFlow => "no_flow": "A segment of no known connection; answered with RST.",
        StrayReset => "stray_reset": "A RST of no known connection.",
        Challenged => "challenged": "A RST or SYN that could be forged; answered with an ACK, twice a second at most (RFC 5961).",
        ResetOutside => "reset_outside": "A RST outside the window.",
        AckUnsent => "ack_unsent": "Acknowledges what was not sent; answered with an ACK.",
        AckAncient => "ack_ancient": "Acknowledges less than a peer with this window could; answered with an ACK (RFC 5961).",
        OutsideWindow => "outside_window": "Holds nothing that is both new and inside the window; answered with an ACK.",
        Trimmed => "trimmed": "A part of the payload lies outside the window; the rest was taken.",
        AfterFin => "after_fin": "Payload behind the peer's own FIN.",
        OutOfOrderFull => "out_of_order_full": "Too many pieces of the flow wait for gaps to be filled; the client sends it again.",
        OutOfOrderBudget => "out_of_order_budget": "Segments of all flows that wait for gaps exceed the budget; the client sends it again.",
        Duplicate => "duplicate": "The payload, or a part of it, waits already for the gap before it.",
        TimeWait => "time_wait": "A segment of a closed connection; a FIN or payload is answered with an ACK.",
        AfterAbort => "after_abort": "A segment of a connection that was given up and whose end was not polled yet.",
        ControlFull => "control_full": "A RST or ICMP error that found the queue of such packets full.",
    }
}

/// Counts since the stack was made.
#[derive(Clone, Debug)]
pub struct Counters {
    pub(crate) drops: Drops,
    /// Packets whose IP header was the end of them.
    pub(crate) ip: ip::Drops,
    /// Packets received.
    pub packets_in: u64,
    /// Packets among them that are not TCP or are fragments, which [`crate::Stack::others`] lists.
    pub others: u64,
    /// Packets sent; one that the device cuts in segments counts once.
    pub packets_out: u64,
    /// Payload taken from clients in order, in bytes.
    pub bytes_in: u64,
    /// Payload that clients acknowledged, in bytes.
    pub bytes_out: u64,
    /// Connections opened: handshakes completed.
    pub opened: u64,
    /// Half-open connections refused by the caller.
    pub refused: u64,
    /// Half-open connections that ended without an answer of the caller or the client.
    pub expired: u64,
    /// Half-open connections that made room for younger ones.
    pub evicted: u64,
    /// SYNs seen again.
    pub syn_repeated: u64,
    /// RST segments sent.
    pub resets_sent: u64,
    /// Connections reset by clients.
    pub resets_received: u64,
    /// Connections given up because the client was silent.
    pub timed_out: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Losses found by duplicate or selective acknowledgements.
    pub fast_recoveries: u64,
    /// Tail loss probes (RFC 8985 section 7).
    pub tail_probes: u64,
    /// Probes of a closed window.
    pub window_probes: u64,
    /// Keep-alive probes.
    pub keepalive_probes: u64,
    /// Payload copied because it came out of order, in bytes.
    pub copied_out_of_order: u64,
    /// Payload copied by [`crate::Stack::retain`], in bytes.
    pub copied_retained: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: Drops::new(),
            ip: ip::Drops::new(),
            packets_in: 0,
            others: 0,
            packets_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            opened: 0,
            refused: 0,
            expired: 0,
            evicted: 0,
            syn_repeated: 0,
            resets_sent: 0,
            resets_received: 0,
            timed_out: 0,
            retransmitted: 0,
            timeouts: 0,
            fast_recoveries: 0,
            tail_probes: 0,
            window_probes: 0,
            keepalive_probes: 0,
            copied_out_of_order: 0,
            copied_retained: 0,
        }
    }
}

impl Counters {
    /// How often segments were dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.of(reason)
    }

    /// How often packets were dropped for their IP header.
    #[must_use]
    pub const fn ip_drops(&self) -> &ip::Drops {
        &self.ip
    }

    /// Counts one.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }
}
