//! The configuration as typed values, after reading and before a plan is built from it.
//!
//! Field names are sing-box's own. Values that refer to something else by tag carry the [`Span`]
//! they stood at, so that a wrong reference can be shown where it was written.
mod tun;

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use ipnet::IpNet;
use sansbox_core::{Host, Target};
use sansbox_protocols::paniq::profile::{ClientSettings, ServerSettings};
use std::sync::Arc;

pub use tun::{Tun, TunExtras};

/// Where a value stood: a file of the input and a byte range in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index into the list of input files.
    pub file: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stood.
    pub span: Span,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `log`.
    pub log: Log,
    /// `inbounds`, in order.
    pub inbounds: Vec<Inbound>,
    /// `outbounds`, in order; may be empty, then a `direct` is made.
    pub outbounds: Vec<Outbound>,
    /// `route`.
    pub route: Route,
    /// `sansbox`.
    pub sansbox: Sansbox,
}

/// `sansbox`: what sing-box has no key for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sansbox {
    /// Threads that serve; one for each usable CPU when absent.
    pub workers: Option<usize>,
    /// Most sessions and associations at a time; no limit when absent.
    pub max_connections: Option<usize>,
    /// Leave the administrator's congestion control on loopback sockets.
    pub system_congestion: bool,
    /// `recorder`.
    pub recorder: Recorder,
}

/// `sansbox.recorder`: the flight recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorder {
    /// What is kept.
    pub mode: RecorderMode,
    /// Bytes of each worker's ring; the recorder's own choice when absent.
    pub size: Option<usize>,
    /// How long back a ring goes; the recorder's own choice when absent.
    pub keep: Option<Duration>,
    /// Folder of the recordings; the working directory when absent.
    pub directory: Option<String>,
    /// X25519 key to which recordings with content are encrypted; there whenever the mode keeps
    /// content.
    pub public_key: Option<[u8; 32]>,
    /// Write a recording at every stop.
    pub flush_on_stop: bool,
}

/// `sansbox.recorder.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecorderMode {
    /// Nothing.
    Off,
    /// Times, sizes and kinds.
    #[default]
    Shape,
    /// The first bytes of each connection too.
    Head,
    /// Everything.
    Full,
}

impl Recorder {
    /// Least bytes of a ring.
    pub const SIZE_MIN: usize = 256 << 10;
    /// Most bytes of a ring.
    pub const SIZE_MAX: usize = 512 << 20;
}

/// `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Log nothing.
    pub disabled: bool,
    /// Least severe level written; info when absent.
    pub level: Option<LogLevel>,
    /// `stderr`, `stdout` or a file path; stderr when absent.
    pub output: Option<String>,
    /// Write date and time.
    pub timestamp: bool,
}

/// Levels of `log.level`, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Panic,
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One of `inbounds`.
#[derive(Clone, Debug, PartialEq)]
pub struct Inbound {
    /// `tag`, or the decimal index when absent.
    pub tag: String,
    /// The whole object.
    pub span: Span,
    /// Listen fields.
    pub listen: Listen,
    /// `type` and its own fields.
    pub kind: InboundKind,
}

/// `type` of an inbound and its own fields.
#[derive(Clone, Debug, PartialEq)]
pub enum InboundKind {
    /// SOCKS4, 4a and 5.
    Socks {
        /// Empty: no authentication.
        users: Vec<User>,
    },
    /// HTTP proxy.
    Http {
        /// Empty: no authentication.
        users: Vec<User>,
    },
    /// SOCKS or HTTP, by the first byte.
    Mixed {
        /// Empty: no authentication.
        users: Vec<User>,
    },
    /// Every connection goes to one destination.
    Direct {
        /// TCP, UDP or both.
        network: Networks,
        /// Destination host; the listening address when absent.
        override_address: Option<Host>,
        /// Destination port; the listening port when absent.
        override_port: Option<u16>,
    },
    /// A paniq server.
    Paniq(Box<PaniqInbound>),
    /// A TUN device. Its listen fields are those of nothing configured.
    Tun(Box<Tun>),
}

