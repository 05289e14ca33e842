//! How long QUIC's datagrams may be so that their envelope always fits (`docs/protocols/paniq.md`,
//! Transport).
use super::Padding;
use crate::paniq::obf::{HEADER_LEN, UDP_PAYLOAD_LEN_MAX};
use thiserror::Error;

/// The longest QUIC datagram that a Go peer takes, in octets: a longer one ends its process.
pub const INNER_LEN_MAX: usize = 1452;

/// The shortest datagram that QUIC must be able to send, in octets (RFC 9000 section 14).
pub const INNER_LEN_MIN: usize = 1200;

/// `quic.max_packet_size` of a profile that says nothing, in octets.
pub const PACKET_LEN_DEFAULT: usize = 1350;

/// Octets of the counter, where there is one.
pub(super) const COUNTER_LEN: usize = 8;
/// Octets of the length.
pub(super) const LEN_LEN: usize = 2;

/// What a profile says about sizes, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// `quic.max_packet_size`: the longest UDP payload; 0 and less for the default.
    pub max_packet_size: i64,
    /// `quic.max_payload`: the longest QUIC datagram; 0 and less for what fits.
    pub max_payload: i64,
    /// `obfuscation.s4`.
    pub prefix: usize,
    /// `obfuscation.transport_replay`: does a counter go with each datagram?
    pub has_counter: bool,
}

/// Why sizes cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// Less than 1200 octets are left for QUIC.
    #[error("max_packet_size too small for QUIC payload budget")]
    PacketTooSmall,
    /// Longer than UDP carries.
    #[error("max_packet_size must be at most {UDP_PAYLOAD_LEN_MAX}")]
    PacketTooLarge,
    /// `max_payload` below 1200.
    #[error("quic max_payload must be >= {INNER_LEN_MIN}")]
    PayloadTooSmall,
    /// `max_payload` above what fits.
    #[error("quic max_payload exceeds transport payload budget")]
    PayloadAboveBudget,
    /// `max_payload` above what a peer takes.
    #[error("quic max_payload must be <= {INNER_LEN_MAX}")]
    PayloadTooLarge,
    /// The least padding does not fit beside a full datagram.
    #[error(
        "transport padding pad_min exceeds headroom ({pad_min} > {headroom}); reduce pad_min or \
         increase headroom (raise max_packet_size, lower s4, or lower quic.max_payload)"
    )]
    PaddingAboveHeadroom {
        /// The least padding.
        pad_min: usize,
        /// What is left beside a full datagram.
        headroom: usize,
    },
}

/// Sizes that work together, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(super) packet: usize,
    pub(super) prefix: usize,
    pub(super) has_counter: bool,
    pub(super) inner: usize,
    pub(super) headroom: usize,
}

impl Budget {
    /// Checks `sizes` as the Go programs do.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn new(sizes: &Sizes, padding: &Padding) -> Result<Self, BudgetError> {
        let packet = match sizes.max_packet_size {
            ..=0 => PACKET_LEN_DEFAULT,
            size => usize::try_from(size).map_err(|_| BudgetError::PacketTooLarge)?,
        };
        if packet > UDP_PAYLOAD_LEN_MAX {
            return Err(BudgetError::PacketTooLarge);
        }
        let fits = packet.saturating_sub(head_len(sizes.prefix, sizes.has_counter));
        if fits < INNER_LEN_MIN {
            return Err(BudgetError::PacketTooSmall);
        }
        let inner = match sizes.max_payload {
            ..=0 => fits,
            size => match usize::try_from(size) {
                Ok(size) if size > fits => return Err(BudgetError::PayloadAboveBudget),
                Ok(size) if size > INNER_LEN_MAX => return Err(BudgetError::PayloadTooLarge),
                Ok(size) if size >= INNER_LEN_MIN => size,
                _ => return Err(BudgetError::PayloadTooSmall),
            },
        };
        let (pad_min, headroom) = (padding.min(), fits - inner);
        if pad_min > headroom {
            return Err(BudgetError::PaddingAboveHeadroom { pad_min, headroom });
        }
        Ok(Self {
            packet,
            prefix: sizes.prefix,
            has_counter: sizes.has_counter,
            inner: inner.min(INNER_LEN_MAX),
            headroom,
        })
    }

    /// The longest QUIC datagram: QUIC's initial size, with path discovery off.
    #[must_use]
    pub const fn inner_len_max(&self) -> usize {
        self.inner
    }

    /// The longest UDP payload.
    #[must_use]
    pub const fn packet_len_max(&self) -> usize {
        self.packet
    }

    /// What is left for padding beside a full QUIC datagram.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.headroom
    }

    /// Octets in front of the QUIC datagram.
    #[must_use]
    pub const fn head_len(&self) -> usize {
        head_len(self.prefix, self.has_counter)
    }

    /// Does a counter go with each datagram?
    #[must_use]
    pub const fn has_counter(&self) -> bool {
        self.has_counter
    }
}

const fn head_len(prefix: usize, has_counter: bool) -> usize {
    let counter = if has_counter { COUNTER_LEN } else { 0 };
    prefix + HEADER_LEN + counter + LEN_LEN
}
