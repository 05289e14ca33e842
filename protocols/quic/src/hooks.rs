//! Everything that quinn-proto and rustls would take from the operating system, taken from their
//! owner instead. All of it is in this file, one [`Hook`] each, and tests of the simulator switch
//! them off one by one to show that each is needed.
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
mod time;

pub use crate::session::NoInitialSuite;
pub use time::{base, from_std, to_std};

use crate::{
    Parameters, cold,
    identity::{AnyCertificate, Identity, Pin},
    session::{self, initial_suite},
    turn::{self, Loan, Turn, fill},
};
use core::{fmt::Write as _, time::Duration};
use quinn_proto as quic;
use rustls::{
    crypto::{CryptoProvider, GetRandomFailed, SecureRandom, SupportedKxGroup},
    pki_types::UnixTime,
    server::ResolvesServerCert,
    time_provider::{DefaultTimeProvider, TimeProvider},
};
use sansbox_core::{Instant, Seed};
use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

/// Length in bytes of the connection ids that an endpoint gives out, unless it is told another.
const CID_LEN: usize = 8;
/// Length in bytes of the id that a client addresses its first packet to.
const FIRST_CID_LEN: usize = 20;
/// Sessions that a server remembers for resumption.
const SESSIONS_MAX: usize = 1024;
/// Address validation tokens that a server hands to a client.
const TOKENS_SENT: u32 = 2;
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

    /// Is it in place?
    #[doc(hidden)]
    #[must_use]
    pub fn has(self, hook: Hook) -> bool {
        self.off != Some(hook)
    }
}

/// One owner's time, randomness and keys.
#[derive(Debug)]
pub struct Sources {
    loan: Loan,
    keys: Seed,
    hooks: Hooks,
}

impl Sources {
    /// Draws everything from `keys`, which must be uniformly random wherever secrets depend on it.
    /// `epoch` is the wall clock's time since 1970 at [`Instant::ZERO`]. The secrets of TLS
    /// sessions are kept for [`Sources::take_secrets`] only where `keeps_secrets` says so.
    #[must_use]
    pub fn new(keys: Seed, epoch: Duration, keeps_secrets: bool) -> Self {
        Self::with_hooks(keys, epoch, keeps_secrets, Hooks::default())
    }

    /// The same without one of the hooks, for the tests that take them away.
    #[doc(hidden)]
    #[must_use]
    pub fn with_hooks(keys: Seed, epoch: Duration, keeps_secrets: bool, hooks: Hooks) -> Self {
        Self {
            loan: Loan::new(keys.derive("random"), epoch, keeps_secrets),
            keys,
            hooks,
        }
    }

    /// Lends what the owner has until the guard is dropped: to be held around every call into
    /// quinn-proto and rustls.
    ///
    /// # Panics
    /// When another owner's turn has not ended.
    pub fn enter(&self, now: Instant) -> Turn {
        self.loan.enter(now)
    }

    /// Forgets what is expanded of keys that were not used for a while: to be called where a turn
    /// could begin.
    pub(crate) fn cool(&self, now: Instant) {
        self.loan.cool(now);
    }

    /// When that is to be done, if it is worth a timer.
    pub(crate) fn cools_at(&self) -> Option<Instant> {
        self.loan.cools_at()
    }

    /// Secrets of TLS sessions since the last call: one line each in the format that
    /// `SSLKEYLOGFILE` made common (label, client random, secret), without a line end.
    #[must_use]
    pub fn take_secrets(&self) -> Vec<String> {
        self.loan.take_secrets()
    }

    fn key(&self, name: &str) -> [u8; 32] {
        self.keys.derive(name).bytes()
    }

    /// The configuration of an endpoint.
    #[must_use]
    pub fn endpoint(&self) -> quic::EndpointConfig {
        self.endpoint_with_ids::<CID_LEN>()
    }

