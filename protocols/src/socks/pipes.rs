//! What server and client do alike with their pipes.
use bytes::BytesMut;
use sansbox_core::{Closing, End, Pipe, Progress};
use zeroize::Zeroize as _;

/// Pushes one message as one segment.
pub(super) fn send(wire: &mut Pipe, buffer_len: usize, emit: impl FnOnce(&mut BytesMut)) {
    let mut message = BytesMut::with_capacity(buffer_len);
    emit(&mut message);
    wire.push(message);
}

/// Drops what waits in `from`, so that nothing piles up, and passes its end on.
pub(super) fn discard(from: &mut Pipe, to: &mut Pipe) -> Progress {
    let skipped = Progress(from.skip(from.len()) > 0);
    skipped
        | match from.end() {
            End::Open => Progress::NONE,
            End::Fin => to.finish(),
            End::Reset => to.reset(),
        }
}

/// Ends `wire` behind what waits in it, or at once.
pub(super) fn end(wire: &mut Pipe, how: Closing) -> Progress {
    match how {
        Closing::Reply | Closing::Fin | Closing::Silent => wire.finish(),
        Closing::Reset => wire.reset(),
    }
}

/// Consumes `n` bytes that hold a password and overwrites them.
pub(super) fn wipe(wire: &mut Pipe, n: usize) {
    let mut left = n;
    while let Some(mut segment) = wire.take(left) {
        left -= segment.len();
        segment.as_mut().zeroize();
    }
}
