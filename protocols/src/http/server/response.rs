//! From a server's response head to what the client is sent.
use super::{flow::Flow, request::Exchange};
use crate::http::wire::{
    Body, ChunkScanner, Malformed, Response, Version, rewrite, rewrite::ResponseEdit,
};
use bytes::BytesMut;

/// 101 Switching Protocols.
const SWITCHING: u16 = 101;
/// 426 Upgrade Required, the other status that carries `Upgrade`.
const UPGRADE_REQUIRED: u16 = 426;

/// What a response head means for the exchange.
#[derive(Debug)]
pub(super) enum Answer {
    /// 1xx: the client is sent this, if anything, and the final response is still to come.
    Interim(Option<BytesMut>),
    /// 101: both directions become a tunnel.
    Switch(BytesMut),
    /// The final response.
    Final {
        head: BytesMut,
        flow: Flow,
        /// The server keeps its connection.
        is_kept: bool,
        /// The client connection ends with this response.
        close: bool,
    },
}

/// Reads a whole head. `is_early` says that the request is not complete yet.
pub(super) fn read(head: &[u8], exchange: &Exchange, is_early: bool) -> Result<Answer, Malformed> {
    let response = Response::parse_whole(head)?;
    rewrite::check_options(&response.fields)?;
    let body = Body::of_response(&response, exchange.is_head)?;
    let is_http10 = exchange.version == Version::Http10;
    let plain = ResponseEdit {
        upgrade: false,
        close: false,
        dechunk: false,
    };
    match response.status {
        SWITCHING if !exchange.upgrade || is_early => Err(Malformed::Switched),
        SWITCHING => {
            let edit = ResponseEdit {
                upgrade: true,
                ..plain
            };
            Ok(Answer::Switch(rewrite::emit_response(&response, edit)))
        }
        // RFC 9110 15.2: no 1xx for an HTTP/1.0 client.
        100..=199 if is_http10 => Ok(Answer::Interim(None)),
        100..=199 => {
            let head = rewrite::emit_response(&response, plain);
            Ok(Answer::Interim(Some(head)))
        }
        _ => {
            let dechunk = is_http10 && body == Body::Chunked;
            let close = exchange.close || is_early || body == Body::UntilClose;
            let edit = ResponseEdit {
                upgrade: response.status == UPGRADE_REQUIRED,
                close,
                // A coding without a body, as in a response to HEAD, is not told to 1.0 either.
                dechunk: is_http10,
            };
            Ok(Answer::Final {
                head: rewrite::emit_response(&response, edit),
                flow: match dechunk {
                    true => Flow::Dechunked(ChunkScanner::new()),
                    false => Flow::new(body),
                },
                is_kept: rewrite::keeps_connection(&response, body),
                close,
            })
        }
    }
}
