//! All TCP connections of a world.
use super::{
    Side,
    conn::{Conn, State},
    sketch,
};
use crate::{
    event::Event,
    host::{DialId, HostId, HostInput, Read, SocketId, WasReset},
    net::{
        Core,
        packet::{Flags, PacketId},
    },
    transcript::Tag,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Refusal;
use std::collections::BTreeMap;

/// How long a kernel goes on asking for a connection (Linux, `tcp_syn_retries` 6).
const SYN_TIMEOUT: Duration = Duration::from_secs(127);

/// How bytes are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// Random lengths up to a limit that each connection draws: one byte, tiny, a packet, large.
    Any,
    /// Random lengths up to this.
    UpTo(usize),
}

/// The way between two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// One-way delay, at least.
    pub latency: Duration,
    /// Added to it, at most; order is kept.
    pub jitter: Duration,
    /// Bytes per second each way; `None`: no limit.
    pub rate: Option<u64>,
    /// Receive window in bytes.
    pub window: usize,
    /// Send buffer in bytes.
    pub send_buffer: usize,
    /// How bytes are cut.
    pub segments: Segments,
    /// When the kernel of the one that is left declares a vanished peer dead.
    pub keep_alive: Duration,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            rate: None,
            window: 64 << 10,
            send_buffer: 64 << 10,
            segments: Segments::Any,
            // 10 minutes idle, then 9 probes 75 seconds apart.
            keep_alive: Duration::from_secs(600 + 9 * 75),
        }
    }
}

/// What becomes of a dial to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Accepted where somebody listens, refused otherwise.
    Open,
    /// Answered with RST.
    Refused,
    /// Never answered.
    BlackHole,
    /// Answered so much later.
    Slow(Duration),
    /// Answered by a router on the way.
    Unreachable(Refusal),
}

#[derive(Debug)]
struct Dial {
    host: HostId,
    outcome: Result<u32, Refusal>,
    ends: Option<(SocketAddr, SocketAddr)>,
    /// The connection request.
    packet: Option<PacketId>,
}

/// TCP.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    listeners: BTreeMap<SocketAddr, HostId>,
    reach: BTreeMap<SocketAddr, Reach>,
    paths: BTreeMap<SocketAddr, Path>,
    pub(crate) default_path: Path,
    conns: BTreeMap<u32, Conn>,
    dials: BTreeMap<DialId, Dial>,
    dialed: BTreeMap<(HostId, SocketAddr), u32>,
    next_conn: u32,
    next_dial: u32,
}

impl Tcp {
    pub(crate) fn set_reach(&mut self, to: SocketAddr, reach: Reach) {
        self.reach.insert(to, reach);
    }

    pub(crate) fn set_path(&mut self, to: SocketAddr, path: Path) {
        self.paths.insert(to, path);
    }

    pub(crate) fn listen(&mut self, host: HostId, addr: SocketAddr) {
        self.listeners.insert(addr, host);
    }

    pub(crate) fn open_sockets(&self, host: HostId) -> usize {
        let owns = |conn: &&Conn, side| {
            let end = conn.end(side);
            end.host == host && end.state == State::Open
        };
        let count = |side| self.conns.values().filter(|conn| owns(conn, side)).count();
        count(Side::Dialer) + count(Side::Acceptor)
    }

