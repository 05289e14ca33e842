//! Connections over packets: which host's stack has which end, and what it says.
use super::{
    Side, Tier,
    ideal::{Dial, Outcome, Reach, Tcp},
    packet::PacketTcp,
    routed::Routed,
    stack::{Stack, StackCx, StackEvent},
};
use crate::{
    event::Event,
    host::{DialId, HostId, HostInput, Read, SocketId, WasReset},
    net::{
        Core,
        packet::{Body, Packet},
        site::Stage,
    },
    rng::StreamId,
    transcript::Tag,
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;
use std::collections::BTreeMap;

#[derive(Debug)]
struct End {
    host: HostId,
    side: Side,
    local: SocketAddr,
    remote: SocketAddr,
    /// The host has the socket.
    is_open: bool,
    readable_due: bool,
    writable_due: bool,
}

struct OfHost {
    stack: Box<dyn Stack>,
    armed: Option<Instant>,
}

/// All ends of connections over packets.
#[derive(Default)]
pub(crate) struct Over {
    ends: BTreeMap<u32, End>,
    stacks: BTreeMap<HostId, OfHost>,
    dials: BTreeMap<u32, DialId>,
    /// The stream of each way between two addresses, and when the last segment arrives there.
    crossings: BTreeMap<(SocketAddr, SocketAddr), (StreamId, Instant)>,
    packets: Vec<(Instant, Packet)>,
    events: Vec<(Instant, StackEvent)>,
}

impl fmt::Debug for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Over")
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

impl Over {
    /// Do connections from a host to an address go over packets? Without hops the tier of the
    /// host decides, and what nobody owns is answered as on the ideal one.
    pub(super) fn carries(&self, core: &Core, host: HostId, to: IpAddr) -> bool {
        let is_packet = core.tier(host) == Tier::Packet;
        !core.is_direct(host, to) || (is_packet && core.owner(to).is_some())
    }

    pub(super) fn has(&self, conn: u32) -> bool {
        self.ends.contains_key(&conn)
    }

    pub(super) fn open_sockets(&self, host: HostId) -> usize {
        let owned = |end: &&End| end.host == host && end.is_open;
        self.ends.values().filter(owned).count()
    }

    /// All open sockets of a host.
    pub(super) fn sockets(&self, host: HostId) -> Vec<SocketId> {
        let ends = self.ends.iter();
        let owned = ends.filter(|(_, end)| end.host == host && end.is_open);
        let socket = |(conn, end): (&u32, &End)| SocketId {
            conn: *conn,
            side: end.side,
        };
        owned.map(socket).collect()
    }

    /// The kernel of a host is gone, with all that it knew.
    pub(super) fn forget_stack(&mut self, host: HostId) {
        self.stacks.remove(&host);
        self.ends.retain(|_, end| end.host != host);
    }

    pub(super) fn host_of(&self, conn: u32) -> Option<HostId> {
        self.ends.get(&conn).map(|end| end.host)
    }

    /// On which host an end is.
    pub(super) fn host(&self, socket: SocketId) -> Option<HostId> {
        self.host_of(socket.conn)
    }

    /// Which host has a socket.
    pub(super) fn owner(&self, socket: SocketId) -> Option<HostId> {
        let end = self.ends.get(&socket.conn)?;
        end.is_open.then_some(end.host)
    }

    /// The host gets its socket; returns its address.
    pub(super) fn open(&mut self, socket: SocketId) -> Option<SocketAddr> {
        let end = self.ends.get_mut(&socket.conn)?;
        end.is_open = true;
        Some(end.local)
    }

    pub(super) fn wake(&mut self, socket: SocketId, to_read: bool) -> Option<HostId> {
        let end = self.ends.get_mut(&socket.conn)?;
        if to_read {
            end.readable_due = false;
        } else {
            end.writable_due = false;
        }
        end.is_open.then_some(end.host)
    }

    fn accept(&mut self, core: &mut Core, number: u32) -> Option<(HostId, HostInput)> {
        let end = self.ends.get_mut(&number)?;
        end.is_open = true;
        let socket = SocketId {
            conn: number,
            side: end.side,
        };
        let (host, remote, local) = (end.host, end.remote, end.local);
        let text = format_args!("{remote}");
        core.note_text(host, Tag::Accepted, socket.number(), text);
        let input = HostInput::Accepted {
            socket,
            remote,
            local,
        };
        Some((host, input))
    }

    fn ready(&mut self, core: &mut Core, at: Instant, conn: u32, to_read: bool) {
        let Some(end) = self.ends.get_mut(&conn) else {
            return;
        };
        let due = if to_read {
            &mut end.readable_due
        } else {
            &mut end.writable_due
        };
        if core::mem::replace(due, true) {
            return;
        }
        let side = end.side;
        let socket = SocketId { conn, side };
        let event = if to_read {
            Event::Readable(socket)
        } else {
            Event::Writable(socket)
        };
        core.queue.push(at, event);
    }
}

impl Tcp {
    /// Does something with the stack of a host, and everything that follows.
    fn with_stack<R>(
        &mut self,
        core: &mut Core,
        host: HostId,
        act: impl FnOnce(&mut dyn Stack, &mut StackCx<'_>) -> R,
    ) -> R {
        let mut packets = core::mem::take(&mut self.over.packets);
        let mut events = core::mem::take(&mut self.over.events);
        let tier = core.tier(host);
        let of_host = self.over.stacks.entry(host).or_insert_with(|| OfHost {
            stack: match tier {
                Tier::Ideal => Box::new(Routed::default()),
                Tier::Packet => Box::new(PacketTcp::default()),
            },
            armed: None,
        });
        let now = core.now;
        let (name, streams, next_packet) = core.stack_parts(host);
        let mut cx = StackCx {
            now,
            host: name,
            streams,
            paths: &self.paths,
            next_packet,
            next_conn: &mut self.next_conn,
            packets: &mut packets,
            events: &mut events,
        };
        let result = act(&mut *of_host.stack, &mut cx);
        let wanted = of_host.stack.poll_timeout();
        if let Some(at) = wanted
            && of_host.armed.is_none_or(|armed| at < armed)
        {
            of_host.armed = Some(at);
            core.queue.push(at.max(core.now), Event::StackTimer(host));
        }
        for (at, packet) in packets.drain(..) {
            core.launch(at, Stage::Leave(host), packet);
        }
        for (at, event) in events.drain(..) {
            self.heard(core, host, at, event);
        }
        self.over.packets = packets;
        self.over.events = events;
        result
    }

    fn heard(&mut self, core: &mut Core, host: HostId, at: Instant, event: StackEvent) {
        match event {
            StackEvent::Accepted {
                conn,
                local,
                remote,
            } => {
                let side = Side::Acceptor;
                self.over
                    .ends
                    .insert(conn.0, end(host, side, local, remote));
                core.queue.push(at, Event::Accept(conn.0));
            }
            StackEvent::Connected(conn) => self.dial_ended(core, at, conn.0, None),
            StackEvent::Failed(conn, refusal) => {
                self.dial_ended(core, at, conn.0, Some(refusal));
                self.over.ends.remove(&conn.0);
            }
            StackEvent::Readable(conn) => self.over.ready(core, at, conn.0, true),
            StackEvent::Writable(conn) => self.over.ready(core, at, conn.0, false),
        }
    }

    fn dial_ended(
        &mut self,
        core: &mut Core,
        at: Instant,
        conn: u32,
        failed: Option<sansbox_core::Refusal>,
    ) {
        let Some(id) = self.over.dials.remove(&conn) else {
            return;
        };
        if let Some(dial) = self.dials.get_mut(&id) {
            let side = Side::Dialer;
            dial.outcome = match failed {
                None => Outcome::Socket(SocketId { conn, side }),
                Some(refusal) => Outcome::Failed(refusal),
            };
            core.queue.push(at, Event::Dialed(id));
        }
    }

    pub(super) fn dial_over(&mut self, core: &mut Core, host: HostId, dial: (DialId, SocketAddr)) {
        let (id, to) = dial;
        let dialled = core.local_addr(host, to).and_then(|from| {
            let conn = self.with_stack(core, host, |stack, cx| stack.dial(cx, from, to))?;
            Ok((from, conn))
        });
        let outcome = match dialled {
            Ok((from, conn)) => {
                let side = Side::Dialer;
                self.over.ends.insert(conn.0, end(host, side, from, to));
                self.over.dials.insert(conn.0, id);
                Outcome::Asking(SocketId { conn: conn.0, side })
            }
            Err(refusal) => {
                core.queue.push(core.now, Event::Dialed(id));
                Outcome::Failed(refusal)
            }
        };
        let dial = Dial {
            host,
            outcome,
            request: None,
        };
        self.dials.insert(id, dial);
    }

    /// A host accepts a connection whose handshake is over.
    pub(super) fn accept_over(
        &mut self,
        core: &mut Core,
        host: HostId,
        number: u32,
    ) -> Option<(HostId, HostInput)> {
        let end = self.over.ends.get(&number)?;
        if self.listeners.get(&end.local) == Some(&host) {
            return self.over.accept(core, number);
        }
        // Nobody is left to accept it: its program is gone since the handshake began.
        let side = end.side;
        let socket = SocketId { conn: number, side };
        self.end_over(core, host, socket, Tag::Abort);
        None
    }

    pub(super) fn read_over(
        &mut self,
        core: &mut Core,
        host: HostId,
        socket: SocketId,
        max: usize,
    ) -> Read {
        let conn = super::ConnId(socket.conn);
        self.with_stack(core, host, |stack, cx| stack.read(cx, conn, max))
    }

    pub(super) fn write_over(
        &mut self,
        core: &mut Core,
        host: HostId,
        socket: SocketId,
        bytes: &[u8],
    ) -> Result<usize, WasReset> {
        let conn = super::ConnId(socket.conn);
        self.with_stack(core, host, |stack, cx| stack.write(cx, conn, bytes))
    }

    /// The host ends its direction, or gives the socket up, as the tag says.
    pub(super) fn end_over(&mut self, core: &mut Core, host: HostId, socket: SocketId, how: Tag) {
        let conn = super::ConnId(socket.conn);
        self.with_stack(core, host, |stack, cx| {
            if how == Tag::Shutdown {
                stack.shutdown(cx, conn);
            } else if how == Tag::Close {
                stack.close(cx, conn);
            } else if how == Tag::Abort {
                stack.abort(cx, conn);
            } else {
                stack.vanish(cx, conn);
            }
        });
        if how != Tag::Shutdown {
            self.over.ends.remove(&socket.conn);
            self.over.dials.remove(&socket.conn);
        }
    }

    /// A TCP segment, or an ICMP message about one, reaches a host.
    pub(crate) fn handle_packet(&mut self, core: &mut Core, host: HostId, packet: Packet) {
        let listens = self.listeners.get(&packet.destination) == Some(&host);
        self.with_stack(core, host, |stack, cx| {
            stack.handle_packet(cx, packet, listens);
        });
    }

    pub(crate) fn stack_timer(&mut self, core: &mut Core, host: HostId) {
        let now = core.now;
        let Some(of_host) = self.over.stacks.get_mut(&host) else {
            return;
        };
        if of_host.armed.is_some_and(|armed| armed <= now) {
            of_host.armed = None;
        }
        let is_due = of_host.stack.poll_timeout().is_some_and(|at| at <= now);
        self.with_stack(core, host, |stack, cx| {
            if is_due {
                stack.handle_timeout(cx);
            }
        });
    }

    /// How long a packet takes between two sites; the order is kept.
    pub(crate) fn crossing(&mut self, core: &mut Core, packet: &Packet) -> Duration {
        let key = (packet.source, packet.destination);
        let (stream, last) = match self.over.crossings.get(&key) {
            Some(known) => *known,
            None => {
                let name = format!("cross/{}->{}", key.0, key.1);
                (core.streams.open(&name), Instant::ZERO)
            }
        };
        let path = self.paths.between(key.1, key.0);
        let jitter = u64::try_from(path.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        let mut delay = path.latency + Duration::from_nanos(core.streams.below(stream, jitter + 1));
        let is_request = matches!(&packet.body, Body::Tcp(s) if s.flags.syn && !s.flags.ack);
        if is_request && let Some(Reach::Slow(extra)) = self.reach.get(&key.1) {
            delay += *extra;
        }
        delay += self.bad_weather(core, packet, stream);
        let arrival = last.max(core.now + delay);
        self.over.crossings.insert(key, (stream, arrival));
        arrival.saturating_duration_since(core.now)
    }

    /// What the weather makes of a segment between two sites; returns by how much it stalls.
    fn bad_weather(&self, core: &mut Core, packet: &Packet, stream: StreamId) -> Duration {
        let weather = core.weather;
        let has_payload = !packet.payload().is_empty();
        if weather.segment_stalled + weather.connection_reset == 0 || !has_payload {
            return Duration::ZERO;
        }
        let name = core.streams.name(stream).to_owned();
        let what = format_args!("{name}");
        if core.strikes(weather.connection_reset, "connection-reset", what) {
            // Each where its receiver expects the next byte, as this segment has it.
            if let Body::Tcp(segment) = &packet.body {
                core.inject_reset(packet.source, packet.destination, segment.offset);
                core.inject_reset(packet.destination, packet.source, segment.ack);
            }
        }
        if core.strikes(weather.segment_stalled, "segment-stalled", what) {
            return core.slower("segment-stalled", what);
        }
        Duration::ZERO
    }
}

const fn end(host: HostId, side: Side, local: SocketAddr, remote: SocketAddr) -> End {
    End {
        host,
        side,
        local,
        remote,
        is_open: false,
        readable_due: false,
        writable_due: false,
    }
}
