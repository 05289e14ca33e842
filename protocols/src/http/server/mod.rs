//! The proxy's side towards its clients.

mod down;
mod flow;
mod request;
mod response;
mod up;

use super::{
    Error, KEEP_ALIVE_TIMEOUT, LINGER_TIMEOUT, Phase,
    refusal::{Status, emit_reply},
    wire::HeadScanner,
};
use crate::Secret;
use bytes::BytesMut;
use core::time::Duration;
use flow::Flow;
use request::{Asked, Exchange, Head, Pending};
use sansbox_core::{Instant, Pipe, Progress, Refusal, StreamProtocol, Target};

/// Who may use the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Everybody; credentials are removed unread.
    None,
    /// Whoever the owner says, by Basic credentials in each request (RFC 7617).
    Basic,
}

/// What the proxy needs its owner for.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// May this user use the proxy? Answered by [`Server::auth_result`].
    Auth {
        /// The user name.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// A request. Answered by [`Server::accept`] once the target is connected, or
    /// [`Server::refuse`].
    Request {
        /// Where it goes.
        target: Target,
        /// A tunnel (CONNECT); else one request of a connection that may carry more.
        connect: bool,
    },
    /// The exchange with the current upstream is over, or an upstream kept from the last exchange
    /// has closed. When not `reusable`, the owner closes it.
    UpstreamDone {
        /// The upstream waits for another request.
        reusable: bool,
    },
}

/// The proxy's side of one client connection (RFC 9110, RFC 9112).
///
/// *wire* is the client's connection and *app* the current upstream: `handle_input` writes to the
/// upstream, `poll_transmit` reads from it.
///
/// # Contract with the owner
///
/// 1. The machine announces each request by an event and does nothing more for it until
///    [`accept`](Self::accept) or [`refuse`](Self::refuse). It writes nothing to *app* before
///    `accept`, and reads no later request before the response to this one is over.
/// 2. [`ServerEvent::Request`] with `connect == false` and the target of the upstream that was
///    last reported `UpstreamDone { reusable: true }` may use that upstream: the owner calls
///    `accept` at once and passes the same pipes.
/// 3. For any other target, and for every CONNECT, the owner closes the old upstream, dials, puts
///    **fresh pipes** in place of both *app* pipes, and then calls `accept`, with no other call in
///    between. Nothing of an old upstream, neither bytes nor an end, reaches the machine later.
/// 4. `UpstreamDone { reusable: false }` comes when the exchange is over but the upstream cannot
///    be used again, and also when a kept upstream closes, or speaks unasked, before the next
///    request was accepted. `poll_event` gives it before a waiting `Request`. It may concern an
///    upstream that the owner has already dropped; then it means nothing. A tunnel is never
///    reported done: its ends travel in the pipes.
/// 5. A kept upstream that closes after `accept` and before its first response byte is answered
///    with 502. Requests are never sent twice.
/// 6. The owner may call `refuse` also after `accept`, as long as no final response has begun:
///    for instance [`Refusal::TimedOut`] when the upstream stays silent. It drops the upstream.
/// 7. An upstream whose writes fail is shown by a reset of both *app* pipes. The rest of a request
///    body is then read and dropped.
/// 8. A client's FIN behind a request does not end the exchange, and is not passed on, except in a
///    tunnel. After the last response the machine ends the outgoing *wire* pipe and drops input
///    for [`LINGER_TIMEOUT`] or until the client's FIN; the owner closes the socket once
///    [`is_closed`](Self::is_closed).
/// 9. The incoming *wire* pipe and the upstream's need limits of at least [`HEAD_LEN_MAX`](super::HEAD_LEN_MAX).
///
/// Errors say why the connection ends early; replies that go with them are still transmitted.
///
/// # Example
/// ```
/// use sansbox_core::{Instant, Pipe, StreamProtocol};
/// use sansbox_protocols::http::{Auth, HEAD_LEN_MAX, Server, ServerEvent};
/// use std::time::Duration;
///
/// let now = Instant::ZERO;
/// let mut server = Server::new(now, Auth::None, Duration::from_secs(10));
/// let [mut from_client, mut to_client, mut to_target, mut from_target] =
///     [(); 4].map(|()| Pipe::new(HEAD_LEN_MAX));
///
/// from_client.push_slice(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n\x16\x03\x01");
/// let _ = server.handle_input(now, &mut from_client, &mut to_target)?;
/// let Some(ServerEvent::Request { target, connect: true }) = server.poll_event() else {
///     panic!("a tunnel was asked for");
/// };
/// assert_eq!(target.to_string(), "example.com:443");
///
/// server.accept();
/// let _ = server.poll_transmit(now, &mut from_target, &mut to_client)?;
/// assert_eq!(to_client.first(), b"HTTP/1.1 200 Connection established\r\n\r\n");
/// let _ = server.handle_input(now, &mut from_client, &mut to_target)?;
/// assert_eq!(to_target.first(), b"\x16\x03\x01");
/// assert!(server.is_transparent());
/// # Ok::<(), sansbox_protocols::http::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    auth: Auth,
    handshake_timeout: Duration,
    up: Up,
    down: Down,
    exchange: Exchange,
    upstream: Upstream,
    /// An `UpstreamDone` not yet polled, with its `reusable`.
    done: Option<bool>,
    /// An `Auth` or `Request` not yet polled.
    asked: Option<ServerEvent>,
    timer: Option<(Instant, Timer)>,
    is_challenged: bool,
}

