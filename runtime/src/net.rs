//! What this runtime does for a machine that has its turn.
use crate::{
    dial,
    echo::EchoSocket,
    local::Local,
    observer::RuntimeEvent,
    pipes::{KernelPipe, PIPE_SIZE},
    reactor::{Done, Interest, Io, Reactor},
    resolve::Lookup,
    shared::wall_clock,
    steering::{Passed, Steering},
    tun,
    udp::UdpEndpoint,
};
use bytes::BytesMut;
use core::{
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use rustix::{
    io::retry_on_intr,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg},
    pipe::{SpliceFlags, splice},
};
use sansbox_core::{Domain, End, Instant, Refusal};
use sansbox_engine::{
    carrier::{EchoAnswer, EchoRequest, Note, Whose},
    drive::{Dialled, Driver, Face, Service, Sockets},
    ids::OutboundId,
    machine::{Families, Stage, Undelivered},
    record::Record,
};
use socket2::SockRef;
use std::{
    io::{self, IoSlice},
    net::Shutdown,
    os::fd::{AsFd as _, BorrowedFd},
    rc::Rc,
};

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// The sockets of a reactor.
pub(crate) struct Net<R>(PhantomData<R>);

impl<R: Reactor> Sockets for Net<R> {
    type Stream = R::Io;
    /// Boxed, because it is large and most slots are streams.
    type Datagrams = Box<Datagrams<R>>;
    type Lookup = Lookup;
    type Conduit = Box<KernelPipe>;
    type Device = DeviceQueue<R>;
    type Echo = EchoSocket<R>;
}

/// The queue of a TUN device.
pub(crate) struct DeviceQueue<R: Reactor> {
    pub(crate) io: R::Io,
    pub(crate) steering: Steering,
}

/// A UDP slot.
pub(crate) enum Datagrams<R: Reactor> {
    /// A socket of its own.
    Own(UdpEndpoint<R>),
    /// The part of a listener's socket that faces one client.
    Face {
        endpoint: Rc<UdpEndpoint<R>>,
        face: Face,
        /// The local address that the client sent to, from which it expects the answer.
        local: Option<IpAddr>,
    },
}

/// One turn of one machine: whom to wake, and what its worker has.
pub(crate) struct Turn<'t, S: Service, R: Reactor> {
    pub(crate) waker: &'t Waker,
    pub(crate) worker: &'t Local<S, R>,
}

impl<S: Service, R: Reactor> Turn<'_, S, R> {
    fn tell_reentry(&self, local: IpAddr) {
        let shared = &self.worker.shared;
        if shared.uplink.is_news(local) {
            shared
                .observer
                .runtime(&RuntimeEvent::Reentry(tun::ReentryError { local }));
        }
    }

    fn poll_io<V>(
        &self,
        io: &R::Io,
        interest: Interest,
        mut operation: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<Done<V>>,
    ) -> Poll<io::Result<V>> {
        let mut cx = Context::from_waker(self.waker);
        io.poll_io(&mut cx, interest, || {
            Ok(retry_on_intr(|| operation(io.as_fd()))?)
        })
    }

    /// Waits until the system has deleted a device that has nothing to read; what reading says
    /// then.
    fn poll_lost(&self, device: &DeviceQueue<R>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(self.waker);
        ready!(device.io.poll_lost(&mut cx));
        match tun::Queue::read_from(&device.io, into) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }
}

