//! How long a message body is (RFC 9112 6), strictly: what could be read in two ways is refused.
use super::{Fields, Malformed, Request, Response, Version};

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After this many bytes; 0 also when there is none.
    Length(u64),
    /// Where the chunked coding says.
    Chunked,
    /// Where the connection ends; responses only.
    UntilClose,
}

impl Body {
    /// No body.
    pub const NONE: Self = Self::Length(0);

    /// The body of `request` (RFC 9112 6.3, rules 3 to 7).
    ///
    /// # Errors
    /// [`Malformed`] when the length is given in a doubtful way.
    pub fn of_request(request: &Request<'_>) -> Result<Self, Malformed> {
        declared(request.version, &request.fields).map(|body| body.unwrap_or(Self::NONE))
    }

    /// The body of `response`; `to_head` says that it answers a HEAD request (RFC 9112 6.3).
    ///
    /// # Errors
    /// [`Malformed`] when the length is given in a doubtful way, even if there is no body.
    pub fn of_response(response: &Response<'_>, to_head: bool) -> Result<Self, Malformed> {
        let declared = declared(response.version, &response.fields)?;
        match response.status {
            100..=199 | 204 | 304 => Ok(Self::NONE),
            _ if to_head => Ok(Self::NONE),
            _ => Ok(declared.unwrap_or(Self::UntilClose)),
        }
    }
}

fn declared(version: Version, fields: &Fields<'_>) -> Result<Option<Body>, Malformed> {
    let length = content_length(fields)?;
    let mut codings = fields.all("Transfer-Encoding");
    let Some(coding) = codings.next() else {
        return Ok(length.map(Body::Length));
    };
    if length.is_some() {
        return Err(Malformed::BothLengths);
    }
    if version == Version::Http10 {
        return Err(Malformed::TransferEncoding);
    }
    if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Some(Body::Chunked));
    }
    Err(transfer_coding_error(fields))
}

/// Codings that end in one `chunked` are well formed but not spoken here; a message whose end
/// cannot be told is malformed (RFC 9112 6.1, 6.3).
fn transfer_coding_error(fields: &Fields<'_>) -> Malformed {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let chunked = fields.list("Transfer-Encoding").filter(|c| is_chunked(c));
    let has_one = chunked.count() == 1;
    let others = fields.list("Transfer-Encoding").count() > 1;
    match fields.list("Transfer-Encoding").last() {
        Some(last) if has_one && others && is_chunked(last) => Malformed::TransferCoding,
        _ => Malformed::TransferEncoding,
    }
}

fn content_length(fields: &Fields<'_>) -> Result<Option<u64>, Malformed> {
    let mut values = fields.all("Content-Length");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed::ContentLengthRepeated);
    }
    decimal(value).map(Some).ok_or(Malformed::ContentLength)
}

