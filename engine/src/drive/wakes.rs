//! Who of one thread is to have a turn because another one's turn had something for it.
use core::cell::RefCell;
use std::collections::VecDeque;

/// Numbers of drives that are to have a turn.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    numbers: RefCell<VecDeque<usize>>,
}

impl Wakes {
    pub(super) fn push(&self, number: usize) {
        self.numbers.borrow_mut().push_back(number);
    }

    pub(super) fn pop(&self) -> Option<usize> {
        self.numbers.borrow_mut().pop_front()
    }
}
