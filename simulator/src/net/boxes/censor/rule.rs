//! What a censor looks for, and what it does then.
use super::{encrypted::Exemptions, sightings::Sightings};
use crate::net::packet::Transport;
use core::{net::IpAddr, time::Duration};

/// Names of hosts, each with all names below it. Letters count the same in both cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// These names and what is below them.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let lower = |name: S| name.into().to_ascii_lowercase();
        Self(names.into_iter().map(lower).collect())
    }

    /// Is this name among them?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|listed| {
            let rest = name.strip_suffix(listed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// What makes a censor act on a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Its first packet.
    Always,
    /// Its transport.
    Transport(Transport),
    /// A TLS ClientHello that asks for one of these names (SNI).
    TlsName(Names),
    /// A TLS ClientHello that offers one of these protocols (ALPN).
    TlsAlpn(Vec<Vec<u8>>),
    /// A QUIC v1 Initial whose ClientHello asks for one of these names.
    QuicName(Names),
    /// An HTTP/1 request whose `Host` is one of these names.
    HttpHost(Names),
    /// A TCP client whose first payload looks like nothing but random bytes.
    LooksEncrypted(Exemptions),
    /// More payload bytes than so many have passed, both ways together; of TCP each byte counts
    /// once, however often it is sent.
    Carried(u64),
}

/// What a censor does to a flow.
#[derive(Clone, Debug)]
pub enum Then {
    /// On the path: the packet goes on, and behind it forged resets go to both ends. What was
    /// sent before they arrive still arrives. Datagrams have no reset and pass.
    Reset {
        /// How long the censor takes.
        after: Duration,
    },
    /// In the path: this packet and every later one of the flow is lost without a word.
    Drop,
    /// The flow passes no faster than this.
    Throttle(Throttle),
    /// A prober is told of the flow; it passes.
    Report(Sightings),
}

/// How fast a throttled flow may be, both ways together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Bytes per second, with headers; at least 1.
    pub rate: u64,
    /// Bytes that pass at once after a silence.
    pub burst: u64,
    /// Bytes that may wait; more are lost.
    pub queue: u64,
}

/// One rule of a censor.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What makes it act.
    pub when: When,
    /// Only flows to these servers; to any when there are none.
    pub servers: Vec<IpAddr>,
    /// How often it acts when it could, in a million.
    pub per_million: u32,
    /// What it does.
    pub then: Then,
    /// For so long the same is done to everything between this client's address and this
    /// server's address and port.
    pub residual: Option<Duration>,
}

impl Rule {
    /// A rule for all servers that always acts and leaves nothing behind.
    #[must_use]
    pub const fn new(when: When, then: Then) -> Self {
        Self {
            when,
            servers: Vec::new(),
            per_million: 1_000_000,
            then,
            residual: None,
        }
    }

    /// The same, and then everything to that server for a while.
    #[must_use]
    pub const fn with_residual(mut self, time: Duration) -> Self {
        self.residual = Some(time);
        self
    }

    /// The same, for these servers alone.
    #[must_use]
    pub fn only(mut self, servers: impl IntoIterator<Item = IpAddr>) -> Self {
        self.servers = servers.into_iter().collect();
        self
    }

    /// The same, only so often in a million.
    #[must_use]
    pub const fn sometimes(mut self, per_million: u32) -> Self {
        self.per_million = per_million;
        self
    }

    /// Is there nothing to be drawn?
    pub(super) const fn is_certain(&self) -> bool {
        self.per_million >= 1_000_000
    }

    pub(super) fn check(&self) -> Result<(), Contradiction> {
        let resets = matches!(self.then, Then::Reset { .. });
        if resets
            && matches!(
                self.when,
                When::QuicName(_) | When::Transport(Transport::Udp)
            )
        {
            return Err(Contradiction::ResetsDatagrams);
        }
        if self.residual.is_some() && !(resets || matches!(self.then, Then::Drop)) {
            return Err(Contradiction::ResidualOfNothing);
        }
        if matches!(self.then, Then::Throttle(Throttle { rate: 0, .. })) {
            return Err(Contradiction::NoRate);
        }
        Ok(())
    }
}

/// A rule that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Datagrams have no reset.
    ResetsDatagrams,
    /// Only resets and drops can last.
    ResidualOfNothing,
    /// A rate of nothing per second: that is a drop.
    NoRate,
}

impl core::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::ResetsDatagrams => "a rule about datagrams cannot reset: they have no reset",
            Self::ResidualOfNothing => "a residual block needs a rule that resets or drops",
            Self::NoRate => "a throttle needs a rate of at least 1 byte per second",
        })
    }
}

impl std::error::Error for Contradiction {}

/// How much of a flow a censor puts together before it judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// The client's stream from its begin, in order, whatever its segments.
    #[default]
    Stream,
    /// The first packet with payload; a name that is split over two escapes.
    FirstPacket,
}
