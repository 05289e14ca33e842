//! IPv4 and IPv6 headers.
use super::{Drop, FRAGMENT_HEADER_LEN, IPV4_HEADER_LEN, IPV6_HEADER_LEN, PACKET_LEN_MAX, Refused};
use super::{be16, byte, extension, protocol, sum};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet};

/// Where a packet comes from, goes to, and where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// What the payload is: a number of the upper layer, see [`super::protocol`].
    pub protocol: u8,
    /// Where the payload begins. In a fragment other than the first: the data of the fragment.
    pub payload_at: usize,
    /// Where the packet ends; what follows in the buffer is padding.
    pub total_len: usize,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// Type of service, or traffic class; the two low bits are ECN.
    pub traffic_class: u8,
    /// Routers may not fragment it: IPv4 with DF, and IPv6.
    pub dont_fragment: bool,
    /// Set on fragments. An IPv6 packet that is all of one fragment is whole (RFC 6946).
    pub fragment: Option<Fragment>,
}

/// What a fragment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits of IPv4, 32 bits of IPv6.
    pub id: u32,
    /// Where its data belongs in the reassembled payload, in bytes.
    pub offset: usize,
    /// It is not the last.
    pub more: bool,
    /// Where the data of the fragment begins.
    pub data_at: usize,
    /// Length of the headers before the fragment header: what the whole packet starts with.
    pub head_len: usize,
    /// Where in the head the number of the fragment header stands; for IPv4 of the protocol.
    pub next_header_at: usize,
    /// The number of what was fragmented. It differs from [`Header::protocol`] in a first IPv6
    /// fragment with more extension headers.
    pub next_header: u8,
}

impl Header {
    /// Reads the headers of `packet`, all extension headers included.
    ///
    /// # Errors
    /// [`Refused`] with the reason and the ICMP parameter problem to send, if any.
    pub fn parse(packet: &[u8]) -> Result<Self, Refused> {
        match byte(packet, 0).map(|first| first >> 4) {
            None => Err(Refused::silent(Drop::Truncated)),
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            Some(_) => Err(Refused::silent(Drop::BadVersion)),
        }
    }

    /// What is known of a packet that was refused because of an option or extension header, so that
    /// its sender can be told: addresses, and of IPv4 all the rest. What an IPv6 packet holds is
    /// not known. `None` if it was refused for more than that.
    #[must_use]
    pub fn of_faulty(packet: &[u8]) -> Option<Self> {
        if byte(packet, 0)? >> 4 == 4 {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            let flags = be16(packet, 6)?;
            let header = Self {
                source: ip.src_addr().into(),
                destination: ip.dst_addr().into(),
                protocol: u8::from(ip.next_header()),
                payload_at: usize::from(ip.header_len()),
                total_len: usize::from(ip.total_len()),
                hop_limit: ip.hop_limit(),
                traffic_class: byte(packet, 1)?,
                dont_fragment: flags & DONT_FRAGMENT != 0,
                fragment: None,
            };
            // Of fragments only the first is answered (RFC 1122 section 3.2.2).
            return (flags & OFFSET_MASK == 0).then_some(header);
        }
        let ip = Ipv6Packet::new_checked(packet).ok()?;
        Some(Self {
            source: ip.src_addr().into(),
            destination: ip.dst_addr().into(),
            protocol: protocol::NONE,
            payload_at: IPV6_HEADER_LEN,
            total_len: ip.total_len(),
            hop_limit: ip.hop_limit(),
            traffic_class: ip.traffic_class(),
            dont_fragment: true,
            fragment: None,
        })
    }

    /// Whether the packet is IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// Where the payload is in the packet.
    #[must_use]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_at..self.total_len
    }

    /// The payload of `packet`, which this is the header of.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_range()).unwrap_or_default()
    }

    /// Whether the payload starts with the upper layer's header.
    #[must_use]
    pub fn has_upper_header(&self) -> bool {
        self.fragment.is_none_or(|fragment| fragment.offset == 0)
    }
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

