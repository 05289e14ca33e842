//! What travels between hosts when there is something on the way that looks at it.
use bytes::BytesMut;
use core::net::SocketAddr;

/// Octets of an IPv4 header without options.
pub const IPV4_HEADER_LEN: usize = 20;
/// Octets of an IPv6 header without extensions.
pub const IPV6_HEADER_LEN: usize = 40;
/// Octets of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;
/// Octets of a TCP header without options.
pub const TCP_HEADER_LEN: usize = 20;
/// Octets of an ICMP header.
pub const ICMP_HEADER_LEN: usize = 8;

/// Names a packet for good: a copy or an injected packet has a name of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// RFC 3168 section 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the RFC")]
pub enum Ecn {
    #[default]
    NotEct,
    Ect1,
    Ect0,
    Ce,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Transport {
    Tcp,
    Udp,
}

/// Control bits of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of RFC 9293")]
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
}

impl Flags {
    /// A request for a connection.
    pub const SYN: Self = Self {
        syn: true,
        ack: false,
        fin: false,
        rst: false,
    };
    /// Its grant.
    pub const SYN_ACK: Self = Self {
        ack: true,
        ..Self::SYN
    };
    /// A segment of an open connection.
    pub const ACK: Self = Self {
        syn: false,
        ..Self::SYN_ACK
    };
    /// The end of the connection.
    pub const RST: Self = Self {
        syn: false,
        ack: false,
        fin: false,
        rst: true,
    };
    /// The refusal of a request.
    pub const RST_ACK: Self = Self {
        ack: true,
        ..Self::RST
    };
}

/// Options of a TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// MSS: the longest payload that the sender of a SYN takes (RFC 9293).
    pub segment_len_max: Option<u16>,
    /// By how many bits windows on the wire are shifted (RFC 7323); [`Segment::window`] is in
    /// bytes all the same.
    pub window_scale: Option<u8>,
    /// The sender of a SYN understands selective acknowledgements (RFC 2018).
    pub sack_permitted: bool,
    /// Beginnings and ends of what arrived beyond [`Segment::ack`], as offsets; on the wire there
    /// is room for three.
    pub sack: Box<[(u64, u64)]>,
}

impl TcpOptions {
    /// Octets in the header, filled up to whole words.
    #[must_use]
    pub fn len(&self) -> usize {
        let ranges = self.sack.len();
        let len = 4 * usize::from(self.segment_len_max.is_some())
            + 3 * usize::from(self.window_scale.is_some())
            + 2 * usize::from(self.sack_permitted)
            + if ranges > 0 { 2 + 8 * ranges } else { 0 };
        len.next_multiple_of(4)
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A TCP segment. Whoever makes one spells out what matters and takes the rest from
/// [`Segment::default`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its control bits.
    pub flags: Flags,
    /// Offset of the first payload byte in its direction of the connection, counted from 0.
    pub offset: u64,
    /// With [`Flags::ack`]: offset of the first byte of the other direction that has not
    /// arrived; a FIN counts as one byte.
    pub ack: u64,
    /// Payload bytes from `ack` on that the sender of the segment has room for.
    pub window: u64,
    /// Its payload.
    pub data: BytesMut,
    /// Its options.
    pub options: TcpOptions,
}

impl Segment {
    /// The reset that answers it where it belongs to no connection; `None` for a reset
    /// (RFC 9293 section 3.10.7.1).
    #[must_use]
    pub fn reset(&self) -> Option<Self> {
        if self.flags.rst {
            return None;
        }
        if self.flags.ack {
            return Some(Self {
                flags: Flags::RST,
                offset: self.ack,
                ..Self::default()
            });
        }
        // A dial believes only what names its request (RFC 9293 section 3.10.7.3).
        Some(Self {
            flags: Flags::RST_ACK,
            ack: self.offset + self.data.len() as u64 + u64::from(self.flags.fin),
            ..Self::default()
        })
    }
}

/// What a router says of a packet that it did not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpKind {
    /// Longer than what follows can carry (RFC 1191, RFC 8201).
    PacketTooBig {
        /// Longest IP packet that fits, in octets.
        mtu: usize,
    },
    /// No way there.
    Unreachable,
    /// A firewall forbids it.
    Prohibited,
}

/// An ICMP message about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// What it says.
    pub kind: IcmpKind,
    /// Transport of the packet it is about.
    pub transport: Transport,
    /// Source of the packet it is about: who is told.
    pub about_source: SocketAddr,
    /// Destination of the packet it is about.
    pub about_destination: SocketAddr,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A UDP datagram.
    Udp(BytesMut),
    /// A TCP segment.
    Tcp(Segment),
    /// An ICMP message about a packet.
    Icmp(Icmp),
    /// A whole IP packet of which the world knows the addresses alone; ports are 0.
    Raw(BytesMut),
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its name.
    pub id: PacketId,
    /// From whom, as the packet says.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Its congestion mark.
    pub ecn: Ecn,
    /// A router may cut it (IPv4 without DF); what cannot be cut is answered or lost.
    pub may_fragment: bool,
    /// What it carries.
    pub body: Body,
}

impl Packet {
    /// Octets with all headers.
    #[must_use]
    pub fn len(&self) -> usize {
        if let Body::Raw(packet) = &self.body {
            return packet.len();
        }
        let ip = if self.destination.is_ipv4() {
            IPV4_HEADER_LEN
        } else {
            IPV6_HEADER_LEN
        };
        ip + match &self.body {
            Body::Udp(data) => UDP_HEADER_LEN + data.len(),
            Body::Tcp(segment) => TCP_HEADER_LEN + segment.options.len() + segment.data.len(),
            Body::Icmp(_) => ICMP_HEADER_LEN + ip + UDP_HEADER_LEN,
            Body::Raw(_) => 0,
        }
    }

    /// Never: there is always a header.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// TCP or UDP; of an ICMP message, that of the packet it is about. What is not known counts as
    /// UDP: nobody knows where it begins and ends.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match &self.body {
            Body::Udp(_) | Body::Raw(_) => Transport::Udp,
            Body::Tcp(_) => Transport::Tcp,
            Body::Icmp(icmp) => icmp.transport,
        }
    }

    /// The transport's payload; nothing of an ICMP message, all of a raw packet.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Udp(data) | Body::Raw(data) => data,
            Body::Tcp(segment) => &segment.data,
            Body::Icmp(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_where_the_other_side_believes_them() {
        let request = Segment {
            flags: Flags::SYN,
            ..Segment::default()
        };
        let refused = request.reset().unwrap();
        assert_eq!((refused.flags, refused.ack), (Flags::RST_ACK, 0));
        let bytes = Segment {
            flags: Flags::ACK,
            offset: 7,
            ack: 40,
            data: BytesMut::from(&b"late"[..]),
            ..Segment::default()
        };
        let answer = bytes.reset().unwrap();
        assert_eq!((answer.flags, answer.offset), (Flags::RST, 40));
        let fin = Segment {
            flags: Flags {
                fin: true,
                ..Flags::default()
            },
            ..bytes
        };
        assert_eq!(fin.reset().unwrap().ack, 7 + 4 + 1);
        assert_eq!(answer.reset(), None);
        assert_eq!(refused.reset(), None);
    }
}
