//! What a scenario declares of its world, and what is then watched on everything that leaves a
//! host: links on which no payload may be seen, secrets that no text may hold, and the longest
//! packet of a path.
use crate::{
    World,
    host::{DialId, HostId, HostInput, SocketId},
    net::packet::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, UDP_HEADER_LEN},
};
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

/// Payload that must never be seen where a link is declared encrypted.
pub const CANARY: &[u8] = b"canary-5d1f0a83-in-plain-sight";

/// What is watched.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    encrypted: BTreeSet<SocketAddr>,
    dials: BTreeSet<DialId>,
    /// The last bytes written on each encrypted connection.
    tails: BTreeMap<SocketId, Vec<u8>>,
    secrets: Vec<Secret>,
    budgets: BTreeMap<HostId, usize>,
}

#[derive(Debug)]
struct Secret {
    /// The ways in which it could be written.
    forms: Vec<String>,
}

impl World {
    /// Connections and datagrams to this address are encrypted: [`CANARY`] is never seen there.
    pub fn encrypted(&mut self, to: SocketAddr) {
        self.net.watch.encrypted.insert(to);
    }

    /// No text that machines make holds this, be it plain, in hexadecimal or as a list of bytes.
    pub fn secret(&mut self, secret: impl AsRef<[u8]>) {
        let bytes = secret.as_ref();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut forms = vec![
            hex,
            format!("{bytes:?}").trim_matches(['[', ']']).to_owned(),
        ];
        if let Ok(text) = core::str::from_utf8(bytes) {
            forms.push(text.to_owned());
        }
        self.net.watch.secrets.push(Secret { forms });
    }

    /// A host sends no datagram whose IP packet has more octets than this.
    pub fn path_budget(&mut self, host: HostId, octets: usize) {
        self.net.watch.budgets.insert(host, octets);
    }
}

impl Watch {
    /// A dial begins.
    pub(crate) fn dials(&mut self, dial: DialId, to: SocketAddr) {
        if self.encrypted.contains(&to) {
            self.dials.insert(dial);
        }
    }

    /// A host is told something: perhaps that it has a connection on an encrypted link.
    pub(crate) fn told(&mut self, input: &HostInput) {
        if let HostInput::Accepted { socket, local, .. } = input
            && self.encrypted.contains(local)
        {
            self.tails.insert(*socket, Vec::new());
        }
        if let HostInput::Dialed(dial, Ok((socket, _))) = input
            && self.dials.remove(dial)
        {
            self.tails.insert(*socket, Vec::new());
        }
    }

    /// Bytes are written; what is wrong with that?
    pub(crate) fn wrote(&mut self, socket: SocketId, bytes: &[u8]) -> Option<String> {
        let tail = self.tails.get_mut(&socket)?;
        tail.extend_from_slice(bytes);
        let is_seen = holds(tail, CANARY);
        let cut = tail.len().saturating_sub(CANARY.len() - 1);
        tail.drain(..cut);
        is_seen.then(|| format!("payload in plain sight on connection {}", socket.number()))
    }

    /// A datagram is sent; is payload in plain sight?
    pub(crate) fn sent(&self, to: SocketAddr, data: &[u8]) -> Option<String> {
        let is_seen = self.encrypted.contains(&to) && holds(data, CANARY);
        is_seen.then(|| format!("payload in plain sight in a datagram to {to}"))
    }

    /// Is it longer than the path carries?
    pub(crate) fn is_too_long(&self, host: HostId, to: SocketAddr, len: usize) -> Option<String> {
        let budget = *self.budgets.get(&host)?;
        let ip = if to.is_ipv4() {
            IPV4_HEADER_LEN
        } else {
            IPV6_HEADER_LEN
        };
        let octets = ip + UDP_HEADER_LEN + len;
        (octets > budget).then(|| format!("{octets} octets to {to}, the path carries {budget}"))
    }

    /// Does a text hold a secret? (The answer does not.)
    pub(crate) fn tells(&self, text: std::fmt::Arguments<'_>) -> Option<String> {
        if self.secrets.is_empty() {
            return None;
        }
        let text = text.to_string();
        let told = |secret: &Secret| secret.forms.iter().any(|form| text.contains(form));
        let which = self.secrets.iter().position(told)?;
        Some(format!("a text holds secret {which}"))
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
