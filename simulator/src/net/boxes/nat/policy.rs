//! How a NAT behaves, in the words of RFC 4787 (UDP), RFC 5382 (TCP), RFC 6888 (carriers) and
//! RFC 7857 (updates to all of them).
use core::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    time::Duration,
};
use std::collections::BTreeMap;

/// RFC 4787 REQ-5: a UDP mapping lives at least so long.
pub const UDP_EXPIRY_MIN: Duration = Duration::from_secs(2 * 60);
/// RFC 4787 REQ-5: what is recommended.
pub const UDP_EXPIRY_RECOMMENDED: Duration = Duration::from_secs(5 * 60);
/// RFC 5382 REQ-5: an idle connection lives at least so long.
pub const TCP_ESTABLISHED_MIN: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
/// RFC 5382 REQ-5: one that is opening or closing. RFC 7857 section 2.2: one that was reset.
pub const TCP_TRANSITORY_MIN: Duration = Duration::from_secs(4 * 60);
/// RFC 5382 REQ-4: an unsolicited SYN is answered no sooner.
pub const UNSOLICITED_SYN_WAIT: Duration = Duration::from_secs(6);

/// When two flows from one inside endpoint leave from the same outside endpoint (RFC 4787
/// section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mapping {
    /// Always (REQ-1).
    EndpointIndependent,
    /// When they go to the same address.
    AddressDependent,
    /// When they go to the same address and port.
    AddressAndPortDependent,
}

impl Mapping {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::EndpointIndependent,
        Self::AddressDependent,
        Self::AddressAndPortDependent,
    ];
}

/// Who may answer to an outside endpoint (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Addresses to which the inside endpoint has sent.
    AddressDependent,
    /// Addresses and ports to which it has sent.
    AddressAndPortDependent,
}

impl Filtering {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::EndpointIndependent,
        Self::AddressDependent,
        Self::AddressAndPortDependent,
    ];
}

/// Which outside port a new mapping gets (RFC 4787 section 4.2). A port in use is never given
/// away: without a free one the packet is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortChoice {
    /// The inside port, or the next free one (section 4.2.1).
    Preserve,
    /// The next free port that is even or odd as the inside port is (section 4.2.2).
    Parity,
    /// The next free port.
    Sequential,
    /// Any free port (RFC 7857 section 9).
    Random,
}

impl PortChoice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Preserve, Self::Parity, Self::Sequential, Self::Random];
}

/// Which of several outside addresses an inside host gets (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pooling {
    /// Always the same (REQ-2).
    Paired,
    /// Any, anew for each mapping.
    Arbitrary,
    /// The one that it has inside: only ports are translated. Other hosts' packets pass
    /// untouched.
    Own,
}

/// Which packets keep a UDP mapping alive (RFC 4787 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refresh {
    /// Those from inside (REQ-6).
    Outbound,
    /// Those from outside; this alone breaks REQ-6.
    Inbound,
    /// Both.
    Both,
}

impl Refresh {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Outbound, Self::Inbound, Self::Both];

    pub(super) const fn outbound(self) -> bool {
        matches!(self, Self::Outbound | Self::Both)
    }

    pub(super) const fn inbound(self) -> bool {
        matches!(self, Self::Inbound | Self::Both)
    }
}

/// What happens to packets from inside to an outside address of the same NAT (RFC 4787
/// section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hairpin {
    /// They are lost; this breaks REQ-9.
    None,
    /// They come back with the sender's inside address.
    InternalSource,
    /// They come back with its outside address (REQ-9 a).
    ExternalSource,
}

/// What happens to a TCP segment from inside that begins no connection and belongs to none, as
/// after a NAT has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stray {
    /// It gets a mapping as if it were a SYN.
    Adopt,
    /// It is lost without a word.
    Drop,
    /// It is answered with a RST.
    Reset,
}

/// What happens to a SYN from outside that no mapping and no filter lets in (RFC 5382 REQ-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unsolicited {
    /// It is lost without a word.
    Drop,
    /// After 6 s the sender is told by ICMP, unless the inside host has opened the same
    /// connection itself by then.
    Unreachable,
    /// It is answered with a RST at once; this breaks REQ-4.
    Reset,
}

