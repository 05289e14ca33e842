//! Heads of HTTP/1.1, and bodies whose length is known.
use super::{
    dialogue::{self, Step},
    text,
};
use sansbox_protocols::http::wire::{Body, Fields, Request, Response};

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Request,
    /// The answer to a request.
    Response(Asked),
    /// So many bytes, then what the connection says again.
    Body(u64, After),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Connect,
    Head,
    Other,
}

/// What follows a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another request, behind the answer to this one.
    Request,
    /// The answer to another request.
    Response,
}

/// Field values that may hold credentials.
const HIDDEN: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];
/// Longest method.
const METHOD_LEN_MAX: usize = 16;

const OPAQUE: Step = Step::Learn {
    own: dialogue::Expect::Opaque,
    other: Some(dialogue::Expect::Opaque),
};

/// Do these bytes begin like a request? `None`: too early to tell.
pub(super) fn begins_request(bytes: &[u8]) -> Option<bool> {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Some(false);
    }
    if method.len() < bytes.len() {
        return Some(method.len() >= 3);
    }
    (method.len() > METHOD_LEN_MAX).then_some(false)
}

pub(super) fn step(expect: Expect, bytes: &[u8]) -> Step {
    match expect {
        Expect::Request => match Request::parse(bytes) {
            Ok(Some((request, len))) => on_request(&request, len),
            Ok(None) => Step::More,
            Err(_) => OPAQUE,
        },
        Expect::Response(asked) => match Response::parse(bytes) {
            Ok(Some((response, len))) => on_response(&response, len, asked),
            Ok(None) => Step::More,
            Err(_) => OPAQUE,
        },
        Expect::Body(left, after) => {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - len as u64;
            let own = if left > 0 {
                dialogue::Expect::Http(Expect::Body(left, after))
            } else {
                behind(after)
            };
            Step::Message {
                name: "HTTP body".into(),
                fields: vec![("length", format!("{len} bytes, {left} to come"))],
                len,
                own,
                other: None,
            }
        }
    }
}

const fn behind(after: After) -> dialogue::Expect {
    match after {
        After::Request => dialogue::Expect::Http(Expect::Request),
        After::Response => dialogue::Expect::Turn,
    }
}

fn fields(first: Vec<(&'static str, String)>, fields: &Fields<'_>) -> Vec<(&'static str, String)> {
    let shown = fields.iter().map(|(name, value)| {
        let is_hidden = HIDDEN.iter().any(|h| name.eq_ignore_ascii_case(h));
        let value = if is_hidden {
            format!("{} bytes, not shown", value.len())
        } else {
            text(value)
        };
        ("field", format!("{name}: {value}"))
    });
    first.into_iter().chain(shown).collect()
}

fn on_request(request: &Request<'_>, len: usize) -> Step {
    let asked = match request.method {
        "CONNECT" => Asked::Connect,
        "HEAD" => Asked::Head,
        _ => Asked::Other,
    };
    let own = match Body::of_request(request) {
        Ok(Body::Length(0)) if asked == Asked::Connect => dialogue::Expect::Turn,
        Ok(Body::Length(0)) => behind(After::Request),
        Ok(Body::Length(n)) => dialogue::Expect::Http(Expect::Body(n, After::Request)),
        Ok(_) | Err(_) => dialogue::Expect::Opaque,
    };
    Step::Message {
        name: format!("HTTP {} {}", request.method, request.target),
        fields: fields(
            vec![
                ("method", request.method.into()),
                ("target", request.target.into()),
            ],
            &request.fields,
        ),
        len,
        own,
        other: Some(dialogue::Expect::Http(Expect::Response(asked))),
    }
}

fn on_response(response: &Response<'_>, len: usize, asked: Asked) -> Step {
    let is_interim = (100..200).contains(&response.status) && response.status != 101;
    let is_tunnel = asked == Asked::Connect && (200..300).contains(&response.status);
    let (own, other) = if is_interim {
        (dialogue::Expect::Http(Expect::Response(asked)), None)
    } else if is_tunnel {
        (dialogue::Expect::Turn, Some(dialogue::Expect::Carried))
    } else {
        let own = match Body::of_response(response, asked == Asked::Head) {
            Ok(Body::Length(0)) => behind(After::Response),
            Ok(Body::Length(n)) => dialogue::Expect::Http(Expect::Body(n, After::Response)),
            Ok(_) | Err(_) => dialogue::Expect::Opaque,
        };
        (own, None)
    };
    Step::Message {
        name: format!("HTTP {} {}", response.status, response.reason),
        fields: fields(
            vec![
                ("status", response.status.to_string()),
                ("reason", response.reason.into()),
            ],
            &response.fields,
        ),
        len,
        own,
        other,
    }
}
