//! Streams between the drive of a session and the drive of a carrier, in one thread.
use super::{stream::gather, wakes::Wakes};
use crate::{
    carrier::{Stream, StreamLimits},
    machine::{Undelivered, Wanted},
};
use bytes::BytesMut;
use core::{
    cell::{Cell, RefCell},
    fmt,
    net::SocketAddr,
    task::{Poll, ready},
};
use sansbox_core::{End, Pipe, Refusal};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
};

/// Segments written in one system call: small ones are a packet each.
const SEGMENTS: usize = 64;
/// Datagrams of all clients that did not arrive, of which the carrier has not heard: it tells
/// clients of hardly more at once.
const ERRORS_MAX: usize = 64;

/// Where the carrier of a desk is found, and what it has not looked at yet.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The carrier's number, once it has one.
    number: Cell<Option<usize>>,
    is_woken: Cell<bool>,
    is_closed: Cell<bool>,
    wakes: Rc<Wakes>,
    opening: RefCell<VecDeque<(Rc<Shared>, Wanted)>>,
    touched: RefCell<VecDeque<Rc<Shared>>>,
    /// The carrier can tell clients of datagrams that did not arrive.
    takes_errors: Cell<bool>,
    /// Of which stream, where they went, and what is said of them.
    errors: RefCell<VecDeque<(Stream, SocketAddr, Undelivered)>>,
}

impl Desk {
    pub(super) fn new(wakes: Rc<Wakes>) -> Rc<Self> {
        Rc::new(Self {
            number: Cell::new(None),
            is_woken: Cell::new(false),
            is_closed: Cell::new(false),
            wakes,
            opening: RefCell::default(),
            touched: RefCell::default(),
            takes_errors: Cell::new(false),
            errors: RefCell::default(),
        })
    }

    /// A carrier of this number serves it from now on; it will have a turn anyway.
    pub(super) fn staff(&self, number: usize) {
        self.number.set(Some(number));
    }

    /// The carrier's turn begins.
    pub(super) fn begin_turn(&self) {
        self.is_woken.set(false);
    }

    /// The next stream that is asked for. It stays the next until it is popped: a carrier that
    /// panics over it leaves it to [`Self::close`].
    pub(super) fn next_opening(&self) -> Option<(Rc<Shared>, Wanted)> {
        self.opening.borrow().front().cloned()
    }

    /// Takes the next stream that is asked for.
    pub(super) fn pop_opening(&self) -> Option<(Rc<Shared>, Wanted)> {
        self.opening.borrow_mut().pop_front()
    }

    /// The next stream that a session did something to.
    pub(super) fn pop_touched(&self) -> Option<Rc<Shared>> {
        let touched = self.touched.borrow_mut().pop_front();
        if let Some(touched) = &touched {
            touched.is_carrier_woken.set(false);
        }
        touched
    }

    /// The carrier can tell clients of datagrams that did not arrive.
    pub(super) fn take_errors(&self) {
        self.takes_errors.set(true);
    }

    /// The next datagram that did not arrive.
    pub(super) fn pop_error(&self) -> Option<(Stream, SocketAddr, Undelivered)> {
        self.errors.borrow_mut().pop_front()
    }

    /// Nobody serves it.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Nobody serves it any more: what is asked for is refused.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        while let Some((stream, _)) = self.pop_opening() {
            stream.decide_for_session(Err(Refusal::General));
        }
        self.touched.borrow_mut().clear();
        self.errors.borrow_mut().clear();
    }

    fn wake(&self) {
        if let Some(number) = self.number.get()
            && !self.is_woken.replace(true)
        {
            self.wakes.push(number);
        }
    }
}

/// A stream, as both drives know it.
pub(crate) struct Shared {
    /// What comes from the carrier.
    pub(super) received: RefCell<Pipe>,
    /// What goes to the carrier.
    pub(super) to_send: RefCell<Pipe>,
    /// The carrier offers the stream, and the session answers; otherwise it is the other way
    /// round.
    is_offered: bool,
    /// The answer, until it is heard.
    decided: Cell<Option<Result<SocketAddr, Refusal>>>,
    /// The answer was yes.
    is_connected: Cell<bool>,
    /// The session's number, once it has one.
    session: Cell<Option<usize>>,
    is_session_woken: Cell<bool>,
    is_session_gone: Cell<bool>,
    desk: Rc<Desk>,
    /// The carrier's name for it, once it has one.
    stream: Cell<Option<Stream>>,
    is_carrier_woken: Cell<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn new(desk: &Rc<Desk>, offered: Option<Stream>, limits: StreamLimits) -> Rc<Self> {
        Rc::new(Self {
            received: RefCell::new(Pipe::new(limits.received)),
            to_send: RefCell::new(Pipe::new(limits.to_send)),
            is_offered: offered.is_some(),
            decided: Cell::new(None),
            is_connected: Cell::new(false),
            session: Cell::new(None),
            is_session_woken: Cell::new(false),
            is_session_gone: Cell::new(false),
            desk: Rc::clone(desk),
            stream: Cell::new(offered),
            is_carrier_woken: Cell::new(false),
        })
    }

