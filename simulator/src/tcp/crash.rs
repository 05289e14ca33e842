//! What faults of hosts do to their connections.
use super::{
    Side,
    conn::State,
    ideal::{Outcome, Tcp},
};
use crate::{
    event::Event,
    host::{DialId, HostId, SocketId},
    net::Core,
};
use core::{net::IpAddr, time::Duration};
use sansbox_core::Refusal;

/// When a segment that reached nobody comes again.
const AGAIN: Duration = Duration::from_secs(1);
/// When a host without a free file tries to accept again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Tcp {
    /// All open sockets of a host.
    pub(crate) fn sockets(&self, host: HostId) -> Vec<SocketId> {
        let mut out = self.over.sockets(host);
        for (conn, state) in &self.conns {
            for side in [Side::Dialer, Side::Acceptor] {
                let end = state.end(side);
                if end.host == host && end.state == State::Open {
                    out.push(SocketId { conn: *conn, side });
                }
            }
        }
        out
    }

    /// The programs of a host are gone: nobody listens, nobody waits for a dial. A kernel that is
    /// gone as well says nothing.
    pub(crate) fn forget_host(&mut self, core: &mut Core, host: HostId, has_kernel: bool) {
        self.listeners.retain(|_, of| *of != host);
        let dials = self.dials.iter().filter(|(_, dial)| dial.host == host);
        let dials: Vec<DialId> = dials.map(|(id, _)| *id).collect();
        for id in dials {
            if has_kernel {
                self.cancel_dial(core, id);
            } else if let Some(dial) = self.dials.remove(&id)
                && let Outcome::Conn(conn) = dial.outcome
                && let Some(conn) = self.conns.get_mut(&conn)
            {
                conn.vanish(core, Side::Dialer);
            }
        }
        if !has_kernel {
            self.over.forget_stack(host);
        }
    }

    /// A kernel is back that knows no connection: bytes are answered with a reset.
    pub(crate) fn rebooted(&mut self, host: HostId) {
        for conn in self.conns.values_mut() {
            for side in [Side::Dialer, Side::Acceptor] {
                let end = conn.end_mut(side);
                if end.host == host && end.state == State::Vanished {
                    end.state = State::Closed;
                }
            }
        }
    }

    /// Nothing passes any more on the connections of an address.
    pub(crate) fn cut_address(&mut self, core: &mut Core, host: HostId, ip: IpAddr) {
        for conn in self.conns.values_mut() {
            let has = |side| {
                let end = conn.end(side);
                end.host == host && end.addr.ip() == ip
            };
            if has(Side::Dialer) || has(Side::Acceptor) {
                conn.cut(core);
            }
        }
    }

    /// A segment or a request reaches a host that hears nothing: it comes again.
    pub(super) fn comes_again(core: &mut Core, host: HostId, event: Event) -> bool {
        let is_deaf = core.is_deaf(host);
        if is_deaf {
            core.queue.push(core.now + AGAIN, event);
        }
        is_deaf
    }

    /// A connection waits to be accepted: its host has no file left for it.
    pub(super) fn waits_for_file(&self, core: &mut Core, host: HostId, number: u32) -> bool {
        let waits = core.files_max(host).is_some() && !core.has_file(host, self.open_sockets(host));
        if waits {
            core.queue
                .push(core.now + ACCEPT_AGAIN, Event::Accept(number));
        }
        waits
    }

    /// A dial that its own host refuses.
    pub(super) fn refuse_dial(&mut self, core: &mut Core, host: HostId, id: DialId) {
        let outcome = Outcome::Failed(Refusal::Exhausted);
        let dial = super::ideal::Dial {
            host,
            outcome,
            request: None,
        };
        self.dials.insert(id, dial);
        core.queue.push(core.now, Event::Dialed(id));
    }
}
