//! The protocol that a client speaks to us: one enum over all of them, so that a session needs no
//! dynamic dispatch and adding a protocol adds a variant.
use crate::{machine::Wanted, plan::Service, record::CloseReason};
use core::time::Duration;
use sansbox_core::{
    Closing, Host, Instant, Pipe, Progress, ProtocolError, Refusal, StreamProtocol, Target,
};
use sansbox_protocols::{
    Secret, http,
    socks::{self, Command},
};
use std::net::SocketAddr;

/// Budget of a client's handshake, from the first byte to the complete request.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a client wants.
#[derive(Debug)]
pub(crate) enum InboundEvent {
    /// Are these credentials good? Answered by `auth_result`.
    Auth { username: Secret, password: Secret },
    /// A byte stream to a target. Answered by `accept` or `refuse`.
    Connect(Target),
    /// One request to a target, which may be the one that is connected. Answered likewise.
    Forward(Target),
    /// A UDP association; the client says where it will send from.
    Associate(Target),
    /// A UDP association whose datagrams are records of the client's own stream.
    Datagrams,
    /// The forwarded request is answered; the upstream may be used again.
    Answered { reusable: bool },
}

/// Why a client's connection ends before its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: CloseReason,
    pub(crate) closing: Closing,
}

/// The server side of the protocol that a client speaks.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// SOCKS or HTTP: the first byte decides.
    Detect {
        has_users: bool,
        deadline: Instant,
    },
    Socks(Box<socks::Server>),
    Http(Box<http::Server>),
    /// No protocol: what is wanted is known from the start, and announced once.
    Direct {
        wanted: Option<Wanted>,
        accepted: bool,
        refused: bool,
    },
}

impl Inbound {
    pub(crate) fn new(now: Instant, service: &Service, has_users: bool, local: SocketAddr) -> Self {
        match service {
            Service::Socks => Self::socks(now, has_users, HANDSHAKE_TIMEOUT),
            Service::Http => Self::http(now, has_users),
            Service::Mixed => Self::Detect {
                has_users,
                deadline: now + HANDSHAKE_TIMEOUT,
            },
            Service::Direct { host, port, .. } => {
                let target = fixed_target(host.as_ref(), *port, local);
                Self::fixed(Wanted::Connection(target))
            }
            // Their connections come from the carrier, each with what it wants.
            Service::Carried | Service::Tun(_) => Self::fixed(Wanted::Connection(local.into())),
        }
    }

    /// This is wanted and nothing else.
    pub(crate) const fn fixed(wanted: Wanted) -> Self {
        Self::Direct {
            wanted: Some(wanted),
            accepted: false,
            refused: false,
        }
    }

    fn socks(now: Instant, has_users: bool, timeout: Duration) -> Self {
        let auth = if has_users {
            socks::Auth::Password
        } else {
            socks::Auth::None
        };
        Self::Socks(Box::new(socks::Server::new(now, auth, timeout)))
    }

    fn http(now: Instant, has_users: bool) -> Self {
        let auth = if has_users {
            http::Auth::Basic
        } else {
            http::Auth::None
        };
        Self::Http(Box::new(http::Server::new(now, auth, HANDSHAKE_TIMEOUT)))
    }

