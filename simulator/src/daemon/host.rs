//! A process on a host, which may crash and start again.
use super::{device::TunSettings, running::Running};
use crate::{
    drive::Rules,
    host::{Command, Cx, Host, HostInput},
};
use core::time::Duration;
use sansbox_core::Instant;
use sansbox_engine::{
    Plan,
    config::{ReadOptions, Sources, read},
    drive::Service,
};
use std::sync::Arc;

/// The plan that a configuration in sing-box JSON makes; carriers and all.
///
/// # Errors
/// All that is wrong with it, as text.
pub fn plan(json: &str) -> Result<Arc<Plan>, String> {
    let lines = |all: Vec<String>| all.join("; ");
    let sources = Sources::single("scenario.json", json);
    let (config, _) = read(&sources, &ReadOptions::default())
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    let plan = Plan::build(&config)
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    Ok(Arc::new(plan))
}

/// Counts who holds something.
type Holders = Box<dyn Fn() -> usize>;

struct Shared {
    holders: Holders,
    /// How often it is held while there are no machines, known at the start.
    before: usize,
}

/// Runs the engine's loop as a daemon does: listens, accepts, dials, keeps time, stops. When its
/// host crashes, everything in it is gone; started again it begins anew.
pub struct DaemonHost<S: Service> {
    service: Arc<S>,
    rules: Rules,
    grace: Duration,
    tun: TunSettings,
    starts: u64,
    running: Option<Running<S>>,
    shared: Option<Shared>,
}

impl DaemonHost<Plan> {
    /// A host with the listeners of a plan.
    #[must_use]
    pub fn of_plan(rules: Rules, plan: &Arc<Plan>, tun: TunSettings) -> impl Host + 'static {
        #[cfg(test)]
        let host = DaemonHost::new(rules, crate::record::tests::taped(plan));
        #[cfg(not(test))]
        let host = Self::new(rules, Arc::clone(plan));
        let weak = Arc::downgrade(plan);
        host.tun(tun).shares(move || weak.strong_count())
    }
}

impl<S: Service> DaemonHost<S> {
    /// A host that serves `service`.
    #[must_use]
    pub const fn new(rules: Rules, service: Arc<S>) -> Self {
        Self {
            service,
            rules,
            grace: Duration::ZERO,
            tun: TunSettings::new(),
            starts: 0,
            running: None,
            shared: None,
        }
    }

    /// How long sessions may go on when it is told to stop; at first not at all.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What the TUN device of its configuration is like.
    #[must_use]
    pub const fn tun(mut self, tun: TunSettings) -> Self {
        self.tun = tun;
        self
    }

    /// Machines share something: when all are gone, it is held as often as at the start.
    #[must_use]
    pub fn shares(mut self, holders: impl Fn() -> usize + 'static) -> Self {
        let (holders, before) = (Box::new(holders), 0);
        self.shared = Some(Shared { holders, before });
        self
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        let service = Arc::clone(&self.service);
        let settings = (self.rules, self.tun);
        let running = Running::start(cx, service, settings, self.starts);
        self.starts += 1;
        self.running = Some(running);
        if let Some(shared) = &mut self.shared {
            shared.before = (shared.holders)();
        }
    }
}

impl<S: Service> Host for DaemonHost<S> {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        if matches!(input, HostInput::Start) {
            self.start(cx);
        }
        let Some(running) = &mut self.running else {
            return;
        };
        match input {
            HostInput::Start => {}
            HostInput::Timer => running.time_out(cx),
            HostInput::Command(Command::Stop) => running.stop(cx, self.grace),
            HostInput::Accepted {
                socket,
                remote,
                local,
            } => running.accept(cx, socket, remote, local),
            HostInput::Dialed(dial, outcome) => running.net.ways.on_dialed(dial, outcome),
            HostInput::Readable(socket) => running.net.ways.on_readable(socket),
            HostInput::Writable(socket) => running.net.ways.on_writable(socket),
            HostInput::Datagram { socket, from, data } => {
                running.datagram(cx, socket, from, data);
            }
            // The kernels of some systems tell of it at the next call.
            HostInput::Icmp { socket, from, icmp } => {
                running.net.ways.on_error(socket, from, &icmp);
            }
            HostInput::Packet(packet) => running.packet(cx, &packet),
            HostInput::Resolved(query, found) => running.net.ways.on_found(query, found),
        }
        running.run(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.running.as_ref()?.poll_timeout()
    }

    fn crashed(&mut self, _: &mut Cx<'_>) {
        self.running = None;
    }

    fn is_done(&self) -> bool {
        self.running.as_ref().is_none_or(|r| r.sessions() == 0)
    }

    fn serves(&self) -> bool {
        true
    }

    fn residue(&self) -> Option<String> {
        if let Some(what) = self.running.as_ref().and_then(Running::residue) {
            return Some(what);
        }
        let shared = self.shared.as_ref()?;
        let (now, before) = ((shared.holders)(), shared.before);
        (now > before).then(|| format!("shared by {now}, at first by {before}"))
    }

    fn waiting(&self) -> Option<String> {
        self.running.as_ref()?.waiting()
    }
}
