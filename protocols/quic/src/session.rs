//! TLS of a connection: as quinn-proto's own, but it can say other transport parameters, and a
//! server's is given up when the handshake is over, for all that its handshake holds would stay for
//! the life of the connection.
use crate::{cold::Chain, parameters::Parameters, phases::Phases, turn};
use core::fmt;
use quinn_proto::{
    ConnectError, ConnectionId, Side, TransportError, TransportErrorCode,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, PacketKey},
    transport_parameters::TransportParameters,
};
use rustls::{
    AlertDescription,
    crypto::CryptoProvider,
    pki_types::ServerName,
    quic::{Connection, KeyChange, Keys, Suite, Version},
};
use std::{any::Any, io, sync::Arc};

/// The one version of QUIC that [`Version::V1`] is.
const VERSION: u32 = 1;

/// Connection ids that a server gives to a client at a time, which may want more. It moves to
/// another path with the second one; one that must not has no use for others.
const CLIENT_IDS: Parameters = Parameters {
    max_ack_delay: None,
    active_connection_id_limit: Some(2),
    stream_data: None,
    disables_migration: false,
};

/// How connections begin: `rustls`' configuration, and what is said otherwise than by default.
pub(crate) struct Config<C> {
    pub(crate) tls: Arc<C>,
    /// Of the keys of Initial packets.
    pub(crate) initial: Suite,
    pub(crate) parameters: Parameters,
}

impl<C> Config<C> {
    fn encoded(&self, parameters: &TransportParameters) -> Vec<u8> {
        let mut encoded = Vec::new();
        parameters.write(&mut encoded);
        self.parameters.apply(encoded)
    }
}

impl crypto::ClientConfig for Config<rustls::ClientConfig> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        if version != VERSION {
            return Err(ConnectError::UnsupportedVersion);
        }
        let refuse = |_| ConnectError::InvalidServerName(server_name.to_owned());
        let name = ServerName::try_from(server_name).map_err(refuse)?;
        let (tls, encoded) = (Arc::clone(&self.tls), self.encoded(parameters));
        let connection =
            rustls::quic::ClientConnection::new(tls, Version::V1, name.to_owned(), encoded)
                .map_err(|_| ConnectError::UnsupportedVersion)?;
        Ok(Session::boxed(connection.into(), self.initial))
    }
}

impl crypto::ServerConfig for Config<rustls::ServerConfig> {
    fn initial_keys(
        &self,
        version: u32,
        id: &ConnectionId,
    ) -> Result<crypto::Keys, crypto::UnsupportedVersion> {
        match version {
            VERSION => Ok(initial_keys(self.initial, id, Side::Server)),
            _ => Err(crypto::UnsupportedVersion),
        }
    }

    /// No Retry is ever sent.
    fn retry_tag(&self, _: u32, _: &ConnectionId, _: &[u8]) -> [u8; 16] {
        [0; 16]
    }

    fn start_session(
        self: Arc<Self>,
        _: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let encoded = self.encoded(parameters);
        let connection =
            rustls::quic::ServerConnection::new(Arc::clone(&self.tls), Version::V1, encoded)
                .expect("a configuration with TLS 1.3, as was checked");
        Session::boxed(connection.into(), self.initial)
    }
}

struct Session {
    /// `None` when a server's handshake is over.
    tls: Option<Box<Tls>>,
    next: Option<Phases>,
}

struct Tls {
    connection: Connection,
    initial: Suite,
}

impl Session {
    fn boxed(connection: Connection, initial: Suite) -> Box<dyn crypto::Session> {
        Box::new(Self {
            tls: Some(Box::new(Tls {
                connection,
                initial,
            })),
            next: None,
        })
    }

    fn tls(&self) -> Option<&Connection> {
        self.tls.as_ref().map(|tls| &tls.connection)
    }

