//! Happy eyeballs (RFC 8305): which address of a name to try when, and whom to give up.
//!
//! Pure: attempts are numbers, the owner dials. Families alternate, a new attempt starts when the
//! stagger has passed or the latest one failed, the first to connect wins, and one budget bounds
//! it all.
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Instant, Refusal};
use std::collections::VecDeque;

/// Stagger between attempts (RFC 8305 section 5 recommends 250 ms; sing-box uses 300 ms).
pub const STAGGER_DEFAULT: Duration = Duration::from_millis(300);
/// Budget of the whole race, as sing-box's `connect_timeout`.
pub const BUDGET_DEFAULT: Duration = Duration::from_secs(5);
/// Addresses tried at most; a resolver answer longer than this is cut.
pub const ADDRESSES_MAX: usize = 32;

/// One attempt of a race, numbered from 0 in the order they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u16);

/// What the owner is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Dial this address.
    Start(Attempt, SocketAddr),
    /// Give this attempt up; no report of it is wanted any more.
    Cancel(Attempt),
    /// The race is over: this attempt's connection is the one.
    Won(Attempt),
    /// The race is over: nobody connected.
    Lost(Refusal),
}

/// A race between the addresses of one name.
#[derive(Debug)]
pub struct HappyEyeballs {
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt>,
    next: u16,
    /// When the next waiting address starts although others run.
    start_at: Instant,
    deadline: Instant,
    stagger: Duration,
    /// The first failure: it belongs to the address that the resolver preferred.
    failure: Option<Refusal>,
    end: Option<Step>,
    reported: bool,
}

impl HappyEyeballs {
    /// A race between `addresses`, in the resolver's order of preference.
    #[must_use]
    pub fn new(
        now: Instant,
        addresses: &[IpAddr],
        port: u16,
        stagger: Duration,
        budget: Duration,
    ) -> Self {
        let waiting = interleave(addresses)
            .map(|ip| SocketAddr::new(ip, port))
            .collect();
        Self {
            waiting,
            running: Vec::new(),
            next: 0,
            start_at: now,
            deadline: now + budget,
            stagger,
            failure: None,
            end: None,
            reported: false,
        }
    }

    /// The next thing to do; `None` until something is reported or `poll_timeout` passes.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.end.is_none() && now >= self.deadline {
            self.end = Some(Step::Lost(Refusal::TimedOut));
        }
        if let Some(end) = self.end {
            if let Some(loser) = self.running.pop() {
                return Some(Step::Cancel(loser));
            }
            self.waiting = VecDeque::new();
            return (!core::mem::replace(&mut self.reported, true)).then_some(end);
        }
        if !self.running.is_empty() && now < self.start_at {
            return None;
        }
        match self.waiting.pop_front() {
            Some(address) => {
                let attempt = Attempt(self.next);
                self.next += 1;
                self.running.push(attempt);
                self.start_at = now + self.stagger;
                Some(Step::Start(attempt, address))
            }
            None if self.running.is_empty() => {
                self.end = Some(Step::Lost(self.failure.unwrap_or(Refusal::NameNotFound)));
                self.poll(now)
            }
            None => None,
        }
    }

    /// An attempt connected; it wins.
    pub fn connected(&mut self, attempt: Attempt) {
        self.running.retain(|a| *a != attempt);
        self.end.get_or_insert(Step::Won(attempt));
    }

    /// An attempt failed; the next address may start at once.
    pub fn failed(&mut self, now: Instant, attempt: Attempt, why: Refusal) {
        self.running.retain(|a| *a != attempt);
        self.failure.get_or_insert(why);
        self.start_at = now;
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let start = (!self.waiting.is_empty()).then_some(self.start_at);
        Some(start.map_or(self.deadline, |at| at.min(self.deadline)))
    }
}

/// Families alternate, beginning with the first address's (RFC 8305 section 4).
fn interleave(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let mut first = addresses
        .iter()
        .filter(move |ip| ip.is_ipv6() == first_is_v6)
        .copied();
    let mut second = addresses
        .iter()
        .filter(move |ip| ip.is_ipv6() != first_is_v6)
        .copied();
    let mut turn = false;
    core::iter::from_fn(move || {
        turn = !turn;
        if turn {
            first.next().or_else(|| second.next())
        } else {
            second.next().or_else(|| first.next())
        }
    })
    .take(ADDRESSES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn race(addresses: &[&str]) -> HappyEyeballs {
        let ips: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        HappyEyeballs::new(Instant::ZERO, &ips, 80, 300 * MS, 5000 * MS)
    }

    fn start(n: u16, addr: &str) -> Option<Step> {
        Some(Step::Start(Attempt(n), addr.parse().unwrap()))
    }

    fn at(ms: u32) -> Instant {
        Instant::ZERO + ms * MS
    }

    #[test]
    fn families_alternate_and_attempts_are_staggered() {
        let mut r = race(&["::1", "::2", "1.1.1.1"]);
        assert_eq!(r.poll(at(0)), start(0, "[::1]:80"));
        assert_eq!(r.poll(at(0)), None);
        assert_eq!(r.poll_timeout(), Some(at(300)));
        assert_eq!(r.poll(at(300)), start(1, "1.1.1.1:80"));
        assert_eq!(r.poll(at(599)), None);
        assert_eq!(r.poll(at(600)), start(2, "[::2]:80"));
        assert_eq!(r.poll(at(600)), None);
        assert_eq!(r.poll_timeout(), Some(at(5000)));
    }

    #[test]
    fn the_first_to_connect_wins_and_the_others_are_cancelled() {
        let mut r = race(&["::1", "1.1.1.1", "::2"]);
        let _ = r.poll(at(0));
        let _ = r.poll(at(300));
        r.connected(Attempt(1));
        assert_eq!(r.poll(at(301)), Some(Step::Cancel(Attempt(0))));
        assert_eq!(r.poll(at(301)), Some(Step::Won(Attempt(1))));
        assert_eq!(r.poll(at(301)), None);
        assert_eq!(r.poll_timeout(), None);
    }

    #[test]
    fn a_failure_starts_the_next_at_once_and_the_first_failure_is_told() {
        let mut r = race(&["::1", "1.1.1.1"]);
        let _ = r.poll(at(0));
        r.failed(at(5), Attempt(0), Refusal::NetworkUnreachable);
        assert_eq!(r.poll_timeout(), Some(at(5)));
        assert_eq!(r.poll(at(5)), start(1, "1.1.1.1:80"));
        r.failed(at(9), Attempt(1), Refusal::ConnectionRefused);
        assert_eq!(r.poll(at(9)), Some(Step::Lost(Refusal::NetworkUnreachable)));
    }

    #[test]
    fn one_budget_bounds_all_attempts() {
        let mut r = race(&["::1", "1.1.1.1"]);
        let _ = r.poll(at(0));
        let _ = r.poll(at(300));
        assert_eq!(r.poll(at(5000)), Some(Step::Cancel(Attempt(1))));
        assert_eq!(r.poll(at(5000)), Some(Step::Cancel(Attempt(0))));
        assert_eq!(r.poll(at(5000)), Some(Step::Lost(Refusal::TimedOut)));
        assert_eq!(r.poll(at(5000)), None);
    }

    #[test]
    fn no_address_at_all_is_no_such_host() {
        assert_eq!(
            race(&[]).poll(at(0)),
            Some(Step::Lost(Refusal::NameNotFound))
        );
    }
}