    pub(crate) fn handle_input(
        &mut self,
        now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, Failure> {
        match self {
            Self::Detect {
                has_users,
                deadline,
            } => {
                let has_users = *has_users;
                // One budget for the whole handshake. HTTP gives each request head its own.
                let left = deadline.saturating_duration_since(now);
                match wire.first().first() {
                    Some(4 | 5) => *self = Self::socks(now, has_users, left),
                    Some(_) => *self = Self::http(now, has_users),
                    None if wire.is_eof() => return Err(Failure::LEFT),
                    None => return Ok(Progress::NONE),
                }
                Ok(Progress::MADE)
            }
            Self::Socks(server) => server.handle_input(now, wire, app).map_err(Failure::socks),
            Self::Http(server) => server.handle_input(now, wire, app).map_err(Failure::http),
            Self::Direct { accepted: true, .. } => Ok(wire.transfer(app)),
            Self::Direct { .. } => Ok(Progress::NONE),
        }
    }

    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, Failure> {
        match self {
            Self::Detect { .. } => Ok(Progress::NONE),
            Self::Socks(server) => server.poll_transmit(now, app, wire).map_err(Failure::socks),
            Self::Http(server) => server.poll_transmit(now, app, wire).map_err(Failure::http),
            Self::Direct { accepted: true, .. } => Ok(app.transfer(wire)),
            Self::Direct { refused: true, .. } => Ok(wire.reset()),
            Self::Direct { .. } => Ok(Progress::NONE),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<InboundEvent> {
        match self {
            Self::Detect { .. } => None,
            Self::Socks(server) => Some(match server.poll_event()? {
                socks::ServerEvent::Auth { username, password } => {
                    InboundEvent::Auth { username, password }
                }
                socks::ServerEvent::Request {
                    command: Command::Connect,
                    target,
                } => InboundEvent::Connect(target),
                socks::ServerEvent::Request {
                    command: Command::UdpAssociate,
                    target,
                } => InboundEvent::Associate(target),
            }),
            Self::Http(server) => Some(match server.poll_event()? {
                http::ServerEvent::Auth { username, password } => {
                    InboundEvent::Auth { username, password }
                }
                http::ServerEvent::Request {
                    target,
                    connect: true,
                } => InboundEvent::Connect(target),
                http::ServerEvent::Request {
                    target,
                    connect: false,
                } => InboundEvent::Forward(target),
                http::ServerEvent::UpstreamDone { reusable } => InboundEvent::Answered { reusable },
            }),
            Self::Direct { wanted, .. } => Some(match wanted.take()? {
                Wanted::Connection(target) => InboundEvent::Connect(target),
                Wanted::Datagrams => InboundEvent::Datagrams,
            }),
        }
    }

    pub(crate) fn auth_result(&mut self, ok: bool) {
        match self {
            Self::Socks(server) => server.auth_result(ok),
            Self::Http(server) => server.auth_result(ok),
            Self::Detect { .. } | Self::Direct { .. } => {}
        }
    }

    pub(crate) fn accept(&mut self, bound: &Target) {
        match self {
            Self::Socks(server) => {
                let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
                server.accept(bound.socket_addr().unwrap_or(unspecified));
            }
            Self::Http(server) => server.accept(),
            Self::Direct { accepted, .. } => *accepted = true,
            Self::Detect { .. } => {}
        }
    }

    pub(crate) fn refuse(&mut self, why: Refusal) {
        match self {
            Self::Socks(server) => server.refuse(why),
            Self::Http(server) => server.refuse(why),
            Self::Direct { refused, .. } => *refused = true,
            Self::Detect { .. } => {}
        }
    }

    /// Only moves bytes from now on.
    pub(crate) fn is_transparent(&self) -> bool {
        match self {
            Self::Detect { .. } => false,
            Self::Socks(server) => server.is_transparent(),
            Self::Http(server) => server.is_transparent(),
            Self::Direct { accepted, .. } => *accepted,
        }
    }

    /// The client was asked for credentials and has not given good ones since.
    pub(crate) fn is_challenged(&self) -> bool {
        match self {
            Self::Http(server) => server.is_challenged(),
            Self::Detect { .. } | Self::Socks(_) | Self::Direct { .. } => false,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Detect { deadline, .. } => Some(*deadline),
            Self::Socks(server) => server.poll_timeout(),
            Self::Http(server) => server.poll_timeout(),
            Self::Direct { .. } => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<Progress, Failure> {
        match self {
            Self::Detect { deadline, .. } if *deadline <= now => Err(Failure::TIMEOUT),
            Self::Detect { .. } | Self::Direct { .. } => Ok(Progress::NONE),
            Self::Socks(server) => server.handle_timeout(now).map_err(Failure::socks),
            Self::Http(server) => server.handle_timeout(now).map_err(Failure::http),
        }
    }
}

/// The destination of a `direct` inbound: what is configured, else where the client came in.
pub(crate) fn fixed_target(host: Option<&Host>, port: Option<u16>, local: SocketAddr) -> Target {
    let host = host.cloned().unwrap_or_else(|| Host::Ip(local.ip()));
    Target::new(host, port.unwrap_or_else(|| local.port()))
}

impl Failure {
    const LEFT: Self = Self {
        reason: CloseReason::ClientLeft,
        closing: Closing::Fin,
    };
    /// Datagrams on the client's stream that are none.
    pub(crate) const RECORDS: Self = Self {
        reason: CloseReason::ClientProtocol,
        closing: Closing::Reset,
    };
    const TIMEOUT: Self = Self {
        reason: CloseReason::HandshakeTimeout,
        closing: Closing::Fin,
    };

    fn socks(error: socks::ServerError) -> Self {
        use socks::ServerError as E;
        let reason = match error {
            E::NoAcceptableMethod | E::UsersRequired => CloseReason::AuthFailed,
            E::UnexpectedEof(_) => CloseReason::ClientLeft,
            E::Reset(_) => CloseReason::ClientReset,
            E::TimedOut(_) => CloseReason::HandshakeTimeout,
            E::UnsupportedCommand(_) | E::BadDomain => CloseReason::Refused(error.refusal()),
            E::UnknownVersion(_) | E::Malformed { .. } => CloseReason::ClientProtocol,
        };
        Self {
            reason,
            closing: error.closing(),
        }
    }

    fn http(error: http::Error) -> Self {
        use http::Error as E;
        let reason = match error {
            E::Truncated => CloseReason::ClientLeft,
            E::Reset => CloseReason::ClientReset,
            E::Timeout { .. } => CloseReason::HandshakeTimeout,
            E::ResponseBroken(_) => CloseReason::UpstreamReset,
            // What else a server of ours says is that it does not understand.
            E::BadRequest(_) | E::Refused { .. } | E::BadAnswer(_) | E::NoAnswer | _ => {
                CloseReason::ClientProtocol
            }
        };
        Self {
            reason,
            closing: error.closing(),
        }
    }
}
