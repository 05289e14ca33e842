//! What goes over the C interface by value. Layouts are part of the interface: they do not change
//! while `SANSBOX_ABI_VERSION` stays.
use crate::status::Status;
use core::{
    ffi::c_char,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// An IP address and a port. All zero: no address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The address in network byte order; the first 4 bytes for IPv4.
    pub ip: [u8; 16],
    /// Scope of a link-local IPv6 address, else 0.
    pub scope_id: u32,
    /// TCP or UDP port, in the byte order of the machine.
    pub port: u16,
    /// 4, 6, or 0 for no address. Not `AF_INET` and the like.
    pub family: u16,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut ip = [0; 16];
        let (family, scope_id) = match address {
            SocketAddr::V4(v4) => {
                for (to, from) in ip.iter_mut().zip(v4.ip().octets()) {
                    *to = from;
                }
                (4, 0)
            }
            SocketAddr::V6(v6) => {
                ip = v6.ip().octets();
                (6, v6.scope_id())
            }
        };
        Self {
            ip,
            scope_id,
            port: address.port(),
            family,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        SocketAddr::new(ip, 0).into()
    }
}

impl Address {
    /// The address, when it is one.
    pub(crate) fn read(&self) -> Result<SocketAddr, Status> {
        match self.family {
            4 => {
                let [a, b, c, d, ..] = self.ip;
                Ok(SocketAddr::from((Ipv4Addr::new(a, b, c, d), self.port)))
            }
            6 => {
                let ip = Ipv6Addr::from(self.ip);
                Ok(SocketAddrV6::new(ip, self.port, 0, self.scope_id).into())
            }
            _ => Err(Status::BadArgument),
        }
    }
}

/// What a machine wants done.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActionKind {
    /// No action.
    #[default]
    None = 0,
    /// Resolve `name` for `families`. Answer `id` with `sansbox_machine_resolved` or
    /// `sansbox_machine_failed`.
    Resolve = 1,
    /// Open a TCP connection to `address` with the socket options of `outbound`; it becomes
    /// `slot`. Answer `id` with `sansbox_machine_connected` or `sansbox_machine_failed`.
    Dial = 2,
    /// Open a UDP socket bound to `address`, where port 0 lets the system choose; it becomes
    /// `slot`. `outbound` may be `SANSBOX_NO_OUTBOUND`: then it faces the client. Answer as for
    /// SANSBOX_ACTION_KIND_DIAL.
    Bind = 3,
    /// The answer to `id` is no longer wanted; a connection on its way is to be dropped.
    Cancel = 4,
    /// Send the datagram, `data_len` bytes that were written to the data buffer, from UDP `slot`
    /// to `address`.
    Send = 5,
    /// Close the socket of `slot`: with RST when `end` is `SANSBOX_END_RESET`. The slot is gone.
    Close = 6,
    /// From now on move the bytes between `slot` and `other` without this library, both ways;
    /// forward a FIN as a FIN. Report with `sansbox_machine_relayed` and `sansbox_machine_ended`.
    /// SANSBOX_ACTION_KIND_CLOSE ends it.
    Passthrough = 7,
    /// `stage` was reached; `refusal` says why when it is `SANSBOX_STAGE_REFUSED`. Nothing needs
    /// to be done.
    Log = 8,
}

/// How a direction of a connection ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EndKind {
    #[default]
    Open = 0,
    Fin = 1,
    Reset = 2,
}

/// Which addresses of a name are wanted.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FamiliesKind {
    #[default]
    Any = 0,
    V4 = 1,
    V6 = 2,
}

/// What a machine has reached.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum StageKind {
    #[default]
    None = 0,
    Opened = 1,
    AuthFailed = 2,
    Routed = 3,
    Refused = 4,
    Connected = 5,
    Closed = 6,
}

/// Why a request was refused, and why a dial or a lookup failed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RefusalKind {
    #[default]
    None = 0,
    ConnectionRefused = 1,
    NetworkUnreachable = 2,
    HostUnreachable = 3,
    NameNotFound = 4,
    ResolverFailed = 5,
    TimedOut = 6,
    TtlExpired = 7,
    Policy = 8,
    Dropped = 9,
    CommandUnsupported = 10,
    AddressUnsupported = 11,
    UpstreamAuth = 12,
    UpstreamProtocol = 13,
    Loop = 14,
    Exhausted = 15,
    General = 16,
    PrivateAddress = 17,
    Prohibited = 18,
}