/// From the client.
#[derive(Debug)]
enum Up {
    /// Before or inside a request head.
    AwaitHead { scanner: HeadScanner, blank: usize },
    /// The owner checks the credentials.
    AwaitAuth(Box<Pending>),
    /// The owner dials.
    AwaitDial(Box<Pending>),
    /// The request head waits for room.
    SendHead { head: Head, flow: Flow },
    /// The request body streams.
    Body(Flow),
    /// The body of a refused request is dropped to keep the connection.
    Skip(Flow),
    /// The request is complete; its response is not.
    Done,
    /// CONNECT or Upgrade.
    Tunnel,
    /// The connection is to end; input is dropped.
    Discard,
    /// No more input.
    Closed,
}

/// To the client.
#[derive(Debug)]
enum Down {
    /// No response is due.
    Idle,
    /// A response of the proxy waits for room.
    Reply { bytes: BytesMut, then: Then },
    /// The upstream's response head is awaited.
    AwaitHead(HeadScanner),
    /// The upstream's response body streams.
    Body { flow: Flow, is_kept: bool },
    /// CONNECT or Upgrade.
    Tunnel,
    /// Everything was said.
    Closed,
}

/// After a reply of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    NextRequest,
    Tunnel,
    Close,
}

/// The upstream, as far as events told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    None,
    /// Waits for another request.
    Kept,
    /// In an exchange.
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Nothing of the first request has come.
    FirstByte,
    /// A head has begun.
    Head,
    /// Between requests.
    Idle,
    /// The body of a refused request is dropped.
    Skip,
    /// Everything was said; input is dropped.
    Linger,
}

/// The answer to CONNECT (RFC 9110 9.3.6).
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

impl Server {
    /// A proxy for one accepted connection. The first request head must be whole within
    /// `handshake_timeout` from `now`, a later one within as long from its first byte.
    #[must_use]
    pub fn new(now: Instant, auth: Auth, handshake_timeout: Duration) -> Self {
        Self {
            auth,
            handshake_timeout,
            up: Up::await_head(),
            down: Down::Idle,
            exchange: Exchange::NONE,
            upstream: Upstream::None,
            done: None,
            asked: None,
            timer: Some((now + handshake_timeout, Timer::FirstByte)),
            is_challenged: false,
        }
    }

    /// Answers [`ServerEvent::Auth`]. If not `ok` the client gets 407, and keeps its connection
    /// when the request has no body or one that is soon skipped.
    pub fn auth_result(&mut self, ok: bool) {
        if !matches!(self.up, Up::AwaitAuth(_)) {
            return;
        }
        self.asked = None;
        let up = core::mem::replace(&mut self.up, Up::Done);
        if let Up::AwaitAuth(pending) = up
            && ok
        {
            self.authorized(pending);
        } else {
            self.challenge();
        }
    }

    /// The upstream for the announced request is connected and its pipes are in place.
    pub fn accept(&mut self) {
        if !matches!(self.up, Up::AwaitDial(_)) {
            return;
        }
        let Up::AwaitDial(pending) = core::mem::replace(&mut self.up, Up::Done) else {
            return;
        };
        self.asked = None;
        let flow = pending.flow();
        match pending.asked {
            Asked::Forward { head, .. } => {
                self.upstream = Upstream::Busy;
                self.up = Up::SendHead { head, flow };
                self.down = Down::AwaitHead(HeadScanner::default());
            }
            Asked::Tunnel(_) => {
                self.upstream = Upstream::None;
                self.up = Up::Tunnel;
                self.down = Down::Reply {
                    bytes: BytesMut::from(ESTABLISHED),
                    then: Then::Tunnel,
                };
            }
            Asked::Answer { status, why } => self.answer(status, why),
        }
    }

    /// The announced request cannot be carried out, or its accepted upstream failed before the
    /// final response. [`Refusal::Dropped`] closes without a word.
    pub fn refuse(&mut self, why: Refusal) {
        let target = match &self.up {
            Up::AwaitDial(pending) => pending.target().cloned(),
            Up::SendHead { .. } | Up::Body(_) | Up::Done
                if matches!(self.down, Down::AwaitHead(_)) =>
            {
                self.upstream = Upstream::None;
                None
            }
            Up::AwaitHead { .. }
            | Up::AwaitAuth(_)
            | Up::SendHead { .. }
            | Up::Body(_)
            | Up::Skip(_)
            | Up::Done
            | Up::Tunnel
            | Up::Discard
            | Up::Closed => return,
        };
        self.asked = None;
        let Some(status) = Status::of_refusal(why) else {
            (self.up, self.down, self.timer) = (Up::Closed, Down::Closed, None);
            return;
        };
        match target {
            Some(target) => self.answer(status, &format!("{target}: {}", why.reason())),
            None => self.answer_instead(status, why.reason()),
        }
    }