impl<S: Service, R: Reactor> Driver<Net<R>> for Turn<'_, S, R> {
    fn resolve(&mut self, name: Domain, families: Families) -> Result<Lookup, Refusal> {
        let lookup = self.worker.resolver.begin(name, families)?;
        self.worker.pool.tally.lookups.add(1);
        Ok(lookup)
    }

    fn poll_lookup(&mut self, lookup: &mut Lookup) -> Poll<Result<Vec<IpAddr>, Refusal>> {
        lookup.poll(self.waker)
    }

    fn dial(&mut self, to: SocketAddr, outbound: OutboundId) -> Result<Dialled<R::Io>, Refusal> {
        let shared = &self.worker.shared;
        let options = shared.service.dial(outbound).ok_or(Refusal::General)?;
        let uplink = &shared.uplink;
        if let Some(local) = dial::reentry(to, options, uplink) {
            self.tell_reentry(local);
            return Err(Refusal::Loop);
        }
        let tcp = dial::connect(to, options, shared.cheap_controller, uplink)?;
        let local = dial::connected(&tcp, to);
        let stream = R::Io::new(tcp.into(), local.is_some()).map_err(|e| dial::refusal(&e))?;
        Ok(match local {
            Some(local) => Dialled::Connected(stream, local),
            None => Dialled::Connecting(stream),
        })
    }

    fn poll_dial(&mut self, stream: &mut R::Io) -> Poll<Result<SocketAddr, Refusal>> {
        let mut cx = Context::from_waker(self.waker);
        let decided = stream.poll_io(&mut cx, Interest::Write, || {
            dial::decided(&*stream).map(Done::more)
        });
        decided.map_err(|e| dial::refusal_on_the_way(&e))
    }

    fn bind(
        &mut self,
        local: SocketAddr,
        outbound: Option<OutboundId>,
    ) -> Result<(Box<Datagrams<R>>, SocketAddr), Refusal> {
        let options = outbound.and_then(|o| self.worker.shared.service.dial(o));
        let fragment = options.and_then(|o| o.udp_fragment);
        let uplink = &self.worker.shared.uplink;
        let bound = dial::bind(local, options, uplink).and_then(|s| UdpEndpoint::new(s, fragment));
        let mut endpoint = bound.map_err(|e| dial::refusal(&e))?;
        let local = endpoint.local();
        endpoint.hold(uplink.hold_port(local.port()));
        Ok((Box::new(Datagrams::Own(endpoint)), local))
    }

    fn poll_read(&mut self, stream: &mut R::Io, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_io(stream, Interest::Read, |tcp| {
            let (n, _) = recv(tcp, &mut *into, RecvFlags::empty())?;
            Ok(Done {
                value: n,
                // An end stays where it is.
                is_drained: (1..into.len()).contains(&n),
            })
        })
    }

    fn poll_write(&mut self, stream: &mut R::Io, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_io(stream, Interest::Write, |tcp| {
            // One segment is what there mostly is, and cheaper to hand over.
            let n = match bytes {
                [bytes] => send(tcp, bytes, SendFlags::NOSIGNAL)?,
                more => {
                    let mut nothing = SendAncillaryBuffer::default();
                    sendmsg(tcp, more, &mut nothing, SendFlags::NOSIGNAL)?
                }
            };
            let all: usize = bytes.iter().map(|bytes| bytes.len()).sum();
            Ok(Done {
                value: n,
                is_drained: n < all,
            })
        })
    }

    fn poll_readable(&mut self, stream: &mut R::Io) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(self.waker);
        stream.poll_ready(&mut cx, Interest::Read)
    }

    fn poll_writable(&mut self, stream: &mut R::Io) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(self.waker);
        stream.poll_ready(&mut cx, Interest::Write)
    }

    fn shut(&mut self, stream: &mut R::Io) -> io::Result<()> {
        SockRef::from(&*stream).shutdown(Shutdown::Write)
    }

    fn close(&mut self, stream: R::Io, end: End) {
        if end == End::Reset {
            let tcp = SockRef::from(&stream);
            let _closed_either_way = tcp.set_linger(Some(Duration::ZERO));
        }
    }

    fn poll_receive(
        &mut self,
        socket: &mut Box<Datagrams<R>>,
        mut each: impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>> {
        match &**socket {
            Datagrams::Own(endpoint) => {
                let mut batch = self.worker.batch.borrow_mut();
                let mut cx = Context::from_waker(self.waker);
                let received = endpoint.poll_receive(&mut cx, &mut batch);
                if let Poll::Ready(Ok(())) = received {
                    for (from, _, data) in batch.datagrams() {
                        each(from, data);
                    }
                }
                received
            }
            Datagrams::Face { face, .. } => {
                let mut received = Poll::Pending;
                while let Some(data) = face.receive(self.waker) {
                    each(face.client(), data);
                    received = Poll::Ready(Ok(()));
                }
                received
            }
        }
    }

    fn watch_errors(&mut self, socket: &mut Box<Datagrams<R>>) {
        if let (Datagrams::Own(endpoint), Some(watch)) = (&mut **socket, self.worker.errors.get()) {
            endpoint.watch_errors(watch, self.waker);
        }
    }

    fn poll_errors(
        &mut self,
        socket: &mut Box<Datagrams<R>>,
        each: impl FnMut(SocketAddr, Undelivered),
    ) -> Poll<()> {
        match &**socket {
            Datagrams::Own(endpoint) => endpoint.poll_errors(&self.worker.error_buffer, each),
            Datagrams::Face { .. } => Poll::Pending,
        }
    }

    fn send(
        &mut self,
        socket: &mut Box<Datagrams<R>>,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) -> u64 {
        match &**socket {
            Datagrams::Own(endpoint) => endpoint.send(to, bytes, segment, None),
            Datagrams::Face {
                endpoint, local, ..
            } => endpoint.send(to, bytes, segment, *local),
        }
    }

    fn poll_read_frame(
        &mut self,
        device: &mut DeviceQueue<R>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let cx = Context::from_waker(self.waker);
        if let Poll::Ready(n) = device.steering.poll_receive(&cx, into) {
            return Poll::Ready(Ok(n));
        }
        loop {
            let n = match self.poll_io(&device.io, Interest::Read, |queue| {
                rustix::io::read(queue, &mut *into).map(Done::more)
            }) {
                Poll::Ready(n) => n?,
                Poll::Pending => ready!(self.poll_lost(device, into))?,
            };
            match device.steering.pass_on(into.get(..n).unwrap_or_default()) {
                Passed::No => return Poll::Ready(Ok(n)),
                Passed::Yes => {}
                Passed::Lost => self.worker.pool.tally.datagrams_dropped.add(1),
            }
        }
    }

    fn write_frame(
        &mut self,
        device: &mut DeviceQueue<R>,
        frame: &[IoSlice<'_>],
    ) -> io::Result<()> {
        // A device never has its writer wait: it takes a frame or loses it.
        tun::Queue::write_to(&device.io, frame).map(drop)
    }

    fn bind_echo(&mut self, to: IpAddr, outbound: OutboundId) -> Result<EchoSocket<R>, Refusal> {
        let shared = &self.worker.shared;
        let options = shared.service.dial(outbound).ok_or(Refusal::General)?;
        let opened = EchoSocket::open(to, outbound, options, &shared.uplink);
        if matches!(opened, Err(Refusal::Policy)) && shared.uplink.is_echo_news() {
            let event = RuntimeEvent::EchoForbidden(tun::EchoForbiddenError);
            shared.observer.runtime(&event);
        }
        opened
    }

    fn send_echo(
        &mut self,
        socket: &mut EchoSocket<R>,
        request: &EchoRequest,
    ) -> Result<(), Refusal> {
        let shared = &self.worker.shared;
        if socket.is_unknown(request.to)
            && let Some(options) = shared.service.dial(socket.outbound())
            && let to = SocketAddr::new(request.to, 0)
            && let Some(local) = dial::reentry(to, options, &shared.uplink)
        {
            socket.forget();
            self.tell_reentry(local);
            return Err(Refusal::Loop);
        }
        socket.send(request)
    }

    fn poll_echo(&mut self, socket: &mut EchoSocket<R>) -> Poll<EchoAnswer> {
        let mut cx = Context::from_waker(self.waker);
        let mut buffer = self.worker.error_buffer.borrow_mut();
        match socket.poll(&mut cx, &mut buffer) {
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            // A socket that cannot be read any more has no answers.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    fn log(&mut self, record: &Record, stage: Stage, now: Instant) {
        self.worker.totals.count(record, stage);
        self.worker.shared.observer.session(record, stage, now);
    }

    fn note(&mut self, whose: Whose, note: &Note, now: Instant) {
        self.worker.shared.observer.carrier(whose, note, now);
    }

    fn wall_clock(&mut self) -> Duration {
        wall_clock()
    }

    fn lease_conduit(&mut self) -> Option<Box<KernelPipe>> {
        self.worker.pipes.lease()
    }

    fn return_conduit(&mut self, pipe: Box<KernelPipe>) {
        self.worker.pipes.give_back(pipe);
    }

    fn poll_splice_in(
        &mut self,
        from: &mut R::Io,
        pipe: &mut Box<KernelPipe>,
    ) -> Poll<io::Result<usize>> {
        // The pipe is empty, so this blocks only for want of bytes. A short splice does not mean
        // that the socket is empty: the pipe's places may be used up.
        let moved = self.poll_io(from, Interest::Read, |tcp| {
            let moved = splice(tcp, None, &pipe.writer, None, PIPE_SIZE, FLAGS)?;
            Ok(Done::more(moved))
        });
        if let Poll::Ready(Ok(n)) = moved {
            pipe.filled = n;
        }
        moved
    }

    fn poll_splice_out(
        &mut self,
        pipe: &mut Box<KernelPipe>,
        to: &mut R::Io,
    ) -> Poll<io::Result<usize>> {
        let moved = self.poll_io(to, Interest::Write, |tcp| {
            let moved = splice(&pipe.reader, None, tcp, None, pipe.filled, FLAGS)?;
            Ok(Done::more(moved))
        });
        if let Poll::Ready(Ok(n)) = moved {
            pipe.filled = pipe.filled.saturating_sub(n);
        }
        moved
    }
}
