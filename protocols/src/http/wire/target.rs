//! Request targets that a proxy takes: absolute-form and authority-form (RFC 9112 3.2.2, 3.2.3).
use super::Malformed;
use sansbox_core::{Host, Target};

/// The port of `http` URLs without one.
const HTTP_PORT: u16 = 80;

/// An `http` URL, split (RFC 9110 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsoluteForm<'a> {
    /// Where to connect.
    pub target: Target,
    /// Host and port as written, without user information: the new `Host` field.
    pub authority: &'a str,
    /// Path and query as written; may be empty or start with `?`.
    pub path: &'a str,
}

/// What a request to a proxy asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget<'a> {
    /// CONNECT: a tunnel.
    Authority(Target),
    /// Any other method: one request.
    Absolute(AbsoluteForm<'a>),
}

impl<'a> RequestTarget<'a> {
    /// Reads `target` in the form that goes with `method`.
    ///
    /// # Errors
    /// [`Malformed`] when the form is another or a part of it is not valid.
    pub fn parse(method: &str, target: &'a str) -> Result<Self, Malformed> {
        match method {
            "CONNECT" => authority_form(target).map(Self::Authority),
            _ => AbsoluteForm::parse(target).map(Self::Absolute),
        }
    }
}

/// `host:port`, the port being required (RFC 9110 9.3.6).
fn authority_form(text: &str) -> Result<Target, Malformed> {
    let (host, port) = split_port(text)?;
    let port = port.filter(|p| !p.is_empty());
    let port = port_number(port.ok_or(Malformed::PortMissing)?)?;
    Ok(Target::new(host, port))
}

/// The host, and the text behind its colon if there is one.
fn split_port(authority: &str) -> Result<(Host, Option<&str>), Malformed> {
    let (host, port) = match authority.rfind(']') {
        // Square brackets stand around IPv6 addresses alone (RFC 3986 3.2.2).
        Some(at) => match authority.split_at_checked(at + 1) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(Malformed::Port)?)),
            None => return Err(Malformed::Host),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let host = Host::parse(host.as_bytes()).map_err(|_| Malformed::Host)?;
    Ok((host, port))
}

fn port_number(text: &str) -> Result<u16, Malformed> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|port| *port != 0 && is_number);
    number.ok_or(Malformed::Port)
}

impl<'a> AbsoluteForm<'a> {
    /// Splits `http://[user@]host[:port][/path][?query]`; user information is dropped.
    ///
    /// # Errors
    /// [`Malformed::NotForProxy`] for origin-form and asterisk-form, [`Malformed::Scheme`] for
    /// another scheme, and others for parts that are not valid.
    pub fn parse(url: &'a str) -> Result<Self, Malformed> {
        if url.starts_with('/') || url == "*" {
            return Err(Malformed::NotForProxy);
        }
        let (scheme, rest) = url.split_once("://").ok_or(Malformed::NotForProxy)?;
        if !is_scheme(scheme) {
            return Err(Malformed::Url);
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(Malformed::Scheme);
        }
        if rest.contains(['#', '\\']) {
            return Err(Malformed::Url);
        }
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_at).ok_or(Malformed::Url)?;
        let authority = match authority.rsplit_once('@') {
            Some((_user, host)) => host,
            None => authority,
        };
        let (host, port) = split_port(authority)?;
        let port = match port {
            None | Some("") => HTTP_PORT,
            Some(text) => port_number(text)?,
        };
        Ok(Self {
            target: Target::new(host, port),
            authority: authority.strip_suffix(':').unwrap_or(authority),
            path,
        })
    }

    /// The target for the server in two parts, the second as received: `("/", "?query")`.
    #[must_use]
    pub fn origin_form(&self, method: &str) -> (&'static str, &'a str) {
        match self.path.bytes().next() {
            Some(b'/') => ("", self.path),
            Some(_) => ("/", self.path),
            None if method == "OPTIONS" => ("*", ""),
            None => ("/", ""),
        }
    }
}

