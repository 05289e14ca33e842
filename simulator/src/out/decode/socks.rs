//! SOCKS4, SOCKS4a and SOCKS5.
use super::{
    dialogue::{self, Step},
    text,
};
use sansbox_protocols::socks::wire::{Address, Name, v4, v5};

/// Which message comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Greeting,
    Method,
    Auth,
    AuthStatus,
    Request,
    Reply,
    Request4,
    Reply4,
}

pub(super) fn step(expect: Expect, bytes: &[u8]) -> Step {
    let read = match expect {
        Expect::Greeting => greeting(bytes),
        Expect::Method => method(bytes),
        Expect::Auth => auth(bytes),
        Expect::AuthStatus => auth_status(bytes),
        Expect::Request => request(bytes),
        Expect::Reply => reply(bytes),
        Expect::Request4 => request4(bytes),
        Expect::Reply4 => reply4(bytes),
    };
    // What is no such message ends the reading of the connection.
    read.unwrap_or(Some(OPAQUE)).unwrap_or(Step::More)
}

const OPAQUE: Step = Step::Learn {
    own: dialogue::Expect::Opaque,
    other: Some(dialogue::Expect::Opaque),
};

type Read = Result<Option<Step>, sansbox_protocols::socks::wire::Malformed>;

const fn next(expect: Expect) -> dialogue::Expect {
    dialogue::Expect::Socks(expect)
}

pub(super) fn address(address: &Address<'_>) -> String {
    let port = address.port;
    match address.name {
        Name::Ip(ip) => core::net::SocketAddr::new(ip, port).to_string(),
        Name::Domain(name) => format!("{}:{port}", text(name.as_bytes())),
    }
}

fn method_name(method: u8) -> String {
    match method {
        v5::method::NONE => "no authentication (0)".into(),
        v5::method::PASSWORD => "user name and password (2)".into(),
        v5::method::NO_ACCEPTABLE => "none is acceptable (255)".into(),
        other => format!("method {other}"),
    }
}

fn greeting(bytes: &[u8]) -> Read {
    Ok(v5::Greeting::parse(bytes)?.map(|(greeting, len)| {
        let methods = greeting.methods.as_bytes().iter();
        let methods: Vec<String> = methods.map(|m| method_name(*m)).collect();
        Step::Message {
            name: "SOCKS5 greeting".into(),
            fields: vec![("methods", methods.join(", "))],
            len,
            own: dialogue::Expect::Turn,
            other: Some(next(Expect::Method)),
        }
    }))
}

fn method(bytes: &[u8]) -> Read {
    Ok(v5::MethodSelection::parse(bytes)?.map(|(selection, len)| {
        let (own, other) = match selection.method {
            v5::method::NONE => (dialogue::Expect::Turn, next(Expect::Request)),
            v5::method::PASSWORD => (dialogue::Expect::Turn, next(Expect::Auth)),
            _ => (dialogue::Expect::Opaque, dialogue::Expect::Opaque),
        };
        Step::Message {
            name: format!("SOCKS5 method {}", selection.method),
            fields: vec![("method", method_name(selection.method))],
            len,
            own,
            other: Some(other),
        }
    }))
}

fn auth(bytes: &[u8]) -> Read {
    Ok(v5::AuthRequest::parse(bytes)?.map(|(auth, len)| {
        let hidden = |len: usize| format!("{len} bytes, not shown");
        Step::Message {
            name: "SOCKS5 login".into(),
            fields: vec![
                ("user name", hidden(auth.username.as_bytes().len())),
                ("password", hidden(auth.password.as_bytes().len())),
            ],
            len,
            own: next(Expect::Request),
            other: Some(next(Expect::AuthStatus)),
        }
    }))
}

fn auth_status(bytes: &[u8]) -> Read {
    Ok(v5::AuthStatus::parse(bytes)?.map(|(status, len)| {
        let is_in = status.status == v5::AuthStatus::SUCCESS;
        let said = if is_in { "accepted" } else { "refused" };
        Step::Message {
            name: format!("SOCKS5 login {said}"),
            fields: vec![("status", status.status.to_string())],
            len,
            own: dialogue::Expect::Turn,
            other: (!is_in).then_some(dialogue::Expect::Opaque),
        }
    }))
}