/// Why a machine ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CloseKind {
    /// It runs.
    #[default]
    None = 0,
    Completed = 1,
    ClientLeft = 2,
    ClientReset = 3,
    UpstreamReset = 4,
    HandshakeTimeout = 5,
    ClientProtocol = 6,
    AuthFailed = 7,
    PublicSource = 8,
    Refused = 9,
    IdleTimeout = 10,
    Stopped = 11,
    /// A reason that is newer than this interface.
    Other = 12,
}

/// One action. Fields that its kind does not name are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// What to do.
    pub kind: ActionKind,
    /// Number to answer with.
    pub id: u32,
    /// The slot it is about.
    pub slot: u32,
    /// The second slot of a passthrough.
    pub other: u32,
    /// Whose socket options, or `SANSBOX_NO_OUTBOUND`.
    pub outbound: u32,
    /// Which addresses.
    pub families: FamiliesKind,
    /// How to close.
    pub end: EndKind,
    /// What was reached.
    pub stage: StageKind,
    /// Why it was refused.
    pub refusal: RefusalKind,
    /// Bytes of the datagram.
    pub data_len: u32,
    /// Where to.
    pub address: Address,
    /// The name to resolve, ending in a zero.
    pub name: [c_char; NAME_SIZE],
}

/// Longest domain name and its final zero.
pub const NAME_SIZE: usize = 256;

/// `sansbox_action.outbound` of a socket that faces the client.
pub const NO_OUTBOUND: u32 = u32::MAX;

impl Default for Action {
    fn default() -> Self {
        Self {
            kind: ActionKind::None,
            id: 0,
            slot: 0,
            other: 0,
            outbound: 0,
            families: FamiliesKind::Any,
            end: EndKind::Open,
            stage: StageKind::None,
            refusal: RefusalKind::None,
            data_len: 0,
            address: Address::default(),
            name: [0; NAME_SIZE],
        }
    }
}

/// What is known of a machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Payload bytes from the client.
    pub bytes_up: u64,
    /// Payload bytes to the client.
    pub bytes_down: u64,
    /// Datagrams dropped.
    pub dropped: u64,
    /// When it was made, as `now` was then.
    pub opened: u64,
    /// Number for log lines, from the seed.
    pub id: u32,
    /// The outbound in use, or `SANSBOX_NO_OUTBOUND`.
    pub outbound: u32,
    /// Index of the rule that decided, or -1 for none.
    pub rule: i32,
    /// Why it ended; 0 while it runs.
    pub closed: CloseKind,
    /// With `SANSBOX_CLOSE_REFUSED`: why.
    pub refusal: RefusalKind,
    /// 1 when nothing more will happen and the handle can be freed.
    pub finished: u32,
}

/// Longest name of a network interface that is given out, and its final zero.
pub const INTERFACE_SIZE: usize = 64;

/// Options that a socket is to be opened with.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Idle nanoseconds before the first keep-alive probe; 0: the system's choice.
    pub keep_alive: u64,
    /// Nanoseconds between probes; 0: the system's choice.
    pub keep_alive_interval: u64,
    /// `SO_MARK`, when `has_routing_mark` is not 0.
    pub routing_mark: u32,
    /// Whether to set a mark.
    pub has_routing_mark: u8,
    /// Whether to set `SO_REUSEADDR`.
    pub reuse_addr: u8,
    /// Fragmentation of UDP: 0 the system's choice, 1 allow, 2 forbid.
    pub udp_fragment: u8,
    /// Always 0.
    pub reserved: u8,
    /// Interface to bind to, ending in a zero; empty: none.
    pub bind_interface: [c_char; INTERFACE_SIZE],
}

/// One inbound of a plan.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    /// Where to listen; port 0 lets the system choose.
    pub address: Address,
    /// Whether to listen for TCP connections: machines are made by `sansbox_session_new`.
    pub tcp: u8,
    /// Whether to listen for datagrams: machines are made by `sansbox_association_new`, one for
    /// each client address.
    pub udp: u8,
    /// Always 0.
    pub reserved: [u8; 6],
    /// How to open the listening sockets.
    pub options: SocketOptions,
}

