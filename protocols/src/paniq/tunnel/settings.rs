//! QUIC and TLS as the Go programs have them, where anybody can tell
//! (`docs/protocols/paniq.md`, QUIC and TLS).
use crate::paniq::transport::{Budget, INNER_LEN_MAX};
use sansbox_quic::{
    Identity, Parameters, Pin, Sources, Windows, groups, quinn_proto as quic, rustls,
};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// The one application protocol of these tunnels.
pub const ALPN: &[u8] = b"bridgefall-paniq";

/// `quic.keepalive` of a profile that says nothing.
pub const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(20);

/// `quic.idle_timeout` of a profile that says nothing.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// `quic.max_streams` of a profile that says nothing.
pub const STREAMS_MAX_DEFAULT: u32 = 256;

/// Octets that may be on their way to this end over one connection: `initial_max_data`.
const RECEIVE_WINDOW: u32 = 786_432;

/// Octets that may be on their way to this end over one stream, at first:
/// `initial_max_stream_data`.
const STREAM_RECEIVE_WINDOW: u32 = 524_288;

/// Octets that may be on their way over a stream once it has carried an eighth of them. That must
/// be less than [`STREAM_RECEIVE_WINDOW`], or it never has.
const STREAM_RECEIVE_WINDOW_MAX: u32 = 3 * 1024 * 1024;

const _: () = assert!(STREAM_RECEIVE_WINDOW_MAX / 8 < STREAM_RECEIVE_WINDOW);

/// Streams that a client may open at first; it may open more when it uses them. What quinn-proto
/// keeps for as many fits in its smallest tables, and each table stays as large as it ever was.
const STREAMS_AT_FIRST: u32 = 7;

/// Octets of the connection ids that servers give out, as with the Go programs.
const SERVER_ID_LEN: usize = 4;

/// And clients: each connection has a socket of its own.
const CLIENT_ID_LEN: usize = 0;

/// Transport parameters of the Go programs that quinn-proto has other values for.
const PARAMETERS: Parameters = Parameters {
    max_ack_delay: Some(26),
    active_connection_id_limit: Some(4),
    stream_data: Some(STREAM_RECEIVE_WINDOW),
    disables_migration: true,
};

/// Octets that a connection keeps until they are acknowledged, at first.
const SEND_WINDOW: u64 = 1024 * 1024;

/// How the windows of tunnels grow. Those of the Go programs go as far.
pub(super) const WINDOWS: Windows = Windows {
    receive: RECEIVE_WINDOW as u64,
    receive_grown: STREAM_RECEIVE_WINDOW_MAX as u64 + RECEIVE_WINDOW as u64,
    receive_max: 15 * 1024 * 1024,
    grows_after: STREAM_RECEIVE_WINDOW_MAX as u64 / 8,
    send: SEND_WINDOW,
    send_max: 8 * 1024 * 1024,
    budget: 256 * 1024 * 1024,
};

/// QUIC version 1 (RFC 9000).
const VERSION: u32 = 1;

/// A tunnel's shared secret is agreed on in one of these.
const GROUPS: &[&'static dyn rustls::crypto::SupportedKxGroup] = &[&groups::X25519, &groups::P256];

/// A profile's `quic`, apart from its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `keepalive`: how long nothing is sent before a PING is.
    pub keepalive: Duration,
    /// `idle_timeout`: how long nothing may come before the connection is given up.
    pub idle_timeout: Duration,
    /// `max_streams`: streams that the peer may have open at a time.
    pub streams_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keepalive: KEEPALIVE_DEFAULT,
            idle_timeout: IDLE_TIMEOUT_DEFAULT,
            streams_max: STREAMS_MAX_DEFAULT,
        }
    }
}

/// Why QUIC cannot be set up.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// More than a QUIC transport parameter holds.
    #[error("quic idle_timeout is too long")]
    IdleTimeout,
    /// The certificate cannot be made: the clock is out of what one can hold.
    #[error("certificate: {0}")]
    Certificate(String),
    /// TLS refuses.
    #[error("TLS: {0}")]
    Tls(String),
}

