//! Everything that quinn-proto and rustls would take from the operating system, taken from the
//! world instead. All of it is in this file, one [`Hook`] each, and a test switches them off one
//! by one to show that each is needed.
//!
//! | taken from the system by default | given here |
//! |---|---|
//! | the endpoint's generator | `EndpointConfig::rng_seed` |
//! | connection ids | a `ConnectionIdGenerator` |
//! | the client's first destination id | `ClientConfig::initial_dst_cid_provider` |
//! | the key of stateless resets | `EndpointConfig::new` |
//! | the key of Retry and NEW_TOKEN tokens | `ServerConfig::new` |
//! | the wall clock | quinn's `TimeSource`, rustls' `TimeProvider` |
//! | hello randoms, session ids, tickets | `CryptoProvider::secure_random` |
//! | ephemeral keys | own key exchange groups |
//! | signatures that need randomness | Ed25519, which needs none |
//! | ticket keys, rotated by the wall clock | stateful tickets, drawn from `secure_random` |
//! | the random numbers of BBR | NewReno, which uses none, nor floating-point functions |
//!
//! `std::time::Instant` has no constructor: [`base`] is read once per process, and only
//! differences to it are ever used.
use super::{
    capture::{KeyLines, Log},
    entered::{self, Entered, Loan, Watch, fill},
    groups,
};
use crate::host::Cx;
use core::time::Duration;
use quinn_proto as quic;
use rustls::{
    crypto::{CryptoProvider, GetRandomFailed, SecureRandom, SupportedKxGroup},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::StoresServerSessions,
    time_provider::{DefaultTimeProvider, TimeProvider},
};
use sansbox_core::{Instant, Seed};
use std::{
    collections::BTreeSet,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

/// The wall clock when a world begins: 15 June 2025, 15:06:40 UTC.
pub const EPOCH: Duration = Duration::from_secs(1_750_000_000);
/// Length in bytes of the connection ids that an endpoint gives out.
const CID_LEN: usize = 8;
/// Length in bytes of the id that a client addresses its first packet to.
const FIRST_CID_LEN: usize = 20;
/// Sessions that a server remembers for resumption.
const SESSIONS_MAX: usize = 1024;
/// Address validation tokens that a server hands to a client.
const TOKENS_SENT: u32 = 2;
/// Distance of [`base`] from the time of the process, so that subtracting from it is safe where
/// the system's clock begins at zero.
const BASE_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// One thing that the system would otherwise decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The generator of an endpoint and its connections.
    EndpointRng,
    /// Connection ids.
    ConnectionIds,
    /// The first destination id of a client.
    FirstConnectionId,
    /// The key of stateless resets.
    ResetKey,
    /// The key of Retry and NEW_TOKEN tokens.
    TokenKey,
    /// The wall clock.
    WallClock,
    /// rustls' randomness.
    SecureRandom,
    /// Ephemeral keys.
    KeyExchange,
    /// The server's key and its signatures.
    Certificate,
    /// Session tickets.
    Tickets,
    /// The congestion controller's randomness.
    Congestion,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::EndpointRng,
        Self::ConnectionIds,
        Self::FirstConnectionId,
        Self::ResetKey,
        Self::TokenKey,
        Self::WallClock,
        Self::SecureRandom,
        Self::KeyExchange,
        Self::Certificate,
        Self::Tickets,
        Self::Congestion,
    ];
}

/// Which hooks are in place: all, except in the test that takes one away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    off: Option<Hook>,
}

impl Hooks {
    /// All but one: the run is then not reproducible.
    #[doc(hidden)]
    #[must_use]
    pub const fn without(hook: Hook) -> Self {
        Self { off: Some(hook) }
    }

    fn has(self, hook: Hook) -> bool {
        self.off != Some(hook)
    }
}

/// A host's own time, randomness and keys.
pub(crate) struct Sources {
    loan: Loan,
    keys: Seed,
    hooks: Hooks,
}

