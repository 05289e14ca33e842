//! One QUIC datagram in one frame, as a persona does it.
use crate::paniq::{
    persona::{Envelope, Persona},
    profile::Profile,
};
use bytes::{BufMut as _, BytesMut};
use core::ops::Range;
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    obf::Kind,
    transport::{Codec, OpenError, Opener, Sealer},
};

/// The codec of a persona: its counters are those of its profile, with its own trust in them.
pub(super) fn codec(persona: &Persona, profile: &Profile) -> Codec {
    trusting(persona, profile).codec()
}

/// The profile as a persona takes it.
pub(super) fn trusting(persona: &Persona, profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    if persona.counts_on_anybody {
        profile.counting.forward_jump_max = u64::MAX;
    }
    profile
}

/// Both directions of one tunnel.
#[derive(Debug)]
pub(super) struct Wrap {
    codec: Codec,
    envelope: Envelope,
    /// What QUIC discovers may be longer than the profile allows: it is sent all the same.
    minds_sizes: bool,
    sealer: Sealer,
    opener: Opener,
    draws: Draws,
}

impl Wrap {
    pub(super) fn new(persona: &Persona, profile: &Profile, seed: Seed) -> Self {
        Self {
            codec: codec(persona, profile),
            envelope: persona.envelope,
            minds_sizes: persona.mtu_discovery.is_none(),
            sealer: Sealer::default(),
            opener: Opener::default(),
            draws: Draws::new(seed),
        }
    }

    /// Appends the frame of `inner` to `out`; what does not fit is lost.
    pub(super) fn seal(&mut self, inner: &[u8], out: &mut BytesMut) {
        let framer = self.codec.framer();
        match self.envelope {
            Envelope::Bare => framer.encode(&mut self.draws, Kind::Transport, inner, out),
            Envelope::Whole => {
                let is_long = inner.len() > self.codec.budget().inner_len_max();
                if is_long && !self.minds_sizes {
                    framer.encode_with(&mut self.draws, Kind::Transport, out, |_, out, _| {
                        out.put_u16(inner.len() as u16);
                        out.put_slice(inner);
                    });
                } else {
                    let (draws, sealer) = (&mut self.draws, &mut self.sealer);
                    let _ = self.codec.seal(draws, sealer, inner, out);
                }
            }
        }
    }

    /// Where in a frame the QUIC datagram is.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Result<Range<usize>, OpenError> {
        match self.envelope {
            Envelope::Whole => self.codec.open(&mut self.opener, datagram),
            Envelope::Bare => match self.codec.framer().decode(datagram)? {
                (Kind::Transport, at) if at < datagram.len() => Ok(at..datagram.len()),
                (Kind::Transport, _) => Err(OpenError::Empty),
                (kind, _) => Err(OpenError::Unexpected(kind)),
            },
        }
    }
}