/// How to open the sockets of one outbound.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Outbound {
    /// Source address for IPv4 with port 0; family 0: the system's choice.
    pub inet4_bind_address: Address,
    /// Source address for IPv6 with port 0; family 0: the system's choice.
    pub inet6_bind_address: Address,
    /// The other options.
    pub options: SocketOptions,
}

/// Totals of a running proxy since its start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// UDP clients served.
    pub associations: u64,
    /// Sessions and associations that run now.
    pub open: u64,
    /// Sessions and associations that ended.
    pub ended: u64,
    /// Payload bytes from clients, of what ended.
    pub bytes_up: u64,
    /// Payload bytes to clients, of what ended.
    pub bytes_down: u64,
    /// Requests refused.
    pub refused: u64,
    /// Outbound connections begun.
    pub dials: u64,
    /// Lookups begun.
    pub lookups: u64,
    /// Datagrams dropped.
    pub dropped: u64,
    /// Sessions that were cut by `sansbox_stop`.
    pub cut: u64,
}

/// A listener that is bound.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Where, with the port that the system chose.
    pub address: Address,
    /// Index of the inbound.
    pub inbound: u32,
    /// 1: datagrams, 0: TCP connections.
    pub udp: u32,
}

/// A TUN device that is open already: named, addressed and routed into by whoever opened it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Index of the tun inbound that it is for. That may have neither `auto_route` nor
    /// `interface_name`, nor another `mtu`; its `address` is to be that of the device.
    pub inbound: u32,
    /// File descriptor of which each read and each write is a whole packet.
    pub fd: i32,
    /// Most bytes of a packet, from 1280.
    pub mtu: u16,
    /// 1: every packet has a `virtio_net_hdr` of 10 bytes before it; 0: none has.
    pub has_header: u8,
    /// Always 0.
    pub reserved: u8,
}

/// When a SYN that comes out of a TUN device is answered.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    /// At once.
    Fast = 1,
    /// When the target is connected.
    Consistent = 2,
    /// When the target is connected, or when the rules need to see the first bytes.
    Auto = 3,
}

/// What becomes of echo requests that come out of a TUN device.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoKind {
    /// Nothing.
    Off = 1,
    /// They are answered here, for every address.
    Reply = 2,
    /// They are answered with unreachable, prohibited.
    Reject = 3,
    /// They are carried to their targets, where the rules lead to `direct` outbounds.
    Relay = 4,
}

/// How a TUN device is served, as far as it can be changed while it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    /// `egress_mtu`: MTU of the way to the Internet in bytes, 576 to 65535.
    pub egress_mtu: u32,
    /// `handshake_mode`: one of `sansbox_handshake`.
    pub handshake_mode: u32,
    /// `icmp_echo`: one of `sansbox_echo`.
    pub icmp_echo: u32,
}

/// `text` with a final zero in an array of its own; `None` when it does not fit or holds a zero.
pub(crate) fn zero_ended<const N: usize>(text: &str) -> Option<[c_char; N]> {
    let mut array = [0; N];
    if text.len() >= N || text.contains('\0') {
        return None;
    }
    for (to, from) in array.iter_mut().zip(text.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    Some(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn layouts_are_those_of_this_version_of_the_interface() {
        let sizes = [
            size_of::<Address>(),
            size_of::<Action>(),
            size_of::<Record>(),
            size_of::<SocketOptions>(),
            size_of::<Inbound>(),
            size_of::<Outbound>(),
            size_of::<Stats>(),
            size_of::<Bound>(),
            size_of::<Device>(),
            size_of::<DeviceSettings>(),
        ];
        assert_eq!(sizes, [24, 320, 56, 88, 120, 136, 88, 32, 12, 12]);
        let lasts = [
            offset_of!(Action, name),
            offset_of!(Record, finished),
            offset_of!(SocketOptions, bind_interface),
            offset_of!(Outbound, options),
        ];
        assert_eq!(lasts, [64, 52, 24, 48]);
    }

    #[test]
    fn addresses_go_there_and_back() {
        for text in ["192.0.2.7:80", "[2001:db8::1]:65535", "[fe80::1%3]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::from(address).read(), Ok(address));
        }
        assert_eq!(Address::default().read(), Err(Status::BadArgument));
    }

    #[test]
    fn text_needs_room_for_its_zero() {
        assert_eq!(zero_ended::<3>("ab"), Some([97, 98, 0]));
        assert_eq!(zero_ended::<3>("abc"), None);
        assert_eq!(zero_ended::<3>("\0"), None);
    }
}
