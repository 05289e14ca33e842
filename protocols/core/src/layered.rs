//! One stream protocol inside another.
use crate::{
    Instant, Pipe, Progress, StreamProtocol,
    error::{Blame, Closing, ProtocolError},
};
use core::fmt;

/// An event or error of one of two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<L, U> {
    /// Of the layer nearer the wire.
    Lower(L),
    /// Of the layer nearer the application.
    Upper(U),
}

impl<L: fmt::Display, U: fmt::Display> fmt::Display for Either<L, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower(e) => e.fmt(f),
            Self::Upper(e) => e.fmt(f),
        }
    }
}

impl<L: core::error::Error, U: core::error::Error> core::error::Error for Either<L, U> {}

impl<L: ProtocolError, U: ProtocolError> ProtocolError for Either<L, U> {
    fn blame(&self) -> Blame {
        match self {
            Self::Lower(e) => e.blame(),
            Self::Upper(e) => e.blame(),
        }
    }

    fn closing(&self) -> Closing {
        match self {
            Self::Lower(e) => e.closing(),
            Self::Upper(e) => e.closing(),
        }
    }
}

/// `upper` carried inside `lower`, such as VLESS inside REALITY; itself a [`StreamProtocol`].
#[derive(Debug)]
pub struct Layered<L, U> {
    /// The layer nearer the wire.
    pub lower: L,
    /// The layer nearer the application.
    pub upper: U,
    inbound: Pipe,
    outbound: Pipe,
}

impl<L, U> Layered<L, U> {
    /// Joins two layers by pipes that hold `limit` bytes each way.
    #[must_use]
    pub fn new(lower: L, upper: U, limit: usize) -> Self {
        Self {
            lower,
            upper,
            inbound: Pipe::new(limit),
            outbound: Pipe::new(limit),
        }
    }
}

impl<L: StreamProtocol, U: StreamProtocol> StreamProtocol for Layered<L, U> {
    type Event = Either<L::Event, U::Event>;
    type Error = Either<L::Error, U::Error>;

    fn handle_input(
        &mut self,
        now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, Self::Error> {
        // What the lower layer decoded before it failed still belongs to the upper one.
        let lower = self.lower.handle_input(now, wire, &mut self.inbound);
        let upper = self
            .upper
            .handle_input(now, &mut self.inbound, app)
            .map_err(Either::Upper)?;
        Ok(lower.map_err(Either::Lower)? | upper)
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, Self::Error> {
        let upper = self.upper.poll_transmit(now, app, &mut self.outbound);
        let lower = self
            .lower
            .poll_transmit(now, &mut self.outbound, wire)
            .map_err(Either::Lower)?;
        Ok(upper.map_err(Either::Upper)? | lower)
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        let lower = self.lower.poll_event().map(Either::Lower);
        lower.or_else(|| self.upper.poll_event().map(Either::Upper))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.lower.poll_timeout(), self.upper.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, Self::Error> {
        let lower = self.lower.handle_timeout(now).map_err(Either::Lower)?;
        let upper = self.upper.handle_timeout(now).map_err(Either::Upper)?;
        Ok(lower | upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;

    /// Puts `0` before each byte on the wire; removes it inbound.
    struct Stuffed;

    impl StreamProtocol for Stuffed {
        type Event = Infallible;
        type Error = Infallible;

        fn handle_input(
            &mut self,
            _: Instant,
            wire: &mut Pipe,
            app: &mut Pipe,
        ) -> Result<Progress, Infallible> {
            let mut progress = Progress::NONE;
            while let (Some(&[_, byte]), 1..) = (wire.front(2), app.room()) {
                wire.skip(2);
                app.push_slice(&[byte]);
                progress = Progress::MADE;
            }
            if wire.is_eof() {
                progress |= app.finish();
            }
            Ok(progress)
        }

        fn poll_transmit(
            &mut self,
            _: Instant,
            app: &mut Pipe,
            wire: &mut Pipe,
        ) -> Result<Progress, Infallible> {
            let mut progress = Progress::NONE;
            while let (Some(&[byte]), 2..) = (app.front(1), wire.room()) {
                app.skip(1);
                wire.push_slice(&[0, byte]);
                progress = Progress::MADE;
            }
            if app.is_eof() {
                progress |= wire.finish();
            }
            Ok(progress)
        }

        fn poll_event(&mut self) -> Option<Infallible> {
            None
        }

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }

        fn handle_timeout(&mut self, _: Instant) -> Result<Progress, Infallible> {
            Ok(Progress::NONE)
        }
    }

    #[test]
    fn bytes_and_ends_cross_both_layers_through_small_pipes() {
        let mut a = Layered::new(Stuffed, Stuffed, 4);
        let mut b = Layered::new(Stuffed, Stuffed, 4);
        let (mut app, mut wire, mut out) = (Pipe::new(100), Pipe::new(5), Pipe::new(100));
        app.push_slice(b"hello layers");
        let _ = app.finish();
        loop {
            let sent = a.poll_transmit(Instant::ZERO, &mut app, &mut wire).unwrap();
            let got = b.handle_input(Instant::ZERO, &mut wire, &mut out).unwrap();
            if sent | got == Progress::NONE {
                break;
            }
        }
        assert_eq!(out.front(12), Some(&b"hello layers"[..]));
        assert_eq!(out.end(), crate::End::Fin);
    }
}
