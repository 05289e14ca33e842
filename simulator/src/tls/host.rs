//! [`TlsHost`]: a server that answers requests over TLS, or a client that makes them.
use super::link::{Link, Now};
use crate::{
    check::Invariant,
    host::{Cx, DialId, Host, HostInput, SocketId},
    quic::{
        Hooks, Identity, Request, Watch,
        deterministic::{DEFAULT_GROUPS, SERVER_NAME, Sources},
        talk::Talk,
    },
};
use core::{net::SocketAddr, time::Duration};
use rustls::{crypto::SupportedKxGroup, pki_types::ServerName};
use sansbox_core::Instant;
use sansbox_engine::timer::TimerQueue;
use std::{collections::BTreeMap, rc::Rc, sync::Arc};

/// Nobody dials before everybody listens.
const BOOT: Duration = Duration::from_millis(1);

/// A connection that a client will make, for one request.
#[derive(Clone, Debug)]
pub struct Dial {
    to: SocketAddr,
    request: Request,
    after: Duration,
}

impl Dial {
    /// Dials `to` at the start.
    #[must_use]
    pub const fn new(to: SocketAddr, request: Request) -> Self {
        let after = Duration::ZERO;
        Self { to, request, after }
    }

    /// Dials so much later.
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

struct Running {
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
}

/// A TLS server or client.
pub struct TlsHost {
    identity: Rc<Identity>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    listen: Option<SocketAddr>,
    plans: Vec<Dial>,
    sources: Sources,
    running: Option<Running>,
    timers: TimerQueue<Dial>,
    dials: BTreeMap<DialId, Request>,
    links: BTreeMap<SocketId, Link>,
}

impl TlsHost {
    fn new(identity: &Rc<Identity>, listen: Option<SocketAddr>, hooks: Hooks) -> Self {
        Self {
            identity: Rc::clone(identity),
            groups: DEFAULT_GROUPS.to_vec(),
            listen,
            plans: Vec::new(),
            sources: Sources::new(hooks),
            running: None,
            timers: TimerQueue::default(),
            dials: BTreeMap::new(),
            links: BTreeMap::new(),
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
    pub fn dial(mut self, dial: Dial) -> Self {
        self.plans.push(dial);
        self
    }

    /// Offers or accepts these groups, the first of them in the first flight.
    #[must_use]
    pub fn groups(mut self, groups: &[&'static dyn SupportedKxGroup]) -> Self {
        self.groups = groups.to_vec();
        self
    }

    /// A look at what this host sees.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.sources.watch()
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        let (identity, groups) = (&self.identity, &self.groups);
        self.running = Some(Running {
            client: Arc::new(self.sources.client_tls(identity, groups)),
            server: Arc::new(self.sources.server_tls(identity, groups)),
        });
        if let Some(addr) = self.listen {
            cx.listen(addr);
        }
        let start = cx.now() + BOOT;
        for dial in core::mem::take(&mut self.plans) {
            self.timers.arm(start + dial.after, dial);
        }
    }

    fn fire(&mut self, cx: &mut Cx<'_>) {
        while let Some(dial) = self.timers.pop_due(cx.now()) {
            self.dials.insert(cx.dial(dial.to), dial.request);
        }
    }

    fn accepted(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        let Some(running) = &self.running else {
            return;
        };
        match rustls::ServerConnection::new(Arc::clone(&running.server)) {
            Ok(tls) => self.begin(cx, socket, tls.into(), Talk::answer()),
            Err(why) => cx.violate(Invariant::ScriptHolds, format!("server: {why}")),
        }
    }

    fn dialed(&mut self, cx: &mut Cx<'_>, socket: SocketId, request: &Request) {
        let (Some(running), Ok(name)) = (&self.running, ServerName::try_from(SERVER_NAME)) else {
            return;
        };
        match rustls::ClientConnection::new(Arc::clone(&running.client), name) {
            Ok(tls) => self.begin(cx, socket, tls.into(), Talk::ask(request)),
            Err(why) => cx.violate(Invariant::ScriptHolds, format!("client: {why}")),
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, socket: SocketId, tls: rustls::Connection, talk: Talk) {
        self.links.insert(socket, Link::new(socket, tls, talk));
        self.run(cx, socket);
    }

    fn run(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        let Some(link) = self.links.get_mut(&socket) else {
            return;
        };
        if matches!(link.run(cx), Now::Over) {
            self.links.remove(&socket);
        }
    }
}

impl Host for TlsHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        if matches!(input, HostInput::Start) {
            self.sources.begin(cx);
        }
        let entered = self.sources.enter(cx.now());
        match input {
            HostInput::Start => self.start(cx),
            HostInput::Timer => self.fire(cx),
            HostInput::Accepted { socket, .. } => self.accepted(cx, socket),
            HostInput::Dialed(dial, outcome) => {
                let request = self.dials.remove(&dial);
                match (request, outcome) {
                    (Some(request), Ok((socket, _))) => self.dialed(cx, socket, &request),
                    (Some(_), Err(why)) => {
                        cx.violate(Invariant::ScriptHolds, format!("dial: {why}"));
                    }
                    (None, _) => {}
                }
            }
            HostInput::Readable(socket) | HostInput::Writable(socket) => self.run(cx, socket),
            HostInput::Command(_)
            | HostInput::Datagram { .. }
            | HostInput::Packet(_)
            | HostInput::Icmp { .. }
            | HostInput::Resolved(..) => {}
        }
        drop(entered);
        self.sources.give_secrets(cx.log());
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn waiting(&self) -> Option<String> {
        let waits = self.timers.len() + self.dials.len();
        if waits > 0 {
            return Some(format!("{waits} connections to make"));
        }
        let first = self.links.values().next()?;
        let count = self.links.len();
        Some(format!("{count} connections; {}", first.describe()))
    }
}
