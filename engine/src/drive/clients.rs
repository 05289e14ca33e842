//! The clients of a UDP listener: each source address has a machine of its own.
use bytes::BytesMut;
use core::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    task::Waker,
};
use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

/// Datagrams of one client that may wait for its machine.
const WAITING_MAX: usize = 512;

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its client's machine has it.
    Delivered,
    /// Too many wait for that machine: dropped.
    Dropped,
    /// Nobody knows the client yet; here it is back.
    Unknown(BytesMut),
}

/// The clients of one listener on one thread.
#[derive(Debug)]
pub struct Clients {
    table: RefCell<BTreeMap<SocketAddr, Rc<Mailbox>>>,
    limit: usize,
    was_full: Cell<bool>,
}

#[derive(Debug, Default)]
struct Mailbox {
    datagrams: RefCell<VecDeque<BytesMut>>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    fn deliver(&self, data: BytesMut) -> bool {
        let mut datagrams = self.datagrams.borrow_mut();
        if datagrams.len() >= WAITING_MAX {
            return false;
        }
        datagrams.push_back(data);
        drop(datagrams);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        true
    }
}

impl Clients {
    /// At most `limit` clients at a time.
    #[must_use]
    pub fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            table: RefCell::default(),
            limit,
            was_full: Cell::new(false),
        })
    }

    /// Gives a datagram to its client's machine.
    pub fn deliver(&self, client: SocketAddr, data: BytesMut) -> Delivery {
        match self.table.borrow().get(&client) {
            None => Delivery::Unknown(data),
            Some(mailbox) if mailbox.deliver(data) => Delivery::Delivered,
            Some(_) => Delivery::Dropped,
        }
    }

    /// Whether one more may be admitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.table.borrow().len() < self.limit
    }

    /// A client is turned away. True when that is news: the first since one was admitted or left.
    pub fn refuse(&self) -> bool {
        !self.was_full.replace(true)
    }

    /// Makes a place for a client whose first datagram this is.
    #[must_use]
    pub fn admit(self: &Rc<Self>, client: SocketAddr, data: BytesMut) -> Face {
        self.was_full.set(false);
        let mailbox = Rc::new(Mailbox::default());
        mailbox.deliver(data);
        let table = &self.table;
        table.borrow_mut().insert(client, Rc::clone(&mailbox));
        Face {
            client,
            mailbox,
            clients: Rc::clone(self),
        }
    }
}

/// What one client's machine has of the listener's socket. Dropping it forgets the client.
#[derive(Debug)]
pub struct Face {
    client: SocketAddr,
    mailbox: Rc<Mailbox>,
    clients: Rc<Clients>,
}

impl Drop for Face {
    fn drop(&mut self) {
        self.clients.table.borrow_mut().remove(&self.client);
        self.clients.was_full.set(false);
    }
}

impl Face {
    /// Who it is.
    #[must_use]
    pub const fn client(&self) -> SocketAddr {
        self.client
    }

    /// The next datagram from the client; `waker` is told of a later one.
    pub fn receive(&self, waker: &Waker) -> Option<BytesMut> {
        let mut waiting = self.mailbox.datagrams.borrow_mut();
        let next = waiting.pop_front();
        if next.is_none() {
            // An idle client holds no queue.
            *waiting = VecDeque::new();
            let mut known = self.mailbox.waker.borrow_mut();
            if !known.as_ref().is_some_and(|k| k.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram() -> BytesMut {
        BytesMut::from(&b"x"[..])
    }

    #[test]
    fn a_client_is_known_while_its_face_lives() {
        let (clients, at) = (Clients::new(1), SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(
            clients.deliver(at, datagram()),
            Delivery::Unknown(datagram())
        );
        let face = clients.admit(at, datagram());
        assert!(!clients.has_room());
        assert_eq!((clients.refuse(), clients.refuse()), (true, false));
        assert_eq!(clients.deliver(at, datagram()), Delivery::Delivered);
        assert!((0..2).all(|_| face.receive(Waker::noop()).is_some()));
        assert_eq!(face.receive(Waker::noop()), None);
        drop(face);
        assert!(clients.has_room() && clients.refuse());
        assert!(matches!(
            clients.deliver(at, datagram()),
            Delivery::Unknown(_)
        ));
    }

    #[test]
    fn what_waits_for_a_machine_is_bounded() {
        let (clients, at) = (Clients::new(1), SocketAddr::from(([127, 0, 0, 1], 1)));
        let _face = clients.admit(at, datagram());
        for _ in 1..WAITING_MAX {
            assert_eq!(clients.deliver(at, datagram()), Delivery::Delivered);
        }
        assert_eq!(clients.deliver(at, datagram()), Delivery::Dropped);
    }
}
