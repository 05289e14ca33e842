//! Who is at an end of a tunnel, as data: ours, the Go programs, the Rust ones of seed 003.
//!
//! A persona says where a program differs from ours. What the programs do is told by
//! `spec/paniq.md`: section 10 for Go, 11 for the first Rust programs, 12 for those with KCP.
use core::time::Duration;
use sansbox_protocols::paniq::tunnel::ALPN;

/// What comes before QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// Nothing: neither sent nor expected (R1).
    None,
    /// Each attempt from a new port, and judged with our rules.
    Fresh,
    /// All attempts from one port, and judged with those of the Go server.
    Go,
    /// An Initiation without payload, taken at any time without any check (KCP era).
    Unchecked,
}

/// How a QUIC datagram is put into a Transport frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// With its length, a counter where the profile has one, and padding.
    Whole,
    /// As it is (R2).
    Bare,
}

/// Whose certificate a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's.
    Any,
    /// That of the test certificate compiled into both programs.
    Compiled,
}

/// When QUIC sends a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// As the profile says.
    Profile,
    /// Always so often.
    Every(Duration),
    /// Not at all.
    Never,
}

/// What a server says when it has dialled, and what a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// Status and address.
    Framed,
    /// Nothing.
    None,
}

/// What travels in the Transport frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC.
    Quic,
    /// KCP in the clear.
    Kcp,
}

/// How a server tries the addresses of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialling {
    /// Happy eyeballs, all within one budget, the lookup included.
    Staggered,
    /// One after the other within one budget, the lookup included; each gets its share, and two
    /// seconds at least (Go, within a family).
    OneByOne,
    /// The lookup has 5 s, then all addresses at once have 10 s.
    AllAtOnce,
}

/// A program at an end of a tunnel. The values say what it does as a client or as a server;
/// where only one side has it, the other ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persona {
    /// Its name in tables.
    pub name: &'static str,
    /// Is it the product, machine for machine? Then all else only tells what that does.
    pub is_product: bool,
    /// What comes before QUIC.
    pub preamble: Preamble,
    /// How QUIC's datagrams are framed.
    pub envelope: Envelope,
    /// What is framed.
    pub carrier: Carrier,
    /// The application protocol of TLS.
    pub alpn: Option<&'static [u8]>,
    /// Is the ClientHello too long for one datagram, as with Go's second key share?
    pub has_long_hello: bool,
    /// Whose certificate a client takes.
    pub trust: Trust,
    /// When QUIC sends a PING.
    pub keepalive: Keepalive,
    /// QUIC's idle timeout; `None`: the profile's.
    pub idle_timeout: Option<Duration>,
    /// QUIC's first guess of the round trip; `None`: 333 ms.
    pub initial_rtt: Option<Duration>,
    /// Does QUIC probe for longer datagrams, up to this length, whatever the profile has room for?
    pub mtu_discovery: Option<u16>,
    /// How long QUIC's handshake waits for an answer; `None`: as long as its idle timeout.
    pub handshake_idle: Option<Duration>,
    /// Replies.
    pub replies: Replies,
    /// How long a client waits for a reply; `None`: for ever.
    pub reply_timeout: Option<Duration>,
    /// Is a tunnel that is gone replaced by the next request?
    pub redials: bool,
    /// Does a request that failed, refused ones among them, end the whole tunnel, and is it then
    /// made once more?
    pub refusal_ends_all: bool,
    /// Does a late failure end the tunnel that replaced the one it happened in?
    pub kills_replacement: bool,
    /// Does the end of one direction leave the other?
    pub half_close: bool,
    /// Is each direction of a relay cut when it alone is silent?
    pub idle_per_direction: bool,
    /// How a server dials.
    pub dialling: Dialling,
    /// Does a datagram with more than 1452 octets of QUIC end the program?
    pub dies_of_long_datagram: bool,
    /// Is a counter taken however far it is ahead of the last one?
    pub counts_on_anybody: bool,
    /// Does a server answer the first Initiation with a cookie and want it back?
    pub wants_cookie: bool,
    /// Does a client bind to the loopback address?
    pub binds_loopback: bool,
    /// Does a client look the server's name up?
    pub resolves_server: bool,
}

