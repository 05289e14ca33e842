//! What must hold of a process as a whole.
use super::{Kind, Running};
use crate::{check::Invariant, host::Cx};
use sansbox_engine::drive::{Counters, Service};
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