/// Digits only, below 2^64.
pub(in crate::http) fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(text).ok().filter(|_| is_number)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: &str, fields: &str) -> Result<Body, Malformed> {
        let head = format!("POST / HTTP/{version}\r\n{fields}\r\n");
        let (request, _) = Request::parse(head.as_bytes()).unwrap().unwrap();
        Body::of_request(&request)
    }

    #[test]
    fn requests_with_a_clear_length() {
        let many_digits = format!("Content-Length: {}5\r\n", "0".repeat(40));
        let rows = [
            ("1.1", "", Body::NONE),
            ("1.1", "Content-Length: 0\r\n", Body::NONE),
            ("1.1", "content-length: 5 \r\n", Body::Length(5)),
            ("1.0", "Content-Length: 5\r\n", Body::Length(5)),
            ("1.1", &many_digits, Body::Length(5)),
            (
                "1.1",
                "Content-Length: 18446744073709551615\r\n",
                Body::Length(u64::MAX),
            ),
            ("1.1", "Transfer-Encoding: Chunked\r\n", Body::Chunked),
        ];
        for (version, fields, expected) in rows {
            assert_eq!(
                request(version, fields),
                Ok(expected),
                "{version} {fields:?}"
            );
        }
    }

    #[test]
    fn content_lengths_that_are_no_single_number_are_refused() {
        let twice = Malformed::ContentLengthRepeated;
        let rows = [
            (
                "Content-Length: 18446744073709551616\r\n",
                Malformed::ContentLength,
            ),
            ("Content-Length: +5\r\n", Malformed::ContentLength),
            ("Content-Length: -5\r\n", Malformed::ContentLength),
            ("Content-Length: 0x5\r\n", Malformed::ContentLength),
            ("Content-Length: 5 5\r\n", Malformed::ContentLength),
            ("Content-Length:\r\n", Malformed::ContentLength),
            ("Content-Length: 5, 6\r\n", Malformed::ContentLength),
            ("Content-Length: 5, 5\r\n", Malformed::ContentLength),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", twice),
            ("Content-Length: 5\r\ncontent-length: 5\r\n", twice),
        ];
        for (fields, expected) in rows {
            assert_eq!(request("1.1", fields), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn codings_other_than_chunked_are_refused() {
        let rows = [
            (
                "1.1",
                "chunked\r\nContent-Length: 5",
                Malformed::BothLengths,
            ),
            (
                "1.1",
                "identity\r\nContent-Length: 0",
                Malformed::BothLengths,
            ),
            ("1.0", "chunked", Malformed::TransferEncoding),
            ("1.1", "", Malformed::TransferEncoding),
            ("1.1", "identity", Malformed::TransferEncoding),
            ("1.1", "xchunked", Malformed::TransferEncoding),
            ("1.1", "\"chunked\"", Malformed::TransferEncoding),
            ("1.1", "chunked, gzip", Malformed::TransferEncoding),
            ("1.1", "chunked, chunked", Malformed::TransferEncoding),
            (
                "1.1",
                "chunked\r\nTransfer-Encoding: chunked",
                Malformed::TransferEncoding,
            ),
            ("1.1", "chunked;a=b", Malformed::TransferEncoding),
            ("1.1", ", chunked", Malformed::TransferEncoding),
            ("1.1", "gzip, chunked", Malformed::TransferCoding),
            (
                "1.1",
                "gzip\r\nTransfer-Encoding: chunked",
                Malformed::TransferCoding,
            ),
        ];
        for (version, value, expected) in rows {
            let fields = format!("Transfer-Encoding: {value}\r\n");
            assert_eq!(
                request(version, &fields),
                Err(expected),
                "{version} {value:?}"
            );
        }
    }

    #[test]
    fn response_bodies() {
        let rows = [
            (200, false, "", Ok(Body::UntilClose)),
            (200, false, "Content-Length: 7\r\n", Ok(Body::Length(7))),
            (
                200,
                false,
                "Transfer-Encoding: chunked\r\n",
                Ok(Body::Chunked),
            ),
            (200, true, "Content-Length: 7\r\n", Ok(Body::NONE)),
            (200, true, "", Ok(Body::NONE)),
            (100, false, "Content-Length: 7\r\n", Ok(Body::NONE)),
            (204, false, "Content-Length: 7\r\n", Ok(Body::NONE)),
            (304, false, "Transfer-Encoding: chunked\r\n", Ok(Body::NONE)),
            (205, false, "", Ok(Body::UntilClose)),
            (
                200,
                false,
                "Content-Length: 7, 7\r\n",
                Err(Malformed::ContentLength),
            ),
            (
                304,
                false,
                "Content-Length: x\r\n",
                Err(Malformed::ContentLength),
            ),
            (
                200,
                true,
                "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
                Err(Malformed::BothLengths),
            ),
            (
                200,
                false,
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(Malformed::TransferCoding),
            ),
        ];
        for (status, to_head, fields, expected) in rows {
            let head = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
            let (response, _) = Response::parse(head.as_bytes()).unwrap().unwrap();
            assert_eq!(Body::of_response(&response, to_head), expected, "{head:?}");
        }
    }
}
