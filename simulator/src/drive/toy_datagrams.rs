//! A small forwarder of datagrams, and ways in which it does more than that.
use super::Subject;
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::Instant;
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::{Action, Input, Machine, Outcome, SlotPipes},
    record::Record,
};
use std::collections::VecDeque;

const OUT: Slot = Slot(1);

/// How it breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    Doubles,
    Pads,
}

/// Forwards datagrams to a fixed target, and its answers back.
pub(super) struct DatagramToy {
    quirk: Quirk,
    to: SocketAddr,
    client: Option<SocketAddr>,
    is_bound: bool,
    waiting: VecDeque<BytesMut>,
    actions: VecDeque<Action>,
    is_over: bool,
}

impl DatagramToy {
    pub(super) const fn new(quirk: Quirk, to: SocketAddr) -> Self {
        Self {
            quirk,
            to,
            client: None,
            is_bound: false,
            waiting: VecDeque::new(),
            actions: VecDeque::new(),
            is_over: false,
        }
    }

    fn flush(&mut self) {
        while self.is_bound
            && let Some(mut data) = self.waiting.pop_front()
        {
            if self.quirk == Quirk::Pads {
                data.extend_from_slice(&[0; 1500]);
            }
            let times = if self.quirk == Quirk::Doubles { 2 } else { 1 };
            for _ in 0..times {
                let (slot, to, data) = (OUT, self.to, data.clone());
                self.actions.push_back(Action::Send { slot, to, data });
            }
        }
    }
}

impl Machine for DatagramToy {
    fn apply(&mut self, _now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { slot, from, data } if slot == Slot::CLIENT => {
                if self.client.replace(from).is_none() {
                    let local = SocketAddr::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0);
                    let (id, slot, outbound) = (ActionId(0), OUT, None);
                    self.actions.push_back(Action::Bind {
                        id,
                        slot,
                        local,
                        outbound,
                    });
                }
                self.waiting.push_back(data);
            }
            Input::Datagram { data, .. } => {
                let to = self.client.unwrap();
                let slot = Slot::CLIENT;
                self.actions.push_back(Action::Send { slot, to, data });
            }
            Input::Done(_, Outcome::Bound(_)) => self.is_bound = true,
            Input::Stop => {
                let end = sansbox_core::End::Fin;
                self.actions.push_back(Action::Close(OUT, end));
                self.is_over = true;
            }
            Input::Tick
            | Input::Received(..)
            | Input::Drained(..)
            | Input::Ended(..)
            | Input::DatagramError { .. }
            | Input::Done(..)
            | Input::Relayed(..) => {}
        }
        self.flush();
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn pipes(&self, _: Slot) -> Option<SlotPipes<'_>> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn is_finished(&self) -> bool {
        self.is_over && self.actions.is_empty()
    }
}

impl Subject for DatagramToy {
    fn record(&self) -> Option<&Record> {
        None
    }
}
