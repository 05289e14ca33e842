//! Request and response heads (RFC 9112 3, 4, 5), parsed by httparse after [`HeadScanner`] has
//! seen them whole.
use super::{HeadScanner, Malformed};
use crate::http::FIELDS_MAX;
use core::fmt;

/// The HTTP versions spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    const fn from_minor(minor: Option<u8>) -> Result<Self, Malformed> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            _ => Err(Malformed::Version),
        }
    }
}

/// The header fields of one head, in order.
pub struct Fields<'a> {
    places: [httparse::Header<'a>; FIELDS_MAX],
    len: usize,
}

/// Field values may hold credentials, so only their number is shown.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.len)
    }
}

impl<'a> Fields<'a> {
    /// Names and values, without the white space around values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let used = self.places.iter().take(self.len);
        used.map(|field| (field.name, field.value.trim_ascii()))
    }

    /// The values of every field called `name` (any case).
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'_, 'a, 'n> {
        self.iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The elements of the comma-separated lists in every field called `name`, empty ones left
    /// out (RFC 9110 5.6.1).
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'_, 'a, 'n> {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Is `element` (any case) in the list of `name`?
    #[must_use]
    pub fn lists(&self, name: &str, element: &str) -> bool {
        self.list(name)
            .any(|e| e.eq_ignore_ascii_case(element.as_bytes()))
    }
}

/// Room for the fields of one head.
const fn places<'a>() -> [httparse::Header<'a>; FIELDS_MAX] {
    [httparse::EMPTY_HEADER; FIELDS_MAX]
}

/// A request head.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method, a token; case matters.
    pub method: &'a str,
    /// The request target as received.
    pub target: &'a str,
    /// The client's version.
    pub version: Version,
    /// The header fields.
    pub fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// The head at the start of `bytes` and its length; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no request head.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(len) = HeadScanner::default().advance(bytes)? else {
            return Ok(None);
        };
        let head = bytes.get(..len).unwrap_or_default();
        Self::parse_whole(head).map(|head| Some((head, len)))
    }

    /// `head`, which [`HeadScanner`] found to be whole.
    ///
    /// # Errors
    /// [`Malformed`] when it is no request head.
    pub fn parse_whole(head: &'a [u8]) -> Result<Self, Malformed> {
        let mut places = places();
        let mut parsed = httparse::Request::new(&mut places);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(n)) if n == head.len() => {}
            // The scanner saw the empty line: httparse stops earlier only if it is at the front.
            Ok(_) => return Err(Malformed::RequestLine),
            Err(error) => return Err(request_error(error, head)),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(Malformed::RequestLine);
        };
        let version = Version::from_minor(parsed.version)?;
        let len = parsed.headers.len();
        Ok(Self {
            method,
            target,
            version,
            fields: Fields { places, len },
        })
    }
}

/// Another version number is worth another status than a first line that is none.
fn request_error(error: httparse::Error, head: &[u8]) -> Malformed {
    let is_version = |word: &[u8]| match word {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    };
    let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&b| b == b' ').skip(2);
    match error {
        httparse::Error::Version => match (words.next(), words.next()) {
            (Some(word), None) if is_version(word) => Malformed::Version,
            _ => Malformed::RequestLine,
        },
        httparse::Error::Status | httparse::Error::Token => Malformed::RequestLine,
        httparse::Error::NewLine => Malformed::RequestLine,
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
    }
}

/// A response head.
#[derive(Debug)]
pub struct Response<'a> {
    /// The server's version.
    pub version: Version,
    /// The status, 100 to 999.
    pub status: u16,
    /// The reason phrase, perhaps empty.
    pub reason: &'a str,
    /// The header fields.
    pub fields: Fields<'a>,
}

impl<'a> Response<'a> {
    /// The head at the start of `bytes` and its length; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no response head.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(len) = HeadScanner::default().advance(bytes)? else {
            return Ok(None);
        };
        let head = bytes.get(..len).unwrap_or_default();
        Self::parse_whole(head).map(|head| Some((head, len)))
    }

    /// `head`, which [`HeadScanner`] found to be whole.
    ///
    /// # Errors
    /// [`Malformed`] when it is no response head.
    pub fn parse_whole(head: &'a [u8]) -> Result<Self, Malformed> {
        // Empty lines are skipped before requests only (RFC 9112 2.2); httparse skips one.
        if head.starts_with(b"\r\n") {
            return Err(Malformed::StatusLine);
        }
        let mut places = places();
        let mut parsed = httparse::Response::new(&mut places);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(n)) if n == head.len() => {}
            Ok(_) => return Err(Malformed::StatusLine),
            Err(error) => return Err(response_error(error)),
        }
        let version = Version::from_minor(parsed.version)?;
        let status = parsed.code.filter(|code| *code >= 100);
        let status = status.ok_or(Malformed::StatusLine)?;
        let reason = parsed.reason.unwrap_or_default();
        let len = parsed.headers.len();
        Ok(Self {
            version,
            status,
            reason,
            fields: Fields { places, len },
        })
    }
}

