//! Dials: how they begin, and what comes of them.
use super::{
    Side,
    conn::{Conn, EndPoint, State},
    ideal::{Dial, Outcome, Reach, Tcp},
    sketch::Request,
};
use crate::{
    event::Event,
    host::{DialId, HostId, HostInput, SocketId},
    net::Core,
    rng::StreamId,
    transcript::Tag,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};

/// How long a kernel goes on asking for a connection (Linux, `tcp_syn_retries` 6).
const SYN_TIMEOUT: Duration = Duration::from_secs(127);

/// What the weather makes of a dial.
fn bad_weather(core: &mut Core, reach: Reach, name: &str) -> Reach {
    let weather = core.weather;
    let what = format_args!("{name}");
    if core.strikes(weather.dial_refused, "dial-refused", what) {
        Reach::Refused
    } else if core.strikes(weather.dial_unreachable, "dial-unreachable", what) {
        Reach::Unreachable(Refusal::HostUnreachable)
    } else if core.strikes(weather.dial_unanswered, "dial-unanswered", what) {
        Reach::BlackHole
    } else if core.strikes(weather.dial_exhausted, "dial-exhausted", what) {
        Reach::Unreachable(Refusal::Exhausted)
    } else if reach == Reach::Open && core.strikes(weather.dial_slow, "dial-slow", what) {
        Reach::Slow(core.slower("dial-slow", what))
    } else {
        reach
    }
}

impl Tcp {
    pub(crate) fn dial(&mut self, core: &mut Core, host: HostId, to: SocketAddr) -> DialId {
        let id = DialId(self.next_dial);
        self.next_dial += 1;
        core.note_text(host, Tag::Dial, id.0.into(), format_args!("{to}"));
        if core.files_max(host).is_some() && !core.has_file(host, self.open_sockets(host)) {
            self.refuse_dial(core, host, id);
            return id;
        }
        // Behind a device it is the gateway that reaches somebody or not.
        let is_behind = core.sites.gateway(core.site(host)).is_some();
        let reach = self.reach.get(&to).copied().filter(|_| !is_behind);
        let reach = reach.unwrap_or(Reach::Open);
        let nth = self.dialed.entry((host, to)).or_default();
        let name = format!("tcp/{}->{to}#{nth}", core.host_name(host));
        *nth += 1;
        let reach = bad_weather(core, reach, &name);
        let goes_over = matches!(reach, Reach::Open | Reach::Slow(_));
        if goes_over && self.over.carries(core, host, to.ip()) {
            self.dial_over(core, host, (id, to));
            return id;
        }
        let stream = core.streams.open(&name);
        let (at, outcome) = self.dial_ideal(core, (host, to), stream, reach);
        let local = core.local_ip(host, to.ip());
        let request = match (outcome, local) {
            (Outcome::Failed(_), Some(from)) => Some(Request::new(core, host, (from, to))),
            _ => None,
        };
        let dial = Dial {
            host,
            outcome,
            request,
        };
        self.dials.insert(id, dial);
        core.queue.push(at, Event::Dialed(id));
        id
    }

    fn dial_ideal(
        &mut self,
        core: &mut Core,
        (host, to): (HostId, SocketAddr),
        stream: StreamId,
        reach: Reach,
    ) -> (Instant, Outcome) {
        let path = *self
            .paths
            .by_address
            .get(&to)
            .unwrap_or(&self.paths.default);
        let (extra, listener) = match reach {
            Reach::Open => (Duration::ZERO, self.listeners.get(&to).copied()),
            Reach::Slow(extra) => (extra, self.listeners.get(&to).copied()),
            Reach::Refused | Reach::BlackHole | Reach::Unreachable(_) => (Duration::ZERO, None),
        };
        let mut at = core.now + path.latency + extra;
        let from = match core.local_addr(host, to) {
            Ok(from) => from,
            Err(refusal) => return (at, Outcome::Failed(refusal)),
        };
        if listener.is_some_and(|host| core.is_deaf(host)) {
            return (core.now + SYN_TIMEOUT, Outcome::Failed(Refusal::TimedOut));
        }
        if let Some(acceptor) = listener {
            let number = self.next_conn;
            self.next_conn += 1;
            let ends = ((host, from), (acceptor, to));
            let mut conn = Conn::new(core, number, (path, stream), ends.0, ends.1);
            conn.sketch_request(core);
            at += conn.delay(core);
            core.queue.push(at, Event::Accept(number));
            at += conn.delay(core);
            conn.hold_until(Side::Acceptor, at);
            self.conns.insert(number, conn);
            return (at, Outcome::Conn(number));
        }
        at += path.latency;
        match reach {
            Reach::Unreachable(refusal) => (at, Outcome::Failed(refusal)),
            Reach::BlackHole => (core.now + SYN_TIMEOUT, Outcome::Failed(Refusal::TimedOut)),
            Reach::Open | Reach::Refused | Reach::Slow(_) => {
                (at, Outcome::Failed(Refusal::ConnectionRefused))
            }
        }
    }

    pub(crate) fn cancel_dial(&mut self, core: &mut Core, id: DialId) {
        let Some(dial) = self.dials.remove(&id) else {
            return;
        };
        match dial.outcome {
            Outcome::Conn(conn) => {
                let side = Side::Dialer;
                self.abort(core, SocketId { conn, side });
            }
            Outcome::Asking(socket) | Outcome::Socket(socket) => self.abort(core, socket),
            Outcome::Failed(_) => {}
        }
    }

    pub(crate) fn dialed(&mut self, core: &mut Core, id: DialId) -> Option<(HostId, HostInput)> {
        let dial = self.dials.remove(&id)?;
        let outcome = match dial.outcome {
            Outcome::Conn(conn) => {
                let side = Side::Dialer;
                // Gone already: the acceptor reset it before the dialler heard of it.
                let end = self.conns.get_mut(&conn).map(|c| c.end_mut(side));
                let open = |end: &mut EndPoint| {
                    end.state = State::Open;
                    (SocketId { conn, side }, end.addr)
                };
                end.map(open).ok_or(Refusal::ConnectionRefused)
            }
            Outcome::Socket(socket) | Outcome::Asking(socket) => {
                let local = self.over.open(socket);
                local
                    .map(|local| (socket, local))
                    .ok_or(Refusal::ConnectionRefused)
            }
            Outcome::Failed(refusal) => Err(refusal),
        };
        if let Outcome::Conn(conn) = dial.outcome
            && let Some(conn) = self.conns.get(&conn)
        {
            conn.sketch_granted(core);
        }
        if let (Err(why), Some(request)) = (outcome, dial.request) {
            request.sketch_end(core, dial.host, why);
        }
        let from = outcome.map(|(_, from)| from);
        core.note_text(
            dial.host,
            Tag::Dialed,
            id.0.into(),
            format_args!("{from:?}"),
        );
        Some((dial.host, HostInput::Dialed(id, outcome)))
    }
}