/// The own fields of a `paniq` inbound.
#[derive(Clone, Debug, PartialEq)]
pub struct PaniqInbound {
    /// What its profile means to a server.
    pub profile: Arc<ServerSettings>,
    /// `allow_private`: clients may reach addresses of private networks and of this machine.
    pub allow_private: bool,
}

/// One of `users`.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// `username`.
    pub username: String,
    /// `password`.
    pub password: String,
}

impl core::fmt::Debug for User {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("User(..)")
    }
}

/// Which of TCP and UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Networks {
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
}

impl Networks {
    /// Both, which is what an absent list means.
    pub const BOTH: Self = Self {
        tcp: true,
        udp: true,
    };
}

/// Listen fields, shared by all inbounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address to bind; 127.0.0.1 when absent.
    pub listen: IpAddr,
    /// Port to bind; 0 lets the system choose.
    pub listen_port: u16,
    /// `SO_BINDTODEVICE`.
    pub bind_interface: Option<String>,
    /// `SO_MARK`.
    pub routing_mark: Option<u32>,
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// Idle time before the first keep-alive probe.
    pub tcp_keep_alive: Option<Duration>,
    /// Time between probes.
    pub tcp_keep_alive_interval: Option<Duration>,
    /// Allow IP fragmentation of UDP.
    pub udp_fragment: Option<bool>,
    /// UDP association idle time; 5 minutes when absent.
    pub udp_timeout: Option<Duration>,
    /// The sansbox-only key `sansbox_allow_public`: serve public sources without users.
    pub allow_public: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listen_port: 0,
            bind_interface: None,
            routing_mark: None,
            reuse_addr: false,
            tcp_keep_alive: None,
            tcp_keep_alive_interval: None,
            udp_fragment: None,
            udp_timeout: None,
            allow_public: false,
        }
    }
}

/// One of `outbounds`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outbound {
    /// `tag`, or the decimal index when absent.
    pub tag: String,
    /// The whole object.
    pub span: Span,
    /// Dial fields.
    pub dial: Dial,
    /// `type` and its own fields.
    pub kind: OutboundKind,
}

/// `type` of an outbound and its own fields.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboundKind {
    /// Dials the target itself.
    Direct,
    /// Refuses everything.
    Block,
    /// Through a SOCKS server.
    Socks {
        /// `server` and `server_port`.
        server: Target,
        /// `version`.
        version: SocksVersion,
        /// `username` and `password`, when given.
        user: Option<User>,
        /// `network`.
        network: Networks,
    },
    /// Through an HTTP proxy, by CONNECT.
    Http {
        /// `server` and `server_port`.
        server: Target,
        /// `username` and `password`, when given.
        user: Option<User>,
        /// `path`; the target's authority when empty.
        path: String,
        /// `headers`, in order, each value by itself.
        headers: Vec<(String, String)>,
    },
    /// One of several others.
    Selector {
        /// Tags of the members, at least one.
        outbounds: Vec<Spanned<String>>,
        /// `default`; the first member when absent.
        default: Option<Spanned<String>>,
        /// End inbound connections when the selection changes.
        interrupt_exist_connections: bool,
    },
    /// Through a paniq server.
    Paniq(Box<PaniqOutbound>),
}

/// The own fields of a `paniq` outbound.
#[derive(Clone, Debug, PartialEq)]
pub struct PaniqOutbound {
    /// What its profile means to a client. Its `server` is the one below.
    pub profile: Arc<ClientSettings>,
    /// `server` and `server_port`; each of them that is absent is that of the profile's
    /// `proxy_addr`.
    pub server: Target,
}

/// `version` of a SOCKS outbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SocksVersion {
    V4,
    V4a,
    V5,
}