const fn response_error(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::Version
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::NewLine => Malformed::StatusLine,
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request_error_of(head: &str) -> Malformed {
        Request::parse(head.as_bytes()).unwrap_err()
    }

    #[test]
    fn bad_request_heads_are_told_apart() {
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(FIELDS_MAX + 1)
        );
        let rows = [
            ("GET / HTTP/2.0\r\n\r\n", Malformed::Version),
            ("GET / HTTP/1.2\r\n\r\n", Malformed::Version),
            ("PRI * HTTP/2.0\r\n\r\n", Malformed::Version),
            ("GET / HTTP/1.10\r\n\r\n", Malformed::RequestLine),
            ("GET /\r\n\r\n", Malformed::RequestLine),
            ("GET\r\n\r\n", Malformed::RequestLine),
            ("GET / http/1.1\r\n\r\n", Malformed::RequestLine),
            ("GET /a b HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            ("GET  / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            ("GET /  HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (" GET / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            ("G@T / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            ("GET\t/ HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            ("GET / HTTP/1.1 \r\n\r\n", Malformed::RequestLine),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Malformed::FieldName),
            ("GET / HTTP/1.1\r\nA\t: b\r\n\r\n", Malformed::FieldName),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Malformed::FieldName),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Malformed::FieldName),
            ("GET / HTTP/1.1\r\nA{: b\r\n\r\n", Malformed::FieldName),
            (&many, Malformed::TooManyFields),
        ];
        for (head, expected) in rows {
            assert_eq!(request_error_of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn bad_response_heads_are_refused() {
        let rows = [
            ("HTTP/2.0 200 OK\r\n\r\n", Malformed::StatusLine),
            ("ICY 200 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Malformed::StatusLine),
            ("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Malformed::StatusLine),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Malformed::FieldName),
        ];
        for (head, expected) in rows {
            let result = Response::parse(head.as_bytes());
            assert_eq!(result.unwrap_err(), expected, "{head:?}");
        }
        let short = Response::parse(b"HTTP/1.0 204\r\n\r\n").unwrap().unwrap();
        assert_eq!((short.0.status, short.0.reason), (204, ""));
    }

    #[test]
    fn lists_join_fields_and_drop_empty_elements() {
        let head = b"GET / HTTP/1.1\r\nConnection: a,, B\r\nconnection:  c \r\n\r\n";
        let (request, _) = Request::parse(head).unwrap().unwrap();
        let list: Vec<_> = request.fields.list("CONNECTION").collect();
        assert_eq!(list, [b"a", b"B", b"c"]);
        assert!(request.fields.lists("Connection", "b"));
    }

    proptest! {
        #[test]
        fn a_strict_prefix_needs_more(
            method in "[A-Z]{1,9}",
            target in "[!-~]{1,40}",
            fields in proptest::collection::vec(("[a-zA-Z-]{1,12}", "[ -~]{0,30}"), 0..8),
        ) {
            let mut head = format!("{method} {target} HTTP/1.1\r\n");
            for (name, value) in &fields {
                head += &format!("{name}: {value}\r\n");
            }
            head += "\r\n";
            for n in 0..head.len() {
                prop_assert!(matches!(Request::parse(&head.as_bytes()[..n]), Ok(None)));
            }
            let (request, len) = Request::parse(head.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(len, head.len());
            prop_assert_eq!((request.method, request.target), (&method[..], &target[..]));
            let parsed: Vec<_> = request.fields.iter().collect();
            let expected: Vec<_> =
                fields.iter().map(|(n, v)| (&n[..], v.trim().as_bytes())).collect();
            prop_assert_eq!(parsed, expected);

            let head = format!("HTTP/1.1 200 {method}\r\nA: b\r\n\r\n");
            for n in 0..head.len() {
                prop_assert!(matches!(Response::parse(&head.as_bytes()[..n]), Ok(None)));
            }
            prop_assert!(matches!(Response::parse(head.as_bytes()), Ok(Some(_))));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
            let _ = Response::parse(&bytes);
        }
    }
}
