//! Whose turn it is. Libraries that take randomness and time through values without an owner get
//! them here: from the host that is entered, and from nobody when none is.
use core::cell::RefCell;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::{Instant, Seed};
use std::rc::Rc;

/// What a host's endpoint saw, for scenarios to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Groups of the key shares made, in order.
    pub key_shares: Vec<rustls::NamedGroup>,
    /// Sessions that the server resumed.
    pub resumed: u64,
    /// Handshakes completed.
    pub connected: u64,
    /// Connections whose early data was accepted.
    pub early: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// First packets with an address that was validated by a token.
    pub validated: u64,
    /// Connections that moved to a new remote address.
    pub moved: u64,
    /// Datagrams sent.
    pub datagrams: u64,
}

struct Lent {
    rng: ChaCha8Rng,
    now: Instant,
    /// Secrets of new sessions, where they are kept.
    keylog: Option<Vec<String>>,
    facts: Facts,
}

thread_local! {
    static ENTERED: RefCell<Option<Rc<RefCell<Lent>>>> = const { RefCell::new(None) };
}

/// What a host lends while it is entered.
pub(super) struct Loan(Rc<RefCell<Lent>>);

impl Default for Loan {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Lent {
            rng: ChaCha8Rng::from_seed([0; 32]),
            now: Instant::ZERO,
            keylog: None,
            facts: Facts::default(),
        })))
    }
}

impl Loan {
    pub(super) fn begin(&self, seed: Seed, keeps_secrets: bool) {
        let mut lent = self.0.borrow_mut();
        lent.rng = ChaCha8Rng::from_seed(seed.bytes());
        lent.keylog = keeps_secrets.then(Vec::new);
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Rc::clone(&self.0))
    }

    pub(super) fn enter(&self, now: Instant) -> Entered {
        self.0.borrow_mut().now = now;
        ENTERED.with(|entered| {
            let before = entered.borrow_mut().replace(Rc::clone(&self.0));
            assert!(before.is_none(), "one host at a time");
        });
        Entered(())
    }

    pub(super) fn take_secrets(&self) -> Vec<String> {
        let mut lent = self.0.borrow_mut();
        lent.keylog
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }
}

/// Ends the host's turn when dropped.
#[must_use]
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.with(|entered| *entered.borrow_mut() = None);
    }
}

/// Uses what the entered host lends.
///
/// # Panics
/// When no host is entered: whoever asks would get numbers that belong to nobody.
fn lent<T>(what: impl FnOnce(&mut Lent) -> T) -> T {
    ENTERED.with(|entered| {
        let entered = entered.borrow();
        let lent = entered.as_ref().expect("a host is entered");
        what(&mut lent.borrow_mut())
    })
}

/// Random bytes of the entered host.
pub(super) fn fill(bytes: &mut [u8]) {
    lent(|lent| lent.rng.fill_bytes(bytes));
}

/// The time of the entered host.
pub(super) fn now() -> Instant {
    lent(|lent| lent.now)
}

/// Does the entered host keep secrets?
pub(super) fn keeps_secrets() -> bool {
    lent(|lent| lent.keylog.is_some())
}

/// Keeps a secret of the entered host.
pub(super) fn keep_secret(line: String) {
    lent(|lent| lent.keylog.get_or_insert_default().push(line));
}

/// Notes what the entered host saw.
pub(crate) fn note(what: impl FnOnce(&mut Facts)) {
    lent(|lent| what(&mut lent.facts));
}

/// A look at what a host saw, also while the world owns the host.
#[derive(Clone)]
pub struct Watch(Rc<RefCell<Lent>>);

impl Watch {
    /// What was seen so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.0.borrow().facts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(seed: u64) -> Loan {
        let loan = Loan::default();
        loan.begin(Seed::from_u64(seed), false);
        loan
    }

    fn draw() -> [u8; 4] {
        let mut bytes = [0; 4];
        fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_host_goes_on_where_its_last_turn_ended() {
        let (a, b, again) = (entered(1), entered(2), entered(1));
        let turn = |loan: &Loan| {
            let _entered = loan.enter(Instant::ZERO);
            draw()
        };
        let alternating = [turn(&a), turn(&b), turn(&a), turn(&b)];
        assert_eq!(
            [turn(&again), turn(&again)],
            [alternating[0], alternating[2]]
        );
        assert_ne!(alternating[0], alternating[1]);
        assert_ne!(alternating[0], alternating[2]);
    }

    #[test]
    #[should_panic(expected = "a host is entered")]
    fn nobody_gets_numbers_outside_a_turn() {
        drop(entered(1).enter(Instant::ZERO));
        draw();
    }

    #[test]
    #[should_panic(expected = "one host at a time")]
    fn turns_do_not_nest() {
        let (a, b) = (entered(1), entered(2));
        let _first = a.enter(Instant::ZERO);
        let _second = b.enter(Instant::ZERO);
    }
}
