//! Accepting connections.
use crate::{
    local::{Local, Work},
    observer::RuntimeEvent,
    reactor::{Done, Interest, Io, Reactor, Sleep},
    sockets::{self, is_loopback},
};
use core::{
    net::SocketAddr,
    task::{Context, Poll, ready},
};
use rustix::{
    io::Errno,
    net::{SocketFlags, acceptfrom_with},
};
use sansbox_engine::{
    Peer,
    drive::{BackOff, Drive, Service},
    ids::InboundId,
};
use socket2::SockRef;
use std::{io, os::fd::OwnedFd, rc::Rc, time::Instant};

/// Accepts the connections of one listener.
pub(crate) struct Acceptor<R: Reactor> {
    inbound: InboundId,
    listener: R::Io,
    local: SocketAddr,
    back_off: BackOff,
    sleep: R::Sleep,
    /// The worker knows whom to wake to close it.
    is_known: bool,
    state: State,
}

enum State {
    Accepting,
    /// This connection waits for a place.
    Full(OwnedFd, SocketAddr),
    Pausing(Instant),
}

impl<R: Reactor> Acceptor<R> {
    pub(crate) fn new(
        inbound: InboundId,
        listener: OwnedFd,
        local: SocketAddr,
    ) -> io::Result<Self> {
        Ok(Self {
            inbound,
            listener: Io::new(listener, false)?,
            local,
            back_off: BackOff::default(),
            sleep: R::Sleep::new()?,
            is_known: false,
            state: State::Accepting,
        })
    }

    /// Accepts what there is. Never done; dropping it closes the listener.
    pub(crate) fn poll<S: Service>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Local<S, R>>,
    ) -> Poll<()> {
        if !core::mem::replace(&mut self.is_known, true) {
            worker.register_listener(cx.waker());
        }
        loop {
            match core::mem::replace(&mut self.state, State::Accepting) {
                State::Accepting => {
                    let Poll::Ready(accepted) = self.poll_accept(cx) else {
                        return Poll::Pending;
                    };
                    self.accepted(worker, accepted);
                }
                State::Full(tcp, remote) => {
                    if worker.shared.admission.poll_admit(cx.waker()).is_pending() {
                        self.state = State::Full(tcp, remote);
                        return Poll::Pending;
                    }
                    self.serve(worker, tcp, remote);
                }
                State::Pausing(until) => {
                    if self.sleep.poll_until(cx, until).is_pending() {
                        self.state = State::Pausing(until);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(OwnedFd, SocketAddr)>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = self.listener.poll_io(cx, Interest::Read, || {
            Ok(Done::more(acceptfrom_with(&self.listener, flags)?))
        });
        let (socket, remote) = ready!(accepted)?;
        let remote = remote.and_then(|any| SocketAddr::try_from(any).ok());
        // The listener is of an IP family, so this is another kernel's doing.
        let remote = remote.ok_or(io::ErrorKind::ConnectionAborted)?;
        Poll::Ready(Ok((socket, remote)))
    }

    fn accepted<S: Service>(
        &mut self,
        worker: &Rc<Local<S, R>>,
        accepted: io::Result<(OwnedFd, SocketAddr)>,
    ) {
        let shared = &worker.shared;
        match accepted {
            Ok((tcp, remote)) => {
                if shared.admission.places.try_take() {
                    return self.serve(worker, tcp, remote);
                }
                shared.observer.runtime(&RuntimeEvent::ConnectionLimit {
                    inbound: self.inbound,
                    limit: shared.options.max_connections.unwrap_or_default(),
                });
                self.state = State::Full(tcp, remote);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => self.pause(worker, &error),
        }
    }

    /// Something is used up; running sessions go on.
    fn pause<S: Service>(&mut self, worker: &Local<S, R>, error: &io::Error) {
        let pause = self.back_off.pause();
        worker.pool.tally.accept_pauses.add(1);
        worker.shared.observer.runtime(&RuntimeEvent::AcceptPaused {
            inbound: self.inbound,
            error,
            pause,
        });
        self.state = State::Pausing(Instant::now() + pause);
    }

    /// Makes the session of a connection that has its place.
    fn serve<S: Service>(&mut self, worker: &Rc<Local<S, R>>, tcp: OwnedFd, remote: SocketAddr) {
        let mut local = self.local;
        if local.ip().is_unspecified() {
            // Gone already if the peer has reset the connection; then the session will see that.
            local = sockets::local(&SockRef::from(&tcp)).unwrap_or(local);
            let cheap = worker.shared.cheap_controller;
            if let Some(cheap) = cheap.filter(|_| is_loopback(remote)) {
                cheap.apply(&tcp);
            }
        }
        worker.pool.tally.accepted.add(1);
        let number = worker.enter();
        match R::Io::new(tcp, true) {
            Ok(client) => {
                self.back_off.reset();
                let (seed, now) = (worker.seed(), worker.shared.clock.now());
                let service = &worker.shared.service;
                let machine = service.session(self.inbound, Peer { remote, local }, seed, now);
                worker.spawn(Work::Session(Drive::session(machine, number, client)));
            }
            // The reactor cannot watch more; the client sees a closed connection.
            Err(error) => {
                worker.leave(number);
                self.pause(worker, &error);
            }
        }
    }
}

/// The connection at hand failed before it was accepted; the next one may be fine. Anything else
/// is about this process or this machine and will be the same for the next one.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::TIMEDOUT
        )
    ) || error.kind() == io::ErrorKind::ConnectionAborted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_skipped() {
        for (errno, expected) in [
            (Errno::CONNABORTED, true),
            (Errno::INTR, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::INVAL, false),
        ] {
            assert_eq!(
                is_about_one_connection(&errno.into()),
                expected,
                "{errno:?}"
            );
        }
    }
}
