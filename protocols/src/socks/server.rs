//! The server: one machine for SOCKS4, SOCKS4a and SOCKS5.
use super::{
    Command, Phase, ServerError,
    error::{reply_code_v4, reply_code_v5},
    pipes,
    wire::{Address, Malformed, v4, v5},
};
use crate::Secret;
use sansbox_core::{
    BadDomain, Closing, End, Instant, Pipe, Progress, ProtocolError as _, Refusal, StreamProtocol,
    Target,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

/// Does the inbound have users?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No: clients must offer method 0.
    None,
    /// Yes: clients must offer method 2, and SOCKS4 is refused.
    Password,
}

/// What a [`Server`] asks its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// The client says who it is; answer with [`Server::auth_result`].
    Auth {
        /// UNAME.
        username: Secret,
        /// PASSWD.
        password: Secret,
    },
    /// The client wants something; answer with [`Server::accept`] or [`Server::refuse`].
    Request {
        /// What.
        command: Command,
        /// Where to; for [`Command::UdpAssociate`] where the client's datagrams will come from,
        /// often all zeros.
        target: Target,
    },
}

/// The version a client chose with its first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the first octet, which stays in `wire`.
    AwaitVersion,
    AwaitMethods,
    AwaitAuth,
    /// The owner compares name and password.
    DecideAuth,
    AwaitRequest(Version),
    /// The owner dials or binds.
    Decide(Version, Command),
    Relay,
    /// The control connection of a UDP association: carries nothing but its end.
    Control,
    Closed(Closing),
}

/// A message that waits for room in `wire`.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Method(u8),
    AuthStatus(u8),
    ReplyV4(u8, SocketAddrV4),
    ReplyV5(u8, SocketAddr),
}

impl Answer {
    fn send(self, wire: &mut Pipe) {
        match self {
            Self::Method(method) => {
                let answer = v5::MethodSelection { method };
                pipes::send(wire, v5::MethodSelection::LEN, |out| answer.emit(out));
            }
            Self::AuthStatus(status) => {
                let answer = v5::AuthStatus { status };
                pipes::send(wire, v5::AuthStatus::LEN, |out| answer.emit(out));
            }
            Self::ReplyV4(code, bound) => {
                let reply = v4::Reply { code, bound };
                pipes::send(wire, v4::Reply::LEN, |out| reply.emit(out));
            }
            Self::ReplyV5(code, bound) => {
                let address = Address::from(bound);
                let reply = v5::Reply { code, address };
                pipes::send(wire, reply.buffer_len(), |out| reply.emit(out));
            }
        }
    }
}

/// BND.ADDR where there is none to tell.
const UNSPECIFIED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// One accepted connection. The client's first octet decides the version.
///
/// The machine holds no user list and dials nothing: it asks by [`ServerEvent`] and reads nothing
/// from `wire` until it is answered, so bytes that the client sent early wait there and flow to
/// `app` after [`Server::accept`]. `wire` is ended by the machine after a refusal or an error.
#[derive(Debug)]
pub struct Server {
    auth: Auth,
    /// For everything up to the request.
    deadline: Instant,
    state: State,
    answer: Option<Answer>,
    event: Option<ServerEvent>,
}

impl Server {
    /// A server whose client has `handshake_timeout` until its request is complete.
    #[must_use]
    pub fn new(now: Instant, auth: Auth, handshake_timeout: Duration) -> Self {
        Self {
            auth,
            deadline: now + handshake_timeout,
            state: State::AwaitVersion,
            answer: None,
            event: None,
        }
    }

    /// Answers [`ServerEvent::Auth`]: may this client in? If not, the connection is closed after
    /// the reply that RFC 1929 asks for. Does nothing when no answer is due.
    pub fn auth_result(&mut self, ok: bool) {
        if self.state != State::DecideAuth {
            return;
        }
        if ok {
            self.answer = Some(Answer::AuthStatus(v5::AuthStatus::SUCCESS));
            self.state = State::AwaitRequest(Version::V5);
        } else {
            self.answer = Some(Answer::AuthStatus(v5::AuthStatus::FAILURE));
            self.state = State::Closed(Closing::Reply);
        }
    }