/// RFC 3986 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        // url, target, Host field, OPTIONS and GET targets
        let rows = [
            ("http://a.b", "a.b:80", "a.b", "*", "/"),
            ("HTTP://A.b/", "A.b:80", "A.b", "/", "/"),
            (
                "http://a.b:8080/x?y",
                "a.b:8080",
                "a.b:8080",
                "/x?y",
                "/x?y",
            ),
            ("http://a.b?q=/", "a.b:80", "a.b", "/?q=/", "/?q=/"),
            ("http://a.b:/x", "a.b:80", "a.b", "/x", "/x"),
            ("http://u:p@a.b/x@y", "a.b:80", "a.b", "/x@y", "/x@y"),
            ("http://[::1]/", "[::1]:80", "[::1]", "/", "/"),
            ("http://[::1]:81/", "[::1]:81", "[::1]:81", "/", "/"),
            (
                "http://127.0.0.1//x",
                "127.0.0.1:80",
                "127.0.0.1",
                "//x",
                "//x",
            ),
            (
                "http://a.b/http://c.d/",
                "a.b:80",
                "a.b",
                "/http://c.d/",
                "/http://c.d/",
            ),
        ];
        for (url, target, authority, options, get) in rows {
            let parsed = AbsoluteForm::parse(url).unwrap();
            assert_eq!(parsed.target.to_string(), target, "{url}");
            assert_eq!(parsed.authority, authority, "{url}");
            let (a, b) = parsed.origin_form("OPTIONS");
            assert_eq!(format!("{a}{b}"), options, "{url}");
            let (a, b) = parsed.origin_form("GET");
            assert_eq!(format!("{a}{b}"), get, "{url}");
        }
    }

    #[test]
    fn bad_targets_are_told_apart() {
        let rows = [
            ("GET", "/", Malformed::NotForProxy),
            ("OPTIONS", "*", Malformed::NotForProxy),
            ("GET", "a.b:80", Malformed::NotForProxy),
            ("GET", "https://a.b/", Malformed::Scheme),
            ("GET", "ftp://a.b/", Malformed::Scheme),
            ("GET", "1://a.b/", Malformed::Url),
            ("GET", "http://a.b/#f", Malformed::Url),
            ("GET", "http://a.b\\@c.d/", Malformed::Url),
            ("GET", "http:///x", Malformed::Host),
            ("GET", "http://:80/", Malformed::Host),
            ("GET", "http://a_b%2e/", Malformed::Host),
            ("GET", "http://::1/", Malformed::Host),
            ("GET", "http://a.b:0/", Malformed::Port),
            ("GET", "http://a.b:65536/", Malformed::Port),
            ("GET", "http://a.b:+80/", Malformed::Port),
            ("GET", "http://a.b:000080/", Malformed::Port),
            ("GET", "http://[::1]x/", Malformed::Port),
            ("GET", "http://[127.0.0.1]/", Malformed::Host),
            ("CONNECT", "a.b", Malformed::PortMissing),
            ("CONNECT", "a.b:", Malformed::PortMissing),
            ("CONNECT", "[::1]", Malformed::PortMissing),
            ("CONNECT", ":443", Malformed::Host),
            ("CONNECT", "a.b:https", Malformed::Port),
            ("CONNECT", "u@a.b:443", Malformed::Host),
            ("CONNECT", "a.b:443/", Malformed::Port),
            ("CONNECT", "http://a.b:443", Malformed::Port),
            ("CONNECT", "::1:443", Malformed::Host),
        ];
        for (method, target, expected) in rows {
            let result = RequestTarget::parse(method, target);
            assert_eq!(result, Err(expected), "{method} {target}");
        }
        let tunnel = RequestTarget::parse("CONNECT", "[2001:db8::1]:443").unwrap();
        assert!(
            matches!(tunnel, RequestTarget::Authority(t) if t.to_string() == "[2001:db8::1]:443")
        );
    }
}
