//! What must hold of a process as a whole.
use super::{Kind, Running, Work};
use crate::{check::Invariant, daemon::device::Device, host::Cx};
use sansbox_engine::drive::{Counters, Service};
use sansbox_stack::{
    Interface, Usage,
    config::{SEND_FLOOR, WINDOW_FLOOR},
    drops::Dropped,
};

/// What is queued to be sent may be above its limit by a chunk.
const CHUNK_LEN_MAX: u64 = 64 << 10;

impl<S: Service> Running<S> {
    /// Counters, buffers and deadlines agree with what there is.
    pub(super) fn check(&mut self, cx: &mut Cx<'_>) {
        self.check_device(cx);
        let mut counted = Counters::default();
        self.pool.tally.add_to(&mut counted);
        let open = self.sessions();
        if counted.open != open as u64 {
            let what = format!("{} of {open} sessions counted", counted.open);
            cx.violate(Invariant::MatchesModel, what);
        }
        let logged: u64 = self.net.served.closed.values().sum();
        if logged != self.finished {
            let what = format!("{logged} of {} ends counted", self.finished);
            cx.violate(Invariant::MatchesModel, what);
        }
        if open == 0 && self.pool.leased() + self.net.ways.conduits > 0 {
            let leased = self.pool.leased();
            let what = format!("{leased} buffers, {} conduits", self.net.ways.conduits);
            cx.violate(Invariant::BackToBaseline, what);
        }
    }

    /// The machine for the packets of the device.
    fn interface(&self) -> Option<&Interface> {
        let mut residents = self.residents.iter();
        residents.find_map(|(_, resident)| match &resident.work {
            Work::Carrier(drive) => drive.carrier().interface(),
            Work::Session(_) | Work::Association(_) => None,
        })
    }

    /// Clients of a device hold no more than its budgets, and what is dropped is counted.
    fn check_device(&mut self, cx: &mut Cx<'_>) {
        let Some(interface) = self.interface() else {
            return;
        };
        let stack = interface.stack();
        let (config, usage, flows) = (stack.config(), stack.usage(), u64::from(stack.open_flows()));
        let windows_max = (config.window_budget + flows * u64::from(WINDOW_FLOOR))
            .min(flows * u64::from(config.window_max));
        let queued_max = (config.send_budget + flows * (u64::from(SEND_FLOOR) + CHUNK_LEN_MAX))
            .min(flows * (u64::from(config.send_max) + CHUNK_LEN_MAX));
        if usage.windows > windows_max || usage.queued > queued_max {
            let what = format!("{usage:?} of {flows} flows, above {windows_max} or {queued_max}");
            cx.violate(Invariant::PipeBounded, what);
        }
        let drops: Vec<Dropped> = interface.drops().collect();
        for (nth, drop) in drops.iter().enumerate() {
            if drop.count > self.drops.get(nth).map_or(0, |before| before.count) {
                cx.mark(format!("dropped {}/{}", drop.module, drop.reason));
            }
        }
        self.drops = drops;
    }

    /// What a device's carrier, or the device itself, still holds.
    fn left_of_devices(&self) -> Option<String> {
        let unread = self.device.as_ref().map_or(0, Device::left);
        let interface = self.interface()?;
        let stack = interface.stack();
        let (open, half_open) = (stack.open_flows(), stack.half_open_flows());
        let usage = stack.usage();
        let (mappings, queued) = (interface.mappings(), interface.queued());
        let is_tcp_left = open + half_open > 0 || usage != Usage::default();
        (is_tcp_left || unread + mappings + queued > 0).then(|| {
            format!(
                "{unread} frames, {queued} packets, {open} flows, {half_open} half-open ones, \
                 {mappings} mappings, {usage:?} left"
            )
        })
    }

    /// Sessions and associations.
    pub(in super::super) fn sessions(&self) -> usize {
        let carriers = self.residents.iter();
        let carriers = carriers.filter(|(_, r)| r.account.kind == Kind::Carrier);
        self.residents.len() - carriers.count()
    }

    pub(in super::super) fn waiting(&self) -> Option<String> {
        let mut residents = self.residents.iter().map(|(_, resident)| &resident.account);
        let first = residents.find(|account| account.kind != Kind::Carrier)?;
        let what = first.describe("not finished");
        Some(format!("{} drives left; {what}", self.residents.len()))
    }

    /// What is left that was not there at the start.
    pub(in super::super) fn residue(&self) -> Option<String> {
        let [conns, dials, queries, mailboxes, conduits, ready] = self.net.ways.left();
        let carriers = self.residents.len();
        let timers = usize::from(self.pool.timers.next().is_some());
        let timers = timers + self.handshakes.len();
        let leased = self.pool.leased();
        let of_sessions = conns + dials + conduits + ready + leased;
        let of_carriers = queries + mailboxes + timers;
        let is_left = of_sessions > 0 || carriers == 0 && of_carriers > 0;
        if let Some(what) = self.left_of_devices() {
            return Some(what);
        }
        is_left.then(|| {
            format!(
                "{conns} connections, {dials} dials, {queries} lookups, {mailboxes} sockets, \
                 {conduits} conduits, {ready} ready, {leased} buffers, {timers} timers left"
            )
        })
    }
}