/// What we do.
pub const OURS: Persona = Persona {
    name: "ours",
    is_product: true,
    preamble: Preamble::Fresh,
    envelope: Envelope::Whole,
    carrier: Carrier::Quic,
    alpn: Some(ALPN),
    has_long_hello: false,
    trust: Trust::Any,
    keepalive: Keepalive::Profile,
    idle_timeout: None,
    initial_rtt: None,
    mtu_discovery: None,
    handshake_idle: Some(Duration::from_secs(10)),
    replies: Replies::Framed,
    reply_timeout: Some(Duration::from_secs(10)),
    redials: true,
    refusal_ends_all: false,
    kills_replacement: false,
    half_close: true,
    idle_per_direction: false,
    dialling: Dialling::Staggered,
    dies_of_long_datagram: false,
    counts_on_anybody: false,
    wants_cookie: false,
    binds_loopback: false,
    resolves_server: true,
};

/// The Go programs at `ca60f57`, bug for bug.
pub const GO: Persona = Persona {
    name: "go",
    is_product: false,
    preamble: Preamble::Go,
    has_long_hello: true,
    handshake_idle: Some(Duration::from_secs(5)),
    reply_timeout: Some(Duration::from_secs(5)),
    refusal_ends_all: true,
    kills_replacement: true,
    half_close: false,
    idle_per_direction: true,
    dialling: Dialling::OneByOne,
    dies_of_long_datagram: true,
    counts_on_anybody: true,
    ..OURS
};

/// The first Rust programs (`a33ef33` with `7a9e0a6`).
pub const LEGACY_RUST: Persona = Persona {
    name: "rust-a33ef33",
    is_product: false,
    preamble: Preamble::None,
    envelope: Envelope::Bare,
    carrier: Carrier::Quic,
    alpn: None,
    has_long_hello: false,
    trust: Trust::Compiled,
    keepalive: Keepalive::Every(Duration::from_secs(1)),
    idle_timeout: Some(Duration::from_secs(30)),
    initial_rtt: Some(Duration::from_millis(10)),
    mtu_discovery: Some(1452),
    handshake_idle: None,
    replies: Replies::None,
    reply_timeout: None,
    redials: false,
    refusal_ends_all: false,
    kills_replacement: false,
    half_close: false,
    idle_per_direction: false,
    dialling: Dialling::AllAtOnce,
    dies_of_long_datagram: false,
    counts_on_anybody: true,
    wants_cookie: false,
    binds_loopback: true,
    resolves_server: false,
};

/// The same after `23aeea4`: application protocol, replies, the profile's timers.
pub const LEGACY_RUST_23AEEA4: Persona = Persona {
    name: "rust-23aeea4",
    alpn: Some(ALPN),
    replies: Replies::Framed,
    keepalive: Keepalive::Profile,
    idle_timeout: None,
    ..LEGACY_RUST
};

/// The same after `144e8ad`: dials again, and forgets the profile's QUIC.
pub const LEGACY_RUST_144E8AD: Persona = Persona {
    name: "rust-144e8ad",
    redials: true,
    keepalive: Keepalive::Never,
    idle_timeout: Some(Duration::from_secs(120)),
    initial_rtt: None,
    ..LEGACY_RUST_23AEEA4
};

/// The Rust programs at their end (`7f38e63`): KCP in the place of QUIC.
pub const PANIQ_RS_KCP: Persona = Persona {
    name: "rust-kcp",
    preamble: Preamble::Unchecked,
    envelope: Envelope::Whole,
    carrier: Carrier::Kcp,
    binds_loopback: false,
    ..LEGACY_RUST
};

impl Persona {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 6] = [
        OURS,
        GO,
        LEGACY_RUST,
        LEGACY_RUST_23AEEA4,
        LEGACY_RUST_144E8AD,
        PANIQ_RS_KCP,
    ];

    /// Does it speak the protocol as the Go programs do?
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        matches!(self.preamble, Preamble::Fresh | Preamble::Go)
            && self.envelope == Envelope::Whole
            && self.carrier == Carrier::Quic
            && self.alpn == Some(ALPN)
            && self.replies == Replies::Framed
    }

    /// The same, able to reach a server on another machine (S19 is not in the way).
    #[must_use]
    pub const fn unbound(mut self) -> Self {
        self.binds_loopback = false;
        self
    }
}
