//! How large packets are (paniq.md sections 3.3 and 4.1).
use super::problem::{Problem, Reason};
use crate::paniq::obf::UDP_PAYLOAD_LEN_MAX;

/// Smallest QUIC packet that a path must carry, in bytes (RFC 9000 section 14).
pub const QUIC_PACKET_MIN: u16 = 1200;
/// Largest QUIC packet that a Go program survives, in bytes (paniq.md 10.1).
pub const QUIC_PACKET_MAX: u16 = 1452;

/// Header and inner length of a Transport frame, in bytes.
const FIXED_OVERHEAD: i64 = 4 + 2;
/// The counter of a Transport frame, in bytes.
const COUNTER_LEN: i64 = 8;

/// How large packets are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Largest UDP payload of a Transport frame.
    pub max_packet_size: u16,
    /// What stands before the QUIC packet in it.
    pub overhead: u16,
    /// What is left for the QUIC packet and padding.
    pub budget: u16,
    /// Length of QUIC packets: of the first ones exactly, of all others at most.
    pub quic_packet_size: u16,
    /// What padding may take behind the largest QUIC packet that the profile allows.
    pub headroom: u16,
}

impl Sizes {
    /// Computes sizes from the profile's numbers; `max_payload` of zero stands for the budget.
    ///
    /// # Errors
    /// The one that is wrong: too little is left for a QUIC packet, or `max_payload` is not from
    /// 1200 to the least of the budget and 1452.
    pub(super) fn new(
        max_packet_size: i64,
        s4: usize,
        has_counter: bool,
        max_payload: i64,
    ) -> Result<Self, Problem> {
        let packet = |reason| Problem::new("quic.max_packet_size", reason);
        let payload = |reason| Problem::new("quic.max_payload", reason);
        let udp_max = i64::try_from(UDP_PAYLOAD_LEN_MAX).unwrap_or(i64::MAX);
        if max_packet_size > udp_max {
            return Err(packet(Reason::outside(
                max_packet_size,
                udp_max.unsigned_abs(),
            )));
        }
        let counter = if has_counter { COUNTER_LEN } else { 0 };
        let overhead = i64::try_from(s4).unwrap_or(i64::MAX) + FIXED_OVERHEAD + counter;
        let budget = max_packet_size - overhead;
        if budget < QUIC_PACKET_MIN.into() {
            return Err(packet(Reason::BudgetTooSmall(budget)));
        }
        let effective = match max_payload {
            ..=0 => budget,
            n if n < QUIC_PACKET_MIN.into() => return Err(payload(Reason::PayloadTooSmall)),
            n if n > budget => return Err(payload(Reason::PayloadAboveBudget(narrow(budget)))),
            n if n > QUIC_PACKET_MAX.into() => {
                return Err(payload(Reason::AtMost(QUIC_PACKET_MAX.into())));
            }
            n => n,
        };
        Ok(Self {
            max_packet_size: narrow(max_packet_size),
            overhead: narrow(overhead),
            budget: narrow(budget),
            quic_packet_size: narrow(effective).min(QUIC_PACKET_MAX),
            headroom: narrow(budget - effective),
        })
    }
}

/// `n`, which is no longer than a datagram.
fn narrow(n: i64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
