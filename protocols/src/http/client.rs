//! CONNECT through another HTTP proxy (RFC 9110 9.3.6).
use super::{
    Error, Malformed, Phase,
    wire::{Credentials, HeadScanner, Response, chunked::is_token_byte},
};
use bytes::BytesMut;
use core::{fmt, time::Duration};
use sansbox_core::{End, Instant, Pipe, Progress, StreamProtocol, Target};
use zeroize::Zeroizing;

/// A configured option cannot be put into a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOption {
    /// The path is no request target: it holds a space, a control or a non-ASCII character.
    #[error("the path is not valid in a request line")]
    Path,
    /// A header name is no token.
    #[error("a header name is not valid")]
    HeaderName,
    /// A header value holds a control character, such as CR or LF.
    #[error("a header value holds a control character")]
    HeaderValue,
    /// `Content-Length`, `Transfer-Encoding` or `Trailer`: CONNECT has no body.
    #[error("a header would give CONNECT a body")]
    Framing,
    /// `Host` more than once, or together with a path (as sing-box).
    #[error("a Host header is given twice, or together with a path")]
    Host,
}

/// What is the same in every request of one outbound: path, headers, credentials. Checked once.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The request target in place of `host:port`.
    path: Option<Box<str>>,
    /// The value of `Host` in place of `host:port`.
    host: Option<Box<str>>,
    /// Lines of the head, with their line ends.
    fields: Zeroizing<String>,
}

/// The fields may hold credentials.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// Options as in a sing-box `http` outbound. A non-empty `path` takes the place of `host:port`
    /// in the request line, a `Host` among `headers` that of `host:port` in the `Host` field.
    ///
    /// # Errors
    /// [`BadOption`] when something would break the head apart.
    pub fn new<'h>(
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        credentials: Option<&Credentials>,
    ) -> Result<Self, BadOption> {
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadOption::Path);
        }
        let mut host = None;
        let mut lines = Vec::new();
        for (name, value) in headers {
            check_header(name, value)?;
            if !name.eq_ignore_ascii_case("Host") {
                lines.push((name, value));
            } else if host.replace(Box::from(value)).is_some() || !path.is_empty() {
                return Err(BadOption::Host);
            }
        }
        let is_proxy_connection = |name: &str| name.eq_ignore_ascii_case("Proxy-Connection");
        if !lines.iter().any(|(name, _)| is_proxy_connection(name)) {
            lines.push(("Proxy-Connection", "Keep-Alive"));
        }
        let authorization = credentials.map(Credentials::emit);
        if let Some(value) = &authorization {
            lines.retain(|(name, _)| !name.eq_ignore_ascii_case("Proxy-Authorization"));
            lines.push(("Proxy-Authorization", value));
        }
        let len = lines.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let mut fields = Zeroizing::new(String::with_capacity(len));
        for part in lines.iter().flat_map(|(n, v)| [n, ": ", v, "\r\n"]) {
            fields.push_str(part);
        }
        Ok(Self {
            path: (!path.is_empty()).then(|| path.into()),
            host,
            fields,
        })
    }

    fn emit(&self, target: &Target) -> BytesMut {
        let target = target.to_string();
        let path = self.path.as_deref().unwrap_or(&target);
        let host = self.host.as_deref().unwrap_or(&target);
        let parts = [
            "CONNECT ",
            path,
            " HTTP/1.1\r\nHost: ",
            host,
            "\r\n",
            &self.fields,
            "\r\n",
        ];
        let mut out = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

fn check_header(name: &str, value: &str) -> Result<(), BadOption> {
    let is_framing = ["Content-Length", "Transfer-Encoding", "Trailer"]
        .iter()
        .any(|framing| framing.eq_ignore_ascii_case(name));
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        Err(BadOption::HeaderName)
    } else if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        Err(BadOption::HeaderValue)
    } else if is_framing {
        Err(BadOption::Framing)
    } else {
        Ok(())
    }
}

/// What the client tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The proxy opened the tunnel.
    Connected,
}

