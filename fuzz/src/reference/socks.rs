//! What a SOCKS server says to a client whose bytes are all there (RFC 1928, RFC 1929, the notes on
//! SOCKS4 and SOCKS4a).
use sansbox_core::{Host, Refusal, Target};
use sansbox_protocols::socks::Command;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Who owns the server, and what it decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) has_users: bool,
    pub(crate) lets_in: bool,
    pub(crate) verdict: Result<SocketAddr, Refusal>,
}

/// What the owner is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Auth(Vec<u8>, Vec<u8>),
    Request(Command, Target),
}

/// How the handshake ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// More bytes are needed.
    Waiting,
    /// The server said its last word.
    Closed,
    /// Bytes of the application follow.
    Relay,
    /// Nothing that follows means anything.
    Control,
}

/// All that comes of a client's bytes.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) asked: Vec<Asked>,
    pub(crate) sent: Vec<u8>,
    pub(crate) ending: Ending,
    /// What follows the handshake.
    pub(crate) rest: &'a [u8],
}

impl<'a> Expected<'a> {
    fn end(mut self, last_words: &[u8], ending: Ending, rest: &'a [u8]) -> Self {
        self.sent.extend_from_slice(last_words);
        self.ending = ending;
        self.rest = rest;
        self
    }

    /// The request is whole: ask the owner and write what `reply` makes of the verdict.
    fn decide(
        mut self,
        owner: &Owner,
        command: Command,
        target: Target,
        rest: &'a [u8],
        reply: impl Fn(Result<SocketAddr, Refusal>) -> Vec<u8>,
    ) -> Self {
        self.asked.push(Asked::Request(command, target));
        let ending = match (owner.verdict, command) {
            (Err(_), _) => Ending::Closed,
            (Ok(_), Command::Connect) => Ending::Relay,
            (Ok(_), Command::UdpAssociate) => Ending::Control,
        };
        match owner.verdict {
            Err(Refusal::Dropped) => self.end(&[], ending, rest),
            verdict => self.end(&reply(verdict), ending, rest),
        }
    }
}

/// Serves `input`.
pub(crate) fn serve<'a>(owner: &Owner, input: &'a [u8]) -> Expected<'a> {
    let start = Expected {
        asked: Vec::new(),
        sent: Vec::new(),
        ending: Ending::Waiting,
        rest: &[],
    };
    match input.first() {
        None => start,
        Some(4) => serve_v4(start, owner, input),
        Some(5) => serve_v5(start, owner, input),
        Some(_) => start.end(&[], Ending::Closed, &[]),
    }
}

/// Text up to a NUL, of 255 octets at most. `Err(true)`: there is no NUL where one must be.
fn text(input: &[u8]) -> Result<(&[u8], &[u8]), bool> {
    match input.iter().position(|b| *b == 0) {
        Some(at) if at <= 255 => Ok((&input[..at], &input[at + 1..])),
        Some(_) => Err(true),
        None => Err(input.len() > 255),
    }
}

fn serve_v4<'a>(start: Expected<'a>, owner: &Owner, input: &'a [u8]) -> Expected<'a> {
    const REJECTED: [u8; 8] = [0, 91, 0, 0, 0, 0, 0, 0];
    let reply = |verdict: Result<SocketAddr, Refusal>| {
        let Ok(bound) = verdict else {
            return REJECTED.to_vec();
        };
        let port = bound.port().to_be_bytes();
        let ip = as_v4(bound.ip()).unwrap_or([0; 4]);
        [&[0, 90][..], &port, &ip].concat()
    };
    if input.len() < 8 {
        return start;
    }
    let command = input[1];
    let port = u16::from_be_bytes([input[2], input[3]]);
    let ip = [input[4], input[5], input[6], input[7]];
    let bad = |start: Expected<'a>, is_bad| match is_bad {
        true => start.end(&REJECTED, Ending::Closed, &[]),
        false => start,
    };
    let mut rest = match text(&input[8..]) {
        Ok((_user, rest)) => rest,
        Err(is_bad) => return bad(start, is_bad),
    };
    let mut host = Ok(Host::Ip(IpAddr::from(ip)));
    if ip[..3] == [0; 3] && ip[3] != 0 {
        match text(rest) {
            Ok((name, after)) => (host, rest) = (Host::parse(name), after),
            Err(is_bad) => return bad(start, is_bad),
        }
    }
    match host {
        _ if owner.has_users => start.end(&[0, 93, 0, 0, 0, 0, 0, 0], Ending::Closed, &[]),
        Ok(host) if command == 1 => {
            let target = Target::new(host, port);
            start.decide(owner, Command::Connect, target, rest, reply)
        }
        Ok(_) | Err(_) => start.end(&REJECTED, Ending::Closed, &[]),
    }
}

