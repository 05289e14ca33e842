//! SOCKS5 (RFC 1928) and its user name and password (RFC 1929).
use super::{Address, Malformed, Short, after_version};
use bytes::{BufMut as _, BytesMut};

/// VER of every message but those of RFC 1929.
pub const VERSION: u8 = 5;
/// VER of the messages of RFC 1929.
pub const AUTH_VERSION: u8 = 1;

/// Authentication methods (RFC 1928 section 3).
pub mod method {
    /// No authentication required.
    pub const NONE: u8 = 0;
    /// User name and password (RFC 1929).
    pub const PASSWORD: u8 = 2;
    /// No acceptable methods; the client must close.
    pub const NO_ACCEPTABLE: u8 = 0xff;
}

/// CMD of requests (RFC 1928 section 4).
pub mod command {
    /// An outgoing connection.
    pub const CONNECT: u8 = 1;
    /// An incoming connection.
    pub const BIND: u8 = 2;
    /// A relay for datagrams.
    pub const UDP_ASSOCIATE: u8 = 3;
}

/// REP of replies (RFC 1928 section 6).
pub mod code {
    /// Succeeded.
    pub const SUCCEEDED: u8 = 0;
    /// General SOCKS server failure.
    pub const GENERAL_FAILURE: u8 = 1;
    /// Connection not allowed by ruleset.
    pub const NOT_ALLOWED: u8 = 2;
    /// Network unreachable.
    pub const NETWORK_UNREACHABLE: u8 = 3;
    /// Host unreachable.
    pub const HOST_UNREACHABLE: u8 = 4;
    /// Connection refused.
    pub const CONNECTION_REFUSED: u8 = 5;
    /// TTL expired.
    pub const TTL_EXPIRED: u8 = 6;
    /// Command not supported.
    pub const COMMAND_UNSUPPORTED: u8 = 7;
    /// Address type not supported.
    pub const ADDRESS_UNSUPPORTED: u8 = 8;
}

/// VER, NMETHODS, METHODS: the client's first message (section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// The methods on offer; empty in bad ones.
    pub methods: Short<'a>,
}

impl<'a> Greeting<'a> {
    /// Longest greeting in octets.
    pub const LEN_MAX: usize = 2 + Short::LEN_MAX;

    /// Reads a greeting.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let methods = after_version(input, VERSION)?.and_then(Short::split);
        Ok(methods.map(|(methods, rest)| (Self { methods }, input.len() - rest.len())))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        1 + self.methods.buffer_len()
    }

    /// Appends the greeting.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        self.methods.emit(out);
    }
}

/// VER, METHOD: the server's answer to a [`Greeting`] (section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSelection {
    /// One of [`method`], or another.
    pub method: u8,
}

impl MethodSelection {
    /// Length in octets.
    pub const LEN: usize = 2;

    /// Reads the answer.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let method = after_version(input, VERSION)?.and_then(<[u8]>::first);
        Ok(method.map(|method| (Self { method: *method }, Self::LEN)))
    }

    /// Appends the answer.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[VERSION, self.method]);
    }
}

/// VER, ULEN, UNAME, PLEN, PASSWD (RFC 1929 section 2). Empty names and passwords are read and
/// sent: programs use them for "a name without a password".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// UNAME.
    pub username: Short<'a>,
    /// PASSWD.
    pub password: Short<'a>,
}

impl std::fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthRequest(..)")
    }
}

impl<'a> AuthRequest<'a> {
    /// Longest message in octets.
    pub const LEN_MAX: usize = 1 + 2 * (1 + Short::LEN_MAX);

    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let username = after_version(input, AUTH_VERSION)?.and_then(Short::split);
        Ok(username.and_then(|(username, rest)| {
            let (password, rest) = Short::split(rest)?;
            Some((Self { username, password }, input.len() - rest.len()))
        }))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        1 + self.username.buffer_len() + self.password.buffer_len()
    }

    /// Appends the message.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_u8(AUTH_VERSION);
        self.username.emit(out);
        self.password.emit(out);
    }
}

/// VER, STATUS: the server's answer to an [`AuthRequest`] (RFC 1929 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthStatus {
    /// 0 for success; anything else closes the connection.
    pub status: u8,
}

impl AuthStatus {
    /// Length in octets.
    pub const LEN: usize = 2;
    /// STATUS of success.
    pub const SUCCESS: u8 = 0;
    /// The failure that this end sends.
    pub const FAILURE: u8 = 1;

    /// Reads the answer. Its VER is 1 by the book; servers that copy the 5 of RFC 1928 are
    /// understood too.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        match input {
            [] | [AUTH_VERSION | VERSION] => Ok(None),
            [AUTH_VERSION | VERSION, status, ..] => Ok(Some((Self { status: *status }, Self::LEN))),
            [..] => Err(Malformed::Version),
        }
    }

    /// Appends the answer.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[AUTH_VERSION, self.status]);
    }
}

/// VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT (RFC 1928 section 4). RSV is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// One of [`command`], or another.
    pub command: u8,
    /// DST.ADDR and DST.PORT.
    pub address: Address<'a>,
}

impl<'a> Request<'a> {
    /// Longest request in octets.
    pub const LEN_MAX: usize = 3 + Address::LEN_MAX;

    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed::Version`] or [`Malformed::AddressType`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        parse_addressed(input)
            .map(|read| read.map(|(command, address, len)| (Self { command, address }, len)))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        3 + self.address.buffer_len()
    }

    /// Appends the request.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[VERSION, self.command, 0]);
        self.address.emit(out);
    }
}

/// VER, REP, RSV, ATYP, BND.ADDR, BND.PORT (RFC 1928 section 6). RSV is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// One of [`code`], or another.
    pub code: u8,
    /// BND.ADDR and BND.PORT; real servers also send names here, and empty ones.
    pub address: Address<'a>,
}

impl<'a> Reply<'a> {
    /// Longest reply in octets.
    pub const LEN_MAX: usize = 3 + Address::LEN_MAX;

    /// Reads a reply.
    ///
    /// # Errors
    /// [`Malformed::Version`] or [`Malformed::AddressType`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        parse_addressed(input)
            .map(|read| read.map(|(code, address, len)| (Self { code, address }, len)))
    }

    /// REP alone, as soon as it is there: servers that refuse send short or odd addresses, or
    /// none, before they close.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse_code(input: &[u8]) -> Result<Option<u8>, Malformed> {
        Ok(after_version(input, VERSION)?.and_then(|rest| rest.first().copied()))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        3 + self.address.buffer_len()
    }

    /// Appends the reply.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[VERSION, self.code, 0]);
        self.address.emit(out);
    }
}

/// What requests and replies share: the second octet, the address, and the length of all.
fn parse_addressed(input: &[u8]) -> Result<Option<(u8, Address<'_>, usize)>, Malformed> {
    let Some([code, _rsv, rest @ ..]) = after_version(input, VERSION)? else {
        return Ok(None);
    };
    let address = Address::parse(rest)?;
    Ok(address.map(|(address, len)| (*code, address, 3 + len)))
}
