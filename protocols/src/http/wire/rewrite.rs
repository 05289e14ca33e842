//! Which fields a proxy passes on (RFC 9110 7.6.1), and the heads it writes.
use super::{AbsoluteForm, Body, Fields, Malformed, Request, Response};
use crate::http::CONNECTION_OPTIONS_MAX;
use bytes::BytesMut;

/// Fields that concern one connection, whatever `Connection` says. The proxy writes `Connection`
/// and `Upgrade` anew; `Proxy-Authenticate` of a server is not for this proxy's client.
const HOP_BY_HOP: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "TE",
    "Upgrade",
    "HTTP2-Settings",
];

/// Fields that a `Connection` option cannot remove: they frame, route or authorize the message, or
/// are meant for its final recipient. A sender must not name such fields (RFC 9110 7.6.1); one
/// that does tries to make the next server see another message than this one.
const NOT_REMOVABLE: [&str; 21] = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Authorization",
    "WWW-Authenticate",
    "Cookie",
    "Set-Cookie",
    "Cache-Control",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "Range",
    "Location",
    "Origin",
    "Referer",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "Max-Forwards",
];

fn is_in(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(name))
}

/// Is the field called `name` passed on in a message with `fields`?
fn is_end_to_end(fields: &Fields<'_>, name: &str) -> bool {
    !is_in(&HOP_BY_HOP, name) && (is_in(&NOT_REMOVABLE, name) || !fields.lists("Connection", name))
}

/// Checks what is costly to go through again and again.
///
/// # Errors
/// [`Malformed::TooManyOptions`].
pub fn check_options(fields: &Fields<'_>) -> Result<(), Malformed> {
    match fields.list("Connection").nth(CONNECTION_OPTIONS_MAX) {
        Some(_) => Err(Malformed::TooManyOptions),
        None => Ok(()),
    }
}

/// Does the message ask for another protocol on this connection (RFC 9110 7.8)? `h2c` does not
/// count: it is deprecated (RFC 9113 3.1) and needs settings that end at this hop.
#[must_use]
pub fn asks_for_upgrade(fields: &Fields<'_>) -> bool {
    fields.lists("Connection", "upgrade")
        && fields.list("Upgrade").next().is_some()
        && !fields.lists("Upgrade", "h2c")
}

/// The proxy's own choices in a forwarded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEdit {
    /// Pass `Upgrade` on.
    pub upgrade: bool,
    /// Ask the server to close after its response.
    pub close: bool,
    /// Drop `Expect`: an HTTP/1.0 client cannot be sent 100 (RFC 9110 10.1.1).
    pub drop_expect: bool,
    /// The new `Max-Forwards`, when there is one.
    pub max_forwards: Option<u64>,
}

/// The head of `request` for its server: origin-form, HTTP/1.1, `Host` from the URL, end-to-end
/// fields in their order, this hop's `Connection`.
#[must_use]
pub fn emit_request(request: &Request<'_>, url: &AbsoluteForm<'_>, edit: RequestEdit) -> BytesMut {
    let (root, path) = url.origin_form(request.method);
    let mut out = Head::new(&request.fields);
    out.parts(&[request.method, " ", root, path, " HTTP/1.1\r\n"]);
    out.field("Host", url.authority.as_bytes());
    for (name, value) in request.fields.iter() {
        let is_replaced = name.eq_ignore_ascii_case("Host")
            || (edit.drop_expect && name.eq_ignore_ascii_case("Expect"))
            || (edit.max_forwards.is_some() && name.eq_ignore_ascii_case("Max-Forwards"));
        if !is_replaced && is_end_to_end(&request.fields, name) {
            out.field(name, value);
        }
    }
    if let Some(hops) = edit.max_forwards {
        out.field("Max-Forwards", hops.to_string().as_bytes());
    }
    out.connection(&request.fields, edit.upgrade, edit.close);
    out.0
}

/// The proxy's own choices in a forwarded response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseEdit {
    /// Pass `Upgrade` on.
    pub upgrade: bool,
    /// Tell the client that the connection closes after this response.
    pub close: bool,
    /// The chunked coding is taken off.
    pub dechunk: bool,
}

