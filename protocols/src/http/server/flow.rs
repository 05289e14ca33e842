//! A body on its way from one pipe to another.
use crate::http::wire::{Body, ChunkScanner, Malformed, chunked::Span};
use sansbox_core::{End, Pipe, Progress};

/// A body being passed on; its bytes are moved, not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// This many bytes are left.
    Length(u64),
    /// Chunked, passed on as it is.
    Chunked(ChunkScanner),
    /// Chunked, of which only the content is passed on.
    Dechunked(ChunkScanner),
    /// Until the connection ends.
    UntilClose,
}

/// How passing a body on stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The body is complete.
    Done,
    /// Waiting for bytes or room.
    Waiting,
    /// The source ended before the body.
    Truncated,
}

impl Flow {
    pub(super) const fn new(body: Body) -> Self {
        match body {
            Body::Length(n) => Self::Length(n),
            Body::Chunked => Self::Chunked(ChunkScanner::new()),
            Body::UntilClose => Self::UntilClose,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(scanner) | Self::Dechunked(scanner) => scanner.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Moves what is there of the body to `to`, as far as there is room; drops it when `to` has
    /// ended, because nobody will read it.
    pub(super) fn pass(
        &mut self,
        from: &mut Pipe,
        to: &mut Pipe,
    ) -> Result<(Stage, Progress), Malformed> {
        let mut progress = Progress::NONE;
        while !self.is_done() {
            let is_dropped = to.end() != End::Open;
            let room = match is_dropped {
                true => usize::MAX,
                false => to.room(),
            };
            let first = from.first();
            let window = first.get(..first.len().min(room)).unwrap_or_default();
            if window.is_empty() {
                return Ok((self.stage(from), progress));
            }
            let span = self.advance(window)?;
            if let Some(segment) = from.take(span.len())
                && !is_dropped
                && matches!(span, Span::Data(_))
            {
                to.push(segment);
            }
            progress = Progress::MADE;
        }
        Ok((Stage::Done, progress))
    }

    /// Drops what is there of the body.
    pub(super) fn drop_from(&mut self, from: &mut Pipe) -> Result<(Stage, Progress), Malformed> {
        let mut nowhere = Pipe::new(0);
        let _ = nowhere.finish();
        self.pass(from, &mut nowhere)
    }

    /// Without room or bytes: more may come, or the source has ended.
    fn stage(&self, from: &Pipe) -> Stage {
        match (self, from.is_eof(), from.end()) {
            (Self::UntilClose, true, End::Fin) => Stage::Done,
            (_, true, _) => Stage::Truncated,
            (_, false, _) => Stage::Waiting,
        }
    }

    /// What to do with the start of `window`, which is not empty: pass data on, drop framing.
    fn advance(&mut self, window: &[u8]) -> Result<Span, Malformed> {
        match self {
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(window.len(), |left| left.min(window.len()));
                *left -= n as u64;
                Ok(Span::Data(n))
            }
            Self::Chunked(scanner) => scanner.scan(window).map(Span::Data),
            Self::Dechunked(scanner) => scanner.next_span(window),
            Self::UntilClose => Ok(Span::Data(window.len())),
        }
    }
}