    /// CONNECT was accepted or the upstream switched protocols, and the last byte of HTTP was
    /// handed over: from now on the machine only moves bytes and ends between pipes.
    #[must_use]
    pub const fn is_transparent(&self) -> bool {
        matches!((&self.up, &self.down), (Up::Tunnel, Down::Tunnel))
    }

    /// Nothing is left to read or write, so the client's socket may be closed. Never of a tunnel,
    /// whose ends are in the pipes.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!((&self.up, &self.down), (Up::Closed, Down::Closed))
    }

    /// The last request was answered with 407: it had no credentials or wrong ones.
    #[must_use]
    pub const fn is_challenged(&self) -> bool {
        self.is_challenged
    }

    fn authorized(&mut self, pending: Box<Pending>) {
        self.is_challenged = false;
        match pending.asked {
            Asked::Answer { status, why } => self.answer(status, why),
            Asked::Tunnel(ref target) | Asked::Forward { ref target, .. } => {
                self.asked = Some(ServerEvent::Request {
                    target: target.clone(),
                    connect: matches!(pending.asked, Asked::Tunnel(_)),
                });
                self.up = Up::AwaitDial(pending);
            }
        }
    }

    fn challenge(&mut self) {
        self.is_challenged = true;
        let why = "a user name and a password of this proxy are needed";
        self.answer(Status::ProxyAuthRequired, why);
    }

    /// The proxy answers a request of which only the head was read.
    fn answer(&mut self, status: Status, why: &str) {
        let skippable = self.exchange.skippable();
        let close = skippable.is_none();
        self.up = match skippable {
            Some(0) => Up::Done,
            Some(n) => Up::Skip(Flow::Length(n)),
            None => Up::Discard,
        };
        self.reply(status, why, close);
    }

    /// The proxy answers in place of an upstream that had the request or part of it.
    fn answer_instead(&mut self, status: Status, why: &str) {
        // The same whether or not the body was complete by now, so that it does not depend on
        // how bytes were cut.
        let close = self.exchange.close || self.exchange.body != super::wire::Body::NONE;
        self.up = match close {
            true => Up::Discard,
            false => Up::Done,
        };
        self.reply(status, why, close);
    }

    fn reply(&mut self, status: Status, why: &str, close: bool) {
        self.timer = None;
        self.down = Down::Reply {
            bytes: emit_reply(status, why, self.exchange.is_head, close),
            then: match close {
                true => Then::Close,
                false => Then::NextRequest,
            },
        };
    }

    fn upstream_done(&mut self, reusable: bool) {
        self.upstream = match reusable {
            true => Upstream::Kept,
            false => Upstream::None,
        };
        self.done = Some(reusable);
    }

    /// Waits for the next request if this exchange is over in both directions.
    fn finish_exchange(&mut self, now: Instant) {
        if matches!((&self.up, &self.down), (Up::Done, Down::Idle)) {
            self.exchange = Exchange::NONE;
            self.up = Up::await_head();
            self.timer = Some((now + KEEP_ALIVE_TIMEOUT, Timer::Idle));
        }
    }

    /// Nothing more is said; input is dropped for a while.
    fn close(&mut self, now: Instant) {
        self.down = Down::Closed;
        if matches!(self.up, Up::Closed) {
            self.timer = None;
        } else {
            self.up = Up::Discard;
            self.timer = Some((now + LINGER_TIMEOUT, Timer::Linger));
        }
    }
}

impl Up {
    fn await_head() -> Self {
        Self::AwaitHead {
            scanner: HeadScanner::default(),
            blank: 0,
        }
    }
}

impl StreamProtocol for Server {
    type Event = ServerEvent;
    type Error = Error;

    fn handle_input(
        &mut self,
        now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, Error> {
        self.read(now, wire, app)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, Error> {
        self.write(now, app, wire)
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        let done = self.done.take();
        let done = done.map(|reusable| ServerEvent::UpstreamDone { reusable });
        done.or_else(|| self.asked.take())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer.map(|(at, _)| at)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, Error> {
        let timer = match self.timer {
            Some((at, timer)) if at <= now => timer,
            _ => return Ok(Progress::NONE),
        };
        self.timer = None;
        let phase = match timer {
            Timer::Head => {
                self.up = Up::Discard;
                self.reply(Status::RequestTimeout, "the request took too long", true);
                return Err(Error::Timeout {
                    phase: Phase::RequestHead,
                });
            }
            Timer::FirstByte => Some(Phase::FirstByte),
            Timer::Skip => Some(Phase::RefusedBody),
            Timer::Idle | Timer::Linger => None,
        };
        (self.up, self.down) = (Up::Closed, Down::Closed);
        match phase {
            Some(phase) => Err(Error::Timeout { phase }),
            None => Ok(Progress::MADE),
        }
    }
}