    pub(crate) fn dial(&mut self, core: &mut Core, host: HostId, to: SocketAddr) -> DialId {
        let id = DialId(self.next_dial);
        self.next_dial += 1;
        core.note_text(host, Tag::Dial, id.0.into(), format_args!("{to}"));
        let path = *self.paths.get(&to).unwrap_or(&self.default_path);
        let nth = self.dialed.entry((host, to)).or_default();
        let name = format!("tcp/{}->{to}#{nth}", core.host_name(host));
        *nth += 1;
        let stream = core.streams.open(&name);
        let reach = self.reach.get(&to).copied().unwrap_or(Reach::Open);
        let (extra, listener) = match reach {
            Reach::Open => (Duration::ZERO, self.listeners.get(&to).copied()),
            Reach::Slow(extra) => (extra, self.listeners.get(&to).copied()),
            Reach::Refused | Reach::BlackHole | Reach::Unreachable(_) => (Duration::ZERO, None),
        };
        let mut at = core.now + path.latency + extra;
        let from = core.local_addr(host, to);
        let ends = from.ok().map(|from| (from, to));
        let mut packet = None;
        let outcome = match (listener, from) {
            (Some(acceptor), Ok(from)) => {
                let number = self.next_conn;
                self.next_conn += 1;
                let ends = ((host, from), (acceptor, to));
                let mut conn = Conn::new(core, number, (path, stream), ends.0, ends.1);
                packet = Some(conn.sketch_sent(core, Side::Dialer, (Flags::SYN, 0), &[]));
                conn.request = packet;
                at += conn.delay(core);
                core.queue.push(at, Event::Accept(number));
                at += conn.delay(core);
                conn.hold_until(Side::Acceptor, at);
                self.conns.insert(number, conn);
                Ok(number)
            }
            (_, Err(refusal)) => Err(refusal),
            (None, Ok(from)) => {
                at += path.latency;
                packet = Some(sketch::request(core, host, (from, to)));
                match reach {
                    Reach::Unreachable(refusal) => Err(refusal),
                    Reach::BlackHole => {
                        at = core.now + SYN_TIMEOUT;
                        Err(Refusal::TimedOut)
                    }
                    Reach::Open | Reach::Refused | Reach::Slow(_) => {
                        Err(Refusal::ConnectionRefused)
                    }
                }
            }
        };
        let dial = Dial {
            host,
            outcome,
            ends,
            packet,
        };
        self.dials.insert(id, dial);
        core.queue.push(at, Event::Dialed(id));
        id
    }

    pub(crate) fn cancel_dial(&mut self, core: &mut Core, id: DialId) {
        let Some(dial) = self.dials.remove(&id) else {
            return;
        };
        if let Ok(conn) = dial.outcome {
            self.abort(
                core,
                SocketId {
                    conn,
                    side: Side::Dialer,
                },
            );
        }
    }

    pub(crate) fn dialed(&mut self, core: &mut Core, id: DialId) -> Option<(HostId, HostInput)> {
        let dial = self.dials.remove(&id)?;
        let outcome = dial.outcome.and_then(|conn| {
            let side = Side::Dialer;
            // Gone already: the acceptor reset it before the dialler heard of it.
            let end = self
                .conns
                .get_mut(&conn)
                .map(|c| c.end_mut(side))
                .ok_or(Refusal::ConnectionRefused)?;
            end.state = State::Open;
            Ok((SocketId { conn, side }, end.addr))
        });
        self.sketch_answer(core, &dial);
        let text = format_args!("{:?}", outcome.map(|(_, from)| from));
        core.note_text(dial.host, Tag::Dialed, id.0.into(), text);
        Some((dial.host, HostInput::Dialed(id, outcome)))
    }

    /// Draws what answered a connection request.
    fn sketch_answer(&self, core: &mut Core, dial: &Dial) {
        match dial.outcome {
            Ok(conn) => {
                if let Some(conn) = self.conns.get(&conn)
                    && let Some(packet) = conn.request
                {
                    conn.sketch_arrived(core, Side::Acceptor, packet, &[]);
                }
            }
            Err(why) => {
                if let (Some(ends), Some(packet)) = (dial.ends, dial.packet) {
                    let lost = (why != Refusal::ConnectionRefused).then(|| why.to_string());
                    sketch::refusal(core, dial.host, ends, packet, lost.as_deref());
                }
            }
        }
    }

    pub(crate) fn accept(&mut self, core: &mut Core, number: u32) -> Option<(HostId, HostInput)> {
        let conn = self.conns.get_mut(&number)?;
        let remote = conn.end(Side::Dialer).addr;
        let end = conn.end_mut(Side::Acceptor);
        if end.state != State::Opening {
            return None;
        }
        end.state = State::Open;
        let (host, local) = (end.host, end.addr);
        if let Some(packet) = conn.request {
            conn.sketch_arrived(core, Side::Dialer, packet, &[]);
        }
        conn.request = Some(conn.sketch_sent(core, Side::Acceptor, (Flags::SYN_ACK, 0), &[]));
        let socket = SocketId {
            conn: number,
            side: Side::Acceptor,
        };
        let number = socket.number();
        core.note_text(host, Tag::Accepted, number, format_args!("{remote}"));
        let input = HostInput::Accepted {
            socket,
            remote,
            local,
        };
        Some((host, input))
    }

