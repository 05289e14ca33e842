//! The world's time and randomness for quinn-proto and rustls. The hooks that take them in are
//! those of the product, all in one file: [`sansbox_quic::hooks`]. Here stands what only a world
//! adds: counting, and keys of its own.
use super::{
    capture::Log,
    facts::{self, Entered, Seen, Watch},
    groups,
};
use crate::host::Cx;
use core::time::Duration;
use quinn_proto as quic;
use rustls::{
    crypto::{SupportedKxGroup, ring::sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::StoresServerSessions,
    sign::{CertifiedKey, SingleCertAndKey},
};
use sansbox_core::{Instant, Seed};
pub(crate) use sansbox_quic::hooks::{from_std, to_std};
pub use sansbox_quic::{Hook, Hooks, hooks::base};
use std::{rc::Rc, sync::Arc};

/// The wall clock when a world begins: 15 June 2025, 15:06:40 UTC.
pub const EPOCH: Duration = Duration::from_secs(1_750_000_000);

/// A host's own time, randomness and keys.
pub(crate) struct Sources {
    quic: sansbox_quic::Sources,
    seen: Seen,
    hooks: Hooks,
}

impl Sources {
    /// Sources that are not to be used before [`Sources::begin`].
    pub(crate) fn new(hooks: Hooks) -> Self {
        let quic = sansbox_quic::Sources::with_hooks(Seed::new([0; 32]), EPOCH, false, hooks);
        Self {
            quic,
            seen: Seen::default(),
            hooks,
        }
    }

    /// A look at what the host sees.
    pub(crate) fn watch(&self) -> Watch {
        self.seen.watch()
    }

    /// Takes up the world's seed under the host's name.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>) {
        let name = format!("{}/tls", cx.name());
        let keys = cx.streams().seed(&name, 0);
        let keeps_secrets = cx.log().is_some();
        self.quic = sansbox_quic::Sources::with_hooks(keys, EPOCH, keeps_secrets, self.hooks);
    }

    /// Lends what this host has until the guard is dropped.
    ///
    /// # Panics
    /// When another host is entered.
    pub(crate) fn enter(&self, now: Instant) -> Entered {
        self.seen.enter(self.quic.enter(now))
    }

    /// Hands the secrets of new sessions to the world's log.
    pub(crate) fn give_secrets(&self, log: Option<&mut Log>) {
        if let Some(log) = log {
            log.add_secrets(self.quic.take_secrets());
        }
    }

    /// The configuration of an endpoint.
    pub(crate) fn endpoint(&self) -> quic::EndpointConfig {
        self.quic.endpoint()
    }

    /// The configuration of a server's side, apart from its transport.
    pub(crate) fn server(&self, tls: rustls::ServerConfig) -> quic::ServerConfig {
        self.quic.server(tls).expect("TLS 1.3 with AES-128-GCM")
    }

    /// The configuration of a client's side, apart from its transport.
    pub(crate) fn client(&self, tls: rustls::ClientConfig) -> quic::ClientConfig {
        self.quic.client(tls).expect("TLS 1.3 with AES-128-GCM")
    }

    /// The congestion controller of a transport.
    pub(crate) fn congestion(&self, transport: &mut quic::TransportConfig) {
        self.quic.congestion(transport);
    }

    /// TLS 1.3 of a server that identifies itself with `identity`.
    pub(crate) fn server_tls(
        &self,
        identity: &Identity,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> rustls::ServerConfig {
        let config = self.quic.server_tls(identity.resolver(), groups);
        let mut config = config.expect("the provider knows TLS 1.3");
        config.session_storage = Arc::new(Sessions(config.session_storage));
        config
    }

    /// TLS 1.3 of a client that trusts `identity` alone.
    pub(crate) fn client_tls(
        &self,
        identity: &Identity,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> rustls::ClientConfig {
        let config = self.quic.client_tls(identity.roots(), groups);
        config.expect("the provider knows TLS 1.3")
    }
}

/// A server's certificate, self-signed, and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// What a certificate is for.
pub(crate) const SERVER_NAME: &str = "server.sim";

impl Identity {
    /// The identity that belongs to a world's seed.
    ///
    /// # Panics
    /// Never, as long as the certificate's library accepts a fixed name.
    #[must_use]
    pub fn new(seed: u64, hooks: Hooks) -> Rc<Self> {
        let pair = if hooks.has(Hook::Certificate) {
            let secret = Seed::from_u64(seed).derive("certificate").bytes();
            let key = PrivatePkcs8KeyDer::from(ed25519_pkcs8(&secret));
            rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)
        } else {
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        };
        let pair = pair.expect("a key of a known kind");
        let parameters = rcgen::CertificateParams::new(vec![SERVER_NAME.into()]);
        let certificate = parameters.and_then(|parameters| parameters.self_signed(&pair));
        Rc::new(Self {
            certificate: certificate.expect("a certificate of one name").into(),
            key: PrivateKeyDer::Pkcs8(pair.serialize_der().into()),
        })
    }
}

impl Identity {
    /// As a server wants it.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        let key = any_supported_type(&self.key).expect("a key of a known kind");
        let certified = CertifiedKey::new(vec![self.certificate.clone()], key);
        Arc::new(SingleCertAndKey::from(certified))
    }

    /// What a client trusts that trusts this identity alone.
    pub(crate) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        let added = roots.add(self.certificate.clone());
        added.expect("a certificate that was just made");
        roots
    }
}

/// A private key in PKCS#8, version 1 (RFC 8410, section 7).
fn ed25519_pkcs8(secret: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, // SEQUENCE of 46 bytes
        0x02, 0x01, 0x00, // version 0
        0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // id-Ed25519
        0x04, 0x22, 0x04, 0x20, // OCTET STRING around an OCTET STRING of 32 bytes
    ];
    [&HEAD[..], secret].concat()
}

/// A server's sessions; counts those that are resumed.
#[derive(Debug)]
struct Sessions(Arc<dyn StoresServerSessions>);

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.0.take(key);
        facts::note(|facts| facts.resumed += u64::from(session.is_some()));
        session
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}

/// The group that every handshake uses unless told otherwise.
pub(crate) const DEFAULT_GROUPS: &[&dyn SupportedKxGroup] = &[&groups::X25519];