fn request(bytes: &[u8]) -> Read {
    Ok(v5::Request::parse(bytes)?.map(|(request, len)| {
        let command = match request.command {
            v5::command::CONNECT => "CONNECT".into(),
            v5::command::BIND => "BIND".into(),
            v5::command::UDP_ASSOCIATE => "UDP ASSOCIATE".into(),
            other => format!("command {other}"),
        };
        let to = address(&request.address);
        Step::Message {
            name: format!("SOCKS5 {command} {to}"),
            fields: vec![
                ("command", format!("{command} ({})", request.command)),
                ("target", to),
            ],
            len,
            own: dialogue::Expect::Turn,
            other: Some(next(Expect::Reply)),
        }
    }))
}

fn reply_name(code: u8) -> String {
    match code {
        v5::code::SUCCEEDED => "succeeded".into(),
        v5::code::GENERAL_FAILURE => "general failure".into(),
        v5::code::NOT_ALLOWED => "not allowed".into(),
        v5::code::NETWORK_UNREACHABLE => "network unreachable".into(),
        v5::code::HOST_UNREACHABLE => "host unreachable".into(),
        v5::code::CONNECTION_REFUSED => "connection refused".into(),
        v5::code::TTL_EXPIRED => "TTL expired".into(),
        v5::code::COMMAND_UNSUPPORTED => "command not supported".into(),
        v5::code::ADDRESS_UNSUPPORTED => "address type not supported".into(),
        other => format!("code {other}"),
    }
}

fn reply(bytes: &[u8]) -> Read {
    Ok(v5::Reply::parse(bytes)?.map(|(reply, len)| {
        let said = reply_name(reply.code);
        let (own, other) = after(reply.code == v5::code::SUCCEEDED);
        Step::Message {
            name: format!("SOCKS5 reply: {said}"),
            fields: vec![
                ("code", format!("{} ({said})", reply.code)),
                ("bound", address(&reply.address)),
            ],
            len,
            own,
            other: Some(other),
        }
    }))
}

/// What both directions say behind the last reply.
const fn after(is_granted: bool) -> (dialogue::Expect, dialogue::Expect) {
    if is_granted {
        (dialogue::Expect::Turn, dialogue::Expect::Carried)
    } else {
        (dialogue::Expect::Opaque, dialogue::Expect::Opaque)
    }
}

fn request4(bytes: &[u8]) -> Read {
    Ok(v4::Request::parse(bytes)?.map(|(request, len)| {
        let host = match request.destination {
            v4::Destination::Ip(ip) => ip.to_string(),
            v4::Destination::Domain(name) => text(name.as_bytes()),
        };
        let to = format!("{host}:{}", request.port);
        let command = match request.command {
            1 => "CONNECT".into(),
            2 => "BIND".into(),
            other => format!("command {other}"),
        };
        let user = request.user_id.as_bytes().len();
        Step::Message {
            name: format!("SOCKS4 {command} {to}"),
            fields: vec![
                ("command", format!("{command} ({})", request.command)),
                ("target", to),
                ("user id", format!("{user} bytes, not shown")),
            ],
            len,
            own: dialogue::Expect::Turn,
            other: Some(next(Expect::Reply4)),
        }
    }))
}

fn reply4(bytes: &[u8]) -> Read {
    Ok(v4::Reply::parse(bytes)?.map(|(reply, len)| {
        /// CD of a granted request.
        const GRANTED: u8 = 90;
        let is_granted = reply.code == GRANTED;
        let said = if is_granted { "granted" } else { "rejected" };
        let (own, other) = after(is_granted);
        Step::Message {
            name: format!("SOCKS4 reply: {said}"),
            fields: vec![
                ("code", format!("{} ({said})", reply.code)),
                ("bound", reply.bound.to_string()),
            ],
            len,
            own,
            other: Some(other),
        }
    }))
}