/// The head of `response` for the client.
#[must_use]
pub fn emit_response(response: &Response<'_>, edit: ResponseEdit) -> BytesMut {
    let mut out = Head::new(&response.fields);
    let status = response.status.to_string();
    out.parts(&["HTTP/1.1 ", &status, " ", response.reason, "\r\n"]);
    // RFC 9110 8.6, RFC 9112 6.1: these statuses have no length, whatever the server says.
    let is_bodiless = matches!(response.status, 100..=199 | 204);
    for (name, value) in response.fields.iter() {
        let is_coding = name.eq_ignore_ascii_case("Transfer-Encoding");
        let is_dropped = (is_coding && (edit.dechunk || is_bodiless))
            || (is_bodiless && name.eq_ignore_ascii_case("Content-Length"))
            || (edit.dechunk && name.eq_ignore_ascii_case("Trailer"));
        if !is_dropped && is_end_to_end(&response.fields, name) {
            out.field(name, value);
        }
    }
    out.connection(&response.fields, edit.upgrade, edit.close);
    out.0
}

/// Does the server keep the connection after `response` with `body` (RFC 9112 9.3)?
#[must_use]
pub fn keeps_connection(response: &Response<'_>, body: Body) -> bool {
    let fields = &response.fields;
    let is_kept = match response.version {
        super::Version::Http11 => true,
        super::Version::Http10 => fields.lists("Connection", "keep-alive"),
    };
    is_kept && body != Body::UntilClose && !fields.lists("Connection", "close")
}

/// A head being written.
struct Head(BytesMut);

impl Head {
    /// Room for what is likely passed on, so that the head is written without growing.
    fn new(fields: &Fields<'_>) -> Self {
        let fields: usize = fields.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        Self(BytesMut::with_capacity(fields + 256))
    }

    fn parts(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.parts(&[name, ": "]);
        self.0.extend_from_slice(value);
        self.parts(&["\r\n"]);
    }