impl Sources {
    /// Sources that are not to be used before [`Sources::begin`].
    pub(crate) fn new(hooks: Hooks) -> Self {
        Self {
            loan: Loan::default(),
            keys: Seed::new([0; 32]),
            hooks,
        }
    }

    /// A look at what the host sees.
    pub(crate) fn watch(&self) -> Watch {
        self.loan.watch()
    }

    /// Takes up the world's seed under the host's name.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>) {
        let name = format!("{}/tls", cx.name());
        self.keys = cx.streams().seed(&name, 0);
        let keeps_secrets = cx.log().is_some();
        self.loan.begin(self.keys.derive("random"), keeps_secrets);
    }

    /// Lends what this host has until the guard is dropped.
    ///
    /// # Panics
    /// When another host is entered.
    pub(crate) fn enter(&self, now: Instant) -> Entered {
        self.loan.enter(now)
    }

    /// Hands the secrets of new sessions to the world's log.
    pub(crate) fn give_secrets(&self, log: Option<&mut Log>) {
        if let Some(log) = log {
            log.add_secrets(self.loan.take_secrets());
        }
    }

    fn key(&self, name: &str) -> [u8; 32] {
        self.keys.derive(name).bytes()
    }

    /// The configuration of an endpoint.
    pub(crate) fn endpoint(&self) -> quic::EndpointConfig {
        let mut config = if self.hooks.has(Hook::ResetKey) {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.key("reset"));
            quic::EndpointConfig::new(Arc::new(key))
        } else {
            quic::EndpointConfig::default()
        };
        if self.hooks.has(Hook::EndpointRng) {
            config.rng_seed(Some(self.key("endpoint")));
        }
        if self.hooks.has(Hook::ConnectionIds) {
            config.cid_generator(|| Box::new(Ids));
        }
        config
    }

    /// The configuration of a server's side, apart from its transport.
    pub(crate) fn server(&self, tls: rustls::ServerConfig) -> quic::ServerConfig {
        let crypto = quic::crypto::rustls::QuicServerConfig::try_from(tls);
        let crypto = Arc::new(crypto.expect("TLS 1.3 with AES-128-GCM"));
        let mut config = if self.hooks.has(Hook::TokenKey) {
            let salt = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]);
            quic::ServerConfig::new(crypto, Arc::new(salt.extract(&self.key("token"))))
        } else {
            quic::ServerConfig::with_crypto(crypto)
        };
        let mut tokens = quic::ValidationTokenConfig::default();
        tokens.log(Arc::new(Used::default())).sent(TOKENS_SENT);
        config.validation_token_config(tokens);
        if self.hooks.has(Hook::WallClock) {
            config.time_source(Arc::new(Wall));
        }
        config
    }

    /// The configuration of a client's side, apart from its transport.
    pub(crate) fn client(&self, tls: rustls::ClientConfig) -> quic::ClientConfig {
        let crypto = quic::crypto::rustls::QuicClientConfig::try_from(tls);
        let mut config = quic::ClientConfig::new(Arc::new(crypto.expect("TLS 1.3, AES-128-GCM")));
        if self.hooks.has(Hook::FirstConnectionId) {
            config.initial_dst_cid_provider(Arc::new(random_id::<FIRST_CID_LEN>));
        }
        config
    }

    /// The congestion controller of a transport.
    pub(crate) fn congestion(&self, transport: &mut quic::TransportConfig) {
        if self.hooks.has(Hook::Congestion) {
            let reno = quic::congestion::NewRenoConfig::default();
            transport.congestion_controller_factory(Arc::new(reno));
        } else {
            let bbr = quic::congestion::BbrConfig::default();
            transport.congestion_controller_factory(Arc::new(bbr));
        }
    }

    /// TLS 1.3 of a server that identifies itself with `identity`.
    pub(crate) fn server_tls(
        &self,
        identity: &Identity,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> rustls::ServerConfig {
        let builder =
            rustls::ServerConfig::builder_with_details(self.provider(groups), self.wall());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider knows TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
            .expect("a certificate with its own key");
        config.session_storage = Arc::new(Sessions(rustls::server::ServerSessionMemoryCache::new(
            SESSIONS_MAX,
        )));
        if !self.hooks.has(Hook::Tickets) {
            config.ticketer = rustls::crypto::ring::Ticketer::new().expect("the system's entropy");
        }
        config.key_log = Arc::new(KeyLines);
        config
    }

    /// TLS 1.3 of a client that trusts `identity` alone.
    pub(crate) fn client_tls(
        &self,
        identity: &Identity,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        let added = roots.add(identity.certificate.clone());
        added.expect("a certificate that was just made");
        let builder =
            rustls::ClientConfig::builder_with_details(self.provider(groups), self.wall());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider knows TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.key_log = Arc::new(KeyLines);
        config
    }

    fn wall(&self) -> Arc<dyn TimeProvider> {
        if self.hooks.has(Hook::WallClock) {
            Arc::new(Wall)
        } else {
            Arc::new(DefaultTimeProvider)
        }
    }

    fn provider(&self, groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
        let mut provider = rustls::crypto::ring::default_provider();
        if self.hooks.has(Hook::SecureRandom) {
            provider.secure_random = &Random;
        }
        if self.hooks.has(Hook::KeyExchange) {
            provider.kx_groups = groups.to_vec();
        } else {
            let wanted = |theirs: &&'static dyn SupportedKxGroup| {
                groups.iter().any(|ours| ours.name() == theirs.name())
            };
            provider.kx_groups.retain(|group| wanted(group));
        }
        Arc::new(provider)
    }
}

