//! What hosts see of QUIC and TLS, for scenarios to check.
use core::cell::RefCell;
use sansbox_quic::Turn;
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

type Shared = Rc<RefCell<Facts>>;

thread_local! {
    static ENTERED: RefCell<Option<Shared>> = const { RefCell::new(None) };
}

/// What one host saw.
#[derive(Default)]
pub(super) struct Seen(Shared);

impl Seen {
    pub(super) fn watch(&self) -> Watch {
        Watch(Rc::clone(&self.0))
    }

    /// Notes go here until the guard is dropped.
    pub(super) fn enter(&self, turn: Turn) -> Entered {
        ENTERED.set(Some(Rc::clone(&self.0)));
        Entered { _turn: turn }
    }
}

/// Ends the host's turn when dropped.
#[must_use]
pub(crate) struct Entered {
    _turn: Turn,
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(None);
    }
}

/// Notes what the entered host saw.
///
/// # Panics
/// When no host is entered.
pub(crate) fn note(what: impl FnOnce(&mut Facts)) {
    ENTERED.with_borrow(|entered| {
        let facts = entered.as_ref().expect("a host is entered");
        what(&mut facts.borrow_mut());
    });
}

/// A look at what a host saw, also while the world owns the host.
#[derive(Clone)]
pub struct Watch(Shared);

impl Watch {
    /// What was seen so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.0.borrow().clone()
    }
}
