//! What can be set, and every limit of the stack.
use std::time::Duration;

use crate::sources::COUNT_MAX;

/// Packets of a batch, unless the caller wants another number.
pub const BATCH_SIZE: usize = 64;
/// The most that a receive window may grow to, in bytes. A maximum: nothing is allocated for it.
pub const TCP_RX_BUFFER_SIZE: u32 = 2 << 20;
/// The most that one flow may queue for sending, in bytes. A maximum: nothing is allocated for it.
pub const TCP_TX_BUFFER_SIZE: u32 = 2 << 20;
/// The largest packet of a TUN device, in bytes.
pub const TUN_MTU_MAX: u16 = 65_535;
/// The smallest MTU that IPv6 allows, in bytes.
pub const TUN_MTU_MIN: u16 = 1280;
/// Receive window at the start, in bytes: all that a window field without scale can say.
pub const WINDOW_START: u32 = 65_535;
/// A flow is given this much window even when the budget is spent, in bytes.
pub const WINDOW_FLOOR: u32 = 4096;
/// Shift of the receive window's scale.
pub const WINDOW_SHIFT: u8 = 7;
/// Pieces of a flow that may wait for a gap before them to be filled; segments that touch are one
/// piece, up to 64 KiB.
pub const OUT_OF_ORDER_MAX: u8 = 32;
/// What a stored segment costs besides its bytes, charged to the budget, in bytes.
pub const STORED_OVERHEAD: u32 = 128;
/// Ranges of a flow that a peer may have acknowledged selectively.
pub const SACK_RANGES_MAX: usize = 32;
/// Chunks that one flow may queue for sending.
pub const CHUNKS_MAX: u16 = 1024;
/// Bytes that a flow may queue for sending even when the budget is spent.
pub const SEND_FLOOR: u32 = 16 << 10;
/// Shortest retransmission timeout.
pub const RTO_MIN: Duration = Duration::from_millis(200);
/// Longest retransmission timeout.
pub const RTO_MAX: Duration = Duration::from_secs(60);
/// Retransmission timeout before a round trip was measured (RFC 6298 section 2.1).
pub const RTO_START: Duration = Duration::from_secs(1);
/// Timeouts without progress after which a flow is given up.
pub const RETRANSMITS_MAX: u8 = 10;
/// Retransmissions of a SYN-ACK, after 1, 2 and 4 seconds.
pub const SYN_ACK_RETRANSMITS_MAX: u8 = 3;
/// Longest that an acknowledgement waits for company.
pub const ACK_DELAY: Duration = Duration::from_millis(10);
/// At least this long between two challenge ACKs of a flow (RFC 5961 section 10).
pub const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);
/// How long a closed connection's addresses and ports are remembered.
pub const TIME_WAIT: Duration = Duration::from_secs(10);
/// Keep-alive probes without an answer after which a flow is given up.
pub const KEEPALIVE_PROBES_MAX: u8 = 9;
/// Time between keep-alive probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
/// Payload of one packet in the first flights, in bytes: more could exceed what a client's fresh
/// socket may hold.
pub const FIRST_FLIGHT_PAYLOAD: u16 = 16 << 10;
/// Packets without a flow (RST, ICMP) that may wait to be sent.
pub const CONTROL_QUEUE_MAX: usize = 256;
/// MSS of a peer that announced none, IPv4 (RFC 9293 section 3.7.1).
pub const MSS_DEFAULT_V4: u16 = 536;
/// MSS of a peer that announced none, IPv6.
pub const MSS_DEFAULT_V6: u16 = 1220;
/// A peer's announced MSS counts as at least this, so that it cannot ask for a packet per byte.
pub const MSS_MIN: u16 = 64;

/// When a client's SYN is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    /// At once, in the batch that brought it. The flow opens when the client's ACK arrives.
    #[default]
    Fast,
    /// After [`crate::Stack::accept`], and in no other way: a client that sees its connection
    /// open knows that the upstream is there.
    Consistent,
    /// Like `Consistent`, but [`crate::Stack::sniff`] may answer for routes that need to see the
    /// client's first bytes.
    Auto,
}

/// How a flow's sending adapts to loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// The network is a queue in this machine: begin with the peer's whole window, halve on loss.
    #[default]
    Local,
    /// Begin with ten segments (RFC 6928), for gateways with clients behind a real network.
    Reno,
}

/// What a [`crate::Stack`] is made with. [`Default`] gives the defaults named at the fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// MTU of the TUN device in bytes, 1280 to 65535; 65535.
    pub tun_mtu: u16,
    /// When SYNs are answered; fast.
    pub handshake: Handshake,
    /// How sending adapts to loss; local.
    pub congestion: Congestion,
    /// Largest packet that the device takes as one to be cut in segments, in bytes; 0 where it
    /// cannot cut; 0.
    pub segmentation_max: u16,
    /// The device completes checksums; false.
    pub checksum_offload: bool,
    /// Connections at a time, half-open ones among them; 65536.
    pub flows_max: u32,
    /// Half-open connections at a time; 4096.
    pub half_open_max: u32,
    /// Half-open connections of one source address, at most 2^24 - 1; 2048.
    pub half_open_per_source: u32,
    /// How long a connection may wait for [`crate::Stack::accept`]; 10 s.
    pub dial_deadline: Duration,
    /// Closed connections remembered at a time; 16384. The oldest are forgotten first.
    pub time_wait_max: u32,
    /// Largest receive window in bytes, at most [`TCP_RX_BUFFER_SIZE`]; 1 MiB.
    pub window_max: u32,
    /// Sum of all receive windows in bytes, but for [`WINDOW_FLOOR`] of each flow; 64 MiB.
    pub window_budget: u64,
    /// Most bytes queued for sending on one flow, at most [`TCP_TX_BUFFER_SIZE`]; 1 MiB.
    pub send_max: u32,
    /// Sum of all bytes queued for sending, but for [`SEND_FLOOR`] of each flow; 64 MiB.
    pub send_budget: u64,
    /// Silence after which a flow is probed; 15 minutes. `None`: never.
    pub keepalive: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tun_mtu: TUN_MTU_MAX,
            handshake: Handshake::Fast,
            congestion: Congestion::Local,
            segmentation_max: 0,
            checksum_offload: false,
            flows_max: 65_536,
            half_open_max: 4096,
            half_open_per_source: 2048,
            dial_deadline: Duration::from_secs(10),
            time_wait_max: 16_384,
            window_max: 1 << 20,
            window_budget: 64 << 20,
            send_max: 1 << 20,
            send_budget: 64 << 20,
            keepalive: Some(Duration::from_secs(15 * 60)),
        }
    }
}

impl Config {
    /// The same with every field inside its bounds.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        self.tun_mtu = self.tun_mtu.max(TUN_MTU_MIN);
        self.half_open_per_source = self.half_open_per_source.min(COUNT_MAX);
        self.window_max = self.window_max.clamp(WINDOW_FLOOR, TCP_RX_BUFFER_SIZE);
        self.send_max = self.send_max.clamp(SEND_FLOOR, TCP_TX_BUFFER_SIZE);
        self
    }
}
