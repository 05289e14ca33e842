//! What fits, and what happens to what does not.
use super::{
    CARRIED_LEN_MIN, Drop, IPV6_MTU_MIN, MSS_DEFAULT_V4, MSS_DEFAULT_V6, TUN_MTU_MIN,
    UDP_PAYLOAD_MAX,
};
use crate::ip::{Header, IPV4_HEADER_LEN, IPV6_HEADER_LEN, UDP_HEADER_LEN};
use core::fmt;

/// An MTU that is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadMtu {
    /// The TUN's MTU is under [`TUN_MTU_MIN`].
    Tun(u16),
    /// What is left of the egress MTU without the overhead is under [`CARRIED_LEN_MIN`].
    Egress {
        /// The egress MTU.
        egress_mtu: u16,
        /// The overhead.
        overhead: u16,
    },
}

impl fmt::Display for BadMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tun(mtu) => write!(f, "TUN MTU {mtu} is under {TUN_MTU_MIN}"),
            Self::Egress {
                egress_mtu,
                overhead,
            } => write!(
                f,
                "egress MTU {egress_mtu} less {overhead} bytes of overhead is under {CARRIED_LEN_MIN}"
            ),
        }
    }
}

impl core::error::Error for BadMtu {}

/// How an outbound carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// In a stream, with a length in front.
    Stream,
    /// In datagrams, and it cuts and joins them itself.
    Fragmenting,
    /// In datagrams, one for one.
    Datagrams,
    /// As IP packets, fragments as well.
    Packets,
}

/// What to do with a datagram or packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Carry,
    /// The carrier cuts it.
    Fragment,
    /// To be cut into IPv4 fragments of up to `mtu` bytes ([`crate::fragment::fragment`]).
    Split {
        /// Most bytes of a packet.
        mtu: u16,
    },
    /// Drop it for `reason`, and tell the sender that packets may have up to `mtu` bytes: ICMP
    /// 3/4, or ICMPv6 2/0 ([`crate::icmp::Kind::TooBig`]).
    TooBig {
        /// Most bytes of a packet.
        mtu: u16,
        /// To count.
        reason: Drop,
    },
}

/// The MTUs on both sides. All lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    tun_mtu: u16,
    egress_mtu: u16,
    overhead: u16,
}

impl Budget {
    /// `overhead` is by how much a packet of the client grows in the tunnel: what leaves, outer
    /// headers included, less the client's packet. A tunnel that carries payloads of IPv4
    /// datagrams over UDP and IPv6 counts 20 more than over UDP and IPv4.
    ///
    /// # Errors
    /// [`BadMtu`] if the TUN's MTU is under 1280, or less than 576 bytes are left for packets.
    pub fn new(tun_mtu: u16, egress_mtu: u16, overhead: u16) -> Result<Self, BadMtu> {
        if tun_mtu < TUN_MTU_MIN {
            return Err(BadMtu::Tun(tun_mtu));
        }
        let mut budget = Self {
            tun_mtu,
            egress_mtu,
            overhead,
        };
        budget.set_egress_mtu(egress_mtu)?;
        Ok(budget)
    }

    /// Changes the egress MTU: holds from the next packet on.
    ///
    /// # Errors
    /// [`BadMtu::Egress`], and nothing has changed.
    pub fn set_egress_mtu(&mut self, egress_mtu: u16) -> Result<(), BadMtu> {
        if egress_mtu.saturating_sub(self.overhead) < CARRIED_LEN_MIN {
            let overhead = self.overhead;
            return Err(BadMtu::Egress {
                egress_mtu,
                overhead,
            });
        }
        self.egress_mtu = egress_mtu;
        Ok(())
    }

    /// The MTU of the TUN.
    #[must_use]
    pub const fn tun_mtu(&self) -> u16 {
        self.tun_mtu
    }

    /// The MTU towards the Internet.
    #[must_use]
    pub const fn egress_mtu(&self) -> u16 {
        self.egress_mtu
    }

    /// Longest packet of a client that the tunnel carries whole.
    #[must_use]
    pub const fn carried_len(&self) -> u16 {
        self.egress_mtu.saturating_sub(self.overhead)
    }

    /// The MSS for both ends of TCP that passes through; see [`super::clamp_mss`].
    #[must_use]
    pub const fn clamped_mss(&self, is_v6: bool) -> u16 {
        self.carried_len().saturating_sub(tcp_headers(is_v6))
    }

    /// Longest UDP payload that is carried in one datagram.
    #[must_use]
    pub fn udp_payload_max(&self, is_v6: bool) -> usize {
        let head = if is_v6 {
            IPV6_HEADER_LEN
        } else {
            IPV4_HEADER_LEN
        };
        usize::from(self.carried_len()).saturating_sub(head + UDP_HEADER_LEN)
    }

    /// What to do with a UDP datagram of `payload_len` bytes that came, whole or put together
    /// again, with `header`.
    #[must_use]
    pub fn datagram(&self, carrier: Carrier, header: &Header, payload_len: usize) -> Verdict {
        if payload_len > UDP_PAYLOAD_MAX {
            return Verdict::TooBig {
                mtu: u16::MAX,
                reason: Drop::TooLong,
            };
        }
        let fits = payload_len <= self.udp_payload_max(header.is_v6());
        match carrier {
            Carrier::Stream => Verdict::Carry,
            _ if fits => Verdict::Carry,
            Carrier::Fragmenting => Verdict::Fragment,
            Carrier::Datagrams => self.too_big(header, Drop::NoFragments),
            Carrier::Packets => self.split(header),
        }
    }

    /// What to do with a packet that an outbound for packets carries as it is.
    #[must_use]
    pub fn packet(&self, header: &Header) -> Verdict {
        if header.total_len <= usize::from(self.carried_len()) {
            return Verdict::Carry;
        }
        self.split(header)
    }

    fn split(&self, header: &Header) -> Verdict {
        if header.dont_fragment {
            return self.too_big(header, Drop::DontFragment);
        }
        Verdict::Split {
            mtu: self.carried_len(),
        }
    }

    /// `without_df` is the reason to count for IPv4 without DF.
    fn too_big(&self, header: &Header, without_df: Drop) -> Verdict {
        let mtu = self.carried_len();
        if !header.is_v6() {
            let reason = if header.dont_fragment {
                Drop::DontFragment
            } else {
                without_df
            };
            return Verdict::TooBig { mtu, reason };
        }
        // RFC 8200 section 5: nobody sends less over IPv6, whatever it is told.
        let reason = if header.total_len <= usize::from(IPV6_MTU_MIN) {
            Drop::BelowIpv6Minimum
        } else {
            Drop::PacketTooBig
        };
        Verdict::TooBig {
            mtu: mtu.max(IPV6_MTU_MIN),
            reason,
        }
    }
}

/// IP and TCP header without options.
const fn tcp_headers(is_v6: bool) -> u16 {
    if is_v6 { 60 } else { 40 }
}

/// The MSS of a peer that names none.
pub(super) const fn default_mss(is_v6: bool) -> u16 {
    if is_v6 {
        MSS_DEFAULT_V6
    } else {
        MSS_DEFAULT_V4
    }
}
