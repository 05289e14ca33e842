//! [`QuicHost`]: one QUIC endpoint, its connections, and a client's plan.
use super::{
    connection::{Connection, Now},
    deterministic::{DEFAULT_GROUPS, Hooks, Identity, SERVER_NAME, Sources, from_std, to_std},
    facts::{Watch, note},
    talk::Request,
};
use crate::{
    check::Invariant,
    host::{Cx, Host, HostInput, UdpId},
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use quinn_proto as quic;
use rustls::crypto::SupportedKxGroup;
use sansbox_core::Instant;
use sansbox_engine::timer::{TimerKey, TimerQueue};
use std::{collections::BTreeMap, rc::Rc, sync::Arc};

/// A connection that says nothing for so long is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Length of a connection's first flight buffer: ten datagrams of Ethernet's size.
const TRANSMIT_BUFFER_LEN: usize = 10 * 1500;
/// Datagrams that one call makes at most.
const DATAGRAMS_AT_ONCE: usize = 10;
/// Nobody connects before everybody is bound.
const BOOT: Duration = Duration::from_millis(1);
/// Where a client binds: any address, any port.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
/// Application protocol of the simulated hosts.
const ALPN: &[u8] = b"sim";

/// A connection that a client will make.
#[derive(Clone, Debug)]
pub struct Plan {
    to: SocketAddr,
    requests: Vec<Request>,
    after: Duration,
    is_early: bool,
}

impl Plan {
    /// Connects to `to` at the start, makes `requests` at once, and closes when all are answered.
    #[must_use]
    pub fn new(to: SocketAddr, requests: impl IntoIterator<Item = Request>) -> Self {
        Self {
            to,
            requests: requests.into_iter().collect(),
            after: Duration::ZERO,
            is_early: false,
        }
    }

    /// Connects so much later.
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Sends the requests as early data, for which there must be a session to resume.
    #[must_use]
    pub const fn early(mut self) -> Self {
        self.is_early = true;
        self
    }
}

#[derive(Debug)]
enum Due {
    Connect(Plan),
    Rebind,
    Connection(quic::ConnectionHandle),
}

/// What an endpoint does.
struct Settings {
    identity: Rc<Identity>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    /// Where a server listens; a client binds any port.
    listen: Option<SocketAddr>,
    /// The server asks every client to prove its address first.
    is_retrying: bool,
    plans: Vec<Plan>,
    rebinds: Vec<Duration>,
}

struct Running {
    endpoint: quic::Endpoint,
    client: quic::ClientConfig,
    server: Option<Arc<quic::ServerConfig>>,
    socket: UdpId,
}

/// A QUIC endpoint: a server that answers [`Request`]s, or a client that makes them.
pub struct QuicHost {
    settings: Settings,
    sources: Sources,
    running: Option<Running>,
    connections: BTreeMap<usize, (Connection, Option<TimerKey>)>,
    timers: TimerQueue<Due>,
    planned: usize,
    named: u64,
    /// Reused by every transmission.
    buffer: Vec<u8>,
}

impl QuicHost {
    fn new(identity: &Rc<Identity>, listen: Option<SocketAddr>, hooks: Hooks) -> Self {
        Self {
            settings: Settings {
                identity: Rc::clone(identity),
                groups: DEFAULT_GROUPS.to_vec(),
                listen,
                is_retrying: false,
                plans: Vec::new(),
                rebinds: Vec::new(),
            },
            sources: Sources::new(hooks),
            running: None,
            connections: BTreeMap::new(),
            timers: TimerQueue::default(),
            planned: 0,
            named: 0,
            buffer: Vec::with_capacity(TRANSMIT_BUFFER_LEN),
        }
    }

    /// A server at `listen`.
    #[must_use]
    pub fn server(identity: &Rc<Identity>, listen: SocketAddr, hooks: Hooks) -> Self {
        Self::new(identity, Some(listen), hooks)
    }

    /// A client that trusts `identity`.
    #[must_use]
    pub fn client(identity: &Rc<Identity>, hooks: Hooks) -> Self {
        Self::new(identity, None, hooks)
    }

    /// Makes a connection.
    #[must_use]
    pub fn connect(mut self, plan: Plan) -> Self {
        self.settings.plans.push(plan);
        self
    }

    /// Moves to another port at a time after the start.
    #[must_use]
    pub fn rebind_at(mut self, after: Duration) -> Self {
        self.settings.rebinds.push(after);
        self
    }

    /// Offers or accepts these groups, the first of them in the first flight.
    #[must_use]
    pub fn groups(mut self, groups: &[&'static dyn SupportedKxGroup]) -> Self {
        self.settings.groups = groups.to_vec();
        self
    }

    /// Answers a first packet without a token with Retry.
    #[must_use]
    pub const fn retry(mut self) -> Self {
        self.settings.is_retrying = true;
        self
    }

    /// A look at what this endpoint sees.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.sources.watch()
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        let socket = match cx.bind(self.settings.listen.unwrap_or(ANY)) {
            Ok((socket, _)) => socket,
            Err(why) => return cx.violate(Invariant::ScriptHolds, format!("bind: {why}")),
        };
        let Settings {
            identity, groups, ..
        } = &self.settings;
        let mut tls = self.sources.client_tls(identity, groups);
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.enable_early_data = self.settings.plans.iter().any(|plan| plan.is_early);
        let client = self.sources.client(tls);
        let server = self.settings.listen.map(|_| {
            let mut tls = self.sources.server_tls(identity, groups);
            tls.alpn_protocols = vec![ALPN.to_vec()];
            tls.max_early_data_size = u32::MAX;
            let mut server = self.sources.server(tls);
            server.transport = Arc::new(self.transport(None));
            Arc::new(server)
        });
        let config = Arc::new(self.sources.endpoint());
        self.running = Some(Running {
            endpoint: quic::Endpoint::new(config, server.clone(), true, None),
            client,
            server,
            socket,
        });
        let start = cx.now() + BOOT;
        for plan in core::mem::take(&mut self.settings.plans) {
            self.planned += 1;
            self.timers.arm(start + plan.after, Due::Connect(plan));
        }
        for after in core::mem::take(&mut self.settings.rebinds) {
            self.timers.arm(start + after, Due::Rebind);
        }
    }

    fn transport(&self, log: Option<quic::QlogStream>) -> quic::TransportConfig {
        let mut transport = quic::TransportConfig::default();
        transport
            .max_idle_timeout(IDLE_TIMEOUT.try_into().ok())
            .qlog_stream(log);
        self.sources.congestion(&mut transport);
        transport
    }

    /// The name of the next connection, and its transport with a log when the world keeps one.
    fn named_transport(&mut self, cx: &mut Cx<'_>) -> Option<quic::TransportConfig> {
        let role = if self.settings.listen.is_some() {
            "server"
        } else {
            "client"
        };
        let name = format!("{}-{}-{role}", cx.name(), self.named);
        self.named += 1;
        let log = cx.log()?.open_qlog(name);
        Some(self.transport(log))
    }

    fn connect_now(&mut self, cx: &mut Cx<'_>, plan: Plan) {
        self.planned -= 1;
        let transport = self.named_transport(cx);
        let transport = Arc::new(transport.unwrap_or_else(|| self.transport(None)));
        let Some(running) = &mut self.running else {
            return;
        };
        let mut config = running.client.clone();
        config.transport_config(transport);
        let connected = running
            .endpoint
            .connect(to_std(cx.now()), config, plan.to, SERVER_NAME);
        match connected {
            Ok((handle, connection)) => {
                let connection = Connection::client(connection, plan.requests, plan.is_early);
                self.connections.insert(handle.0, (connection, None));
                self.serve(cx, handle);
            }
            Err(why) => cx.violate(Invariant::ScriptHolds, format!("connect: {why}")),
        }
    }

    /// Leaves the port for another; the connections hear of it, and the network forgets.
    fn rebind(&mut self, cx: &mut Cx<'_>) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Ok((socket, _)) = cx.bind(ANY) else {
            return cx.violate(Invariant::ScriptHolds, "no address to move to");
        };
        cx.unbind(running.socket);
        running.socket = socket;
        let handles: Vec<usize> = self.connections.keys().copied().collect();
        for handle in handles {
            if let Some((connection, _)) = self.connections.get_mut(&handle) {
                connection.quic.local_address_changed();
            }
            self.serve(cx, quic::ConnectionHandle(handle));
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, from: SocketAddr, data: BytesMut) {
        let Some(running) = &mut self.running else {
            return;
        };
        self.buffer.clear();
        let now = to_std(cx.now());
        let event = running
            .endpoint
            .handle(now, from, None, None, data, &mut self.buffer);
        match event {
            None => {}
            Some(quic::DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some((connection, _)) = self.connections.get_mut(&handle.0) {
                    connection.handle(event);
                    self.serve(cx, handle);
                }
            }
            Some(quic::DatagramEvent::NewConnection(incoming)) => self.admit(cx, incoming),
            Some(quic::DatagramEvent::Response(transmit)) => self.respond(cx, &transmit),
        }
    }

    fn admit(&mut self, cx: &mut Cx<'_>, incoming: quic::Incoming) {
        let is_validated = incoming.remote_address_validated();
        note(|facts| facts.validated += u64::from(is_validated));
        self.buffer.clear();
        if self.settings.is_retrying && !is_validated {
            if let Some(running) = &mut self.running
                && let Ok(transmit) = running.endpoint.retry(incoming, &mut self.buffer)
            {
                note(|facts| facts.retries += 1);
                self.respond(cx, &transmit);
            }
            return;
        }
        let transport = self.named_transport(cx);
        let Some(running) = &mut self.running else {
            return;
        };
        let config = match (transport, &running.server) {
            (Some(transport), Some(server)) => {
                let mut server = quic::ServerConfig::clone(server);
                server.transport = Arc::new(transport);
                Some(Arc::new(server))
            }
            (None, _) | (_, None) => None,
        };
        let now = to_std(cx.now());
        match running
            .endpoint
            .accept(incoming, now, &mut self.buffer, config)
        {
            Ok((handle, connection)) => {
                self.connections
                    .insert(handle.0, (Connection::server(connection), None));
                self.serve(cx, handle);
            }
            // A damaged first packet: as if it had been lost.
            Err(refused) => {
                if let Some(transmit) = refused.response {
                    self.respond(cx, &transmit);
                }
            }
        }
    }

    fn respond(&self, cx: &mut Cx<'_>, transmit: &quic::Transmit) {
        if let (Some(running), Some(data)) = (&self.running, self.buffer.get(..transmit.size)) {
            note(|facts| facts.datagrams += 1);
            cx.send_to(running.socket, transmit.destination, data);
        }
    }

    /// Lets a connection do all that it can do now, and sets its timer.
    fn serve(&mut self, cx: &mut Cx<'_>, handle: quic::ConnectionHandle) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some((connection, timer)) = self.connections.get_mut(&handle.0) else {
            return;
        };
        if let Some(timer) = timer.take() {
            self.timers.disarm(timer);
        }
        let state = connection.run(cx, handle, &mut running.endpoint);
        if matches!(state, Now::Drained) {
            self.connections.remove(&handle.0);
            return;
        }
        let (quic, now) = (&mut connection.quic, to_std(cx.now()));
        loop {
            self.buffer.clear();
            let Some(transmit) = quic.poll_transmit(now, DATAGRAMS_AT_ONCE, &mut self.buffer)
            else {
                break;
            };
            let len = transmit.segment_size.unwrap_or(transmit.size).max(1);
            let sent = self.buffer.get(..transmit.size).unwrap_or_default();
            for datagram in sent.chunks(len) {
                note(|facts| facts.datagrams += 1);
                cx.send_to(running.socket, transmit.destination, datagram);
            }
        }
        *timer = quic
            .poll_timeout()
            .map(|at| self.timers.arm(from_std(at), Due::Connection(handle)));
    }

    fn fire(&mut self, cx: &mut Cx<'_>) {
        while let Some(due) = self.timers.pop_due(cx.now()) {
            match due {
                Due::Connect(plan) => self.connect_now(cx, plan),
                Due::Rebind => self.rebind(cx),
                Due::Connection(handle) => {
                    if let Some((connection, timer)) = self.connections.get_mut(&handle.0) {
                        *timer = None;
                        connection.quic.handle_timeout(to_std(cx.now()));
                        self.serve(cx, handle);
                    }
                }
            }
        }
    }

    /// A client that has nothing left to do closes its socket.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        let is_client = self.settings.listen.is_none();
        if is_client && self.planned == 0 && self.connections.is_empty() {
            if let Some(running) = self.running.take() {
                cx.unbind(running.socket);
            }
            self.timers = TimerQueue::default();
        }
    }
}

impl Host for QuicHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        if matches!(input, HostInput::Start) {
            self.sources.begin(cx);
        }
        let entered = self.sources.enter(cx.now());
        match input {
            HostInput::Start => self.start(cx),
            HostInput::Timer => self.fire(cx),
            HostInput::Datagram { from, data, .. } => self.receive(cx, from, data),
            HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Packet(_)
            | HostInput::Icmp { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            // quinn-proto finds the path's limit by probing alone.
            | HostInput::Resolved(..) => {}
        }
        drop(entered);
        self.sources.give_secrets(cx.log());
        self.leave(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn waiting(&self) -> Option<String> {
        if self.planned > 0 {
            return Some(format!("{} connections to make", self.planned));
        }
        let (first, _) = self.connections.values().next()?;
        let count = self.connections.len();
        Some(format!("{count} connections; {}", first.describe()))
    }
}
