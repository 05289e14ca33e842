//! HTTP/1.1 messages as RFC 9112 has them, without its leniencies: who reads a byte stream this way
//! and still finds another message in it than the proxy meant has been smuggled something.

/// A message is no message.
pub(crate) type Bad = &'static str;

/// A start line and fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The words of the first line; the last of a response is the rest of the line.
    pub(crate) words: [&'a [u8]; 3],
    pub(crate) fields: Vec<(&'a [u8], &'a [u8])>,
    /// Octets up to the end of the empty line.
    pub(crate) len: usize,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A head and as much of its body as is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) framing: Framing,
    /// Octets of head and body.
    pub(crate) len: usize,
    /// The body as transferred.
    pub(crate) raw: &'a [u8],
    /// The body without its coding.
    pub(crate) content: Vec<u8>,
    pub(crate) is_complete: bool,
    /// Why the body is none.
    pub(crate) bad: Option<Bad>,
}

impl<'a> Head<'a> {
    /// The head at the start of `bytes`; `None` when it is not whole.
    fn read(bytes: &'a [u8], is_request: bool) -> Result<Option<Self>, Bad> {
        let mut lines = Vec::new();
        let mut at = 0;
        loop {
            let Some(n) = bytes[at..].iter().position(|b| *b == b'\n') else {
                return Ok(None);
            };
            let line = &bytes[at..at + n];
            let line = line.strip_suffix(b"\r").ok_or("a bare LF")?;
            if line
                .iter()
                .any(|b| *b != b'\t' && (*b < b' ' || *b == 0x7f))
            {
                return Err("a control character");
            }
            at += n + 1;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let (first, fields) = lines.split_first().ok_or("no first line")?;
        let words = match is_request {
            true => request_line(first)?,
            false => status_line(first)?,
        };
        let fields = fields.iter().map(|line| field(line));
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Some(Self {
            words,
            fields,
            len: at,
        }))
    }

    /// The values of the fields called `name`.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a [u8]> {
        let is_called = |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
        let named = self.fields.iter().filter(|(n, _)| is_called(n));
        named.map(|(_, value)| *value).collect()
    }

    /// Is `element` in the comma-separated list of `name`?
    pub(crate) fn lists(&self, name: &str, element: &str) -> bool {
        let values = self.all(name);
        let mut elements = values.iter().flat_map(|v| v.split(|b| *b == b','));
        elements.any(|e| trim(e).eq_ignore_ascii_case(element.as_bytes()))
    }

    pub(crate) fn status(&self) -> u16 {
        let digits = self.words[1].iter();
        digits.fold(0, |n, digit| n * 10 + u16::from(digit - b'0'))
    }

    /// The one declared framing (RFC 9112 6.3).
    fn declared(&self, version: &[u8]) -> Result<Option<Framing>, Bad> {
        let lengths = self.all("Content-Length");
        let codings = self.all("Transfer-Encoding");
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(None),
            ([length], []) => number(length).map(|n| Some(Framing::Length(n))),
            ([], [coding]) if version != b"HTTP/1.1" || coding.is_empty() => {
                Err("a coding in HTTP/1.0")
            }
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
            ([], _) => Err("another coding than chunked"),
            (_, []) => Err("two lengths"),
            (_, _) => Err("a length and a coding"),
        }
    }
}

