//! Bytes of HTTP/1.1 (RFC 9112): heads, targets, body framing, chunked coding, credentials.
//!
//! Everything here is a function of its arguments or a small scanner that remembers how far it
//! read. Nothing allocates from a length the peer chose.

pub mod auth;
pub mod chunked;
pub mod framing;
pub mod head;
pub mod rewrite;
pub mod scan;
pub mod target;

pub use auth::Credentials;
pub use chunked::ChunkScanner;
pub use framing::Body;
pub use head::{Fields, Request, Response, Version};
pub use scan::HeadScanner;
pub use target::{AbsoluteForm, RequestTarget};

use crate::http::refusal::Status;

/// What is wrong with a message. The text is written for the person behind the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// LF without CR before it (RFC 9112 2.2 lets a recipient take it; smugglers rely on that).
    #[error("a line ends in LF without CR")]
    BareLf,
    /// CR without LF behind it.
    #[error("a CR stands without LF")]
    BareCr,
    /// A control character other than HTAB, with its value.
    #[error("control character 0x{0:02x} in the head")]
    Control(u8),
    /// A header line that starts with white space (RFC 9112 5.2).
    #[error("a header line is folded")]
    ObsoleteFold,
    /// More than [`HEAD_LEN_MAX`](crate::http::HEAD_LEN_MAX) bytes.
    #[error("the head is longer than {} bytes", crate::http::HEAD_LEN_MAX)]
    HeadTooLarge,
    /// More than [`FIELDS_MAX`](crate::http::FIELDS_MAX) fields.
    #[error("the head has more than {} fields", crate::http::FIELDS_MAX)]
    TooManyFields,
    /// More than [`EMPTY_LINES_MAX`](crate::http::EMPTY_LINES_MAX) empty lines before a request.
    #[error("too many empty lines before the request")]
    EmptyLines,
    /// Not `method SP target SP version`.
    #[error("the first line is not \"method target HTTP/1.1\"")]
    RequestLine,
    /// Not `version SP status SP reason`.
    #[error("the first line is not \"HTTP/1.1 status reason\"")]
    StatusLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
    /// A field name that is no token, white space before the colon included.
    #[error("a header field name is not valid")]
    FieldName,
    /// A field value that is not valid.
    #[error("a header field value is not valid")]
    FieldValue,
    /// `Host` is absent from an HTTP/1.1 request.
    #[error("the Host field is missing")]
    HostMissing,
    /// `Host` stands more than once.
    #[error("the Host field stands more than once")]
    HostRepeated,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both Content-Length and Transfer-Encoding are given")]
    BothLengths,
    /// `Content-Length` is not one decimal number below 2^64.
    #[error("Content-Length is not a number")]
    ContentLength,
    /// `Content-Length` stands more than once.
    #[error("Content-Length stands more than once")]
    ContentLengthRepeated,
    /// `Transfer-Encoding` does not end in one `chunked`, or stands in an HTTP/1.0 message.
    #[error("Transfer-Encoding does not end in chunked, or is used with HTTP/1.0")]
    TransferEncoding,
    /// A transfer coding other than `chunked`.
    #[error("a transfer coding other than chunked is used")]
    TransferCoding,
    /// More than [`CONNECTION_OPTIONS_MAX`](crate::http::CONNECTION_OPTIONS_MAX) options.
    #[error("the Connection field has too many options")]
    TooManyOptions,
    /// `Max-Forwards` is not one decimal number.
    #[error("Max-Forwards is not a number")]
    MaxForwards,
    /// A chunk size without digits, with more than 16, or with something else behind them.
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    /// A chunk extension with a control character or longer than the limit.
    #[error("a chunk extension is not valid")]
    ChunkExtension,
    /// No CR LF behind the data of a chunk.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// A trailer line that is no field.
    #[error("a trailer field is not valid")]
    Trailer,
    /// A trailer section longer than [`TRAILERS_LEN_MAX`](crate::http::TRAILERS_LEN_MAX).
    #[error("the trailer section is too long")]
    TrailersTooLong,
    /// Origin-form or asterisk-form where a proxy needs absolute-form.
    #[error(
        "this is an HTTP proxy: it takes CONNECT host:port and full URLs such as http://host/path"
    )]
    NotForProxy,
    /// The URL has a scheme other than `http`.
    #[error("only http:// URLs are forwarded; use CONNECT for anything else")]
    Scheme,
    /// The host of a URL or of CONNECT is no domain name and no address.
    #[error("the host in the request is not valid")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port in the request is not valid")]
    Port,
    /// CONNECT without a port (RFC 9110 9.3.6).
    #[error("CONNECT needs host:port")]
    PortMissing,
    /// A fragment, or a character that no request target may hold.
    #[error("the URL in the request is not valid")]
    Url,
    /// CONNECT with a body (RFC 9110 9.3.6 gives it no meaning).
    #[error("CONNECT has no body")]
    ConnectBody,
    /// 101 although no upgrade was asked for, or before the request was complete.
    #[error("the server switched protocols without being asked")]
    Switched,
}

impl Malformed {
    /// The status for a request with this defect.
    #[must_use]
    pub const fn status(self) -> Status {
        if matches!(self, Self::HeadTooLarge | Self::TooManyFields) {
            Status::FieldsTooLarge
        } else if matches!(self, Self::Version) {
            Status::VersionNotSupported
        } else if matches!(self, Self::TransferCoding | Self::Scheme) {
            Status::NotImplemented
        } else {
            Status::BadRequest
        }
    }
}