    /// The same, with connection ids of `LEN` bytes: 0 to 20. An endpoint without any can have one
    /// connection to each address.
    #[must_use]
    pub fn endpoint_with_ids<const LEN: usize>(&self) -> quic::EndpointConfig {
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
            config.cid_generator(|| Box::new(Ids::<LEN>));
        }
        config
    }

    /// The configuration of a server's side, apart from its transport.
    ///
    /// # Errors
    /// When `tls` does not allow TLS 1.3 with AES-128-GCM.
    pub fn server(
        &self,
        tls: rustls::ServerConfig,
    ) -> Result<quic::ServerConfig, quic::crypto::rustls::NoInitialCipherSuite> {
        let crypto = Arc::new(quic::crypto::rustls::QuicServerConfig::try_from(tls)?);
        Ok(self.server_of(crypto))
    }

    /// The same without Retry, with these transport parameters in place of quinn-proto's, and with
    /// less memory for each connection: TLS is given up when the handshake is over.
    ///
    /// # Errors
    /// When `tls` does not allow TLS 1.3 with AES-128-GCM.
    pub fn lean_server(
        &self,
        tls: rustls::ServerConfig,
        parameters: Parameters,
    ) -> Result<quic::ServerConfig, NoInitialSuite> {
        let initial = initial_suite(tls.crypto_provider())?;
        let tls = Arc::new(tls);
        Ok(self.server_of(Arc::new(session::Config {
            tls,
            initial,
            parameters,
        })))
    }

    fn server_of(&self, crypto: Arc<dyn quic::crypto::ServerConfig>) -> quic::ServerConfig {
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
    ///
    /// # Errors
    /// When `tls` does not allow TLS 1.3 with AES-128-GCM.
    pub fn client(
        &self,
        tls: rustls::ClientConfig,
    ) -> Result<quic::ClientConfig, quic::crypto::rustls::NoInitialCipherSuite> {
        let crypto = quic::crypto::rustls::QuicClientConfig::try_from(tls)?;
        Ok(self.client_of(Arc::new(crypto)))
    }

    /// The same with these transport parameters in place of quinn-proto's, and for servers that
    /// send no Retry.
    ///
    /// # Errors
    /// When `tls` does not allow TLS 1.3 with AES-128-GCM.
    pub fn lean_client(
        &self,
        tls: rustls::ClientConfig,
        parameters: Parameters,
    ) -> Result<quic::ClientConfig, NoInitialSuite> {
        let initial = initial_suite(tls.crypto_provider())?;
        let tls = Arc::new(tls);
        Ok(self.client_of(Arc::new(session::Config {
            tls,
            initial,
            parameters,
        })))
    }

    fn client_of(&self, crypto: Arc<dyn quic::crypto::ClientConfig>) -> quic::ClientConfig {
        let mut config = quic::ClientConfig::new(crypto);
        if self.hooks.has(Hook::FirstConnectionId) {
            config.initial_dst_cid_provider(Arc::new(random_id::<FIRST_CID_LEN>));
        }
        config
    }

    /// The congestion controller of a transport.
    pub fn congestion(&self, transport: &mut quic::TransportConfig) {
        if self.hooks.has(Hook::Congestion) {
            let reno = quic::congestion::NewRenoConfig::default();
            transport.congestion_controller_factory(Arc::new(reno));
        } else {
            let bbr = quic::congestion::BbrConfig::default();
            transport.congestion_controller_factory(Arc::new(bbr));
        }
    }

    /// TLS 1.3 of a server with the certificate of its own.
    ///
    /// # Errors
    /// None in practice: the provider knows TLS 1.3.
    pub fn server_tls_of(
        &self,
        identity: &Identity,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> Result<rustls::ServerConfig, rustls::Error> {
        self.server_tls(identity.resolver(), groups)
    }

    /// TLS 1.3 of a client that takes any certificate, or any with the key that `pin` names.
    ///
    /// # Errors
    /// None in practice: the provider knows TLS 1.3.
    pub fn client_tls_pinned(
        &self,
        pin: Option<Pin>,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> Result<rustls::ClientConfig, rustls::Error> {
        let provider = self.provider(groups);
        let verifier = AnyCertificate {
            pin,
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = self.client_tls(rustls::RootCertStore::empty(), groups)?;
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Ok(config)
    }

    /// TLS 1.3 of a server with these certificates, whose keys must need no randomness to sign.
    ///
    /// # Errors
    /// None in practice: the provider knows TLS 1.3.
    pub fn server_tls(
        &self,
        certificates: Arc<dyn ResolvesServerCert>,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> Result<rustls::ServerConfig, rustls::Error> {
        let builder =
            rustls::ServerConfig::builder_with_details(self.provider(groups), self.wall());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        let sessions = rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.session_storage = sessions;
        if !self.hooks.has(Hook::Tickets) {
            config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        }
        config.key_log = Arc::new(KeyLines);
        Ok(config)
    }

    /// TLS 1.3 of a client that trusts whom `roots` vouch for.
    ///
    /// # Errors
    /// None in practice: the provider knows TLS 1.3.
    pub fn client_tls(
        &self,
        roots: rustls::RootCertStore,
        groups: &[&'static dyn SupportedKxGroup],
    ) -> Result<rustls::ClientConfig, rustls::Error> {
        let builder =
            rustls::ClientConfig::builder_with_details(self.provider(groups), self.wall());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.key_log = Arc::new(KeyLines);
        Ok(config)
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
        provider.cipher_suites = cold::suites();
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

/// Gives secrets to whose turn it is.
#[derive(Debug)]
struct KeyLines;

impl rustls::KeyLog for KeyLines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (bytes, end) in [(client_random, " "), (secret, "")] {
            for byte in bytes {
                // Writing to a string cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
            line.push_str(end);
        }
        turn::keep_secret(line);
    }

    fn will_log(&self, _: &str) -> bool {
        turn::keeps_secrets()
    }
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
        turn::wall_clock()
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

struct Ids<const LEN: usize>;

fn random_id<const LEN: usize>() -> quic::ConnectionId {
    let mut bytes = [0; LEN];
    fill(&mut bytes);
    quic::ConnectionId::new(&bytes)
}

impl<const LEN: usize> quic::ConnectionIdGenerator for Ids<LEN> {
    fn generate_cid(&mut self) -> quic::ConnectionId {
        random_id::<LEN>()
    }

    fn cid_len(&self) -> usize {
        LEN
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