/// How a NAT behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Outside addresses. Packets of a family that is not among them pass untouched.
    pub external: Vec<IpAddr>,
    /// Which of them a host gets.
    pub pooling: Pooling,
    /// Outside addresses, and the inside host that gets what nobody asked for there, with its
    /// port: an exposed host, as of a home router's "DMZ".
    pub exposed: BTreeMap<IpAddr, IpAddr>,
    /// When flows share an outside endpoint.
    pub mapping: Mapping,
    /// Who may answer.
    pub filtering: Filtering,
    /// Which port a mapping gets.
    pub ports: PortChoice,
    /// Ports there are of each outside address.
    pub port_range: RangeInclusive<u16>,
    /// Most outside ports of one inside host (RFC 6888 REQ-4).
    pub ports_per_host: Option<usize>,
    /// A UDP flow that is silent so long is forgotten.
    pub udp_expiry: Duration,
    /// What keeps it alive.
    pub refresh: Refresh,
    /// A TCP connection that is silent so long is forgotten.
    pub tcp_established: Duration,
    /// The same while it opens, and when it was closed or reset.
    pub tcp_transitory: Duration,
    /// Segments of connections that the NAT does not know.
    pub stray: Stray,
    /// Connections that nobody inside asked for.
    pub unsolicited: Unsolicited,
    /// Packets from inside to the outside addresses.
    pub hairpin: Hairpin,
    /// Every flow gets a new outside port this often.
    pub rebind_every: Option<Duration>,
}

impl Policy {
    /// What RFC 4787 asks for, with filtering by address: it lets peers of a rendezvous in.
    #[must_use]
    pub fn new(external: IpAddr) -> Self {
        Self {
            external: vec![external],
            pooling: Pooling::Paired,
            exposed: BTreeMap::new(),
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
            ports: PortChoice::Random,
            port_range: 1024..=65_535,
            ports_per_host: None,
            udp_expiry: UDP_EXPIRY_RECOMMENDED,
            refresh: Refresh::Both,
            tcp_established: TCP_ESTABLISHED_MIN,
            tcp_transitory: TCP_TRANSITORY_MIN,
            stray: Stray::Drop,
            unsolicited: Unsolicited::Unreachable,
            hairpin: Hairpin::ExternalSource,
            rebind_every: None,
        }
    }

    /// "Full cone": everybody may answer.
    #[must_use]
    pub fn full_cone(external: IpAddr) -> Self {
        Self {
            filtering: Filtering::EndpointIndependent,
            ..Self::new(external)
        }
    }

    /// "Port-restricted cone": as most home routers.
    #[must_use]
    pub fn port_restricted(external: IpAddr) -> Self {
        Self {
            filtering: Filtering::AddressAndPortDependent,
            ..Self::new(external)
        }
    }

    /// "Symmetric": a new outside endpoint for each destination.
    #[must_use]
    pub fn symmetric(external: IpAddr) -> Self {
        Self {
            mapping: Mapping::AddressAndPortDependent,
            ..Self::port_restricted(external)
        }
    }

    /// A carrier's: few ports for each subscriber, strict filters, short timers.
    #[must_use]
    pub fn carrier(external: Vec<IpAddr>, ports_per_host: usize) -> Self {
        Self {
            external,
            filtering: Filtering::AddressAndPortDependent,
            ports_per_host: Some(ports_per_host),
            udp_expiry: UDP_EXPIRY_MIN,
            refresh: Refresh::Outbound,
            ..Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        }
    }

    /// "Symmetric", for hosts that keep their addresses and can be called as before: what they
    /// begin themselves leaves from other ports.
    #[must_use]
    pub fn in_place(hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        let external: Vec<IpAddr> = hosts.into_iter().collect();
        Self {
            exposed: external.iter().map(|ip| (*ip, *ip)).collect(),
            external,
            pooling: Pooling::Own,
            // Where no program listens.
            port_range: 50_000..=59_999,
            ..Self::symmetric(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        }
    }

    /// Each mapping with each filtering.
    pub fn all(external: IpAddr) -> impl Iterator<Item = Self> {
        Mapping::ALL.into_iter().flat_map(move |mapping| {
            Filtering::ALL.into_iter().map(move |filtering| Self {
                mapping,
                filtering,
                ..Self::new(external)
            })
        })
    }
}
