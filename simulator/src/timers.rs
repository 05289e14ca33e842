//! Deadlines of hosts, re-armed lazily: a host that moves its deadline back costs nothing until
//! the old one comes.
use crate::host::HostId;
use sansbox_core::Instant;
use std::{cmp::Reverse, collections::BinaryHeap};

#[derive(Clone, Copy, Debug, Default)]
struct OfHost {
    wanted: Option<Instant>,
    /// The earliest entry of the heap that is its own.
    armed: Option<Instant>,
}

/// At most one deadline for each host. Equal deadlines come in the order they were entered.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64, HostId)>>,
    hosts: Vec<OfHost>,
    next_number: u64,
    wanted: usize,
}

impl Timers {
    /// Sets or clears a host's deadline.
    pub(crate) fn set(&mut self, host: HostId, wanted: Option<Instant>) {
        let index = host.0 as usize;
        if index >= self.hosts.len() {
            self.hosts.resize(index + 1, OfHost::default());
        }
        let Some(of_host) = self.hosts.get_mut(index) else {
            return;
        };
        self.wanted += usize::from(wanted.is_some());
        self.wanted -= usize::from(of_host.wanted.is_some());
        of_host.wanted = wanted;
        if let Some(at) = wanted
            && of_host.armed.is_none_or(|armed| at < armed)
        {
            of_host.armed = Some(at);
            self.enter(at, host);
        }
    }

    fn enter(&mut self, at: Instant, host: HostId) {
        let number = self.next_number;
        self.next_number += 1;
        self.heap.push(Reverse((at, number, host)));
    }

    /// No host has a deadline.
    pub(crate) const fn is_empty(&self) -> bool {
        self.wanted == 0
    }

    /// The earliest deadline.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        loop {
            let Reverse((at, _, host)) = *self.heap.peek()?;
            let of_host = self.hosts.get_mut(host.0 as usize)?;
            if of_host.armed == Some(at) && of_host.wanted == Some(at) {
                return Some(at);
            }
            self.heap.pop();
            // An entry that an earlier one has overtaken says nothing.
            if of_host.armed == Some(at) {
                of_host.armed = of_host.wanted;
                if let Some(at) = of_host.wanted {
                    self.enter(at, host);
                }
            }
        }
    }

    /// Takes the host whose deadline has come first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<HostId> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, _, host)) = self.heap.pop()?;
        let of_host = self.hosts.get_mut(host.0 as usize)?;
        *of_host = OfHost::default();
        self.wanted -= 1;
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_move_both_ways_and_come_once() {
        let mut timers = Timers::default();
        let at = |n| Some(Instant::from_nanos(n));
        let host = HostId;
        timers.set(host(0), at(5));
        timers.set(host(1), at(3));
        timers.set(host(0), at(9));
        timers.set(host(2), at(9));
        timers.set(host(1), at(7));
        timers.set(host(1), at(4));
        assert_eq!(timers.next(), at(4));
        let far = Instant::from_nanos(100);
        assert_eq!(timers.pop_due(Instant::from_nanos(3)), None);
        assert_eq!(timers.pop_due(far), Some(host(1)));
        timers.set(host(1), at(9));
        timers.set(host(3), at(1));
        timers.set(host(3), None);
        let mut rest: Vec<HostId> = core::iter::from_fn(|| timers.pop_due(far)).collect();
        rest.sort_unstable();
        assert_eq!(rest, [host(0), host(1), host(2)]);
        assert!(timers.is_empty() && timers.next().is_none());
    }

    #[test]
    fn a_deadline_that_moves_back_again_and_again_costs_one_entry() {
        let mut timers = Timers::default();
        for n in 1..10_000 {
            timers.set(HostId(0), Some(Instant::from_nanos(n)));
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.next(), Some(Instant::from_nanos(9999)));
    }
}
