//! The client: opens a connection or a UDP association through a SOCKS proxy.
use super::{
    ClientError, Command, Credentials, Phase, pipes,
    wire::{Address, Malformed, Short, v4, v5},
};
use sansbox_core::{
    Closing, End, Host, Instant, Pipe, Progress, ProtocolError as _, StreamProtocol, Target,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// Which SOCKS the proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// SOCKS4: IPv4 targets.
    V4,
    /// SOCKS4a: IPv4 targets and domain names.
    V4a,
    /// SOCKS5: every target, UDP ASSOCIATE, user name and password.
    V5,
}

/// What a [`Client`] tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The proxy granted the request.
    Connected {
        /// Where the proxy is bound; for [`Command::UdpAssociate`] the relay to send datagrams
        /// to, where an unspecified address means the proxy's own. A bound name that is no name
        /// is given as 0.0.0.0.
        bound: Target,
    },
}

/// `Send*`: ours is due; `Await*`: the proxy's is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SendGreeting,
    AwaitMethod,
    SendAuth,
    AwaitAuthStatus,
    SendRequest,
    AwaitReply,
    Relay,
    /// The control connection of a UDP association: carries nothing but its end.
    Control,
    Closed(Closing),
}

/// One connection to a proxy. Nothing of `app` is sent before the proxy's reply.
#[derive(Debug)]
pub struct Client {
    version: Version,
    credentials: Option<Credentials>,
    command: Command,
    target: Target,
    deadline: Instant,
    state: State,
    event: Option<ClientEvent>,
}

impl Client {
    /// A client that asks the proxy for `command` on `target` and gives up after `timeout`.
    /// SOCKS4 and SOCKS4a send the user name as USERID and no password; SOCKS5 offers user name
    /// and password beside "no authentication" and leaves the choice to the proxy.
    ///
    /// # Errors
    /// [`ClientError::AddressUnsupported`], [`ClientError::CommandUnsupported`] or
    /// [`ClientError::BadUserId`]: what this version cannot carry.
    pub fn new(
        now: Instant,
        version: Version,
        credentials: Option<Credentials>,
        command: Command,
        target: Target,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let state = match version {
            Version::V5 => State::SendGreeting,
            Version::V4 | Version::V4a => {
                if command != Command::Connect {
                    return Err(ClientError::CommandUnsupported);
                }
                user_id(credentials.as_ref()).ok_or(ClientError::BadUserId)?;
                destination(version, &target).ok_or(ClientError::AddressUnsupported)?;
                State::SendRequest
            }
        };
        Ok(Self {
            version,
            credentials,
            command,
            target,
            deadline: now + timeout,
            state,
            event: None,
        })
    }

    /// The handshake is over: from now on the machine only moves what is in its pipes. Never true
    /// for a UDP association.
    #[must_use]
    pub const fn is_transparent(&self) -> bool {
        matches!(self.state, State::Relay)
    }

    const fn phase(&self) -> Phase {
        match self.state {
            State::SendGreeting | State::AwaitMethod => Phase::MethodSelection,
            State::SendAuth | State::AwaitAuthStatus => Phase::AuthStatus,
            State::SendRequest
            | State::AwaitReply
            | State::Relay
            | State::Control
            | State::Closed(_) => Phase::Reply,
        }
    }

    /// Sends the message that is due and says which answer to wait for.
    fn send(&self, wire: &mut Pipe) -> Option<State> {
        match self.state {
            State::SendGreeting => {
                let methods: &[u8] = match self.credentials {
                    Some(_) => &[v5::method::NONE, v5::method::PASSWORD],
                    None => &[v5::method::NONE],
                };
                let methods = Short::new(methods)?;
                let greeting = v5::Greeting { methods };
                pipes::send(wire, greeting.buffer_len(), |out| greeting.emit(out));
                Some(State::AwaitMethod)
            }
            State::SendAuth => {
                let credentials = self.credentials.as_ref()?;
                let request = v5::AuthRequest {
                    username: Short::new(credentials.username())?,
                    password: Short::new(credentials.password())?,
                };
                pipes::send(wire, request.buffer_len(), |out| request.emit(out));
                Some(State::AwaitAuthStatus)
            }
            State::SendRequest => {
                match self.version {
                    Version::V4 | Version::V4a => self.send_request_v4(wire)?,
                    Version::V5 => self.send_request_v5(wire),
                }
                Some(State::AwaitReply)
            }
            State::AwaitMethod
            | State::AwaitAuthStatus
            | State::AwaitReply
            | State::Relay
            | State::Control
            | State::Closed(_) => None,
        }
    }