    /// Answers [`ServerEvent::Request`]: the target is reached from `bound`, or datagrams are
    /// relayed at `bound`. An IPv4 address in IPv6 clothes is told as IPv4; SOCKS4 cannot tell an
    /// IPv6 address and sends zeros. Does nothing when no answer is due.
    pub fn accept(&mut self, bound: SocketAddr) {
        let State::Decide(version, command) = self.state else {
            return;
        };
        let ip = bound.ip().to_canonical();
        self.answer = Some(match version {
            Version::V5 => Answer::ReplyV5(v5::code::SUCCEEDED, SocketAddr::new(ip, bound.port())),
            Version::V4 => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip,
                    IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
                };
                Answer::ReplyV4(v4::code::GRANTED, SocketAddrV4::new(ip, bound.port()))
            }
        });
        self.state = match command {
            Command::Connect => State::Relay,
            Command::UdpAssociate => State::Control,
        };
    }

    /// Answers [`ServerEvent::Request`] with the code for `why` and closes;
    /// [`Refusal::Dropped`] closes without a word. Before a request there is no reply to give, so
    /// the connection is just closed; after an answer this does nothing.
    pub fn refuse(&mut self, why: Refusal) {
        match self.state {
            State::Decide(version, _) => self.refuse_as(version, why),
            State::AwaitVersion
            | State::AwaitMethods
            | State::AwaitAuth
            | State::DecideAuth
            | State::AwaitRequest(_) => self.answer = None,
            State::Relay | State::Control | State::Closed(_) => return,
        }
        self.state = State::Closed(Closing::Reply);
    }

    /// The handshake is over and every byte of it is in `wire`: from now on the machine only
    /// moves what is in its pipes. Never true for a UDP association.
    #[must_use]
    pub const fn is_transparent(&self) -> bool {
        matches!(self.state, State::Relay) && self.answer.is_none()
    }

    fn refuse_as(&mut self, version: Version, why: Refusal) {
        self.answer = match version {
            Version::V4 => reply_code_v4(why).map(|code| Answer::ReplyV4(code, UNSPECIFIED)),
            Version::V5 => reply_code_v5(why).map(|code| Answer::ReplyV5(code, UNSPECIFIED.into())),
        };
    }

    const fn phase(&self) -> Phase {
        match self.state {
            State::AwaitVersion | State::AwaitMethods => Phase::Greeting,
            State::AwaitAuth | State::DecideAuth => Phase::Auth,
            State::AwaitRequest(_)
            | State::Decide(..)
            | State::Relay
            | State::Control
            | State::Closed(_) => Phase::Request,
        }
    }

    /// Reads at most one message.
    fn read(&mut self, wire: &mut Pipe) -> Result<Progress, ServerError> {
        if wire.end() == End::Reset {
            return Err(ServerError::Reset(self.phase()));
        }
        if self.answer.is_some() {
            return Ok(Progress::NONE);
        }
        let is_complete = match self.state {
            State::AwaitVersion => self.read_version(wire)?,
            State::AwaitMethods => self.read_methods(wire)?,
            State::AwaitAuth => self.read_auth(wire)?,
            State::AwaitRequest(Version::V4) => self.read_request_v4(wire)?,
            State::AwaitRequest(Version::V5) => self.read_request_v5(wire)?,
            State::DecideAuth
            | State::Decide(..)
            | State::Relay
            | State::Control
            | State::Closed(_) => return Ok(Progress::NONE),
        };
        if !is_complete && wire.end() == End::Fin {
            return Err(ServerError::UnexpectedEof(self.phase()));
        }
        Ok(Progress(is_complete))
    }

    fn read_version(&mut self, wire: &Pipe) -> Result<bool, ServerError> {
        self.state = match wire.first().first() {
            None => return Ok(false),
            Some(&v4::VERSION) => State::AwaitRequest(Version::V4),
            Some(&v5::VERSION) => State::AwaitMethods,
            Some(&other) => return Err(ServerError::UnknownVersion(other)),
        };
        Ok(true)
    }

    fn read_methods(&mut self, wire: &mut Pipe) -> Result<bool, ServerError> {
        let input = wire.peek(v5::Greeting::LEN_MAX);
        let parsed = v5::Greeting::parse(input).map_err(|e| self.malformed(e))?;
        let Some((greeting, len)) = parsed else {
            return Ok(false);
        };
        let (method, next) = match self.auth {
            Auth::None => (v5::method::NONE, State::AwaitRequest(Version::V5)),
            Auth::Password => (v5::method::PASSWORD, State::AwaitAuth),
        };
        let is_offered = greeting.methods.as_bytes().contains(&method);
        wire.skip(len);
        if !is_offered {
            self.answer = Some(Answer::Method(v5::method::NO_ACCEPTABLE));
            return Err(ServerError::NoAcceptableMethod);
        }
        self.answer = Some(Answer::Method(method));
        self.state = next;
        Ok(true)
    }

    fn read_auth(&mut self, wire: &mut Pipe) -> Result<bool, ServerError> {
        let input = wire.peek(v5::AuthRequest::LEN_MAX);
        let parsed = v5::AuthRequest::parse(input).map_err(|e| {
            self.answer = Some(Answer::AuthStatus(v5::AuthStatus::FAILURE));
            self.malformed(e)
        })?;
        let Some((request, len)) = parsed else {
            return Ok(false);
        };
        self.event = Some(ServerEvent::Auth {
            username: Secret::new(request.username.as_bytes()),
            password: Secret::new(request.password.as_bytes()),
        });
        pipes::wipe(wire, len);
        self.state = State::DecideAuth;
        Ok(true)
    }

    fn read_request_v4(&mut self, wire: &mut Pipe) -> Result<bool, ServerError> {
        let input = wire.peek(v4::Request::LEN_MAX);
        let parsed = v4::Request::parse(input).map_err(|e| {
            self.refuse_as(Version::V4, Refusal::General);
            self.malformed(e)
        })?;
        let Some((request, len)) = parsed else {
            return Ok(false);
        };
        let (command, port) = (request.command, request.port);
        let host = request.destination.to_host();
        wire.skip(len);
        if self.auth == Auth::Password {
            self.answer = Some(Answer::ReplyV4(v4::code::USER_ID, UNSPECIFIED));
            return Err(ServerError::UsersRequired);
        }
        let known = (command == v4::CONNECT).then_some(Command::Connect);
        let known = known.ok_or(command);
        self.ask(Version::V4, known, host.map(|host| Target::new(host, port)))
    }

    fn read_request_v5(&mut self, wire: &mut Pipe) -> Result<bool, ServerError> {
        let input = wire.peek(v5::Request::LEN_MAX);
        let parsed = v5::Request::parse(input).map_err(|e| {
            let why = match e {
                Malformed::AddressType => Refusal::AddressUnsupported,
                Malformed::Version | Malformed::Unterminated | Malformed::Truncated => {
                    Refusal::General
                }
            };
            self.refuse_as(Version::V5, why);
            self.malformed(e)
        })?;
        let Some((request, len)) = parsed else {
            return Ok(false);
        };
        let known = match request.command {
            v5::command::CONNECT => Ok(Command::Connect),
            v5::command::UDP_ASSOCIATE => Ok(Command::UdpAssociate),
            other => Err(other),
        };
        let mut target = request.address.to_target();
        if known == Ok(Command::UdpAssociate) && target.is_err() {
            // Where datagrams will come from is only a hint: PySocks writes the name `0`.
            let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, request.address.port));
            target = Ok(unspecified.into());
        }
        wire.skip(len);
        self.ask(Version::V5, known, target)
    }

    /// Turns a request into an event, or refuses what no owner can carry out. `Err(n)` is a
    /// command that is not known.
    fn ask(
        &mut self,
        version: Version,
        command: Result<Command, u8>,
        target: Result<Target, BadDomain>,
    ) -> Result<bool, ServerError> {
        let command = command.map_err(|number| {
            self.refuse_as(version, Refusal::CommandUnsupported);
            ServerError::UnsupportedCommand(number)
        })?;
        let target = target.map_err(|BadDomain| {
            self.refuse_as(version, Refusal::HostUnreachable);
            ServerError::BadDomain
        })?;
        self.event = Some(ServerEvent::Request { command, target });
        self.state = State::Decide(version, command);
        Ok(true)
    }

    const fn malformed(&self, source: Malformed) -> ServerError {
        let phase = self.phase();
        ServerError::Malformed { phase, source }
    }

    fn fail(&mut self, error: ServerError) -> ServerError {
        let how = error.closing();
        if how != Closing::Reply {
            self.answer = None;
        }
        self.event = None;
        self.state = State::Closed(how);
        error
    }
}