fn serve_v5<'a>(mut start: Expected<'a>, owner: &Owner, input: &'a [u8]) -> Expected<'a> {
    let wanted = if owner.has_users { 2 } else { 0 };
    let Some(count) = input.get(1) else {
        return start;
    };
    let Some(methods) = input.get(2..2 + usize::from(*count)) else {
        return start;
    };
    if !methods.contains(&wanted) {
        return start.end(&[5, 255], Ending::Closed, &[]);
    }
    start.sent.extend_from_slice(&[5, wanted]);
    let mut rest = &input[2 + methods.len()..];
    if owner.has_users {
        if rest.first().is_some_and(|version| *version != 1) {
            return start.end(&[1, 1], Ending::Closed, &[]);
        }
        let string = |at: usize| rest.get(at + 1..at + 1 + usize::from(*rest.get(at)?));
        let Some(name) = string(1) else {
            return start;
        };
        let Some(password) = string(2 + name.len()) else {
            return start;
        };
        rest = &rest[3 + name.len() + password.len()..];
        start
            .asked
            .push(Asked::Auth(name.to_vec(), password.to_vec()));
        if !owner.lets_in {
            return start.end(&[1, 1], Ending::Closed, &[]);
        }
        start.sent.extend_from_slice(&[1, 0]);
    }
    request_v5(start, owner, rest)
}

fn request_v5<'a>(start: Expected<'a>, owner: &Owner, rest: &'a [u8]) -> Expected<'a> {
    let refused = |code| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    if rest.first().is_some_and(|version| *version != 5) {
        return start.end(&refused(1), Ending::Closed, &[]);
    }
    let Some(kind) = rest.get(3) else {
        return start;
    };
    let len = match (kind, rest.get(4)) {
        (1, _) => 4,
        (4, _) => 16,
        (3, Some(len)) => 1 + usize::from(*len),
        (3, None) => return start,
        _ => return start.end(&refused(8), Ending::Closed, &[]),
    };
    let (Some(address), Some(port)) = (rest.get(4..4 + len), rest.get(4 + len..6 + len)) else {
        return start;
    };
    let host = match kind {
        1 => Ok(Host::Ip(
            <[u8; 4]>::try_from(address).expect("4 octets").into(),
        )),
        4 => Ok(Host::Ip(
            <[u8; 16]>::try_from(address).expect("16 octets").into(),
        )),
        _ => Host::parse(&address[1..]),
    };
    let command = match rest[1] {
        1 => Command::Connect,
        3 => Command::UdpAssociate,
        _ => return start.end(&refused(7), Ending::Closed, &[]),
    };
    let host = match (host, command) {
        (Ok(host), _) => host,
        // Where the client will send from is not known: it does not matter.
        (Err(_), Command::UdpAssociate) => Host::Ip(IpAddr::from([0; 4])),
        (Err(_), Command::Connect) => return start.end(&refused(4), Ending::Closed, &[]),
    };
    let target = Target::new(host, u16::from_be_bytes([port[0], port[1]]));
    let reply = |verdict: Result<SocketAddr, Refusal>| match verdict {
        Err(why) => refused(code_of(why)).to_vec(),
        Ok(bound) => {
            let ip = match (as_v4(bound.ip()), bound.ip()) {
                (None, IpAddr::V6(ip)) => [&[4][..], &ip.octets()].concat(),
                (ip, _) => [&[1][..], &ip.unwrap_or_default()].concat(),
            };
            [&[5, 0, 0][..], &ip, &bound.port().to_be_bytes()].concat()
        }
    };
    start.decide(owner, command, target, &rest[6 + len..], reply)
}

/// The four octets of an IPv4 address, also of one mapped into IPv6.
fn as_v4(ip: IpAddr) -> Option<[u8; 4]> {
    match ip {
        IpAddr::V4(ip) => Some(ip.octets()),
        IpAddr::V6(ip) => mapped(ip),
    }
}

fn mapped(ip: Ipv6Addr) -> Option<[u8; 4]> {
    match ip.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([a, b, c, d]),
        _ => None,
    }
}

/// RFC 1928 section 6, with codes for failures that it does not name.
fn code_of(why: Refusal) -> u8 {
    match why {
        Refusal::Policy | Refusal::PrivateAddress | Refusal::Prohibited => 2,
        Refusal::NetworkUnreachable => 3,
        Refusal::HostUnreachable
        | Refusal::NameNotFound
        | Refusal::ResolverFailed
        | Refusal::TimedOut => 4,
        Refusal::ConnectionRefused => 5,
        Refusal::TtlExpired => 6,
        Refusal::CommandUnsupported => 7,
        Refusal::AddressUnsupported => 8,
        Refusal::Dropped
        | Refusal::UpstreamAuth
        | Refusal::UpstreamProtocol
        | Refusal::Exhausted
        | Refusal::General
        | _ => 1,
    }
}