    pub(crate) fn arrive(&mut self, core: &mut Core, from: SocketId, number: u64) {
        if let Some(conn) = self.conns.get_mut(&from.conn) {
            conn.arrive(core, from.side, number);
        }
    }

    pub(crate) fn pump(&mut self, core: &mut Core, socket: SocketId) {
        if let Some(conn) = self.conns.get_mut(&socket.conn) {
            conn.pump_now(core, socket.side);
        }
    }

    pub(crate) fn reset(&mut self, core: &mut Core, socket: SocketId, packet: Option<PacketId>) {
        let Some(conn) = self.conns.get_mut(&socket.conn) else {
            return;
        };
        if conn.end(socket.side).state == State::Opening && socket.side == Side::Acceptor {
            // The dialler gave up before the request arrived: nobody ever hears of it.
            self.conns.remove(&socket.conn);
            return;
        }
        conn.reset(core, socket.side, packet);
    }

    /// A readiness event comes due; returns whom to tell.
    pub(crate) fn wake(&mut self, socket: SocketId, to_read: bool) -> Option<(HostId, HostInput)> {
        let host = self
            .conns
            .get_mut(&socket.conn)?
            .wake(socket.side, to_read)?;
        let input = if to_read {
            HostInput::Readable(socket)
        } else {
            HostInput::Writable(socket)
        };
        Some((host, input))
    }

    fn owned(&mut self, socket: SocketId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(&socket.conn)?;
        (conn.end(socket.side).state == State::Open).then_some(conn)
    }

    pub(crate) fn read(&mut self, core: &mut Core, socket: SocketId, max: usize) -> Read {
        let Some(conn) = self.owned(socket) else {
            return Read::Reset;
        };
        let host = conn.end(socket.side).host;
        let read = conn.read(core, socket.side, max);
        match &read {
            Read::Bytes(bytes) => core.note(host, Tag::Read, socket.number(), bytes),
            Read::Fin => core.note(host, Tag::Fin, socket.number(), &[]),
            Read::Reset => core.note(host, Tag::Reset, socket.number(), &[]),
            Read::WouldBlock => {}
        }
        read
    }

    pub(crate) fn write(
        &mut self,
        core: &mut Core,
        socket: SocketId,
        bytes: &[u8],
    ) -> Result<usize, WasReset> {
        let conn = self.owned(socket).ok_or(WasReset)?;
        let host = conn.end(socket.side).host;
        let taken = conn.write(core, socket.side, bytes)?;
        let sent = bytes.get(..taken).unwrap_or_default();
        core.note(host, Tag::Written, socket.number(), sent);
        Ok(taken)
    }

    pub(crate) fn shutdown(&mut self, core: &mut Core, socket: SocketId) {
        if let Some(conn) = self.owned(socket) {
            let host = conn.end(socket.side).host;
            core.note(host, Tag::Shutdown, socket.number(), &[]);
            conn.shutdown(core, socket.side);
        }
    }

    pub(crate) fn close(&mut self, core: &mut Core, socket: SocketId) {
        if let Some(conn) = self.owned(socket) {
            let host = conn.end(socket.side).host;
            core.note(host, Tag::Close, socket.number(), &[]);
            conn.close(core, socket.side);
            self.forget(socket);
        }
    }

    pub(crate) fn abort(&mut self, core: &mut Core, socket: SocketId) {
        if let Some(conn) = self.conns.get_mut(&socket.conn) {
            let host = conn.end(socket.side).host;
            core.note(host, Tag::Abort, socket.number(), &[]);
            conn.abort(core, socket.side);
            self.forget(socket);
        }
    }

    pub(crate) fn vanish(&mut self, core: &mut Core, socket: SocketId) {
        if let Some(conn) = self.owned(socket) {
            let host = conn.end(socket.side).host;
            core.note(host, Tag::Vanish, socket.number(), &[]);
            conn.vanish(core, socket.side);
            self.forget(socket);
        }
    }

    fn forget(&mut self, socket: SocketId) {
        if self.conns.get(&socket.conn).is_some_and(Conn::is_over) {
            self.conns.remove(&socket.conn);
        }
    }

    /// Connections of which somebody still owns an end.
    pub(crate) fn live(&self) -> usize {
        self.conns.len()
    }
}
