//! A connection before it is one: what is kept of a SYN.
use std::time::Duration;

use sansbox_core::Instant;

use super::context::Context;
use crate::config::{
    Config, MSS_DEFAULT_V4, MSS_DEFAULT_V6, MSS_MIN, SYN_ACK_RETRANSMITS_MAX, WINDOW_FLOOR,
    WINDOW_SHIFT, WINDOW_START,
};
use crate::key::FlowKey;
use crate::wire::emit::{Header, Options};
use crate::wire::parse::{ACK, SYN, Segment};

const SACK: u8 = 1;
const TOLD: u8 = 1 << 1;
const ANSWERED: u8 = 1 << 2;
const LARGE_WINDOW: u8 = 1 << 3;
const MIDDLE_WINDOW: u8 = 1 << 4;
const SHUT: u8 = 1 << 5;

/// At most 56 bytes, so that its place in the table has 64 and a flood of SYNs costs little: no
/// buffers, no list of options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfOpen {
    pub(crate) key: FlowKey,
    /// The client's initial sequence number.
    pub(crate) irs: u32,
    /// Ours.
    pub(crate) iss: u32,
    /// When the SYN-ACK was sent first, in microseconds, of which the lowest bits say enough of a
    /// time that is over in seconds.
    answered_at: u32,
    pub(crate) window: u16,
    mss: Option<std::num::NonZeroU16>,
    pub(crate) shift: Option<u8>,
    flags: u8,
    /// SYN-ACKs sent because no answer came.
    repeated: u8,
}

impl HalfOpen {
    pub(crate) fn new(segment: &Segment<'_>, iss: u32, context: &Context) -> Self {
        // The first window is promised here, and kept however many others are promised until
        // then: a promise cannot be taken back.
        let spent = context.budget.windows;
        let budget = context.config.window_budget;
        let mut flags = match () {
            () if spent < budget / 2 => LARGE_WINDOW,
            () if spent < budget / 4 * 3 => MIDDLE_WINDOW,
            () => 0,
        };
        if segment.options.sack_permitted {
            flags |= SACK;
        }
        Self {
            key: segment.key,
            irs: segment.seq,
            iss,
            answered_at: 0,
            window: segment.window,
            mss: segment.options.mss.and_then(std::num::NonZeroU16::new),
            shift: segment.options.shift,
            flags,
            repeated: 0,
        }
    }

    pub(crate) const fn sack(&self) -> bool {
        self.flags & SACK != 0
    }

    /// Has the caller heard of it?
    pub(crate) const fn told(&self) -> bool {
        self.flags & TOLD != 0
    }

    pub(crate) const fn set_told(&mut self) {
        self.flags |= TOLD;
    }

    /// Was the SYN-ACK sent, or is it about to be?
    pub(crate) const fn answered(&self) -> bool {
        self.flags & ANSWERED != 0
    }

    pub(crate) const fn answer(&mut self, now: Instant) {
        self.flags |= ANSWERED;
        self.answered_at = low_micros(now);
    }

    /// May the SYN-ACK be sent again? Then it is about to be.
    pub(crate) const fn repeat(&mut self) -> bool {
        let may = self.answered() && self.repeated < SYN_ACK_RETRANSMITS_MAX;
        if may {
            self.repeated += 1;
        }
        may
    }

    /// Did the caller end its direction already?
    pub(crate) const fn shut(&self) -> bool {
        self.flags & SHUT != 0
    }

    pub(crate) const fn set_shut(&mut self) {
        self.flags |= SHUT;
    }

    /// How long it waits for what comes next: the caller's decision, or the client's answer.
    pub(crate) const fn patience(&self, config: &Config) -> Duration {
        if self.answered() {
            Duration::from_secs(1 << self.repeated)
        } else {
            config.dial_deadline
        }
    }

    /// Time from the SYN-ACK to `now`, if it was sent once.
    pub(crate) fn round_trip(&self, now: Instant) -> Option<Duration> {
        let passed = low_micros(now).wrapping_sub(self.answered_at);
        (self.repeated == 0).then(|| Duration::from_micros(passed.into()))
    }

    /// The window of the SYN-ACK, which is never scaled.
    pub(crate) fn window_offered(&self, context: &Context) -> u16 {
        let window = match self.flags & (LARGE_WINDOW | MIDDLE_WINDOW) {
            LARGE_WINDOW => WINDOW_START,
            MIDDLE_WINDOW => WINDOW_START / 4,
            _ => WINDOW_FLOOR,
        };
        let window = window.min(context.config.window_max);
        u16::try_from(window).unwrap_or(u16::MAX)
    }

    /// Payload per segment to the client.
    pub(crate) fn send_mss(&self, config: &Config) -> u16 {
        let default = if self.key.is_v4() {
            MSS_DEFAULT_V4
        } else {
            MSS_DEFAULT_V6
        };
        let announced = self.mss.map_or(default, std::num::NonZeroU16::get);
        announced.max(MSS_MIN).min(receive_mss(&self.key, config))
    }

    /// The answer to the SYN.
    pub(crate) fn syn_ack(&self, context: &Context) -> Header<'_> {
        Header {
            key: &self.key,
            seq: self.iss,
            ack: self.irs.wrapping_add(1),
            flags: SYN | ACK,
            window: self.window_offered(context),
            options: Options::Syn {
                mss: receive_mss(&self.key, &context.config),
                shift: self.shift.map(|_| WINDOW_SHIFT),
                sack: self.sack(),
            },
        }
    }
}

const fn low_micros(time: Instant) -> u32 {
    (time.as_nanos() / 1000) as u32
}

/// The MSS that the device allows, whatever the path behind the stack carries.
pub(crate) fn receive_mss(key: &FlowKey, config: &Config) -> u16 {
    let headers = if key.is_v4() { 40 } else { 60 };
    config.tun_mtu.saturating_sub(headers)
}

const _: () = assert!(
    size_of::<HalfOpen>() <= 56,
    "a flood of SYNs must cost little"
);
