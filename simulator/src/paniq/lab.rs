//! A world with one client, one server, and what lies between.
use super::{
    client_host::ClientHost,
    emulated::{EmulatedClient, EmulatedServer, KcpClient, KcpServer},
    facts::{Facts, Shared},
    load::{Ended, Talk},
    machine::{ClientMachine, OurClient, OurServer, ServerMachine},
    persona::{Carrier, OURS, Persona},
    profile::Profile,
    server_host::ServerHost,
};
use crate::{
    World,
    check::Violation,
    net::{SiteId, UdpPath, hop::Hop},
    quic::deterministic::EPOCH,
    world::Setup,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::tunnel::{Client, Server};
use std::{fmt, rc::Rc};

/// Where the server is, unless something else is said.
pub const SERVER: SocketAddr = SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)),
    9000,
);

/// Where the client is.
const CLIENT: [u8; 4] = [10, 0, 0, 1];

/// One way of the path takes so long, unless something else is said.
pub const LATENCY: Duration = Duration::from_millis(10);

/// Who meets whom, and what they do.
#[derive(Clone, Debug)]
pub struct Lab {
    /// What both ends know.
    pub profile: Profile,
    /// What the server knows, if that is something else.
    pub server_profile: Option<Profile>,
    /// Who is the client.
    pub client: Persona,
    /// Who is the server.
    pub server: Persona,
    /// What runs over the tunnel.
    pub load: Vec<Talk>,
    /// Where the server listens.
    pub server_address: SocketAddr,
    /// What the client's profile calls it.
    pub proxy_addr: String,
    /// When the server's program begins anew, knowing nothing.
    pub server_restarts: Vec<Duration>,
    /// The client's program ends without a word behind so many datagrams, in and out.
    pub client_vanishes_after: Option<u64>,
    /// The server's does.
    pub server_vanishes_after: Option<u64>,
    /// May streams be left when nothing moves any more? The facts say which.
    pub may_hang: bool,
    /// The path, where no site has one.
    pub path: UdpPath,
}

impl Lab {
    /// Two personas with the documented profile and a calm path.
    #[must_use]
    pub fn new(client: Persona, server: Persona) -> Self {
        Self {
            profile: Profile::default(),
            server_profile: None,
            client,
            server,
            load: Vec::new(),
            server_address: SERVER,
            proxy_addr: SERVER.to_string(),
            server_restarts: Vec::new(),
            client_vanishes_after: None,
            server_vanishes_after: None,
            may_hang: !(client.is_product && server.is_product),
            path: UdpPath {
                latency: LATENCY,
                jitter: Duration::ZERO,
                ..UdpPath::default()
            },
        }
    }

    /// Ours at both ends.
    #[must_use]
    pub fn ours() -> Self {
        Self::new(OURS, OURS)
    }

    /// One more stream.
    #[must_use]
    pub fn talk(mut self, talk: Talk) -> Self {
        self.load.push(talk);
        self
    }

    /// More streams.
    #[must_use]
    pub fn talks(mut self, talks: impl IntoIterator<Item = Talk>) -> Self {
        self.load.extend(talks);
        self
    }

    /// The same with other personas.
    #[must_use]
    pub fn with(&self, client: Persona, server: Persona) -> Self {
        Self {
            client,
            server,
            may_hang: !(client.is_product && server.is_product),
            ..self.clone()
        }
    }

    /// Puts client and server into a world. The client stands in a site of its own, behind `hops`,
    /// inside first.
    pub fn install(self, world: &mut World, hops: Vec<Box<dyn Hop>>) -> (Installed, SiteId) {
        world.default_udp_path(self.path);
        let lab = Rc::new(self);
        let facts = Shared::default();
        let site = world.site("home", hops);
        let host = ServerHost::new(&lab, &facts);
        world.host("server", &[lab.server_address.ip()], host);
        let host = ClientHost::new(&lab, &facts);
        world.host_in(site, "client", &[CLIENT.into()], host);
        (Installed { facts, lab }, site)
    }

