//! QUIC's datagrams on their way into envelopes.
use crate::paniq::transport::{Budget, Padding, Sealed};
use bytes::BytesMut;
use sansbox_core::Instant;
use sansbox_quic::{Endpoint, Outgoing};
use std::net::SocketAddr;

/// Most datagrams that are asked of QUIC in one go.
const SEGMENTS_MAX: usize = 64;

/// Most datagrams of a train: full ones that leave in one go share one draw of padding, because
/// only datagrams of one length can be handed to the kernel at once, which costs a fifth. Over
/// trains the lengths are as random as before; within bulk, neighbours look alike.
const TRAIN_MAX: usize = 16;

/// Most octets of a train: what UDP over IPv4 can take in one system call.
const TRAIN_LEN_MAX: usize = 65_507;

/// How long envelopes are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    head: usize,
    packet: usize,
    /// Padding is never shorter or longer than this, apart from clamping.
    padding_min: usize,
    padding_max: usize,
}

impl Lengths {
    pub(super) fn new(budget: &Budget, padding: &Padding) -> Self {
        let (burst_min, burst_max) = padding.burst();
        let (mut padding_min, mut padding_max) = (padding.min(), padding.max());
        if padding.burst_prob() >= 1.0 {
            (padding_min, padding_max) = (burst_min, burst_max);
        } else if padding.burst_prob() > 0.0 {
            (padding_min, padding_max) = (padding_min.min(burst_min), padding_max.max(burst_max));
        }
        Self {
            head: budget.head_len(),
            packet: budget.packet_len_max(),
            padding_min,
            padding_max,
        }
    }

    /// Have all envelopes of QUIC datagrams of `inner` octets one length, and those of shorter
    /// ones no greater one?
    fn is_fixed(&self, inner: usize) -> bool {
        let headroom = self.packet.saturating_sub(self.head + inner);
        self.padding_min == self.padding_max || headroom <= self.padding_min
    }
}

/// Datagrams that QUIC has written in one go, and how many of them are sealed.
#[derive(Debug)]
pub(super) struct Batch {
    to: SocketAddr,
    segment: usize,
    plain: Vec<u8>,
    sealed: usize,
}

impl Batch {
    pub(super) const fn new() -> Self {
        let nowhere = std::net::Ipv4Addr::UNSPECIFIED;
        Self {
            to: SocketAddr::new(std::net::IpAddr::V4(nowhere), 0),
            segment: 0,
            plain: Vec::new(),
            sealed: 0,
        }
    }

    /// Seals what `endpoint` has to send into `out`, which is cleared first: up to `segments_max`
    /// datagrams of one length but for the last, which may be shorter. `seal` is told the padding
    /// that those have which are not the first. What it refuses is dropped, as on the way.
    pub(super) fn poll<E>(
        &mut self,
        now: Instant,
        lengths: &Lengths,
        endpoint: &mut Endpoint,
        segments_max: usize,
        out: &mut BytesMut,
        mut seal: impl FnMut(SocketAddr, &[u8], Option<usize>, &mut BytesMut) -> Result<Sealed, E>,
    ) -> Option<Outgoing> {
        out.clear();
        loop {
            while self.sealed < self.plain.len() {
                let fits = (TRAIN_LEN_MAX / lengths.packet.max(1)).max(1);
                let train_max = match lengths.is_fixed(self.segment) {
                    true => segments_max.clamp(1, fits),
                    false => segments_max.clamp(1, TRAIN_MAX.min(fits)),
                };
                let left = self.plain.get(self.sealed..).unwrap_or_default();
                let (mut segment, mut padding) = (0, None);
                for inner in left.chunks(self.segment.max(1)).take(train_max) {
                    self.sealed += inner.len();
                    let sealed = seal(self.to, inner, padding, out);
                    if let (None, Ok(sealed)) = (padding, sealed) {
                        (segment, padding) = (out.len(), Some(sealed.padding));
                    }
                }
                if segment > 0 {
                    let to = self.to;
                    return Some(Outgoing {
                        to,
                        ecn: 0,
                        segment,
                    });
                }
            }
            self.sealed = 0;
            let segments_max = segments_max.clamp(1, SEGMENTS_MAX);
            let Some(written) = endpoint.poll_transmit(now, segments_max, &mut self.plain) else {
                self.plain.clear();
                return None;
            };
            (self.to, self.segment) = (written.to, written.segment);
        }
    }
}
