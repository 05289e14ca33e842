//! The chain of IPv6 extension headers (RFC 8200 section 4).
use super::{
    Drop, EXTENSION_HEADERS_MAX, EXTENSION_LEN_MAX, FRAGMENT_HEADER_LEN, Fragment, IPV6_HEADER_LEN,
    OPTIONS_MAX, Refused, be16, be32, byte, protocol,
};
use core::net::Ipv6Addr;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Codes of an ICMPv6 parameter problem.
const ERRONEOUS_FIELD: u8 = 0;
const UNKNOWN_NEXT_HEADER: u8 = 1;
const UNKNOWN_OPTION: u8 = 2;
const INCOMPLETE_CHAIN: u8 = 3;

/// Where the chain ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) protocol: u8,
    pub(super) payload_at: usize,
    pub(super) fragment: Option<Fragment>,
}

/// Walks the chain of `packet`, which ends where the packet ends.
pub(super) fn walk(packet: &[u8], first: u8, destination: Ipv6Addr) -> Result<Chain, Refused> {
    let mut walk = Walk {
        packet,
        destination,
        next: first,
        next_at: 6,
        at: IPV6_HEADER_LEN,
        fragment: None,
        is_split: false,
    };
    for _ in 0..=EXTENSION_HEADERS_MAX {
        if walk.step()? {
            return walk.finish();
        }
        if walk.at - IPV6_HEADER_LEN > EXTENSION_LEN_MAX {
            break;
        }
    }
    Err(Refused::silent(Drop::TooManyExtensions))
}

struct Walk<'a> {
    packet: &'a [u8],
    destination: Ipv6Addr,
    /// The number of the header at `at`, which stands at `next_at`.
    next: u8,
    next_at: usize,
    at: usize,
    /// Fragment header, also of a packet that is all of one fragment.
    fragment: Option<Fragment>,
    /// There are other fragments of this packet.
    is_split: bool,
}

impl Walk<'_> {
    /// Takes one header; true at the end of the chain.
    fn step(&mut self) -> Result<bool, Refused> {
        match self.next {
            HOP_BY_HOP if self.at == IPV6_HEADER_LEN => self.options()?,
            // RFC 8200 section 4: elsewhere it is as unknown as any other number.
            HOP_BY_HOP => {
                let code = UNKNOWN_NEXT_HEADER;
                return Err(Refused::at(Drop::BadExtension, code, self.next_at));
            }
            DESTINATION_OPTIONS => self.options()?,
            ROUTING => self.routing()?,
            FRAGMENT => return self.fragment(),
            _ => return Ok(true),
        }
        Ok(false)
    }

    /// The chain breaks off: in a first fragment the sender is told (RFC 7112).
    fn broken(&self) -> Refused {
        if self.is_split {
            return Refused::at(Drop::IncompleteFirstFragment, INCOMPLETE_CHAIN, 0);
        }
        Refused::silent(Drop::Truncated)
    }

    /// Length of the header here, which the packet holds whole.
    fn len(&self) -> Result<usize, Refused> {
        let len = byte(self.packet, self.at + 1).map(|units| usize::from(units) * 8 + 8);
        len.filter(|len| self.at + len <= self.packet.len())
            .ok_or_else(|| self.broken())
    }

    fn skip(&mut self, len: usize) -> Result<(), Refused> {
        self.next = byte(self.packet, self.at).ok_or_else(|| self.broken())?;
        self.next_at = self.at;
        self.at += len;
        Ok(())
    }

    fn options(&mut self) -> Result<(), Refused> {
        let len = self.len()?;
        let end = self.at + len;
        let mut at = self.at + 2;
        let mut options = 0;
        while at < end {
            let kind = byte(self.packet, at).ok_or_else(|| self.broken())?;
            if kind == 0 {
                at += 1;
                continue;
            }
            let data_len = byte(self.packet, at + 1).map(usize::from);
            let Some(next) = data_len.map(|len| at + 2 + len).filter(|next| *next <= end) else {
                return Err(Refused::at(Drop::BadOption, ERRONEOUS_FIELD, at));
            };
            if kind != 1 {
                options += 1;
                self.option(kind, at)?;
            }
            at = next;
        }
        if options > OPTIONS_MAX {
            return Err(Refused::silent(Drop::TooManyExtensions));
        }
        self.skip(len)
    }

    /// An option other than padding: what to do with an unknown one is in its number (RFC 8200
    /// section 4.2).
    fn option(&self, kind: u8, at: usize) -> Result<(), Refused> {
        const JUMBO_PAYLOAD: u8 = 0xc2;
        if kind == JUMBO_PAYLOAD {
            return Err(Refused::at(Drop::Jumbogram, UNKNOWN_OPTION, at));
        }
        let is_told = match kind >> 6 {
            0 => return Ok(()),
            1 => false,
            2 => true,
            _ => !self.destination.is_multicast(),
        };
        if is_told {
            return Err(Refused::at(Drop::BadOption, UNKNOWN_OPTION, at));
        }
        Err(Refused::silent(Drop::BadOption))
    }

    fn routing(&mut self) -> Result<(), Refused> {
        let len = self.len()?;
        // RFC 8200 section 4.4: with no segments left an unknown type is passed over, with some
        // left the type is the erroneous field. Type 0 is unknown to everybody (RFC 5095).
        if byte(self.packet, self.at + 3) != Some(0) {
            let pointer = self.at + 2;
            return Err(Refused::at(Drop::SourceRoute, ERRONEOUS_FIELD, pointer));
        }
        self.skip(len)
    }

    /// Takes a fragment header; true when the chain ends here, as in fragments after the first.
    fn fragment(&mut self) -> Result<bool, Refused> {
        if self.fragment.is_some() {
            let code = UNKNOWN_NEXT_HEADER;
            return Err(Refused::at(Drop::BadExtension, code, self.next_at));
        }
        let (head_len, next_header_at) = (self.at, self.next_at);
        let field = be16(self.packet, self.at + 2).ok_or_else(|| self.broken())?;
        let id = be32(self.packet, self.at + 4).ok_or_else(|| self.broken())?;
        self.skip(FRAGMENT_HEADER_LEN)?;
        let (offset, more) = (usize::from(field & 0xfff8), field & 1 != 0);
        self.is_split = offset != 0 || more;
        self.fragment = Some(Fragment {
            id,
            offset,
            more,
            data_at: self.at,
            head_len,
            next_header_at,
            next_header: self.next,
        });
        Ok(offset != 0)
    }

    fn finish(&self) -> Result<Chain, Refused> {
        if self.at > self.packet.len() {
            return Err(self.broken());
        }
        let starts = self.fragment.is_none_or(|fragment| fragment.offset == 0);
        if self.is_split && starts && !self.has_upper_header() {
            return Err(self.broken());
        }
        Ok(Chain {
            protocol: self.next,
            payload_at: self.at,
            fragment: self.fragment.filter(|_| self.is_split),
        })
    }

    /// Whether the upper layer's header is whole, as RFC 7112 wants it in a first fragment.
    fn has_upper_header(&self) -> bool {
        let upper = self.packet.get(self.at..).unwrap_or_default();
        let len = match self.next {
            protocol::TCP => byte(upper, 12)
                .map_or(20, |offset| usize::from(offset >> 4) * 4)
                .max(20),
            protocol::UDP | protocol::ICMPV6 => 8,
            protocol::NONE => 0,
            // Of other layers nothing is known but that they have a header.
            _ => 1,
        };
        upper.len() >= len
    }
}