    fn send_request_v4(&self, wire: &mut Pipe) -> Option<()> {
        let request = v4::Request {
            command: v4::CONNECT,
            port: self.target.port,
            destination: destination(self.version, &self.target)?,
            user_id: user_id(self.credentials.as_ref())?,
        };
        pipes::send(wire, request.buffer_len(), |out| request.emit(out));
        Some(())
    }

    fn send_request_v5(&self, wire: &mut Pipe) {
        let request = v5::Request {
            command: match self.command {
                Command::Connect => v5::command::CONNECT,
                Command::UdpAssociate => v5::command::UDP_ASSOCIATE,
            },
            address: Address::from(&self.target),
        };
        pipes::send(wire, request.buffer_len(), |out| request.emit(out));
    }

    /// Reads at most one message.
    fn read(&mut self, wire: &mut Pipe) -> Result<Progress, ClientError> {
        if wire.end() == End::Reset {
            return Err(ClientError::Reset(self.phase()));
        }
        let is_complete = match self.state {
            State::AwaitMethod => self.read_method(wire)?,
            State::AwaitAuthStatus => self.read_auth_status(wire)?,
            State::AwaitReply => match self.version {
                Version::V4 | Version::V4a => self.read_reply_v4(wire)?,
                Version::V5 => self.read_reply_v5(wire)?,
            },
            State::SendGreeting
            | State::SendAuth
            | State::SendRequest
            | State::Relay
            | State::Control
            | State::Closed(_) => return Ok(Progress::NONE),
        };
        if !is_complete && wire.end() == End::Fin {
            return Err(ClientError::UnexpectedEof(self.phase()));
        }
        Ok(Progress(is_complete))
    }

    fn read_method(&mut self, wire: &mut Pipe) -> Result<bool, ClientError> {
        let input = wire.peek(v5::MethodSelection::LEN);
        let parsed = v5::MethodSelection::parse(input).map_err(|e| self.malformed(e))?;
        let Some((selection, len)) = parsed else {
            return Ok(false);
        };
        wire.skip(len);
        self.state = match selection.method {
            v5::method::NONE => State::SendRequest,
            v5::method::PASSWORD if self.credentials.is_some() => State::SendAuth,
            v5::method::NO_ACCEPTABLE => return Err(ClientError::NoAcceptableMethod),
            other => return Err(ClientError::UnofferedMethod(other)),
        };
        Ok(true)
    }

    fn read_auth_status(&mut self, wire: &mut Pipe) -> Result<bool, ClientError> {
        let input = wire.peek(v5::AuthStatus::LEN);
        let parsed = v5::AuthStatus::parse(input).map_err(|e| self.malformed(e))?;
        let Some((answer, len)) = parsed else {
            return Ok(false);
        };
        wire.skip(len);
        if answer.status != v5::AuthStatus::SUCCESS {
            return Err(ClientError::AuthRefused);
        }
        self.state = State::SendRequest;
        Ok(true)
    }

    fn read_reply_v4(&mut self, wire: &mut Pipe) -> Result<bool, ClientError> {
        let input = wire.peek(v4::Reply::LEN);
        let parsed = v4::Reply::parse(input).map_err(|e| self.malformed(e))?;
        let Some((reply, len)) = parsed else {
            return Ok(false);
        };
        wire.skip(len);
        if reply.code != v4::code::GRANTED {
            return Err(ClientError::RefusedV4(reply.code));
        }
        self.connected(Target::from(std::net::SocketAddr::from(reply.bound)));
        Ok(true)
    }