/// The instant of the process that stands for a world's time zero.
pub fn base() -> std::time::Instant {
    static BASE: OnceLock<std::time::Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the type has no constructor; only differences are used"
    )]
    *BASE.get_or_init(|| std::time::Instant::now() + BASE_AHEAD)
}

/// Virtual time as quinn-proto wants it.
pub(crate) fn to_std(at: Instant) -> std::time::Instant {
    base() + Duration::from_nanos(at.as_nanos())
}

/// Virtual time as the world wants it.
pub(crate) fn from_std(at: std::time::Instant) -> Instant {
    Instant::ZERO + at.saturating_duration_since(base())
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

#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct Wall;

impl Wall {
    fn since_epoch() -> Duration {
        EPOCH + Duration::from_nanos(entered::now().as_nanos())
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Self::since_epoch()))
    }
}

impl quic::TimeSource for Wall {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Self::since_epoch()
    }
}

struct Ids;

fn random_id<const LEN: usize>() -> quic::ConnectionId {
    let mut bytes = [0; LEN];
    fill(&mut bytes);
    quic::ConnectionId::new(&bytes)
}

impl quic::ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> quic::ConnectionId {
        random_id::<CID_LEN>()
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Address validation tokens seen so far; each is good for one use.
#[derive(Default)]
#[expect(clippy::disallowed_types, reason = "the trait wants Sync")]
struct Used(std::sync::Mutex<BTreeSet<u128>>);

impl quic::TokenLog for Used {
    fn check_and_insert(
        &self,
        nonce: u128,
        _: SystemTime,
        _: Duration,
    ) -> Result<(), quic::TokenReuseError> {
        let mut used = self.0.lock().map_err(|_| quic::TokenReuseError)?;
        if used.insert(nonce) {
            Ok(())
        } else {
            Err(quic::TokenReuseError)
        }
    }
}

/// A server's sessions; counts those that are resumed.
#[derive(Debug)]
struct Sessions(Arc<rustls::server::ServerSessionMemoryCache>);

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.0.take(key);
        entered::note(|facts| facts.resumed += u64::from(session.is_some()));
        session
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}

/// The group that every handshake uses unless told otherwise.
pub(crate) const DEFAULT_GROUPS: &[&dyn SupportedKxGroup] = &[&groups::X25519];