impl StreamProtocol for Server {
    type Event = ServerEvent;
    type Error = ServerError;

    fn handle_input(
        &mut self,
        _now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, ServerError> {
        match self.state {
            State::Relay => Ok(wire.transfer(app)),
            // Unread bytes would turn the close of a socket into a reset and cost the client the
            // reply, so they are taken off here too.
            State::Control | State::Closed(_) => Ok(pipes::discard(wire, app)),
            State::AwaitVersion
            | State::AwaitMethods
            | State::AwaitAuth
            | State::DecideAuth
            | State::AwaitRequest(_)
            | State::Decide(..) => self.read(wire).map_err(|e| self.fail(e)),
        }
    }

    fn poll_transmit(
        &mut self,
        _now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, ServerError> {
        let mut progress = Progress::NONE;
        if let Some(answer) = self.answer {
            if wire.room() == 0 {
                return Ok(Progress::NONE);
            }
            answer.send(wire);
            self.answer = None;
            progress = Progress::MADE;
        }
        Ok(progress
            | match self.state {
                State::Relay => app.transfer(wire),
                State::Control => pipes::discard(app, wire),
                State::Closed(how) => pipes::end(wire, how),
                State::AwaitVersion
                | State::AwaitMethods
                | State::AwaitAuth
                | State::DecideAuth
                | State::AwaitRequest(_)
                | State::Decide(..) => Progress::NONE,
            })
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.event.take()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitVersion
            | State::AwaitMethods
            | State::AwaitAuth
            | State::DecideAuth
            | State::AwaitRequest(_) => Some(self.deadline),
            State::Decide(..) | State::Relay | State::Control | State::Closed(_) => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, ServerError> {
        match self.poll_timeout() {
            Some(deadline) if deadline <= now => {
                let error = ServerError::TimedOut(self.phase());
                Err(self.fail(error))
            }
            Some(_) | None => Ok(Progress::NONE),
        }
    }
}
