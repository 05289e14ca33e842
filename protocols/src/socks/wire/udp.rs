//! The header of datagrams between a SOCKS5 client and its relay (RFC 1928 section 7).
use super::{Address, Malformed};
use bytes::{BufMut as _, BytesMut};

/// RSV, FRAG, ATYP, DST.ADDR, DST.PORT; the payload follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Fragment number; 0 for a whole datagram. An owner that does not reassemble drops the rest
    /// and counts it, as the RFC asks.
    pub frag: u8,
    /// Where the payload goes to, or came from.
    pub address: Address<'a>,
}

impl<'a> Header<'a> {
    /// Longest header in octets.
    pub const LEN_MAX: usize = 3 + Address::LEN_MAX;

    /// Reads the header of `datagram`; the number says where the payload starts. RSV is ignored.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] or [`Malformed::AddressType`].
    pub fn parse(datagram: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let [_, _, frag, rest @ ..] = datagram else {
            return Err(Malformed::Truncated);
        };
        let (address, len) = Address::parse(rest)?.ok_or(Malformed::Truncated)?;
        let header = Self {
            frag: *frag,
            address,
        };
        Ok((header, 3 + len))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        3 + self.address.buffer_len()
    }

    /// Appends the header; the payload is to follow.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[0, 0, self.frag]);
        self.address.emit(out);
    }
}
