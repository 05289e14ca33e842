//! Whose turn it is. Libraries that take randomness and time through values without an owner get
//! them here: from the owner who is entered, and from nobody when none is.
use crate::cold::{Hot, Made};
use core::{
    cell::{Cell, RefCell},
    fmt,
    time::Duration,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::{Instant, Seed};
use std::rc::Rc;

struct Lent {
    rng: ChaCha20Rng,
    now: Instant,
    /// The wall clock at time zero.
    epoch: Duration,
    /// Secrets of new sessions, where they are kept.
    keylog: Option<Vec<String>>,
    /// What is expanded of keys.
    hot: Hot,
    /// From what keys were made, where it is recorded now.
    made: Option<Vec<Made>>,
}

thread_local! {
    static ENTERED: Cell<Option<Rc<RefCell<Lent>>>> = const { Cell::new(None) };
}

/// What an owner lends while it is entered.
pub(crate) struct Loan(Rc<RefCell<Lent>>);

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan(..)")
    }
}

impl Loan {
    pub(crate) fn new(seed: Seed, epoch: Duration, keeps_secrets: bool) -> Self {
        Self(Rc::new(RefCell::new(Lent {
            rng: ChaCha20Rng::from_seed(seed.bytes()),
            now: Instant::ZERO,
            epoch,
            keylog: keeps_secrets.then(Vec::new),
            hot: Hot::default(),
            made: None,
        })))
    }

    pub(crate) fn enter(&self, now: Instant) -> Turn {
        self.0.borrow_mut().now = now;
        ENTERED.with(|entered| {
            let before = entered.replace(Some(Rc::clone(&self.0)));
            assert!(before.is_none(), "one owner at a time");
        });
        Turn(())
    }

    /// Forgets what is expanded of keys that were not used for a while.
    pub(crate) fn cool(&self, now: Instant) {
        self.0.borrow_mut().hot.cool(now);
    }

    /// When that is to be done.
    pub(crate) fn cools_at(&self) -> Option<Instant> {
        self.0.borrow().hot.cools_at()
    }

    pub(crate) fn take_secrets(&self) -> Vec<String> {
        let mut lent = self.0.borrow_mut();
        lent.keylog
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }
}

/// Ends the owner's turn when dropped.
#[must_use]
#[derive(Debug)]
pub struct Turn(());

impl Drop for Turn {
    fn drop(&mut self) {
        drop(ENTERED.take());
    }
}

/// Looks at what is lent. Nobody is entered meanwhile.
fn look<T>(what: impl FnOnce(Option<&RefCell<Lent>>) -> T) -> T {
    ENTERED.with(|entered| {
        let lent = entered.take();
        let result = what(lent.as_deref());
        entered.set(lent);
        result
    })
}

/// Uses what the entered owner lends.
///
/// # Panics
/// When no owner is entered: whoever asks would get numbers that belong to nobody.
fn lent<T>(what: impl FnOnce(&mut Lent) -> T) -> T {
    look(|lent| what(&mut lent.expect("an owner is entered").borrow_mut()))
}

/// Random bytes of the entered owner.
pub(crate) fn fill(bytes: &mut [u8]) {
    lent(|lent| lent.rng.fill_bytes(bytes));
}

/// The wall clock of the entered owner, since 1970.
pub(crate) fn wall_clock() -> Duration {
    lent(|lent| lent.epoch + Duration::from_nanos(lent.now.as_nanos()))
}

/// Does the entered owner keep secrets?
pub(crate) fn keeps_secrets() -> bool {
    lent(|lent| lent.keylog.is_some())
}

/// Keeps a secret of the entered owner.
pub(crate) fn keep_secret(line: String) {
    lent(|lent| lent.keylog.get_or_insert_default().push(line));
}

/// The name of a new chain of keys.
pub(crate) fn next_chain() -> u64 {
    lent(|lent| lent.hot.next_chain())
}

/// Uses what is expanded of keys, which the entered owner has; nobody has it when none is entered.
pub(crate) fn hot<T>(what: impl FnOnce(Instant, Option<&mut Hot>) -> T) -> T {
    look(|lent| match lent {
        Some(lent) => {
            let lent = &mut *lent.borrow_mut();
            what(lent.now, Some(&mut lent.hot))
        }
        None => what(Instant::ZERO, None),
    })
}

/// Does `what`, and tells from what keys were made in it.
pub(crate) fn recording<T>(what: impl FnOnce() -> T) -> (T, Vec<Made>) {
    lent(|lent| lent.made = Some(Vec::new()));
    let result = what();
    (result, lent(|lent| lent.made.take()).unwrap_or_default())
}

/// Is it recorded from what keys are made?
pub(crate) fn records() -> bool {
    look(|lent| lent.is_some_and(|lent| lent.borrow().made.is_some()))
}

/// Records from what a key was made.
pub(crate) fn keep_made(made: Made) {
    lent(|lent| lent.made.get_or_insert_default().push(made));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(seed: u64) -> Loan {
        Loan::new(Seed::from_u64(seed), Duration::ZERO, false)
    }

    fn draw() -> [u8; 4] {
        let mut bytes = [0; 4];
        fill(&mut bytes);
        bytes
    }

    #[test]
    fn an_owner_goes_on_where_its_last_turn_ended() {
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
    #[should_panic(expected = "an owner is entered")]
    fn nobody_gets_numbers_outside_a_turn() {
        drop(entered(1).enter(Instant::ZERO));
        draw();
    }

    #[test]
    #[should_panic(expected = "one owner at a time")]
    fn turns_do_not_nest() {
        let (a, b) = (entered(1), entered(2));
        let _first = a.enter(Instant::ZERO);
        let _second = b.enter(Instant::ZERO);
    }
}