    /// The carrier's side of a stream that the carrier offers.
    pub(super) fn offered(desk: &Rc<Desk>, stream: Stream, limits: StreamLimits) -> Rc<Self> {
        Self::new(desk, Some(stream), limits)
    }

    pub(super) const fn stream(&self) -> Option<Stream> {
        self.stream.get()
    }

    /// The carrier calls it so, and lets it hold so much.
    pub(super) fn begin(&self, stream: Stream, limits: StreamLimits) {
        self.stream.set(Some(stream));
        self.received.borrow_mut().set_limit(limits.received);
        self.to_send.borrow_mut().set_limit(limits.to_send);
    }

    /// The session does not know of the stream any more.
    pub(super) const fn is_session_gone(&self) -> bool {
        self.is_session_gone.get()
    }

    /// The session's answer to what the carrier offered, once.
    pub(super) fn take_answer(&self) -> Option<Result<SocketAddr, Refusal>> {
        if !self.is_offered {
            return None;
        }
        let is_unanswered = !self.is_connected.get() && self.is_session_gone();
        let no = is_unanswered.then_some(Err(Refusal::General));
        self.decided.take().or(no)
    }

    /// The session that asked for the stream went before it had an answer.
    pub(super) const fn is_cancelled(&self) -> bool {
        !self.is_offered && !self.is_connected.get() && self.is_session_gone()
    }

    /// The carrier's answer to the session that asked.
    pub(super) fn decide_for_session(&self, answer: Result<SocketAddr, Refusal>) {
        self.is_connected.set(answer.is_ok());
        self.decided.set(Some(answer));
        self.wake_session();
    }

    pub(super) fn wake_session(&self) {
        if let Some(number) = self.session.get()
            && !self.is_session_gone()
            && !self.is_session_woken.replace(true)
        {
            self.desk.wakes.push(number);
        }
    }

    /// The carrier is gone.
    pub(super) fn lose(&self) {
        let _ = self.to_send.borrow_mut().reset();
        let _ = self.received.borrow_mut().reset_if_open();
        if !self.is_offered && !self.is_connected.get() {
            // Who asked waits for an answer, whatever it is.
            self.decided.set(Some(Err(Refusal::General)));
        }
        self.wake_session();
    }

    fn wake_carrier(self: &Rc<Self>) {
        if self.desk.is_closed() || self.stream().is_none() {
            return;
        }
        if !self.is_carrier_woken.replace(true) {
            self.desk.touched.borrow_mut().push_back(Rc::clone(self));
        }
        self.desk.wake();
    }
}

/// The session's end of a stream. Dropping it resets the stream.
#[derive(Debug)]
pub(crate) struct Joint(Rc<Shared>);

impl Joint {
    /// Asks the carrier of a desk for a stream.
    pub(super) fn open(desk: &Rc<Desk>, wanted: Wanted, session: usize) -> Self {
        // Nothing is written before the carrier has answered.
        let nothing = StreamLimits {
            received: 0,
            to_send: 0,
        };
        let shared = Shared::new(desk, None, nothing);
        shared.session.set(Some(session));
        let joint = Self(Rc::clone(&shared));
        if desk.is_closed() {
            shared.decided.set(Some(Err(Refusal::General)));
        } else {
            desk.opening.borrow_mut().push_back((shared, wanted));
            desk.wake();
        }
        joint
    }

    /// The session's end of a stream that the carrier offers.
    pub(super) const fn of(shared: Rc<Shared>) -> Self {
        Self(shared)
    }

    /// The session has this number.
    pub(super) fn join(&self, session: usize) {
        self.0.session.set(Some(session));
    }

    /// Answers the carrier, which asked for a session.
    pub(super) fn answer(&self, answer: Result<SocketAddr, Refusal>) {
        self.0.is_connected.set(answer.is_ok());
        self.0.decided.set(Some(answer));
        self.0.wake_carrier();
    }

    /// Whether [`Self::tell`] leads anywhere.
    pub(super) fn takes_errors(&self) -> bool {
        self.0.desk.takes_errors.get()
    }

