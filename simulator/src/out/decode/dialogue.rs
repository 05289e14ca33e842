//! The two directions of a connection, read as messages.
use super::{Message, http, socks, tls};
use crate::tcp::Side;

/// Longest message that is waited for.
const BUFFER_LEN_MAX: usize = 80 << 10;

/// What a direction is expected to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Anything: the first bytes tell.
    Anything,
    /// Anything that a tunnel carries: no second proxy handshake.
    Carried,
    /// Depends on what the other direction says.
    Turn,
    /// A message of SOCKS.
    Socks(socks::Expect),
    /// A head, or a body of so many bytes.
    Http(http::Expect),
    /// TLS records.
    Tls,
    /// Bytes that nothing is known of.
    Opaque,
}

/// What reading the front of a direction gave.
pub(super) enum Step {
    /// A message of so many bytes, and what both directions say next; `None`: as before.
    Message {
        name: String,
        fields: Vec<(&'static str, String)>,
        len: usize,
        own: Expect,
        other: Option<Expect>,
    },
    /// Nothing was consumed, but both directions now say this.
    Learn { own: Expect, other: Option<Expect> },
    /// More bytes are needed.
    More,
}

/// One direction.
#[derive(Debug)]
struct Half {
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    base: u64,
    expect: Expect,
    messages: Vec<Message>,
}

impl Half {
    const fn new(expect: Expect) -> Self {
        Self {
            buffer: Vec::new(),
            base: 0,
            expect,
            messages: Vec::new(),
        }
    }

    fn drop_front(&mut self, len: usize) {
        self.buffer.drain(..len.min(self.buffer.len()));
        self.base += len as u64;
    }
}

/// A connection whose bytes are read as they are sent.
#[derive(Debug)]
pub(in crate::out) struct Dialogue {
    dialer: Half,
    acceptor: Half,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            dialer: Half::new(Expect::Anything),
            acceptor: Half::new(Expect::Turn),
        }
    }
}

impl Dialogue {
    /// Adds bytes of one direction, which begin at `offset`. What was seen before is skipped.
    pub(in crate::out) fn feed(&mut self, from: Side, offset: u64, bytes: &[u8]) {
        let half = self.half(from);
        let end = half.base + half.buffer.len() as u64;
        let Some(known) = end.checked_sub(offset) else {
            // Something is missing; what follows cannot be read.
            half.buffer.clear();
            half.base = offset + bytes.len() as u64;
            half.expect = Expect::Opaque;
            return;
        };
        let new = bytes.get(known as usize..).unwrap_or_default();
        half.buffer.extend_from_slice(new);
        while self.advance(Side::Dialer) || self.advance(Side::Acceptor) {}
    }

    /// The messages of a direction, in order.
    pub(in crate::out) fn messages(&self, of: Side) -> &[Message] {
        match of {
            Side::Dialer => &self.dialer.messages,
            Side::Acceptor => &self.acceptor.messages,
        }
    }

    const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    /// Reads one message; true when something changed.
    fn advance(&mut self, side: Side) -> bool {
        let half = self.half(side);
        if half.buffer.is_empty() {
            return false;
        }
        let step = match half.expect {
            Expect::Anything | Expect::Carried => sniff(half.expect, &half.buffer),
            Expect::Turn => Step::More,
            Expect::Socks(expect) => socks::step(expect, &half.buffer),
            Expect::Http(expect) => http::step(expect, &half.buffer),
            Expect::Tls => tls::step(&half.buffer),
            Expect::Opaque => {
                half.drop_front(half.buffer.len());
                return false;
            }
        };
        let (own, other) = match step {
            Step::More if half.buffer.len() > BUFFER_LEN_MAX => (Expect::Opaque, None),
            Step::More => return false,
            Step::Learn { own, other } => (own, other),
            Step::Message {
                name,
                fields,
                len,
                own,
                other,
            } => {
                let from = half.base;
                half.drop_front(len);
                let to = half.base;
                half.messages.push(Message {
                    name,
                    fields,
                    from,
                    to,
                });
                (own, other)
            }
        };
        half.expect = own;
        if let Some(other) = other {
            self.half(side.other()).expect = other;
        }
        true
    }
}

/// What the first bytes of a client say that it speaks.
fn sniff(expect: Expect, bytes: &[u8]) -> Step {
    let is_outermost = expect == Expect::Anything;
    let speaks = |own, other| Step::Learn {
        own,
        other: Some(other),
    };
    match bytes {
        [5, ..] if is_outermost => speaks(Expect::Socks(socks::Expect::Greeting), Expect::Turn),
        [4, ..] if is_outermost => speaks(Expect::Socks(socks::Expect::Request4), Expect::Turn),
        [22] | [22, 3] => Step::More,
        [22, 3, ..] => speaks(Expect::Tls, Expect::Tls),
        _ => match http::begins_request(bytes) {
            None => Step::More,
            Some(true) => speaks(Expect::Http(http::Expect::Request), Expect::Turn),
            Some(false) => speaks(Expect::Opaque, Expect::Opaque),
        },
    }
}
