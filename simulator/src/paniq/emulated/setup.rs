//! QUIC and TLS as a persona has them.
use crate::{
    paniq::{
        persona::{Keepalive, Persona, Trust},
        profile::Profile,
    },
    quic::{Identity as Compiled, SERVER_NAME},
};
use core::{net::SocketAddr, time::Duration};
use quinn_proto as quic;
use rustls::crypto::SupportedKxGroup;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{transport::INNER_LEN_MAX, tunnel::Server};
use sansbox_quic::{ConnectionId, Endpoint, Hooks, Sources, groups};
use std::sync::Arc;

const GROUPS: &[&dyn SupportedKxGroup] = &[&groups::X25519];

/// The seed of the certificate that the Rust programs have compiled in.
const COMPILED: u64 = 0;

/// Protocols that are offered to make a ClientHello as long as Go's, and their length.
const OFFERS: usize = 5;
const OFFER_LEN: usize = 250;

/// What QUIC is told of a persona and a profile.
pub(super) struct Setup<'a> {
    pub(super) persona: &'a Persona,
    pub(super) profile: &'a Profile,
    /// The wall clock at zero.
    pub(super) epoch: Duration,
}

impl Setup<'_> {
    fn transport(&self, sources: &Sources) -> quic::TransportConfig {
        let mut settings = self.profile.settings;
        if let Some(idle) = self.persona.idle_timeout {
            settings.idle_timeout = idle;
        }
        if let Keepalive::Every(every) = self.persona.keepalive {
            settings.keepalive = every;
        }
        let codec = self.profile.codec();
        let mut transport = settings
            .transport(sources, codec.budget())
            .expect("a timeout that QUIC can say");
        if self.persona.keepalive == Keepalive::Never {
            transport.keep_alive_interval(None);
        }
        if let Some(rtt) = self.persona.initial_rtt {
            transport.initial_rtt(rtt);
        }
        if let Some(longest) = self.persona.mtu_discovery {
            let mut discovery = quic::MtuDiscoveryConfig::default();
            discovery.upper_bound(longest);
            transport
                .initial_mtu(1200)
                .mtu_discovery_config(Some(discovery));
        }
        transport
    }

    fn endpoint(&self, sources: &Sources) -> quic::EndpointConfig {
        let mut config = sources.endpoint();
        config.supported_versions(vec![1]).grease_quic_bit(false);
        if self.persona.mtu_discovery.is_none() {
            // Only what is below 1200 is refused.
            let _ = config.max_udp_payload_size(INNER_LEN_MAX as u16);
        }
        config
    }

    fn protocols(&self, offers: usize) -> Vec<Vec<u8>> {
        let own = self.persona.alpn.map(<[u8]>::to_vec);
        let more = (0..offers).map(|n| vec![b'a' + n as u8; OFFER_LEN]);
        own.into_iter().chain(more).collect()
    }

    /// A client that begins to connect.
    pub(super) fn connect(
        &self,
        now: Instant,
        to: SocketAddr,
        seed: Seed,
    ) -> (Endpoint, ConnectionId) {
        let sources = Sources::new(seed, self.epoch, false);
        let tls = match self.persona.trust {
            Trust::Any => sources.client_tls_pinned(None, GROUPS),
            Trust::Compiled => {
                let compiled = Compiled::new(COMPILED, Hooks::default());
                sources.client_tls(compiled.roots(), GROUPS)
            }
        };
        let mut tls = tls.expect("the provider knows TLS 1.3");
        let offers = if self.persona.has_long_hello {
            OFFERS
        } else {
            0
        };
        tls.alpn_protocols = self.protocols(offers);
        tls.resumption = rustls::client::Resumption::disabled();
        let mut config = sources.client(tls).expect("TLS 1.3 with AES-128-GCM");
        config.transport_config(Arc::new(self.transport(&sources)));
        let endpoint = self.endpoint(&sources);
        let name = match self.persona.trust {
            Trust::Any => to.ip().to_string(),
            Trust::Compiled => SERVER_NAME.to_owned(),
        };
        let mut endpoint = Endpoint::client(sources, endpoint, config);
        let connection = endpoint.connect(now, to, &name);
        (endpoint, connection.expect("a name and an address"))
    }

    /// A server.
    pub(super) fn listen(&self, seed: Seed) -> Endpoint {
        let sources = Sources::new(seed.derive("quic"), self.epoch, false);
        let tls = match self.persona.trust {
            Trust::Any => {
                let identity = Server::identity(&seed.derive("identity"), self.epoch);
                sources.server_tls_of(&identity.expect("a date of this century"), GROUPS)
            }
            Trust::Compiled => {
                let compiled = Compiled::new(COMPILED, Hooks::default());
                sources.server_tls(compiled.resolver(), GROUPS)
            }
        };
        let mut tls = tls.expect("the provider knows TLS 1.3");
        tls.alpn_protocols = self.protocols(0);
        tls.send_tls13_tickets = 0;
        let mut config = sources.server(tls).expect("TLS 1.3 with AES-128-GCM");
        config
            .migration(false)
            .transport_config(Arc::new(self.transport(&sources)));
        let endpoint = self.endpoint(&sources);
        Endpoint::server(sources, endpoint, config, usize::MAX)
    }
}
