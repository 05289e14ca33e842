//! Frames: `prefix of S random octets | u32 header, lowest octet first | payload`.
use super::{
    Kind, Params,
    params::{PREFIX_LEN_MAX, UDP_PAYLOAD_LEN_MAX},
};
use crate::paniq::random::Draws;
use bytes::{BufMut as _, BytesMut};
use std::sync::Arc;
use thiserror::Error;

/// Octets of the header behind the prefix.
pub const HEADER_LEN: usize = 4;

/// How often the random parts of a frame are drawn again before one that reads as two kinds is
/// sent all the same: then the clash is in octets that cannot be changed.
pub const REDRAWS_MAX: usize = 16;

const _: () = assert!(PREFIX_LEN_MAX + HEADER_LEN < UDP_PAYLOAD_LEN_MAX);

/// Why a datagram is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Shorter than a header.
    #[error("frame too short")]
    TooShort,
    /// The header of no kind.
    #[error("unable to determine message type: no header fits")]
    Unknown,
    /// The headers of several kinds.
    #[error("unable to determine message type: several headers fit")]
    Ambiguous,
}

/// Writes and reads the frames, junk and signatures of one profile.
#[derive(Clone, Debug)]
pub struct Framer {
    params: Arc<Params>,
}

impl Framer {
    /// A framer with these parameters.
    #[must_use]
    pub const fn new(params: Arc<Params>) -> Self {
        Self { params }
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Octets in front of the payload of a frame.
    #[must_use]
    pub fn head_len(&self, kind: Kind) -> usize {
        self.params.prefix_len(kind) + HEADER_LEN
    }

    /// What kind of frame `datagram` is, and where its payload begins.
    ///
    /// # Errors
    /// [`FrameError`] unless exactly one kind's header fits.
    pub fn decode(&self, datagram: &[u8]) -> Result<(Kind, usize), FrameError> {
        if datagram.len() < HEADER_LEN {
            return Err(FrameError::TooShort);
        }
        let mut found = None;
        for ((kind, prefix), range) in Kind::ALL.iter().zip(&self.params.s).zip(&self.params.h) {
            let header = datagram
                .get(*prefix..)
                .and_then(|rest| rest.first_chunk::<HEADER_LEN>());
            if header.is_some_and(|header| range.contains(u32::from_le_bytes(*header)))
                && found.replace((*kind, prefix + HEADER_LEN)).is_some()
            {
                return Err(FrameError::Ambiguous);
            }
        }
        found.ok_or(FrameError::Unknown)
    }

    /// Appends a frame to `out`. One that the other end would take for two kinds is drawn again.
    pub fn encode(&self, draws: &mut Draws, kind: Kind, payload: &[u8], out: &mut BytesMut) {
        self.encode_with(draws, kind, out, |_, out, _| out.put_slice(payload));
    }

    /// Appends a frame whose payload `fill` appends behind the head; the number that `fill` gets is
    /// where in `out` the frame begins. It is called again for each redraw.
    pub fn encode_with(
        &self,
        draws: &mut Draws,
        kind: Kind,
        out: &mut BytesMut,
        mut fill: impl FnMut(&mut Draws, &mut BytesMut, usize),
    ) {
        let begin = out.len();
        for _ in 0..=REDRAWS_MAX {
            out.truncate(begin);
            self.begin(draws, kind, out);
            fill(draws, out, begin);
            let frame = out.get(begin..).unwrap_or_default();
            if self.decode(frame) != Err(FrameError::Ambiguous) {
                return;
            }
        }
    }

    /// Appends prefix and header.
    pub fn begin(&self, draws: &mut Draws, kind: Kind, out: &mut BytesMut) {
        draws.append(self.params.prefix_len(kind), out);
        out.put_u32_le(draws.header(self.params.header(kind)));
    }

    /// Appends one junk datagram.
    pub fn junk(&self, draws: &mut Draws, out: &mut BytesMut) {
        let len = draws.length(self.params.jmin, self.params.jmax);
        draws.append(len, out);
    }
}
