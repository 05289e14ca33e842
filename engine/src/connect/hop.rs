//! The handshake with one proxy on the way.
use crate::plan::{Proxy, ProxyProtocol};
use core::time::Duration;
use sansbox_core::{Instant, Pipe, Progress, Refusal, StreamProtocol, Target};
use sansbox_protocols::{
    http,
    socks::{self, Command},
};

/// Budget of one upstream proxy's handshake.
const UPSTREAM_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The client side of one proxy on the way. Transparent once its handshake is over, so it is
/// dropped then.
#[derive(Debug)]
pub(super) enum Hop {
    Socks(socks::Client),
    Http(http::Client),
}

impl Hop {
    pub(super) fn new(
        now: Instant,
        proxy: &Proxy,
        command: Command,
        target: Target,
    ) -> Result<Self, Refusal> {
        let timeout = UPSTREAM_HANDSHAKE_TIMEOUT;
        match &proxy.protocol {
            ProxyProtocol::Socks {
                version,
                credentials,
                networks,
            } => {
                let allowed = match command {
                    Command::Connect => networks.tcp,
                    Command::UdpAssociate => networks.udp && *version == socks::Version::V5,
                };
                if !allowed {
                    return Err(Refusal::CommandUnsupported);
                }
                let credentials = credentials.clone();
                let client =
                    socks::Client::new(now, *version, credentials, command, target, timeout);
                client.map(Self::Socks).map_err(|e| e.refusal())
            }
            ProxyProtocol::Http(_) if command != Command::Connect => {
                Err(Refusal::CommandUnsupported)
            }
            ProxyProtocol::Http(options) => Ok(Self::Http(http::Client::new(
                now, &target, options, timeout,
            ))),
        }
    }

    pub(super) fn pump(
        &mut self,
        now: Instant,
        rx: &mut Pipe,
        tx: &mut Pipe,
        down: &mut Pipe,
    ) -> Result<Progress, Refusal> {
        // No payload goes out before the handshake is over.
        let mut nothing = Pipe::new(0);
        match self {
            Self::Socks(client) => {
                let received = client.handle_input(now, rx, down);
                let sent = client.poll_transmit(now, &mut nothing, tx);
                Ok(received.map_err(|e| e.refusal())? | sent.map_err(|e| e.refusal())?)
            }
            Self::Http(client) => {
                let received = client.handle_input(now, rx, down);
                let sent = client.poll_transmit(now, &mut nothing, tx);
                Ok(received.map_err(|e| e.refusal())? | sent.map_err(|e| e.refusal())?)
            }
        }
    }

    /// The proxy's consent, once, with the bound address where the protocol tells one.
    pub(super) fn poll_connected(&mut self) -> Option<Option<Target>> {
        match self {
            Self::Socks(client) => {
                let socks::ClientEvent::Connected { bound } = client.poll_event()?;
                Some(Some(bound))
            }
            Self::Http(client) => client.poll_event().map(|http::ClientEvent::Connected| None),
        }
    }

    pub(super) fn is_transparent(&self) -> bool {
        match self {
            Self::Socks(client) => client.is_transparent(),
            Self::Http(client) => client.is_transparent(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Socks(client) => client.poll_timeout(),
            Self::Http(client) => client.poll_timeout(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Refusal> {
        let progress = match self {
            Self::Socks(client) => client.handle_timeout(now).map_err(|e| e.refusal())?,
            Self::Http(client) => client.handle_timeout(now).map_err(|e| e.refusal())?,
        };
        let _ = progress;
        Ok(())
    }
}