/// Asks an HTTP proxy for a tunnel to one target; *wire* is the connection to the proxy, *app*
/// the tunnel.
///
/// Bytes of *app* wait until the proxy said yes. [`Error::refusal`] says what a failure means.
///
/// # Example
/// ```
/// use sansbox_core::{Host, Instant, Pipe, StreamProtocol, Target};
/// use sansbox_protocols::http::{Client, ClientEvent, ConnectOptions, HEAD_LEN_MAX};
/// use std::time::Duration;
///
/// let now = Instant::ZERO;
/// let target = Target::new(Host::parse(b"example.com")?, 443);
/// let options = ConnectOptions::new("", [("User-Agent", "test")], None)?;
/// let mut client = Client::new(now, &target, &options, Duration::from_secs(10));
/// let [mut sent, mut received, mut app_in, mut app_out] =
///     [(); 4].map(|()| Pipe::new(HEAD_LEN_MAX));
///
/// let _ = client.poll_transmit(now, &mut app_out, &mut sent)?;
/// assert!(sent.first().starts_with(b"CONNECT example.com:443 HTTP/1.1\r\nHost: "));
/// received.push_slice(b"HTTP/1.1 200 OK\r\n\r\nhello");
/// let _ = client.handle_input(now, &mut received, &mut app_in)?;
/// assert_eq!(client.poll_event(), Some(ClientEvent::Connected));
/// assert_eq!(app_in.first(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    state: State,
    deadline: Option<Instant>,
    is_connected_unpolled: bool,
}

enum State {
    SendRequest(BytesMut),
    AwaitAnswer(HeadScanner),
    Open,
    Failed,
}

/// The request holds credentials.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::SendRequest(_) => "SendRequest",
            State::AwaitAnswer(_) => "AwaitAnswer",
            State::Open => "Open",
            State::Failed => "Failed",
        };
        write!(f, "Client({state})")
    }
}

impl Client {
    /// A client on a fresh connection to the proxy; the answer is due within `timeout`.
    #[must_use]
    pub fn new(now: Instant, target: &Target, options: &ConnectOptions, timeout: Duration) -> Self {
        Self {
            state: State::SendRequest(options.emit(target)),
            deadline: Some(now + timeout),
            is_connected_unpolled: false,
        }
    }

    /// The tunnel is open: from now on the machine only moves bytes and ends between pipes.
    #[must_use]
    pub const fn is_transparent(&self) -> bool {
        matches!(self.state, State::Open)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed;
        self.deadline = None;
        error
    }

    /// Reads one head; `None` when it is not whole.
    fn read_answer(&mut self, wire: &mut Pipe) -> Result<Option<u16>, Error> {
        let State::AwaitAnswer(scanner) = &mut self.state else {
            return Ok(None);
        };
        let found = scanner.find(wire);
        let len = match found.map_err(|malformed| self.fail(Error::BadAnswer(malformed)))? {
            Some(len) => len,
            None if wire.end() != End::Open => return Err(self.fail(Error::NoAnswer)),
            None if wire.room() > 0 => return Ok(None),
            None => return Err(self.fail(Error::BadAnswer(Malformed::HeadTooLarge))),
        };
        let head = Response::parse_whole(wire.front(len).unwrap_or_default());
        let status = head.map(|head| head.status);
        wire.skip(len);
        status
            .map(Some)
            .map_err(|malformed| self.fail(Error::BadAnswer(malformed)))
    }
}

impl StreamProtocol for Client {
    type Event = ClientEvent;
    type Error = Error;

    fn handle_input(
        &mut self,
        _now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, Error> {
        let mut progress = Progress::NONE;
        while let Some(status) = self.read_answer(wire)? {
            progress = Progress::MADE;
            self.state = match status {
                // 101 answers an Upgrade that was not sent (RFC 9110 15.2.2).
                101 => return Err(self.fail(Error::BadAnswer(Malformed::Switched))),
                100..=199 => State::AwaitAnswer(HeadScanner::default()),
                200..=299 => {
                    self.deadline = None;
                    self.is_connected_unpolled = true;
                    State::Open
                }
                _ => return Err(self.fail(Error::Refused { status })),
            };
        }
        match self.state {
            State::Open => Ok(progress | wire.transfer(app)),
            State::SendRequest(_) | State::AwaitAnswer(_) | State::Failed => Ok(progress),
        }
    }

    fn poll_transmit(
        &mut self,
        _now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, Error> {
        match &mut self.state {
            State::SendRequest(request) if wire.room() > 0 => {
                wire.push(core::mem::take(request));
                self.state = State::AwaitAnswer(HeadScanner::default());
                Ok(Progress::MADE)
            }
            State::Open => Ok(app.transfer(wire)),
            State::SendRequest(_) | State::AwaitAnswer(_) | State::Failed => Ok(Progress::NONE),
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        core::mem::take(&mut self.is_connected_unpolled).then_some(ClientEvent::Connected)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, Error> {
        match self.deadline {
            Some(at) if at <= now => Err(self.fail(Error::Timeout {
                phase: Phase::Connect,
            })),
            _ => Ok(Progress::NONE),
        }
    }
}
