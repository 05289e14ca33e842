//! A datagram protocol inside a layer.
use crate::{
    DatagramLayer, DatagramProtocol, Either, Instant,
    datagram::{PacketMeta, Transmit},
};
use bytes::BytesMut;
use core::num::NonZeroUsize;

/// `inner` with each datagram wrapped by `layer`; itself a [`DatagramProtocol`], so the same
/// drivers run it.
#[derive(Debug)]
pub struct Enveloped<L, P> {
    /// The envelope.
    pub layer: L,
    /// The protocol inside.
    pub inner: P,
    scratch: BytesMut,
}

impl<L: DatagramLayer, P: DatagramProtocol> Enveloped<L, P> {
    /// Wraps `inner` for a path that carries datagrams of `path_budget` bytes.
    pub fn new(layer: L, inner: P, path_budget: usize) -> Self {
        let mut enveloped = Self {
            layer,
            inner,
            scratch: BytesMut::new(),
        };
        enveloped.set_max_datagram_size(path_budget);
        enveloped
    }
}

impl<L: DatagramLayer, P: DatagramProtocol> DatagramProtocol for Enveloped<L, P> {
    type Event = P::Event;
    type Error = Either<L::Error, P::Error>;

    fn handle_datagram(
        &mut self,
        now: Instant,
        meta: PacketMeta,
        mut data: BytesMut,
    ) -> Result<(), Self::Error> {
        if self.layer.open(now, &mut data).map_err(Either::Lower)? {
            self.inner
                .handle_datagram(now, meta, data)
                .map_err(Either::Upper)?;
        }
        Ok(())
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        _max_segments: NonZeroUsize,
        buf: &mut BytesMut,
    ) -> Option<Transmit> {
        // One datagram at a time: sealed sizes may differ, and GSO wants equal ones.
        loop {
            self.scratch.clear();
            let mut transmit =
                self.inner
                    .poll_transmit(now, NonZeroUsize::MIN, &mut self.scratch)?;
            let before = buf.len();
            // What cannot be sealed is lost like a datagram on the way; the next one may do.
            if self.layer.seal(now, &self.scratch, buf).is_ok() {
                transmit.size = buf.len() - before;
                transmit.segment_size = None;
                return Some(transmit);
            }
        }
    }

    fn poll_event(&mut self) -> Option<P::Event> {
        self.inner.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.inner.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.inner.handle_timeout(now);
    }

    fn set_max_datagram_size(&mut self, bytes: usize) {
        self.inner
            .set_max_datagram_size(bytes.saturating_sub(self.layer.overhead().total_max()));
    }
}
