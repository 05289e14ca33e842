//! The proxy's own responses: a status, and a sentence for the person in front of the client.
use bytes::BytesMut;
use core::fmt::Write as _;
use sansbox_core::Refusal;

/// The statuses that the proxy itself answers with (RFC 9110 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// 200, to OPTIONS with `Max-Forwards: 0`.
    Ok,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 407, with a challenge.
    ProxyAuthRequired,
    /// 408.
    RequestTimeout,
    /// 431 (RFC 6585 5).
    FieldsTooLarge,
    /// 501.
    NotImplemented,
    /// 502.
    BadGateway,
    /// 503.
    Unavailable,
    /// 504.
    GatewayTimeout,
    /// 505.
    VersionNotSupported,
}

impl Status {
    /// The status for `refusal`; `None` when nothing is to be said.
    #[must_use]
    pub const fn of_refusal(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::Dropped => None,
            Refusal::Policy | Refusal::PrivateAddress | Refusal::Prohibited => {
                Some(Self::Forbidden)
            }
            Refusal::TimedOut | Refusal::TtlExpired => Some(Self::GatewayTimeout),
            Refusal::Exhausted => Some(Self::Unavailable),
            Refusal::CommandUnsupported | Refusal::AddressUnsupported => Some(Self::NotImplemented),
            Refusal::ConnectionRefused
            | Refusal::NetworkUnreachable
            | Refusal::HostUnreachable
            | Refusal::NameNotFound
            | Refusal::ResolverFailed
            | Refusal::UpstreamAuth
            | Refusal::UpstreamProtocol
            | Refusal::General
            | _ => Some(Self::BadGateway),
        }
    }

    /// Code and reason phrase.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::ProxyAuthRequired => "407 Proxy Authentication Required",
            Self::RequestTimeout => "408 Request Timeout",
            Self::FieldsTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::BadGateway => "502 Bad Gateway",
            Self::Unavailable => "503 Service Unavailable",
            Self::GatewayTimeout => "504 Gateway Timeout",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// The challenge of a 407 (RFC 7617 2.1: names and passwords are UTF-8).
const CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"proxy\", charset=\"UTF-8\"\r\n";

/// A whole response of `status` whose body says `why`; `to_head` leaves the body out, `close`
/// announces the end of the connection.
#[must_use]
pub fn emit_reply(status: Status, why: &str, to_head: bool, close: bool) -> BytesMut {
    let challenge = match status == Status::ProxyAuthRequired {
        true => CHALLENGE,
        false => "",
    };
    let connection = match close {
        true => "Connection: close\r\n",
        false => "",
    };
    let prefix = "proxy: ";
    let (line, len) = (status.line(), prefix.len() + why.len() + 1);
    let mut out = BytesMut::with_capacity(256 + len);
    let body = match to_head {
        true => ["", "", ""],
        false => [prefix, why, "\n"],
    };
    let written = write!(
        out,
        "HTTP/1.1 {line}\r\n{challenge}Content-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         Content-Length: {len}\r\n{connection}\r\n{}{}{}",
        body[0], body[1], body[2]
    );
    debug_assert!(written.is_ok(), "a BytesMut grows");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::{Body, Response};

    #[test]
    fn every_refusal_but_silence_has_an_error_status() {
        for refusal in Refusal::ALL {
            let status = Status::of_refusal(refusal);
            assert_eq!(status.is_none(), refusal == Refusal::Dropped, "{refusal:?}");
            let is_error = status.is_none_or(|s| s.line().starts_with(['4', '5']));
            assert!(is_error, "{refusal:?}");
        }
    }

    #[test]
    fn replies_are_whole_responses() {
        let reply = emit_reply(Status::ProxyAuthRequired, "who are you?", false, true);
        let (head, len) = Response::parse(&reply).unwrap().unwrap();
        assert_eq!(head.status, 407);
        assert_eq!(head.fields.all("Proxy-Authenticate").count(), 1);
        assert!(head.fields.lists("Connection", "close"));
        assert_eq!(&reply[len..], b"proxy: who are you?\n");
        let body = Body::of_response(&head, false);
        assert_eq!(body, Ok(Body::Length((reply.len() - len) as u64)));

        let to_head = emit_reply(Status::BadGateway, "x", true, false);
        let (head, len) = Response::parse(&to_head).unwrap().unwrap();
        assert_eq!((len, head.status), (to_head.len(), 502));
        assert_eq!(head.fields.all("Connection").count(), 0);
    }
}
