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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{
        Overhead,
        error::{Blame, Closing, ProtocolError},
    };
    use core::{convert::Infallible, fmt, net::SocketAddr};
    use std::{vec, vec::Vec};

    /// Sends what it was given, as many bytes as the path carries.
    #[derive(Default)]
    struct Talker {
        budget: usize,
        to_send: Vec<usize>,
        received: Vec<BytesMut>,
    }

    impl DatagramProtocol for Talker {
        type Event = Infallible;
        type Error = Infallible;

        fn handle_datagram(
            &mut self,
            _: Instant,
            _: PacketMeta,
            data: BytesMut,
        ) -> Result<(), Infallible> {
            self.received.push(data);
            Ok(())
        }

        fn poll_transmit(
            &mut self,
            _: Instant,
            _: NonZeroUsize,
            buf: &mut BytesMut,
        ) -> Option<Transmit> {
            let size = self.to_send.pop()?.min(self.budget);
            buf.resize(size, b'x');
            let destination = ANY;
            Some(Transmit {
                destination,
                source: None,
                ecn: 0,
                size,
                segment_size: None,
            })
        }

        fn poll_event(&mut self) -> Option<Infallible> {
            None
        }

        fn poll_timeout(&self) -> Option<Instant> {
            None
        }

        fn handle_timeout(&mut self, _: Instant) {}

        fn set_max_datagram_size(&mut self, bytes: usize) {
            self.budget = bytes;
        }
    }

    /// A byte in front that must be 7; refuses to seal datagrams of 3 bytes.
    struct Marked;

    #[derive(Debug)]
    struct NotMarked;

    impl fmt::Display for NotMarked {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("not marked")
        }
    }

    impl core::error::Error for NotMarked {}

    impl ProtocolError for NotMarked {
        fn blame(&self) -> Blame {
            Blame::Peer
        }

        fn closing(&self) -> Closing {
            Closing::Silent
        }
    }

    impl DatagramLayer for Marked {
        type Error = NotMarked;

        fn overhead(&self) -> Overhead {
            Overhead {
                head: 1,
                tail_max: 2,
            }
        }

        fn seal(&mut self, _: Instant, plain: &[u8], out: &mut BytesMut) -> Result<(), NotMarked> {
            if plain.len() == 3 {
                return Err(NotMarked);
            }
            out.extend_from_slice(&[7]);
            out.extend_from_slice(plain);
            Ok(())
        }

        fn open(&mut self, _: Instant, datagram: &mut BytesMut) -> Result<bool, NotMarked> {
            match datagram.split_to_checked(1).as_deref() {
                Some([7]) => Ok(!datagram.is_empty()),
                _ => Err(NotMarked),
            }
        }
    }

    trait SplitToChecked {
        fn split_to_checked(&mut self, n: usize) -> Option<BytesMut>;
    }

    impl SplitToChecked for BytesMut {
        fn split_to_checked(&mut self, n: usize) -> Option<BytesMut> {
            (n <= self.len()).then(|| self.split_to(n))
        }
    }

    const ANY: SocketAddr =
        SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
    const META: PacketMeta = PacketMeta {
        remote: ANY,
        local: None,
        ecn: 0,
    };

    #[test]
    fn the_overhead_reaches_the_size_of_what_is_sent() {
        let talker = Talker {
            to_send: vec![5000],
            ..Talker::default()
        };
        let mut enveloped = Enveloped::new(Marked, talker, 100);
        let mut buf = BytesMut::new();
        let sent = enveloped.poll_transmit(Instant::ZERO, NonZeroUsize::MIN, &mut buf);
        assert_eq!(
            sent.map(|t| t.size),
            Some(98),
            "97 of the protocol and 1 in front"
        );
        enveloped.set_max_datagram_size(50);
        assert_eq!(enveloped.inner.budget, 47);
    }

    #[test]
    fn what_cannot_be_sealed_is_lost_and_the_next_goes_out() {
        let talker = Talker {
            to_send: vec![9, 3],
            ..Talker::default()
        };
        let mut enveloped = Enveloped::new(Marked, talker, 100);
        let mut buf = BytesMut::new();
        let sent = enveloped.poll_transmit(Instant::ZERO, NonZeroUsize::MIN, &mut buf);
        assert_eq!(sent.map(|t| t.size), Some(10));
        assert!(
            enveloped
                .poll_transmit(Instant::ZERO, NonZeroUsize::MIN, &mut buf)
                .is_none()
        );
    }

    #[test]
    fn only_opened_content_reaches_the_protocol() {
        let mut enveloped = Enveloped::new(Marked, Talker::default(), 100);
        let mut handle = |bytes: &[u8]| {
            enveloped
                .handle_datagram(Instant::ZERO, META, BytesMut::from(bytes))
                .is_ok()
        };
        assert!(handle(&[7, 1, 2]));
        assert!(handle(&[7]), "consumed, and nothing for the protocol");
        assert!(!handle(&[8, 1]));
        assert!(!handle(&[]));
        assert_eq!(enveloped.inner.received, [BytesMut::from(&[1, 2][..])]);
    }
}