    /// `Upgrade` and `Connection` of this hop, then the empty line.
    fn connection(&mut self, fields: &Fields<'_>, pass_upgrade: bool, close: bool) {
        let mut upgrade = false;
        for value in fields.all("Upgrade").filter(|_| pass_upgrade) {
            self.field("Upgrade", value);
            upgrade = true;
        }
        match (upgrade, close) {
            (true, true) => self.field("Connection", b"upgrade, close"),
            (true, false) => self.field("Connection", b"upgrade"),
            (false, true) => self.field("Connection", b"close"),
            (false, false) => {}
        }
        self.parts(&["\r\n"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &BytesMut) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn rewritten(url: &str, fields: &str, edit: RequestEdit) -> String {
        let head = format!("GET {url} HTTP/1.0\r\n{fields}\r\n");
        let (request, _) = Request::parse(head.as_bytes()).unwrap().unwrap();
        let url = AbsoluteForm::parse(request.target).unwrap();
        let out = emit_request(&request, &url, edit);
        let rest = text(&out).strip_prefix("GET /x HTTP/1.1\r\nHost: a.b:81\r\n");
        rest.unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    const PLAIN: RequestEdit = RequestEdit {
        upgrade: false,
        close: false,
        drop_expect: false,
        max_forwards: None,
    };

    #[test]
    fn request_fields_are_kept_or_removed() {
        let url = "http://u:p@a.b:81/x";
        let rows = [
            ("A: b\r\n", PLAIN, "A: b\r\n"),
            ("Host: evil\r\nA:b\r\n", PLAIN, "A: b\r\n"),
            (
                "Connection: close, a\r\nA: b\r\nB: c\r\n",
                PLAIN,
                "B: c\r\n",
            ),
            ("connection: A\r\na: b\r\n", PLAIN, ""),
            (
                "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\n",
                PLAIN,
                "",
            ),
            (
                "Proxy-Authorization: Basic YTpi\r\nTE: trailers\r\n",
                PLAIN,
                "",
            ),
            (
                "Authorization: Basic YTpi\r\n",
                PLAIN,
                "Authorization: Basic YTpi\r\n",
            ),
            ("Upgrade: websocket\r\nConnection: upgrade\r\n", PLAIN, ""),
            (
                "Connection: content-length, cookie\r\nContent-Length: 3\r\nCookie: c\r\n",
                PLAIN,
                "Content-Length: 3\r\nCookie: c\r\n",
            ),
            (
                "Upgrade: websocket\r\nConnection: upgrade\r\nA: b\r\n",
                RequestEdit {
                    upgrade: true,
                    ..PLAIN
                },
                "A: b\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
            ),
            (
                "Expect: 100-continue\r\n",
                RequestEdit {
                    close: true,
                    drop_expect: true,
                    ..PLAIN
                },
                "Connection: close\r\n",
            ),
            (
                "Max-Forwards: 3\r\n",
                RequestEdit {
                    max_forwards: Some(2),
                    ..PLAIN
                },
                "Max-Forwards: 2\r\n",
            ),
        ];
        for (fields, edit, expected) in rows {
            assert_eq!(rewritten(url, fields, edit), expected, "{fields:?}");
        }
    }

    #[test]
    fn response_fields_are_kept_or_removed() {
        let plain = ResponseEdit {
            upgrade: false,
            close: false,
            dechunk: false,
        };
        let dechunk = ResponseEdit {
            close: true,
            dechunk: true,
            ..plain
        };
        let rows = [
            ("200 OK", "A: b\r\nConnection: close\r\n", plain, "A: b\r\n"),
            (
                "407 X",
                "Proxy-Authenticate: Basic realm=\"x\"\r\n",
                plain,
                "",
            ),
            (
                "204 X",
                "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                plain,
                "",
            ),
            (
                "304 X",
                "Content-Length: 9\r\n",
                plain,
                "Content-Length: 9\r\n",
            ),
            (
                "200 OK",
                "Transfer-Encoding: chunked\r\nTrailer: A\r\n",
                plain,
                "Transfer-Encoding: chunked\r\nTrailer: A\r\n",
            ),
            (
                "200 OK",
                "Transfer-Encoding: chunked\r\nTrailer: A\r\n",
                dechunk,
                "Connection: close\r\n",
            ),
            (
                "101 X",
                "Upgrade: a\r\nUpgrade: b\r\nConnection: upgrade\r\n",
                ResponseEdit {
                    upgrade: true,
                    ..plain
                },
                "Upgrade: a\r\nUpgrade: b\r\nConnection: upgrade\r\n",
            ),
        ];
        for (status, fields, edit, expected) in rows {
            let head = format!("HTTP/1.0 {status}\r\n{fields}\r\n");
            let (response, _) = Response::parse(head.as_bytes()).unwrap().unwrap();
            let out = emit_response(&response, edit);
            assert_eq!(text(&out), format!("HTTP/1.1 {status}\r\n{expected}\r\n"));
        }
    }

    #[test]
    fn upgrades_other_than_h2c_are_asked_for() {
        let rows = [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
            ("Connection: keep-alive, upgrade\r\nUpgrade: x\r\n", true),
            ("Upgrade: websocket\r\n", false),
            ("Connection: upgrade\r\n", false),
            (
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
                false,
            ),
            ("Connection: upgrade\r\nUpgrade: websocket, H2C\r\n", false),
        ];
        for (fields, expected) in rows {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let (request, _) = Request::parse(head.as_bytes()).unwrap().unwrap();
            assert_eq!(asks_for_upgrade(&request.fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn options_are_limited() {
        let check = |n: usize| {
            let head = format!("GET / HTTP/1.1\r\nConnection: {}\r\n\r\n", "a,".repeat(n));
            let (request, _) = Request::parse(head.as_bytes()).unwrap().unwrap();
            check_options(&request.fields)
        };
        assert_eq!(check(CONNECTION_OPTIONS_MAX), Ok(()));
        assert_eq!(
            check(CONNECTION_OPTIONS_MAX + 1),
            Err(Malformed::TooManyOptions)
        );
    }

    #[test]
    fn servers_keep_or_close() {
        let rows = [
            ("1.1", "", Body::NONE, true),
            ("1.1", "Connection: close\r\n", Body::NONE, false),
            ("1.1", "", Body::UntilClose, false),
            ("1.0", "", Body::NONE, false),
            ("1.0", "Connection: Keep-Alive\r\n", Body::Length(3), true),
            (
                "1.0",
                "Connection: keep-alive, close\r\n",
                Body::NONE,
                false,
            ),
        ];
        for (version, fields, body, expected) in rows {
            let head = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
            let (response, _) = Response::parse(head.as_bytes()).unwrap().unwrap();
            assert_eq!(keeps_connection(&response, body), expected, "{head:?}");
        }
    }
}
