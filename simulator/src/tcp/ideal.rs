//! All TCP connections of a world.
use super::{
    Side,
    conn::{Conn, State},
    over::Over,
    sketch::Request,
    stack::Paths,
};
use crate::{
    event::Event,
    host::{DialId, HostId, HostInput, Read, SocketId, WasReset},
    net::{Core, packet::PacketId},
    transcript::Tag,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Refusal;
use std::collections::BTreeMap;

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
pub(super) struct Dial {
    pub(super) host: HostId,
    pub(super) outcome: Outcome,
    /// The request of one that fails.
    pub(super) request: Option<Request>,
}

/// What comes of a dial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// A connection of ideal TCP, known from the start.
    Conn(u32),
    /// Not known yet.
    Asking(SocketId),
    /// A connection over packets.
    Socket(SocketId),
    Failed(Refusal),
}

/// TCP.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    pub(super) listeners: BTreeMap<SocketAddr, HostId>,
    pub(super) reach: BTreeMap<SocketAddr, Reach>,
    pub(super) paths: Paths,
    pub(super) conns: BTreeMap<u32, Conn>,
    pub(super) dials: BTreeMap<DialId, Dial>,
    pub(super) dialed: BTreeMap<(HostId, SocketAddr), u32>,
    pub(super) next_conn: u32,
    pub(super) next_dial: u32,
    pub(super) over: Over,
}

impl Tcp {
    pub(crate) fn set_reach(&mut self, to: SocketAddr, reach: Reach) {
        self.reach.insert(to, reach);
    }

    pub(crate) fn set_path(&mut self, to: SocketAddr, path: Path) {
        self.paths.by_address.insert(to, path);
    }

    /// Changes the ways of all connections.
    pub(crate) fn change_paths(&mut self, change: impl Fn(&mut Path)) {
        self.paths.by_address.values_mut().for_each(&change);
        change(&mut self.paths.default);
    }

    pub(crate) const fn set_default_path(&mut self, path: Path) {
        self.paths.default = path;
    }

    pub(crate) fn listen(&mut self, host: HostId, addr: SocketAddr) {
        self.listeners.insert(addr, host);
    }

    pub(crate) fn unlisten(&mut self, host: HostId, addr: SocketAddr) {
        if self.listeners.get(&addr) == Some(&host) {
            self.listeners.remove(&addr);
        }
    }

    pub(crate) fn open_sockets(&self, host: HostId) -> usize {
        let owns = |conn: &&Conn, side| {
            let end = conn.end(side);
            end.host == host && end.state == State::Open
        };
        let count = |side| self.conns.values().filter(|conn| owns(conn, side)).count();
        count(Side::Dialer) + count(Side::Acceptor) + self.over.open_sockets(host)
    }

