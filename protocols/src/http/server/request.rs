//! From a client's request head to what the proxy does about it.
use super::flow::Flow;
use crate::http::{
    SKIPPED_BODY_LEN_MAX,
    refusal::Status,
    wire::{
        Body, Credentials, Malformed, Request, RequestTarget, Version, framing, rewrite,
        rewrite::RequestEdit,
    },
};
use bytes::BytesMut;
use core::fmt;
use sansbox_core::Target;

/// What must be remembered of a request until its response is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// The client's version.
    pub(super) version: Version,
    /// HEAD: the response has no body.
    pub(super) is_head: bool,
    /// The client connection ends after this exchange.
    pub(super) close: bool,
    /// An upgrade was asked for and passed on.
    pub(super) upgrade: bool,
    /// The body as announced.
    pub(super) body: Body,
    /// The client may hold its body back until it is sent 100.
    pub(super) expects_continue: bool,
}

impl Exchange {
    /// Before any request.
    pub(super) const NONE: Self = Self {
        version: Version::Http11,
        is_head: false,
        close: false,
        upgrade: false,
        body: Body::NONE,
        expects_continue: false,
    };

    /// How many bytes of body to skip to keep the connection without serving the request; `None`
    /// when it is better closed.
    pub(super) const fn skippable(&self) -> Option<u64> {
        match self.body {
            _ if self.close => None,
            Body::Length(0) => Some(0),
            Body::Length(n) if n <= SKIPPED_BODY_LEN_MAX && !self.expects_continue => Some(n),
            Body::Length(_) | Body::Chunked | Body::UntilClose => None,
        }
    }
}

/// A head written for the server. It may hold cookies and passwords, so `Debug` shows no byte.
pub(super) struct Head(pub(super) BytesMut);

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.0.len())
    }
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// A tunnel.
    Tunnel(Target),
    /// One request, with its head rewritten for the server.
    Forward { target: Target, head: Head },
    /// Something the proxy answers itself (RFC 9110 7.6.2).
    Answer { status: Status, why: &'static str },
}

/// A request head, read and checked.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) exchange: Exchange,
    pub(super) asked: Asked,
    pub(super) credentials: Option<Credentials>,
}

impl Pending {
    /// Where the request goes, when it goes anywhere.
    pub(super) const fn target(&self) -> Option<&Target> {
        match &self.asked {
            Asked::Tunnel(target) | Asked::Forward { target, .. } => Some(target),
            Asked::Answer { .. } => None,
        }
    }

    pub(super) const fn flow(&self) -> Flow {
        Flow::new(self.exchange.body)
    }

    /// Reads a whole head.
    pub(super) fn read(head: &[u8]) -> Result<Self, Malformed> {
        let request = Request::parse_whole(head)?;
        rewrite::check_options(&request.fields)?;
        check_host(&request)?;
        let body = Body::of_request(&request)?;
        let is_http10 = request.version == Version::Http10;
        let mut exchange = Exchange {
            version: request.version,
            is_head: request.method == "HEAD",
            // RFC 9112 9.3: a proxy keeps no connection with an HTTP/1.0 client.
            close: is_http10 || request.fields.lists("Connection", "close"),
            upgrade: false,
            body,
            expects_continue: !is_http10 && request.fields.lists("Expect", "100-continue"),
        };
        let asked = match RequestTarget::parse(request.method, request.target)? {
            RequestTarget::Authority(_) if body != Body::NONE => {
                return Err(Malformed::ConnectBody);
            }
            RequestTarget::Authority(target) => Asked::Tunnel(target),
            RequestTarget::Absolute(url) => {
                let max_forwards = match forwards_left(&request)? {
                    Some(0) => return Ok(Self::new(&request, exchange, own_answer(&request))),
                    left => left.map(|n| n - 1),
                };
                exchange.upgrade = !is_http10 && rewrite::asks_for_upgrade(&request.fields);
                let edit = RequestEdit {
                    upgrade: exchange.upgrade,
                    close: exchange.close,
                    drop_expect: is_http10,
                    max_forwards,
                };
                let head = Head(rewrite::emit_request(&request, &url, edit));
                let target = url.target;
                Asked::Forward { target, head }
            }
        };
        Ok(Self::new(&request, exchange, asked))
    }

    fn new(request: &Request<'_>, exchange: Exchange, asked: Asked) -> Self {
        Self {
            exchange,
            asked,
            credentials: Credentials::of_request(&request.fields),
        }
    }
}

/// RFC 9112 3.2: one `Host`, required in HTTP/1.1. CONNECT without it is taken, as Go does: its
/// target says the same.
fn check_host(request: &Request<'_>) -> Result<(), Malformed> {
    let is_required = request.version == Version::Http11 && request.method != "CONNECT";
    match request.fields.all("Host").count() {
        0 if is_required => Err(Malformed::HostMissing),
        0 | 1 => Ok(()),
        _ => Err(Malformed::HostRepeated),
    }
}

/// `Max-Forwards` where it means something (RFC 9110 7.6.2).
fn forwards_left(request: &Request<'_>) -> Result<Option<u64>, Malformed> {
    if !matches!(request.method, "OPTIONS" | "TRACE") {
        return Ok(None);
    }
    let mut values = request.fields.all("Max-Forwards");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let number = framing::decimal(value).filter(|_| values.next().is_none());
    number.map(Some).ok_or(Malformed::MaxForwards)
}

/// The answer to a request that must not go further.
fn own_answer(request: &Request<'_>) -> Asked {
    match request.method {
        "OPTIONS" => Asked::Answer {
            status: Status::Ok,
            why: "this is the last hop that Max-Forwards allows",
        },
        _ => Asked::Answer {
            status: Status::NotImplemented,
            why: "this proxy does not answer TRACE itself",
        },
    }
}