/// Dial fields, shared by all outbounds that open connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// Tag of the outbound to dial through.
    pub detour: Option<Spanned<String>>,
    /// `SO_BINDTODEVICE`.
    pub bind_interface: Option<String>,
    /// Bind to the interface of the default route that is no TUN device of ours. Not a key of an
    /// outbound: a plan sets it from [`Route::auto_detect_interface`], never beside
    /// `bind_interface`.
    pub auto_detect_interface: bool,
    /// Source address for IPv4.
    pub inet4_bind_address: Option<Ipv4Addr>,
    /// Source address for IPv6.
    pub inet6_bind_address: Option<Ipv6Addr>,
    /// `SO_MARK`.
    pub routing_mark: Option<u32>,
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// Budget of one dial; 5 seconds when absent.
    pub connect_timeout: Option<Duration>,
    /// Allow IP fragmentation of UDP.
    pub udp_fragment: Option<bool>,
    /// `domain_strategy`.
    pub domain_strategy: DomainStrategy,
    /// Stagger of happy eyeballs; 300 ms when absent.
    pub fallback_delay: Option<Duration>,
}

impl Dial {
    /// The local address of sockets for destinations of a family; unspecified unless it was chosen.
    #[must_use]
    pub fn bind_address(&self, is_ipv6: bool) -> IpAddr {
        if is_ipv6 {
            IpAddr::V6(self.inet6_bind_address.unwrap_or(Ipv6Addr::UNSPECIFIED))
        } else {
            IpAddr::V4(self.inet4_bind_address.unwrap_or(Ipv4Addr::UNSPECIFIED))
        }
    }
}

/// `domain_strategy`: which address families a name is resolved to, and in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DomainStrategy {
    #[default]
    AsIs,
    PreferIpv4,
    PreferIpv6,
    Ipv4Only,
    Ipv6Only,
}

/// `route`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// `rules`, in order.
    pub rules: Vec<Rule>,
    /// `final`: tag of the outbound when no rule decides.
    pub final_outbound: Option<Spanned<String>>,
    /// `auto_detect_interface`: outbounds dial from the interface of the default route, however the
    /// TUN devices of this configuration change the routes.
    pub auto_detect_interface: bool,
    /// `default_interface`: `bind_interface` of outbounds that have none, and no source address.
    /// Counts before `auto_detect_interface`.
    pub default_interface: Option<String>,
    /// `default_mark`: `routing_mark` of outbounds that have none.
    pub default_mark: Option<u32>,
}

/// One of `route.rules`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The whole object.
    pub span: Span,
    /// When it matches.
    pub condition: Condition,
    /// What it does.
    pub action: RuleAction,
}

/// When a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Fields.
    Default(Box<Fields>),
    /// `type: logical`.
    Logical {
        /// `mode: and`; else `or`.
        all: bool,
        /// `rules`.
        rules: Vec<Self>,
        /// `invert`.
        invert: bool,
    },
}

/// Conditions of a default rule. `None`: the key is absent or its list is empty, which sing-box
/// drops while reading. `Some` of an empty list comes from lenient reading of a `network` that no
/// connection has: it matches nothing.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are the keys")]
pub struct Fields {
    pub inbound: Option<Vec<Spanned<String>>>,
    pub ip_version: Option<IpVersion>,
    pub network: Option<Vec<Network>>,
    pub auth_user: Option<Vec<String>>,
    pub domain: Option<Vec<String>>,
    pub domain_suffix: Option<Vec<String>>,
    pub domain_keyword: Option<Vec<String>>,
    pub domain_regex: Option<Vec<Spanned<String>>>,
    pub source_ip_cidr: Option<Vec<IpNet>>,
    pub source_ip_is_private: bool,
    pub ip_cidr: Option<Vec<IpNet>>,
    pub ip_is_private: bool,
    pub source_port: Option<Vec<u16>>,
    pub source_port_range: Option<Vec<PortRange>>,
    pub port: Option<Vec<u16>>,
    pub port_range: Option<Vec<PortRange>>,
    pub invert: bool,
}

/// `ip_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IpVersion {
    V4,
    V6,
}

/// `network` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Network {
    Tcp,
    Udp,
}

/// `1000:2000`, `:3000` or `4000:`; both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

/// What a rule does when it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Use an outbound.
    Route {
        /// Its tag.
        outbound: Spanned<String>,
    },
    /// Refuse.
    Reject {
        /// `method`.
        method: RejectMethod,
        /// Never turn `default` into `drop` under a flood.
        no_drop: bool,
    },
}

/// `method` of a reject action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectMethod {
    /// Answer with a refusal.
    Default,
    /// Say nothing and close.
    Drop,
}