    /// Is this the end of a server's handshake? Its last flight is written, and it waits for
    /// nothing: a client has nothing to say behind its Finished.
    fn is_over(&self) -> bool {
        let tls = self.tls();
        tls.is_some_and(|tls| matches!(tls, Connection::Server(_)) && !tls.is_handshaking())
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, id: &ConnectionId, side: Side) -> crypto::Keys {
        let tls = self.tls.as_ref();
        let tls = tls.expect("nobody sends Initial packets after the handshake");
        initial_keys(tls.initial, id, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        Some(false)
    }

    fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(|tls| tls.is_handshaking())
    }

    fn read_handshake(&mut self, octets: &[u8]) -> Result<bool, TransportError> {
        let Some(Tls {
            connection: tls, ..
        }) = self.tls.as_deref_mut()
        else {
            return Err(failure(
                AlertDescription::UnexpectedMessage,
                "a handshake message after the handshake",
            ));
        };
        match tls.read_hs(octets) {
            Ok(()) => Ok(false),
            Err(error) => {
                let alert = tls.alert().unwrap_or(AlertDescription::InternalError);
                Err(failure(alert, &error.to_string()))
            }
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(tls) = self.tls() else {
            return Ok(None);
        };
        let side = match tls {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        };
        let Some(encoded) = tls.quic_transport_parameters() else {
            return Ok(None);
        };
        let read = |encoded: &[u8]| TransportParameters::read(side, &mut io::Cursor::new(encoded));
        let parameters = read(encoded)?;
        Ok(Some(match side {
            Side::Client => parameters,
            Side::Server => read(&CLIENT_IDS.apply(encoded.to_vec()))?,
        }))
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<crypto::Keys> {
        let before = out.len();
        let tls = &mut self.tls.as_mut()?.connection;
        let (change, made) = turn::recording(|| tls.write_hs(out));
        if change.is_none() && out.len() == before && self.is_over() {
            self.tls = None;
        }
        match change? {
            KeyChange::Handshake { keys } => Some(boxed(keys)),
            KeyChange::OneRtt { keys, next } => {
                let (chain, keys) = match Chain::begin(&keys, &made) {
                    Some((chain, keys)) => (Some(chain), keys),
                    None => (None, boxed(keys)),
                };
                self.next = Some(Phases::new(chain, next));
                Some(keys)
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.next.as_mut().map(Phases::next_keys)
    }

    /// None is: no server that this is made for sends a Retry.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let tls = self.tls().ok_or(ExportKeyingMaterialError)?;
        tls.export_keying_material(out, label, Some(context))
            .map(|_| ())
            .map_err(|_| ExportKeyingMaterialError)
    }
}

fn failure(alert: AlertDescription, reason: &str) -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(alert.into()),
        frame: None,
        reason: reason.to_owned(),
    }
}

fn initial_keys(suite: Suite, id: &ConnectionId, side: Side) -> crypto::Keys {
    boxed(suite.keys(id, side.into(), Version::V1))
}

pub(crate) fn boxed(keys: Keys) -> crypto::Keys {
    crypto::Keys {
        header: KeyPair {
            local: Box::new(keys.local.header),
            remote: Box::new(keys.remote.header),
        },
        packet: KeyPair {
            local: Box::new(keys.local.packet),
            remote: Box::new(keys.remote.packet),
        },
    }
}

/// TLS without the cipher of Initial packets: TLS 1.3 with AES-128-GCM (RFC 9001 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInitialSuite;

impl fmt::Display for NoInitialSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS is not configured for AES-128-GCM")
    }
}

impl core::error::Error for NoInitialSuite {}

pub(crate) fn initial_suite(provider: &CryptoProvider) -> Result<Suite, NoInitialSuite> {
    let wanted = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    let mut suites = provider.cipher_suites.iter();
    let suite = suites.find(|suite| suite.suite() == wanted);
    let suite = suite.and_then(|suite| suite.tls13());
    suite
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .ok_or(NoInitialSuite)
}