    /// Tells the carrier of a datagram that came by this stream and did not arrive. False: it has
    /// not heard of too many others yet.
    pub(super) fn tell(&self, to: SocketAddr, error: Undelivered) -> bool {
        let (desk, Some(stream)) = (&self.0.desk, self.0.stream()) else {
            return false;
        };
        let mut errors = desk.errors.borrow_mut();
        let has_room = errors.len() < ERRORS_MAX && !desk.is_closed();
        if has_room {
            errors.push_back((stream, to, error));
            desk.wake();
        }
        has_room
    }

    fn is_awake(&self) {
        self.0.is_session_woken.set(false);
    }

    /// The carrier's answer.
    pub(super) fn poll_decided(&self) -> Poll<Result<SocketAddr, Refusal>> {
        self.is_awake();
        self.0.decided.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Something is there to be read, or the end.
    pub(super) fn poll_readable(&self) -> Poll<io::Result<()>> {
        self.is_awake();
        let received = self.0.received.borrow();
        match received.end() {
            End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            End::Open if received.is_empty() => Poll::Pending,
            End::Open | End::Fin => Poll::Ready(Ok(())),
        }
    }

    /// A segment as it came, at most `max` bytes; an empty one is the end.
    pub(super) fn poll_segment(&self, max: usize) -> Poll<io::Result<BytesMut>> {
        if let Poll::Ready(Err(dead)) = self.poll_readable() {
            return Poll::Ready(Err(dead));
        }
        let mut received = self.0.received.borrow_mut();
        let was_full = received.room() == 0;
        let segment = received.take(max);
        let is_over = received.is_eof();
        drop(received);
        match segment {
            Some(segment) => {
                if was_full {
                    self.0.wake_carrier();
                }
                Poll::Ready(Ok(segment))
            }
            None if is_over => Poll::Ready(Ok(BytesMut::new())),
            None => Poll::Pending,
        }
    }

    /// Runs `write` on what is there to be read, and drops what it wrote; 0 is the end. To be called
    /// when the stream is [readable](Self::poll_readable).
    pub(super) fn poll_write_out(
        &self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut received = self.0.received.borrow_mut();
        if received.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let was_full = received.room() == 0;
        let mut slices = [IoSlice::new(&[]); SEGMENTS];
        let n = ready!(write(gather(&received, &mut slices)))?;
        received.skip(n);
        drop(received);
        if was_full {
            self.0.wake_carrier();
        }
        Poll::Ready(Ok(n))
    }

    /// There is room to write, or the stream is dead.
    pub(super) fn poll_writable(&self) -> Poll<io::Result<()>> {
        self.is_awake();
        let to_send = self.0.to_send.borrow();
        match to_send.end() {
            End::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            End::Open | End::Fin if to_send.room() > 0 => Poll::Ready(Ok(())),
            End::Open | End::Fin => Poll::Pending,
        }
    }

    /// Appends a segment as it is. To be called when the stream is
    /// [writable](Self::poll_writable).
    pub(super) fn push(&self, segment: BytesMut) {
        self.0.to_send.borrow_mut().push(segment);
        self.0.wake_carrier();
    }

    /// Writes a copy of what there is room for.
    pub(super) fn poll_write(&self, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.poll_writable() {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(dead)) => return Poll::Ready(Err(dead)),
            Poll::Pending => return Poll::Pending,
        }
        let mut to_send = self.0.to_send.borrow_mut();
        let mut n = 0;
        for slice in bytes {
            let fits = slice.get(..to_send.room()).unwrap_or(slice);
            if fits.is_empty() {
                break;
            }
            to_send.push(BytesMut::from(fits));
            n += fits.len();
        }
        drop(to_send);
        self.0.wake_carrier();
        Poll::Ready(Ok(n))
    }

    /// Nothing more will be written.
    pub(super) fn shut(&self) {
        let mut to_send = self.0.to_send.borrow_mut();
        if to_send.end() == End::Open {
            let _ = to_send.finish();
        }
        drop(to_send);
        self.0.wake_carrier();
    }

    /// Closes both directions: what was written is still sent, unless it is a reset.
    pub(super) fn close(self, end: End) {
        if end != End::Reset {
            self.shut();
            let _ = self.0.received.borrow_mut().reset_if_open();
            self.0.is_session_gone.set(true);
            self.0.wake_carrier();
        }
    }
}

impl Drop for Joint {
    fn drop(&mut self) {
        if !self.0.is_session_gone.replace(true) {
            let _ = self.0.to_send.borrow_mut().reset();
            let _ = self.0.received.borrow_mut().reset_if_open();
            self.0.wake_carrier();
        }
    }
}