    /// Runs it in a world of its own, with `hops` before the client.
    ///
    /// # Panics
    /// When an invariant breaks.
    #[must_use]
    pub fn run(self, seed: u64, hops: Vec<Box<dyn Hop>>) -> Facts {
        self.run_with(seed, hops, |_, _| {})
    }

    /// The same, with faults that `prepare` installs on the client's site.
    ///
    /// # Panics
    /// When an invariant breaks.
    #[must_use]
    pub fn run_with(
        self,
        seed: u64,
        hops: Vec<Box<dyn Hop>>,
        prepare: impl FnOnce(&mut World, SiteId),
    ) -> Facts {
        let mut world = World::new(seed);
        let (installed, site) = self.install(&mut world, hops);
        prepare(&mut world, site);
        let outcome = world.run(LIMIT);
        let facts = installed.facts();
        if let Err(violation) = outcome {
            panic!("{violation}; {facts:#?}");
        }
        facts
    }

    /// The same, keeping what crosses, to draw it.
    ///
    /// # Panics
    /// When an invariant breaks.
    #[must_use]
    pub fn record(
        self,
        seed: u64,
        hops: Vec<Box<dyn Hop>>,
        prepare: impl FnOnce(&mut World, SiteId),
    ) -> (Facts, World) {
        let mut world = World::with(Setup {
            seed,
            keeps_entries: true,
            ..Setup::default()
        });
        let (installed, site) = self.install(&mut world, hops);
        prepare(&mut world, site);
        let outcome = world.run(LIMIT);
        assert!(outcome.is_ok(), "{outcome:?}");
        (installed.facts(), world)
    }

    pub(crate) fn client_machine(
        &self,
        now: Instant,
        server: SocketAddr,
        seed: Seed,
    ) -> Box<dyn ClientMachine> {
        let wall = wall(now);
        let (persona, profile) = (&self.client, &self.profile);
        if persona.carrier == Carrier::Kcp {
            return Box::new(KcpClient::new(now, wall, profile, server, seed));
        }
        if persona.is_product {
            let config = profile.client(server);
            return Box::new(OurClient::new(Client::new(now, wall, config, seed)));
        }
        Box::new(EmulatedClient::new(
            now, wall, persona, profile, server, seed,
        ))
    }

    pub(crate) fn server_machine(&self, now: Instant, seed: Seed) -> Box<dyn ServerMachine> {
        let wall = wall(now);
        let profile = self.server_profile.as_ref().unwrap_or(&self.profile);
        if self.server.carrier == Carrier::Kcp {
            return Box::new(KcpServer::new(profile, seed));
        }
        if self.server.is_product {
            let identity = Server::identity(&seed.derive("identity"), wall);
            let identity = identity.expect("a date of this century");
            let config = profile.server(seed.derive("draws"));
            let server = Server::new(now, wall, config, &identity, seed);
            let server = server.expect("a timeout that QUIC can say");
            return Box::new(OurServer::new(server));
        }
        Box::new(EmulatedServer::new(now, wall, &self.server, profile, seed))
    }
}

/// Everything ends within it.
pub const LIMIT: Duration = Duration::from_secs(3600);

fn wall(now: Instant) -> Duration {
    EPOCH + now.saturating_duration_since(Instant::ZERO)
}

/// A lab whose world has yet to run, or has run.
pub struct Installed {
    facts: Shared,
    lab: Rc<Lab>,
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed")
            .field("lab", &self.lab)
            .finish_non_exhaustive()
    }
}

impl Installed {
    /// What was seen so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// How many streams were wanted.
    #[must_use]
    pub fn talks(&self) -> usize {
        self.lab.load.len()
    }

    /// All streams went as written, where nothing goes wrong by chance.
    ///
    /// # Errors
    /// Which did not.
    pub fn expect_whole(&self, world: &World) -> Result<(), Violation> {
        let facts = self.facts();
        for talk in &self.lab.load {
            let ended = facts.ended(&talk.name);
            let what = format!("{}: {ended:?}", talk.name);
            world.expect(ended == Ended::Whole, what)?;
        }
        Ok(())
    }
}
