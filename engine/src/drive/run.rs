//! Datagrams of equal size to one destination, gathered to be sent in one system call.
use crate::ids::Slot;
use core::net::SocketAddr;

/// Most bytes sent in one system call as equal datagrams.
const RUN_MAX: usize = 60 * 1024;

/// A run that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gathered<'r> {
    pub(crate) slot: Slot,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: &'r [u8],
    pub(crate) segment: usize,
}

/// Datagrams of equal size from one slot to one destination.
#[derive(Debug, Default)]
pub(crate) struct Run {
    place: Option<(Slot, SocketAddr)>,
    segment: usize,
    /// A shorter datagram ends the run.
    closed: bool,
    bytes: Vec<u8>,
}

impl Run {
    /// Adds a datagram; false when it does not fit in this run.
    pub(crate) fn push(&mut self, slot: Slot, to: SocketAddr, data: &[u8]) -> bool {
        if self.place.is_none() {
            self.place = Some((slot, to));
            self.segment = data.len();
            self.closed = data.is_empty();
        } else if self.place == Some((slot, to))
            && !self.closed
            && (1..=self.segment).contains(&data.len())
            && self.bytes.len() + data.len() <= RUN_MAX
        {
            self.closed = data.len() < self.segment;
        } else {
            return false;
        }
        self.bytes.extend_from_slice(data);
        true
    }

    /// What was gathered; `None` when that is nothing.
    pub(crate) fn gathered(&self) -> Option<Gathered<'_>> {
        let (slot, to) = self.place?;
        Some(Gathered {
            slot,
            to,
            bytes: &self.bytes,
            segment: self.segment,
        })
    }

    /// Forgets the run.
    pub(crate) fn clear(&mut self) {
        self.place = None;
        self.bytes.clear();
    }
}

/// The datagrams of a run that [`Driver::send`](super::Driver::send) was given, one by one.
pub fn datagrams(run: &[u8], segment: usize) -> impl Iterator<Item = &[u8]> {
    // No bytes are one empty datagram, but `chunks` makes none of them.
    let empty = run.is_empty().then_some(run);
    empty.into_iter().chain(run.chunks(segment.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_run_takes_equal_datagrams_and_one_shorter_last() {
        let mut run = Run::default();
        let (a, b) = (Slot(1), Slot(2));
        assert_eq!(run.gathered(), None);
        assert!(run.push(a, to(1), &[1; 100]));
        assert!(run.push(a, to(1), &[2; 100]));
        assert!(!run.push(a, to(2), &[2; 100]), "another destination");
        assert!(!run.push(b, to(1), &[2; 100]), "another slot");
        assert!(!run.push(a, to(1), &[2; 101]), "longer");
        assert!(!run.push(a, to(1), &[]), "empty");
        assert!(run.push(a, to(1), &[3; 99]));
        assert!(!run.push(a, to(1), &[4; 99]), "after a shorter one");
        let gathered = run.gathered().expect("three datagrams");
        assert_eq!(
            (gathered.slot, gathered.to, gathered.segment),
            (a, to(1), 100)
        );
        let sizes: Vec<_> = datagrams(gathered.bytes, 100).map(<[u8]>::len).collect();
        assert_eq!(sizes, [100, 100, 99]);
        run.clear();
        assert!(run.push(b, to(2), &[]), "an empty datagram is a run alone");
        assert!(!run.push(b, to(2), &[]));
        let gathered = run.gathered().expect("one datagram");
        let sizes: Vec<_> = datagrams(gathered.bytes, gathered.segment)
            .map(<[u8]>::len)
            .collect();
        assert_eq!(sizes, [0]);
    }

    #[test]
    fn a_run_is_bounded() {
        let mut run = Run::default();
        let pushed = (0..1000)
            .take_while(|_| run.push(Slot(0), to(1), &[0; 1000]))
            .count();
        assert_eq!(pushed, RUN_MAX / 1000);
    }
}