fn number(text: &[u8]) -> Result<u64, Bad> {
    let mut n = 0_u64;
    for digit in text {
        if !digit.is_ascii_digit() {
            return Err("a length that is no number");
        }
        let shifted = n.checked_mul(10);
        n = shifted
            .and_then(|n| n.checked_add(u64::from(digit - b'0')))
            .ok_or("a length beyond 64 bits")?;
    }
    match text.is_empty() {
        true => Err("an empty length"),
        false => Ok(n),
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn is_version(word: &[u8]) -> bool {
    matches!(word, b"HTTP/1.0" | b"HTTP/1.1")
}

fn request_line(line: &[u8]) -> Result<[&[u8]; 3], Bad> {
    let words: Vec<_> = line.split(|b| *b == b' ').collect();
    match words[..] {
        [method, target, version]
            if is_token(method)
                && !target.is_empty()
                && !target.contains(&b'\t')
                && is_version(version) =>
        {
            Ok([method, target, version])
        }
        _ => Err("no request line"),
    }
}

fn status_line(line: &[u8]) -> Result<[&[u8]; 3], Bad> {
    let mut words = line.splitn(3, |b| *b == b' ');
    let [version, status, reason] = [(); 3].map(|()| words.next().unwrap_or_default());
    let is_status = status.len() == 3 && status.iter().all(u8::is_ascii_digit) && status[0] != b'0';
    match is_version(version) && is_status {
        true => Ok([version, status, reason]),
        false => Err("no status line"),
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |b: &u8| *b == b' ' || *b == b'\t';
    let start = text.iter().position(|b| !is_space(b)).unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|b| !is_space(b))
        .map_or(start, |n| n + 1);
    &text[start..end]
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Bad> {
    let colon = line.iter().position(|b| *b == b':').ok_or("no colon")?;
    match is_token(&line[..colon]) {
        true => Ok((&line[..colon], trim(&line[colon + 1..]))),
        // Also a folded line, and white space before the colon.
        false => Err("a field name that is no token"),
    }
}

/// The chunked body at the start of `bytes`: its octets if it is whole. Its content goes to
/// `content`, also when it breaks off.
fn chunked(bytes: &[u8], content: &mut Vec<u8>) -> Result<Option<usize>, Bad> {
    let mut at = 0;
    loop {
        let Some((line, next)) = line(bytes, at)? else {
            return Ok(None);
        };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if !(1..=16).contains(&digits) {
            return Err("no chunk size");
        }
        let after = trim(&line[digits..]);
        if !(after.is_empty() && digits == line.len() || after.first() == Some(&b';')) {
            return Err("something behind a chunk size");
        }
        let text = std::str::from_utf8(&line[..digits]).expect("digits");
        let size = u64::from_str_radix(text, 16).expect("at most 16 digits");
        at = next;
        if size == 0 {
            break;
        }
        let left = bytes.len() - at;
        let there = usize::try_from(size).map_or(left, |size| size.min(left));
        content.extend_from_slice(&bytes[at..at + there]);
        at += there;
        match bytes[at..] {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += 2,
            [..] => return Err("a chunk that goes on"),
        }
    }
    loop {
        let Some((line, next)) = line(bytes, at)? else {
            return Ok(None);
        };
        at = next;
        if line.is_empty() {
            return Ok(Some(at));
        }
        field(line)?;
    }
}

/// The line at `at` and where the next one starts; `None` when it has no end yet.
fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Bad> {
    let Some(n) = bytes[at..].iter().position(|b| *b == b'\n') else {
        return Ok(None);
    };
    let line = &bytes[at..at + n];
    let line = line
        .strip_suffix(b"\r")
        .ok_or("a bare LF in a chunked body")?;
    let is_control = |b: &u8| *b != b'\t' && (*b < b' ' || *b == 0x7f);
    match line.iter().any(is_control) {
        true => Err("a control character in a chunked body"),
        false => Ok(Some((line, at + n + 1))),
    }
}

impl<'a> Message<'a> {
    /// The request at the start of `bytes`; `None` when its head is not whole.
    pub(crate) fn request(bytes: &'a [u8]) -> Result<Option<Self>, Bad> {
        let Some(head) = Head::read(bytes, true)? else {
            return Ok(None);
        };
        let declared = head.declared(head.words[2])?;
        let framing = declared.unwrap_or(Framing::Length(0));
        Ok(Some(Self::with_body(head, framing, bytes)))
    }

    /// The response at the start of `bytes`; `None` when its head is not whole.
    pub(crate) fn response(bytes: &'a [u8], to_head: bool) -> Result<Option<Self>, Bad> {
        let Some(head) = Head::read(bytes, false)? else {
            return Ok(None);
        };
        let declared = head.declared(head.words[0])?;
        let framing = match head.status() {
            100..=199 | 204 | 304 => Framing::Length(0),
            _ if to_head => Framing::Length(0),
            _ => declared.unwrap_or(Framing::UntilClose),
        };
        Ok(Some(Self::with_body(head, framing, bytes)))
    }

    /// The head of the answer to CONNECT, which has no body whatever it says (RFC 9110 9.3.6).
    pub(crate) fn connect_response(bytes: &'a [u8]) -> Result<Option<Self>, Bad> {
        let head = Head::read(bytes, false)?;
        Ok(head.map(|head| Self::with_body(head, Framing::Length(0), bytes)))
    }

    fn with_body(head: Head<'a>, framing: Framing, bytes: &'a [u8]) -> Self {
        let rest = &bytes[head.len..];
        let mut content = Vec::new();
        let len = match framing {
            Framing::Length(n) => Ok(usize::try_from(n).ok().filter(|n| *n <= rest.len())),
            Framing::Chunked => chunked(rest, &mut content),
            Framing::UntilClose => Ok(None),
        };
        let (len, bad) = match len {
            Ok(len) => (len, None),
            Err(bad) => (None, Some(bad)),
        };
        let raw = &rest[..len.unwrap_or(rest.len())];
        if framing != Framing::Chunked {
            content = raw.to_vec();
        }
        Self {
            len: head.len + raw.len(),
            head,
            framing,
            raw,
            content,
            is_complete: len.is_some(),
            bad,
        }
    }
}

/// All requests in `bytes`, with the empty lines before them skipped, and why reading stopped.
pub(crate) fn requests(mut bytes: &[u8]) -> (Vec<Message<'_>>, Option<Bad>) {
    let mut all = Vec::new();
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        match Message::request(bytes) {
            Err(bad) => return (all, Some(bad)),
            Ok(None) => return (all, None),
            Ok(Some(message)) => {
                bytes = &bytes[message.len..];
                let is_last = !message.is_complete;
                all.push(message);
                if is_last {
                    return (all, None);
                }
            }
        }
    }
}

/// Is `forwarded` what a proxy makes of `original` (RFC 9110 7.6, RFC 9112 3.2.1)? Says what is not.
pub(crate) fn check_forwarded(
    forwarded: &Message<'_>,
    original: &Message<'_>,
) -> Result<(), &'static str> {
    let (authority, path) = split_url(original.head.words[1]).ok_or("no URL")?;
    let method = original.head.words[0];
    let target = match (path, method) {
        (b"", b"OPTIONS") => b"*".to_vec(),
        (b"" | [b'?', ..], _) => [b"/", path].concat(),
        _ => path.to_vec(),
    };
    if forwarded.head.words != [method, &target[..], b"HTTP/1.1"] {
        return Err("another request line");
    }
    if forwarded.head.all("Host") != [authority] {
        return Err("another Host");
    }
    let mut fields = original.head.fields.iter();
    for field in &forwarded.head.fields {
        let name = field.0.to_ascii_lowercase();
        match &name[..] {
            b"host" | b"max-forwards" => {}
            b"connection" if matches!(field.1, b"close" | b"upgrade" | b"upgrade, close") => {}
            b"connection" => return Err("another Connection"),
            b"upgrade" if original.head.all("Upgrade").contains(&field.1) => {}
            b"keep-alive" | b"proxy-connection" | b"proxy-authorization" | b"te" | b"upgrade" => {
                return Err("a field of the other hop");
            }
            _ if !fields.any(|f| f == field) => return Err("another field"),
            _ => {}
        }
    }
    let is_body = match forwarded.is_complete {
        true => forwarded.raw == original.raw && original.is_complete,
        false => original.raw.starts_with(forwarded.raw),
    };
    match is_body && forwarded.framing == original.framing {
        true => Ok(()),
        false => Err("another body"),
    }
}

/// Authority without user information and final colon, and path with query.
fn split_url(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = url.windows(3).position(|w| w == b"://")?;
    let rest = &url[at + 3..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    let host = authority.iter().rposition(|b| *b == b'@');
    let authority = &authority[host.map_or(0, |n| n + 1)..];
    Some((authority.strip_suffix(b":").unwrap_or(authority), path))
}
