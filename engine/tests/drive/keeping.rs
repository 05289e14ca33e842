//! A machine that does not close what has ended.
use crate::{
    START,
    fake::{Loop, NUMBER, Net, Wire, machine},
};
use sansbox_core::Instant;
use sansbox_engine::{
    Session,
    drive::{Drive, Pool, Recorded, Turn},
    ids::Slot,
    machine::{Action, Input, Machine, SlotPipes},
    record::Record,
};
use std::rc::Rc;

/// A session whose wish to close is not heard.
struct Keeping(Session);

impl Machine for Keeping {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        self.0.apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let is_other = |action: &Action| !matches!(action, Action::Close(..));
        core::iter::from_fn(|| self.0.poll_action()).find(is_other)
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        self.0.pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl Recorded for Keeping {
    fn record(&self) -> &Record {
        self.0.record()
    }
}

#[test]
fn the_last_end_is_sent_where_no_close_follows() {
    let (mut driver, pool, client) = (Loop::default(), Pool::default(), Wire::connected());
    let mut drive: Drive<Keeping, Net> =
        Drive::session(Keeping(machine()), NUMBER, Rc::clone(&client));
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    let upstream = driver.dialled.pop().expect("dialled");
    for wire in [&client, &upstream] {
        wire.borrow_mut().is_ended = true;
        assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
    }
    for wire in [&client, &upstream] {
        assert!(wire.borrow().is_shut && wire.borrow().closed.is_none());
    }
    assert_eq!(drive.turn(&mut driver, &pool, START), Turn::Waiting);
}