impl SettingsError {
    fn tls(error: impl std::error::Error) -> Self {
        Self::Tls(error.to_string())
    }
}

impl Settings {
    /// The transport of both sides. Datagrams have at most [`Budget::inner_len_max`] octets, from
    /// the first one on, and longer ones are never tried: the envelope would not fit. Those with
    /// Initial packets have exactly as many.
    ///
    /// # Errors
    /// [`SettingsError::IdleTimeout`].
    pub fn transport(
        &self,
        sources: &Sources,
        budget: &Budget,
    ) -> Result<quic::TransportConfig, SettingsError> {
        let idle = self.idle_timeout.try_into();
        let idle = idle.map_err(|_| SettingsError::IdleTimeout)?;
        let initial_mtu = u16::try_from(budget.inner_len_max()).unwrap_or(u16::MAX);
        let mut transport = quic::TransportConfig::default();
        transport
            .initial_mtu(initial_mtu)
            .min_mtu(initial_mtu)
            .mtu_discovery_config(None)
            .keep_alive_interval(Some(self.keepalive))
            .max_idle_timeout(Some(idle))
            .max_concurrent_bidi_streams(self.streams_max.into())
            .max_concurrent_uni_streams(0_u32.into())
            .stream_receive_window(STREAM_RECEIVE_WINDOW_MAX.into())
            .receive_window(RECEIVE_WINDOW.into())
            .send_window(SEND_WINDOW)
            .datagram_receive_buffer_size(None)
            .allow_spin(false);
        sources.congestion(&mut transport);
        Ok(transport)
    }

    /// The client's side: any certificate, or the one with the key that `pin` names. Nothing is
    /// remembered from one connection to the next.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn client(
        &self,
        sources: &Sources,
        budget: &Budget,
        pin: Option<Pin>,
    ) -> Result<(quic::EndpointConfig, quic::ClientConfig), SettingsError> {
        let mut tls = sources
            .client_tls_pinned(pin, GROUPS)
            .map_err(SettingsError::tls)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        let mut config = sources
            .lean_client(tls, PARAMETERS)
            .map_err(SettingsError::tls)?;
        config.transport_config(Arc::new(self.transport(sources, budget)?));
        Ok((
            endpoint(sources.endpoint_with_ids::<CLIENT_ID_LEN>()),
            config,
        ))
    }

    /// The server's side.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn server(
        &self,
        sources: &Sources,
        budget: &Budget,
        identity: &Identity,
    ) -> Result<(quic::EndpointConfig, quic::ServerConfig), SettingsError> {
        let mut tls = sources
            .server_tls_of(identity, GROUPS)
            .map_err(SettingsError::tls)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // No client resumes: nothing need be kept for it.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let mut transport = self.transport(sources, budget)?;
        let at_first = self.streams_max.min(STREAMS_AT_FIRST);
        transport.max_concurrent_bidi_streams(at_first.into());
        let mut config = sources
            .lean_server(tls, PARAMETERS)
            .map_err(SettingsError::tls)?;
        let mut tokens = quic::ValidationTokenConfig::default();
        tokens.sent(0);
        config
            .validation_token_config(tokens)
            .migration(false)
            .transport_config(Arc::new(transport));
        Ok((
            endpoint(sources.endpoint_with_ids::<SERVER_ID_LEN>()),
            config,
        ))
    }
}

fn endpoint(mut config: quic::EndpointConfig) -> quic::EndpointConfig {
    config
        .supported_versions(vec![VERSION])
        .grease_quic_bit(false);
    let inner = u16::try_from(INNER_LEN_MAX).unwrap_or(u16::MAX);
    // Only what is below 1200 is refused.
    let _ = config.max_udp_payload_size(inner);
    config
}