    pub(crate) fn accept(&mut self, core: &mut Core, number: u32) -> Option<(HostId, HostInput)> {
        let host = match self.conns.get(&number) {
            Some(conn) => conn.end(Side::Acceptor).host,
            None => self.over.host_of(number)?,
        };
        let is_late = Self::comes_again(core, host, Event::Accept(number))
            || self.waits_for_file(core, host, number);
        if is_late {
            return None;
        }
        let Some(conn) = self.conns.get_mut(&number) else {
            return self.accept_over(core, host, number);
        };
        let local = conn.end(Side::Acceptor).addr;
        if !self.listeners.contains_key(&local) {
            // Nobody is left to accept it.
            conn.abort(core, Side::Acceptor);
            return None;
        }
        let remote = conn.end(Side::Dialer).addr;
        let end = conn.end_mut(Side::Acceptor);
        if end.state != State::Opening {
            return None;
        }
        end.state = State::Open;
        let (host, local) = (end.host, end.addr);
        conn.sketch_grant(core);
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
        let Some(conn) = self.conns.get_mut(&from.conn) else {
            return;
        };
        let host = conn.end(from.peer().side).host;
        if !Self::comes_again(core, host, Event::Arrive(from, number)) {
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
        let host = if self.over.has(socket.conn) {
            self.over.wake(socket, to_read)?
        } else {
            let conn = self.conns.get_mut(&socket.conn)?;
            conn.wake(socket.side, to_read)?
        };
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
        let host = match self.conns.get(&socket.conn) {
            Some(conn) => Some(conn.end(socket.side).host),
            None => self.over.host(socket),
        };
        let now = core.now;
        let mut max = max;
        if let Some(reader) = host.and_then(|host| core.slow_reader(host)) {
            match reader.may_read(now) {
                Ok(some) => max = max.min(some),
                Err(at) => {
                    core.queue.push(at, Event::Readable(socket));
                    return Read::WouldBlock;
                }
            }
        }
        let read = self.read_now(core, socket, max);
        if let Some(reader) = host.and_then(|host| core.slow_reader(host)) {
            reader.read(&read);
        }
        read
    }

    fn read_now(&mut self, core: &mut Core, socket: SocketId, max: usize) -> Read {
        let (host, read) = if self.over.has(socket.conn) {
            match self.over.owner(socket) {
                Some(host) => (host, self.read_over(core, host, socket, max)),
                None => return Read::Reset,
            }
        } else {
            let Some(conn) = self.owned(socket) else {
                return Read::Reset;
            };
            let host = conn.end(socket.side).host;
            (host, conn.read(core, socket.side, max))
        };
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
        let (host, taken) = if self.over.has(socket.conn) {
            let host = self.over.owner(socket).ok_or(WasReset)?;
            (host, self.write_over(core, host, socket, bytes)?)
        } else {
            let conn = self.owned(socket).ok_or(WasReset)?;
            let host = conn.end(socket.side).host;
            (host, conn.write(core, socket.side, bytes)?)
        };
        let sent = bytes.get(..taken).unwrap_or_default();
        core.note(host, Tag::Written, socket.number(), sent);
        Ok(taken)
    }

    /// Who owns a socket, and a note of what is done with it.
    fn leaves(&mut self, core: &mut Core, socket: SocketId, tag: Tag) -> Option<HostId> {
        let host = if self.over.has(socket.conn) {
            self.over.owner(socket)?
        } else {
            self.owned(socket)?.end(socket.side).host
        };
        core.note(host, tag, socket.number(), &[]);
        Some(host)
    }

    pub(crate) fn shutdown(&mut self, core: &mut Core, socket: SocketId) {
        let Some(host) = self.leaves(core, socket, Tag::Shutdown) else {
            return;
        };
        match self.conns.get_mut(&socket.conn) {
            Some(conn) => conn.shutdown(core, socket.side),
            None => self.end_over(core, host, socket, Tag::Shutdown),
        }
    }

    pub(crate) fn close(&mut self, core: &mut Core, socket: SocketId) {
        let Some(host) = self.leaves(core, socket, Tag::Close) else {
            return;
        };
        match self.conns.get_mut(&socket.conn) {
            Some(conn) => conn.close(core, socket.side),
            None => self.end_over(core, host, socket, Tag::Close),
        }
        self.forget(socket);
    }

    pub(crate) fn abort(&mut self, core: &mut Core, socket: SocketId) {
        let host = match self.conns.get(&socket.conn) {
            Some(conn) => Some(conn.end(socket.side).host),
            None => self.over.host(socket),
        };
        let Some(host) = host else {
            return;
        };
        core.note(host, Tag::Abort, socket.number(), &[]);
        match self.conns.get_mut(&socket.conn) {
            Some(conn) => conn.abort(core, socket.side),
            None => self.end_over(core, host, socket, Tag::Abort),
        }
        self.forget(socket);
    }

    pub(crate) fn vanish(&mut self, core: &mut Core, socket: SocketId) {
        let Some(host) = self.leaves(core, socket, Tag::Vanish) else {
            return;
        };
        match self.conns.get_mut(&socket.conn) {
            Some(conn) => conn.vanish(core, socket.side),
            None => self.end_over(core, host, socket, Tag::Vanish),
        }
        self.forget(socket);
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
