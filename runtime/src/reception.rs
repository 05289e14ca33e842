//! The datagrams of a UDP listener, each for the machine of its client.
use crate::{
    local::{Local, Work},
    net::Datagrams,
    observer::RuntimeEvent,
    reactor::{Reactor, Sleep},
    udp::UdpEndpoint,
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};
use sansbox_engine::{
    Peer,
    drive::{Clients, Delivery, Drive, Service},
    ids::InboundId,
};
use std::{io, rc::Rc, time::Instant};

/// Pause after a receive error, which a socket without a connection should never report.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Gives each datagram to its client's machine, and makes the machine of a new client.
pub(crate) struct Reception<R: Reactor> {
    inbound: InboundId,
    endpoint: Rc<UdpEndpoint<R>>,
    clients: Rc<Clients>,
    sleep: R::Sleep,
    /// The worker knows whom to wake to close it.
    is_known: bool,
    pause: Option<Instant>,
}

impl<R: Reactor> Reception<R> {
    pub(crate) fn new(
        inbound: InboundId,
        endpoint: UdpEndpoint<R>,
        clients_max: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            inbound,
            endpoint: Rc::new(endpoint),
            clients: Clients::new(clients_max),
            sleep: R::Sleep::new()?,
            is_known: false,
            pause: None,
        })
    }

    /// Takes in what there is, up to a full batch. Never done; dropping it closes the socket once the last client is gone.
    pub(crate) fn poll<S: Service>(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Local<S, R>>,
    ) -> Poll<()> {
        if !core::mem::replace(&mut self.is_known, true) {
            worker.register_listener(cx.waker());
        }
        if let Some(until) = self.pause {
            if self.sleep.poll_until(cx, until).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        let mut batch = worker.batch.borrow_mut();
        loop {
            match self.endpoint.poll_receive(cx, &mut batch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    for (client, local, data) in batch.datagrams() {
                        self.deliver(worker, client, local, data);
                    }
                    if !batch.is_full() {
                        continue;
                    }
                }
                Poll::Ready(Err(_)) => self.pause = Some(Instant::now() + ERROR_PAUSE),
            }
            // The machines that this woke go first: their queues are bounded.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    fn deliver<S: Service>(
        &self,
        worker: &Rc<Local<S, R>>,
        client: SocketAddr,
        local: Option<IpAddr>,
        data: BytesMut,
    ) {
        match self.clients.deliver(client, data) {
            Delivery::Delivered => {}
            Delivery::Dropped => worker.pool.tally.datagrams_dropped.add(1),
            Delivery::Unknown(data) => self.admit(worker, client, local, data),
        }
    }

    fn admit<S: Service>(
        &self,
        worker: &Rc<Local<S, R>>,
        client: SocketAddr,
        local: Option<IpAddr>,
        data: BytesMut,
    ) {
        let shared = &worker.shared;
        if !self.clients.has_room() || !shared.admission.places.try_take() {
            worker.pool.tally.datagrams_dropped.add(1);
            if self.clients.refuse() {
                shared.observer.runtime(&RuntimeEvent::AssociationLimit {
                    inbound: self.inbound,
                    limit: shared.options.max_associations,
                });
            }
            return;
        }
        let at = self.endpoint.local();
        let peer = Peer {
            remote: client,
            local: SocketAddr::new(local.unwrap_or_else(|| at.ip()), at.port()),
        };
        let face = Datagrams::Face {
            endpoint: Rc::clone(&self.endpoint),
            face: self.clients.admit(client, data),
            local,
        };
        worker.pool.tally.associations.add(1);
        let number = worker.enter();
        let (seed, now) = (worker.seed(), shared.clock.now());
        let machine = shared.service.association(self.inbound, peer, seed, now);
        let drive = Drive::association(machine, number, Box::new(face));
        worker.spawn(Work::Association(drive));
    }
}
