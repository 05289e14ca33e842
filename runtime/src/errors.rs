//! What sockets are told of packets that left and did not arrive (`IP_RECVERR`, `IPV6_RECVERR`).
//!
//! An executor tells who reads of messages, and not of errors alone. So one set of a worker (epoll)
//! has the sockets that are watched, for their errors and nothing else, and who owns a socket is
//! woken when it has one. A socket without errors costs nothing after it was made.
use crate::reactor::{Done, Interest, Io, Reactor};
use core::{
    cell::{Cell, OnceCell, RefCell},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll, Waker, ready},
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
        sockopt::{Ipv4RecvErr, Ipv6RecvErr},
    },
};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::{Errno as SendErrno, ioctl_fionbio},
};
use sansbox_engine::{
    machine::{Cause, Undelivered},
    session::canonical,
};
use slab::Slab;
use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _},
    rc::Rc,
};

/// Longest message that a socket gives, with the IPv4 header of a raw one.
const MESSAGE_MAX: usize = 65_535;
/// Room for an error and who reported it.
const CONTROL_LEN: usize = 256;
/// Sockets with errors that are looked at together.
const EVENTS: usize = 32;
const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// `SO_EE_ORIGIN_LOCAL`: an error from here.
const LOCAL: u8 = 1;
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6`: a message came.
const MESSAGES: [u8; 2] = [2, 3];

/// What one worker reads into. Made at the first use.
#[derive(Debug, Default)]
pub(crate) struct ErrorBuffer {
    pub(crate) message: Vec<u8>,
    control: Vec<u8>,
}

impl ErrorBuffer {
    /// With room for any message.
    pub(crate) fn prepare(&mut self) {
        self.message.resize(MESSAGE_MAX, 0);
        self.control.resize(CONTROL_LEN, 0);
    }
}

/// An error from the queue of a socket.
pub(crate) struct Queued {
    /// Where the packet went.
    pub(crate) to: SocketAddr,
    pub(crate) error: libc::sock_extended_err,
    pub(crate) reporter: Option<IpAddr>,
    /// Bytes of the packet that are in the buffer.
    pub(crate) len: usize,
}

/// Has errors of a socket's packets queued.
pub(crate) fn enable(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    let enabled = if is_ipv6 {
        setsockopt(socket, Ipv6RecvErr, &true)
    } else {
        setsockopt(socket, Ipv4RecvErr, &true)
    };
    Ok(enabled?)
}

/// Takes the next error out of a socket's queue; `None` for one that says nothing. The buffer is
/// prepared.
pub(crate) fn next(socket: &impl AsFd, buffer: &mut ErrorBuffer) -> nix::Result<Option<Queued>> {
    let mut data = [IoSliceMut::new(&mut buffer.message)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let control = Some(&mut buffer.control[..]);
    let fd = socket.as_fd().as_raw_fd();
    let received = recvmsg::<SockaddrStorage>(fd, &mut data, control, flags)?;
    let found = received.cmsgs()?.find_map(|control| reported(&control));
    let to = received.address.as_ref().and_then(address);
    let (Some((error, reporter)), Some(to)) = (found, to) else {
        return Ok(None);
    };
    Ok(Some(Queued {
        to: canonical(to),
        error,
        reporter: reporter.map(|reporter| reporter.to_canonical()),
        len: received.bytes,
    }))
}

impl Queued {
    /// Whether it is a message that came, in place of an error from here.
    pub(crate) fn is_message(&self) -> bool {
        MESSAGES.contains(&self.error.ee_origin)
    }

    /// What it says of a datagram, if that is of use.
    fn undelivered(&self) -> Option<Undelivered> {
        let error = &self.error;
        let too_long = libc::EMSGSIZE.cast_unsigned();
        let cause = if self.is_message() {
            let (kind, code) = (error.ee_type, error.ee_code);
            Cause::of_message(self.to.is_ipv6(), kind, code, error.ee_info)?
        } else if error.ee_origin == LOCAL && error.ee_errno == too_long {
            Cause::TooBig {
                mtu: u16::try_from(error.ee_info).ok()?,
            }
        } else {
            return None;
        };
        let reporter = self.reporter.filter(|_| self.is_message());
        Some(Undelivered { cause, reporter })
    }
}

/// An error, and who reported it.
fn reported(control: &ControlMessageOwned) -> Option<(libc::sock_extended_err, Option<IpAddr>)> {
    if let ControlMessageOwned::Ipv4RecvErr(error, from) = control {
        let ip = from.map(|from| Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()));
        return Some((*error, ip.map(IpAddr::V4)));
    }
    if let ControlMessageOwned::Ipv6RecvErr(error, from) = control {
        return Some((*error, from.map(|from| from.sin6_addr.s6_addr.into())));
    }
    None
}

/// The address that the packet went to.
fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = storage.as_sockaddr_in6()?;
    Some(SocketAddr::new(v6.ip().into(), v6.port()))
}

/// What a failed send says of the way to its destination; nothing where it says nothing of it.
pub(crate) fn of_send(error: &io::Error) -> Option<Undelivered> {
    let cause = match SendErrno::from_io_error(error)? {
        SendErrno::NETUNREACH | SendErrno::NETDOWN => Cause::NetUnreachable,
        SendErrno::HOSTUNREACH | SendErrno::HOSTDOWN => Cause::HostUnreachable,
        SendErrno::PERM | SendErrno::ACCESS => Cause::AdminProhibited,
        // Too long comes with how long it may be, and in the queue.
        _ => return None,
    };
    let reporter = None;
    Some(Undelivered { cause, reporter })
}

/// The watched sockets of a worker.
pub(crate) struct Watch<R: Reactor> {
    set: R::Io,
    owners: RefCell<Slab<Owner>>,
    events: RefCell<Vec<epoll::Event>>,
}

/// Who owns a socket.
struct Owner {
    has_errors: Rc<Cell<bool>>,
    waker: Waker,
}

/// That a socket is watched. To be dropped with the socket.
pub(crate) struct Watched<R: Reactor> {
    watch: Rc<Watch<R>>,
    key: usize,
    has_errors: Rc<Cell<bool>>,
}

impl<R: Reactor> Watch<R> {
    fn new() -> io::Result<Rc<Self>> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // As executors want all that they watch, though nobody waits in it.
        ioctl_fionbio(&set, true)?;
        Ok(Rc::new(Self {
            set: R::Io::new(set, false)?,
            owners: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS)),
        }))
    }

    /// Makes the set of a worker; `None` when it has one.
    pub(crate) fn begin(of: &OnceCell<Rc<Self>>) -> io::Result<Option<Rc<Self>>> {
        if of.get().is_some() {
            return Ok(None);
        }
        let new = Self::new()?;
        let _first = of.set(Rc::clone(&new));
        Ok(Some(new))
    }

    /// Begins to watch a socket, whose owner is woken by `waker`.
    pub(crate) fn add(
        self: &Rc<Self>,
        socket: &impl AsFd,
        is_ipv6: bool,
        waker: &Waker,
    ) -> io::Result<Watched<R>> {
        enable(socket, is_ipv6)?;
        let has_errors = Rc::new(Cell::new(false));
        let key = self.owners.borrow_mut().insert(Owner {
            has_errors: Rc::clone(&has_errors),
            waker: waker.clone(),
        });
        let watched = Watched {
            watch: Rc::clone(self),
            key,
            has_errors,
        };
        // Errors are told of without being asked for; each time one comes.
        let data = epoll::EventData::new_u64(key as u64);
        epoll::add(&self.set, socket, data, epoll::EventFlags::ET)?;
        Ok(watched)
    }

    /// Wakes the owners of sockets that have errors. Never done.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut events = self.events.borrow_mut();
        loop {
            events.clear();
            ready!(self.set.poll_io(cx, Interest::Read, || {
                match epoll::wait(&self.set, spare_capacity(&mut events), Some(&NO_TIME))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    n => Ok(Done {
                        value: (),
                        is_drained: n < EVENTS,
                    }),
                }
            }))?;
            let owners = self.owners.borrow();
            for event in &*events {
                let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                if let Some(owner) = owners.get(key) {
                    owner.has_errors.set(true);
                    owner.waker.wake_by_ref();
                }
            }
        }
    }
}

impl<R: Reactor> Watched<R> {
    /// Whether the queue may have errors.
    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors.get()
    }

    /// The next error of the socket that says something of a datagram.
    pub(crate) fn next(
        &self,
        socket: &impl AsFd,
        buffer: &mut ErrorBuffer,
    ) -> Option<(SocketAddr, Undelivered)> {
        while self.has_errors() {
            match next(socket, buffer) {
                Ok(queued) => {
                    let told = queued.and_then(|queued| Some((queued.to, queued.undelivered()?)));
                    if told.is_some() {
                        return told;
                    }
                }
                Err(Errno::EINTR) => {}
                // Empty, as a rule.
                Err(_) => self.has_errors.set(false),
            }
        }
        None
    }
}

impl<R: Reactor> Drop for Watched<R> {
    fn drop(&mut self) {
        self.watch.owners.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_send_says_of_the_way() {
        for (errno, expected) in [
            (SendErrno::NETUNREACH, Some(Cause::NetUnreachable)),
            (SendErrno::HOSTUNREACH, Some(Cause::HostUnreachable)),
            (SendErrno::PERM, Some(Cause::AdminProhibited)),
            (SendErrno::ACCESS, Some(Cause::AdminProhibited)),
            (SendErrno::MSGSIZE, None),
            (SendErrno::NOBUFS, None),
            (SendErrno::INVAL, None),
        ] {
            let said = of_send(&errno.into());
            assert_eq!(said.map(|said| said.cause), expected, "{errno:?}");
        }
        assert_eq!(of_send(&io::Error::other("no number")), None);
    }

    fn queued(to: &str, origin: u8, errno: i32, message: (u8, u8), info: u32) -> Queued {
        let (kind, code) = message;
        Queued {
            to: to.parse().expect("an address"),
            error: libc::sock_extended_err {
                ee_errno: errno.cast_unsigned(),
                ee_origin: origin,
                ee_type: kind,
                ee_code: code,
                ee_pad: 0,
                ee_info: info,
                ee_data: 0,
            },
            reporter: Some(IpAddr::from([203, 0, 113, 1])),
            len: 0,
        }
    }

    #[test]
    fn messages_and_the_kernels_own_words_are_told_apart() {
        let (v4, v6) = ("192.0.2.1:53", "[2001:db8::1]:53");
        let too_big = Some(Cause::TooBig { mtu: 1300 });
        for (queued, cause, is_reported) in [
            (
                queued(v4, 2, 111, (3, 3), 0),
                Some(Cause::PortUnreachable),
                true,
            ),
            (
                queued(v6, 3, 111, (1, 4), 0),
                Some(Cause::PortUnreachable),
                true,
            ),
            (
                queued(v6, 3, 13, (1, 1), 0),
                Some(Cause::AdminProhibited),
                true,
            ),
            (queued(v4, 2, 90, (3, 4), 1300), too_big, true),
            (queued(v6, 3, 90, (2, 0), 1300), too_big, true),
            (queued(v4, 1, 90, (0, 0), 1300), too_big, false),
            (queued(v4, 2, 71, (12, 0), 0), None, true),
            // Of another kind, and of a timestamp.
            (queued(v4, 1, 1, (0, 0), 0), None, false),
            (queued(v4, 4, 42, (0, 0), 0), None, false),
        ] {
            let said = queued.undelivered();
            assert_eq!(said.map(|said| said.cause), cause);
            let reporter = said.and_then(|said| said.reporter);
            assert_eq!(reporter.is_some(), is_reported && cause.is_some());
        }
    }
}