fn parse_v4(packet: &[u8]) -> Result<Header, Refused> {
    let truncated = Refused::silent(Drop::Truncated);
    if packet.len() < IPV4_HEADER_LEN {
        return Err(truncated);
    }
    let ip = Ipv4Packet::new_unchecked(packet);
    let (head_len, total_len) = (usize::from(ip.header_len()), usize::from(ip.total_len()));
    if head_len < IPV4_HEADER_LEN || head_len > total_len {
        return Err(Refused::silent(Drop::BadHeaderLen));
    }
    if total_len > packet.len() {
        return Err(truncated);
    }
    let head = packet.get(..head_len).ok_or(truncated)?;
    if sum(head) != 0xffff {
        return Err(Refused::silent(Drop::BadHeaderChecksum));
    }
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    if is_martian_v4(source, destination) {
        return Err(Refused::silent(Drop::Martian));
    }
    check_options_v4(head)?;
    let protocol = u8::from(ip.next_header());
    let flags = be16(packet, 6).ok_or(truncated)?;
    let offset = usize::from(flags & OFFSET_MASK) * 8;
    let more = flags & MORE_FRAGMENTS != 0;
    let fragment = (offset != 0 || more).then_some(Fragment {
        id: u32::from(ip.ident()),
        offset,
        more,
        data_at: head_len,
        head_len,
        next_header_at: 9,
        next_header: protocol,
    });
    if let Some(fragment) = fragment {
        let wrong = Refused::silent(Drop::BadFragment);
        check_fragment(&fragment, total_len, PACKET_LEN_MAX, wrong)?;
    }
    Ok(Header {
        source: source.into(),
        destination: destination.into(),
        protocol,
        payload_at: head_len,
        total_len,
        hop_limit: ip.hop_limit(),
        traffic_class: byte(packet, 1).ok_or(truncated)?,
        dont_fragment: flags & DONT_FRAGMENT != 0,
        fragment,
    })
}

/// Checks what holds for a fragment by itself (RFC 791 section 3.2, RFC 8200 section 4.5).
fn check_fragment(
    fragment: &Fragment,
    total_len: usize,
    whole_len_max: usize,
    wrong: Refused,
) -> Result<(), Refused> {
    let len = total_len.saturating_sub(fragment.data_at);
    let is_uneven = fragment.more && !len.is_multiple_of(8);
    let too_long = fragment.head_len + fragment.offset + len > whole_len_max;
    if len == 0 || is_uneven || too_long {
        return Err(wrong);
    }
    Ok(())
}

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_LOOSE_ROUTE: u8 = 131;
const OPTION_STRICT_ROUTE: u8 = 137;

fn check_options_v4(head: &[u8]) -> Result<(), Refused> {
    let mut at = IPV4_HEADER_LEN;
    while let Some(kind) = byte(head, at) {
        match kind {
            OPTION_END => break,
            OPTION_NOP => at += 1,
            OPTION_LOOSE_ROUTE | OPTION_STRICT_ROUTE => {
                return Err(Refused::silent(Drop::SourceRoute));
            }
            _ => match byte(head, at + 1).map(usize::from) {
                Some(len) if len >= 2 && at + len <= head.len() => at += len,
                _ => return Err(Refused::at(Drop::BadOption, 0, at)),
            },
        }
    }
    Ok(())
}

const fn is_martian_v4(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    // RFC 1122 section 3.2.1.3: what a source may not be, and what never leaves a host.
    source.is_unspecified()
        || source.is_multicast()
        || source.is_broadcast()
        || source.is_loopback()
        || destination.is_unspecified()
        || destination.is_loopback()
}

fn is_martian_v6(source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    // RFC 4291 sections 2.5.2, 2.5.3 and 2.7; mapped addresses are for programs, not for wires.
    source.is_unspecified()
        || source.is_multicast()
        || source.is_loopback()
        || destination.is_unspecified()
        || destination.is_loopback()
        || source.to_ipv4_mapped().is_some()
        || destination.to_ipv4_mapped().is_some()
}

fn parse_v6(packet: &[u8]) -> Result<Header, Refused> {
    let truncated = Refused::silent(Drop::Truncated);
    if packet.len() < IPV6_HEADER_LEN {
        return Err(truncated);
    }
    let ip = Ipv6Packet::new_unchecked(packet);
    let total_len = ip.total_len();
    let packet = packet.get(..total_len).ok_or(truncated)?;
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    if is_martian_v6(source, destination) {
        return Err(Refused::silent(Drop::Martian));
    }
    let chain = extension::walk(packet, u8::from(ip.next_header()), destination)?;
    if let Some(fragment) = chain.fragment {
        // RFC 8200 section 4.5: an uneven length points to the payload length, an impossible end
        // to the offset of the fragment.
        let pointer = if fragment.more && !(total_len - fragment.data_at).is_multiple_of(8) {
            4
        } else {
            fragment.data_at - FRAGMENT_HEADER_LEN + 2
        };
        let wrong = Refused::at(Drop::BadFragment, 0, pointer);
        check_fragment(
            &fragment,
            total_len,
            IPV6_HEADER_LEN + PACKET_LEN_MAX,
            wrong,
        )?;
    }
    Ok(Header {
        source: source.into(),
        destination: destination.into(),
        protocol: chain.protocol,
        payload_at: chain.payload_at,
        total_len,
        hop_limit: ip.hop_limit(),
        traffic_class: ip.traffic_class(),
        dont_fragment: true,
        fragment: chain.fragment,
    })
}
