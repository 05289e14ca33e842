//! The clients of a UDP listener: each source address has a machine of its own.
use crate::{
    observer::RuntimeEvent,
    service::Service,
    session::Drive,
    slots::{Slots, Socket},
    udp::UdpEndpoint,
    worker::Worker,
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use rustc_hash::FxHashMap;
use sansbox_engine::{
    Peer,
    ids::{InboundId, Slot},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

/// Datagrams of one client that may wait for its machine.
const WAITING_MAX: usize = 512;

/// Pause after a receive error, which a socket without a connection should never report.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What the machine of one client has of the listener's socket.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) endpoint: Rc<UdpEndpoint>,
    pub(crate) client: SocketAddr,
    /// The local address that the client sent to, from which it expects the answer.
    pub(crate) local: Option<IpAddr>,
    waiting: Rc<Mailbox>,
    clients: Rc<Clients>,
}

impl Drop for Face {
    fn drop(&mut self) {
        self.clients.table.borrow_mut().remove(&self.client);
        self.clients.was_full.set(false);
    }
}

impl Face {
    /// The next datagram from the client; `waker` is told of a later one.
    pub(crate) fn receive(&self, waker: &Waker) -> Option<BytesMut> {
        let mut waiting = self.waiting.datagrams.borrow_mut();
        let next = waiting.pop_front();
        if next.is_none() {
            // An idle client holds no queue.
            *waiting = VecDeque::new();
            let mut known = self.waiting.waker.borrow_mut();
            if !known.as_ref().is_some_and(|k| k.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        next
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    datagrams: RefCell<VecDeque<BytesMut>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Clients {
    table: RefCell<FxHashMap<SocketAddr, Rc<Mailbox>>>,
    was_full: Cell<bool>,
}

/// Gives each datagram to its client's machine, and makes the machine of a new client.
pub(crate) struct Reception<S: Service> {
    pub(crate) worker: Rc<Worker<S>>,
    pub(crate) inbound: InboundId,
    pub(crate) endpoint: Rc<UdpEndpoint>,
}

impl<S: Service> Reception<S> {
    /// Never done; dropping it closes the socket once the last client is gone.
    pub(crate) async fn run(self) {
        let clients = Rc::new(Clients::default());
        loop {
            let received = poll_fn(|cx| {
                let mut batch = self.worker.datagrams.batch.borrow_mut();
                match self.endpoint.poll_receive(cx, &mut batch) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(())) => {
                        for (client, local, data) in batch.datagrams() {
                            self.deliver(&clients, client, local, data);
                        }
                        Poll::Ready(Ok(()))
                    }
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                }
            });
            if received.await.is_err() {
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }

    fn deliver(
        &self,
        clients: &Rc<Clients>,
        client: SocketAddr,
        local: Option<IpAddr>,
        data: BytesMut,
    ) {
        let known = clients.table.borrow().get(&client).cloned();
        let Some(mailbox) = known.or_else(|| self.admit(clients, client, local)) else {
            self.worker.tally.datagrams_dropped.add(1);
            return;
        };
        let mut waiting = mailbox.datagrams.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            self.worker.tally.datagrams_dropped.add(1);
            return;
        }
        waiting.push_back(data);
        drop(waiting);
        if let Some(waker) = mailbox.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn admit(
        &self,
        clients: &Rc<Clients>,
        client: SocketAddr,
        local: Option<IpAddr>,
    ) -> Option<Rc<Mailbox>> {
        let worker = &self.worker;
        let limit = worker.shared.options.max_associations;
        let is_full = clients.table.borrow().len() >= limit;
        if is_full || !worker.shared.try_admit() {
            if !clients.was_full.replace(true) {
                let inbound = self.inbound;
                let event = RuntimeEvent::AssociationLimit { inbound, limit };
                worker.shared.observer.runtime(&event);
            }
            return None;
        }
        clients.was_full.set(false);
        let mailbox = Rc::new(Mailbox::default());
        let table = &clients.table;
        table.borrow_mut().insert(client, Rc::clone(&mailbox));
        let face = Face {
            endpoint: Rc::clone(&self.endpoint),
            client,
            local,
            waiting: Rc::clone(&mailbox),
            clients: Rc::clone(clients),
        };
        let at = self.endpoint.local();
        let peer = Peer {
            remote: client,
            local: SocketAddr::new(local.unwrap_or_else(|| at.ip()), at.port()),
        };
        let (seed, now) = (worker.seed(), worker.shared.clock.now());
        let service = &worker.shared.service;
        let machine = service.association(self.inbound, peer, seed, now);
        let mut slots = Slots::default();
        slots.insert(Slot::CLIENT, Socket::Face(Box::new(face)));
        worker.tally.associations.add(1);
        Drive::spawn(worker, machine, slots);
        Some(mailbox)
    }
}
