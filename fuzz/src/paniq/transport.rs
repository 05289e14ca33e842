//! Transport frames: both directions of a tunnel, and what a stranger sends into it.
use super::draws;
use crate::{input::Input, reference::paniq as reference};
use bytes::BytesMut;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind, Params, Spec},
    transport::{
        Budget, Codec, Counting, OpenError, Opener, Padding, PaddingSpec, SealError, Sealer, Sizes,
    },
};
use std::collections::BTreeSet;

const S4: usize = 5;
const PACKET_LEN_MAX: usize = 1350;

/// Octet 0 says whether there are counters and how far they may jump, 1 and 2 seed, 3 to 7 are the
/// padding. Then come steps: seal a datagram; deliver one of those sealed, cut, changed or as it
/// is; deliver what the fuzzer wrote.
///
/// The reference reads each payload; a set of all counters says which of them are new.
pub fn paniq_transport(data: &[u8]) {
    let mut input = Input::new(data);
    let setup = input.byte();
    let mut draws = draws(&mut input);
    let Some((codec, forward_jump_max)) = codec(setup, input.bytes()) else {
        return;
    };
    let mut tunnel = Tunnel {
        codec,
        has_counter: setup & 1 == 1,
        forward_jump_max,
        sealer: Sealer::default(),
        opener: Opener::default(),
        counters: BTreeSet::new(),
        sent: Vec::new(),
    };
    for _ in 0..200 {
        if input.is_empty() {
            return;
        }
        match input.below(4) {
            0 => tunnel.seal(&mut draws, usize::from(input.u16()) % 1600),
            1 => {
                let datagram = tunnel.pick(&mut input);
                tunnel.deliver(&datagram);
            }
            2 => {
                let mut datagram = tunnel.pick(&mut input);
                datagram.truncate(usize::from(input.u16()));
                let at = S4 + 4 + input.below(12);
                if let Some(octet) = datagram.get_mut(at) {
                    *octet = input.byte();
                }
                tunnel.deliver(&datagram);
            }
            _ => {
                let mut datagram = BytesMut::new();
                tunnel
                    .codec
                    .framer()
                    .begin(&mut draws, Kind::Transport, &mut datagram);
                let n = input.below(64);
                datagram.extend_from_slice(input.take(n));
                tunnel.deliver(&datagram);
            }
        }
    }
}

fn codec(setup: u8, [min, max, burst_min, burst_max, prob]: [u8; 5]) -> Option<(Codec, u64)> {
    let padding = Padding::resolve(&PaddingSpec {
        pad_min: Some(min.into()),
        pad_max: Some(max.into()),
        pad_burst_min: Some(burst_min.into()),
        pad_burst_max: Some(burst_max.into()),
        pad_burst_prob: Some(f64::from(prob) / 255.0),
    });
    let is_wrong = max < min || burst_max < burst_min || prob > 0 && burst_max == 0;
    assert_eq!(padding.is_err(), is_wrong);
    let padding = padding.ok()?;
    let sizes = Sizes {
        max_packet_size: PACKET_LEN_MAX as i64,
        max_payload: 1200,
        prefix: S4,
        has_counter: setup & 1 == 1,
    };
    // 1350 less 1200, the prefix, header and length, and the counter.
    let headroom = 139 - 8 * usize::from(setup & 1);
    let budget = Budget::new(&sizes, &padding);
    assert_eq!(budget.is_err(), usize::from(min) > headroom);
    let budget = budget.ok()?;
    assert_eq!(
        (budget.inner_len_max(), budget.headroom()),
        (1200, headroom)
    );
    let counting = Counting {
        forward_jump_max: 1 << (setup >> 1 & 31),
        ..Counting::default()
    };
    let spec = Spec {
        s: [0, 0, 0, S4 as i64],
        h: ["", "", "", "4-1000"],
        ..Spec::default()
    };
    let framer = Framer::new(Params::parse(&spec).expect("parameters").into());
    let codec = Codec::new(framer, budget, padding, counting);
    Some((codec, counting.forward_jump_max))
}

struct Tunnel {
    codec: Codec,
    has_counter: bool,
    forward_jump_max: u64,
    sealer: Sealer,
    opener: Opener,
    counters: BTreeSet<u64>,
    sent: Vec<BytesMut>,
}

impl Tunnel {
    fn seal(&mut self, draws: &mut Draws, len: usize) {
        let inner = vec![self.sent.len() as u8; len];
        let mut out = BytesMut::new();
        let sealed = self.codec.seal(draws, &mut self.sealer, &inner, &mut out);
        let expected = match len {
            0 => Err(SealError::Empty),
            1..=1200 => Ok(()),
            _ => Err(SealError::TooLong { max: 1200 }),
        };
        assert_eq!(sealed.map(|_| ()), expected);
        let Ok(sealed) = sealed else {
            return assert!(out.is_empty());
        };
        assert!(out.len() <= PACKET_LEN_MAX);
        let (counter, place) = reference::payload(self.has_counter, &out[S4 + 4..])
            .expect("what is sealed can be read");
        let expected = if self.has_counter {
            self.sent.len() as u64
        } else {
            0
        };
        assert_eq!(counter, expected, "counters count");
        assert_eq!(place.end + sealed.padding, out.len() - S4 - 4);
        assert_eq!(out[S4 + 4..][place], inner);
        self.sent.push(out);
    }

    fn pick(&self, input: &mut Input<'_>) -> BytesMut {
        let nth = usize::from(input.u16());
        let sent = self.sent.get(nth % self.sent.len().max(1));
        sent.cloned().unwrap_or_default()
    }

    fn deliver(&mut self, datagram: &[u8]) {
        let opened = self.codec.open(&mut self.opener, datagram);
        let header = datagram.get(S4..S4 + 4);
        let header = header.map(|h| u32::from_le_bytes([h[0], h[1], h[2], h[3]]));
        if !header.is_some_and(|header| (4..=1000).contains(&header)) {
            return assert!(opened.is_err(), "no Transport frame");
        }
        // Random prefixes may look like a header of another kind.
        if matches!(opened, Err(OpenError::Frame(_))) {
            return assert!((1..=3).contains(&u32::from_le_bytes([
                datagram[0],
                datagram[1],
                datagram[2],
                datagram[3]
            ])));
        }
        let expected = reference::payload(self.has_counter, &datagram[S4 + 4..])
            .filter(|(counter, _)| !self.has_counter || self.is_new(*counter))
            .map(|(_, place)| place.start + S4 + 4..place.end + S4 + 4);
        assert_eq!(opened.ok(), expected);
    }

    fn is_new(&mut self, counter: u64) -> bool {
        let greatest = self.counters.last().copied().unwrap_or(0);
        counter < u64::MAX - (1 << 13)
            && counter.saturating_sub(greatest) <= self.forward_jump_max
            && greatest.saturating_sub(counter) <= 8128
            && self.counters.insert(counter)
    }
}