    fn read_reply_v5(&mut self, wire: &mut Pipe) -> Result<bool, ClientError> {
        let input = wire.peek(v5::Reply::LEN_MAX);
        let code = v5::Reply::parse_code(input).map_err(|e| self.malformed(e))?;
        if let Some(code) = code.filter(|code| *code != v5::code::SUCCEEDED) {
            return Err(ClientError::RefusedV5(code));
        }
        let parsed = v5::Reply::parse(input).map_err(|e| self.malformed(e))?;
        let Some((reply, len)) = parsed else {
            return Ok(false);
        };
        let bound = reply.address.to_target().unwrap_or_else(|_| {
            Target::new(Host::Ip(Ipv4Addr::UNSPECIFIED.into()), reply.address.port)
        });
        wire.skip(len);
        self.connected(bound);
        Ok(true)
    }

    fn connected(&mut self, bound: Target) {
        self.event = Some(ClientEvent::Connected { bound });
        self.state = match self.command {
            Command::Connect => State::Relay,
            Command::UdpAssociate => State::Control,
        };
    }

    const fn malformed(&self, source: Malformed) -> ClientError {
        let phase = self.phase();
        ClientError::Malformed { phase, source }
    }

    fn fail(&mut self, error: ClientError) -> ClientError {
        self.state = State::Closed(error.closing());
        error
    }
}

/// USERID of SOCKS4; `None` when the user name cannot be one.
fn user_id(credentials: Option<&Credentials>) -> Option<v4::Text<'_>> {
    v4::Text::new(credentials.map_or(&[], Credentials::username))
}

/// What SOCKS4 or SOCKS4a sends for `target`; `None` when it cannot name it.
fn destination(version: Version, target: &Target) -> Option<v4::Destination<'_>> {
    match &target.host {
        Host::Ip(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) if !v4::is_marker(ip) => Some(v4::Destination::Ip(ip)),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        },
        Host::Domain(_) if version == Version::V4 => None,
        Host::Domain(name) => v4::Text::new(name.as_str().as_bytes()).map(v4::Destination::Domain),
    }
}

impl StreamProtocol for Client {
    type Event = ClientEvent;
    type Error = ClientError;

    fn handle_input(
        &mut self,
        _now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, ClientError> {
        match self.state {
            State::Relay => Ok(wire.transfer(app)),
            State::Control | State::Closed(_) => Ok(pipes::discard(wire, app)),
            State::SendGreeting
            | State::AwaitMethod
            | State::SendAuth
            | State::AwaitAuthStatus
            | State::SendRequest
            | State::AwaitReply => self.read(wire).map_err(|e| self.fail(e)),
        }
    }

    fn poll_transmit(
        &mut self,
        _now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, ClientError> {
        match self.state {
            State::Relay => Ok(app.transfer(wire)),
            State::Control => Ok(pipes::discard(app, wire)),
            State::Closed(how) => Ok(pipes::end(wire, how)),
            State::SendGreeting
            | State::AwaitMethod
            | State::SendAuth
            | State::AwaitAuthStatus
            | State::SendRequest
            | State::AwaitReply => {
                // Nobody is left to connect for.
                if app.end() == End::Reset {
                    self.state = State::Closed(Closing::Reset);
                    return Ok(pipes::end(wire, Closing::Reset));
                }
                if wire.room() == 0 {
                    return Ok(Progress::NONE);
                }
                let next = self.send(wire);
                self.state = next.unwrap_or(self.state);
                Ok(Progress(next.is_some()))
            }
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.event.take()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::SendGreeting
            | State::AwaitMethod
            | State::SendAuth
            | State::AwaitAuthStatus
            | State::SendRequest
            | State::AwaitReply => Some(self.deadline),
            State::Relay | State::Control | State::Closed(_) => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, ClientError> {
        match self.poll_timeout() {
            Some(deadline) if deadline <= now => {
                let error = ClientError::TimedOut(self.phase());
                Err(self.fail(error))
            }
            Some(_) | None => Ok(Progress::NONE),
        }
    }
}
