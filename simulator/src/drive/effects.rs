//! Doing what a machine asks for, and telling it how that ended.
use super::{
    driver::{Driver, Socket, TcpSlot},
    host::Routes,
    relay::Relay,
};
use crate::{
    check::Invariant,
    host::{Cx, DialId, QueryId, SocketId, UdpId},
    transcript::{Detail, Tag},
};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{End, Refusal};
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::{Action, Input, Outcome},
};

/// An effect on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Resolve(QueryId),
    Dial(DialId, Slot),
    /// Done already, but the machine has not heard of it.
    Answered,
}

/// How an effect ended.
#[derive(Debug)]
pub(super) enum Answer {
    Resolved(Vec<IpAddr>),
    Connected(Slot, SocketId, SocketAddr),
    Bound(Slot, UdpId, SocketAddr),
    Failed(Refusal),
}

impl Driver {
    /// Does everything that the machine asks for.
    pub(super) fn act(&mut self, cx: &mut Cx<'_>, routes: &mut Routes) -> bool {
        let mut moved = false;
        while let Some(action) = self.machine.poll_action() {
            moved = true;
            cx.note(Tag::Action, self.number, format_args!("{action:?}"));
            self.perform(cx, routes, action);
            if cx.is_broken() {
                break;
            }
        }
        moved
    }

    fn perform(&mut self, cx: &mut Cx<'_>, routes: &mut Routes, action: Action) {
        match action {
            Action::Resolve { id, name, families } => {
                if self.is_fresh(cx, id, None) {
                    let query = cx.resolve(name.as_str(), families);
                    routes.queries.insert(query, (self.number, id));
                    self.effects.insert(id, Effect::Resolve(query));
                }
            }
            Action::Dial { id, slot, to, .. } => {
                if self.is_fresh(cx, id, Some(slot)) {
                    let dial = cx.dial(to);
                    routes.dials.insert(dial, (self.number, id));
                    self.effects.insert(id, Effect::Dial(dial, slot));
                }
            }
            Action::OpenStream { .. } | Action::Answer(_) | Action::DatagramError { .. } => {
                let what = self.describe("this host has no carriers");
                cx.violate(Invariant::Expected, what);
            }
            Action::Bind {
                id, slot, local, ..
            } => {
                if self.is_fresh(cx, id, Some(slot)) {
                    let answer = match cx.bind(local) {
                        Ok((udp, at)) => Answer::Bound(slot, udp, at),
                        Err(refusal) => Answer::Failed(refusal),
                    };
                    self.effects.insert(id, Effect::Answered);
                    self.answers.push_back((id, answer));
                }
            }
            Action::Cancel(id) => self.cancel(cx, routes, id),
            Action::Send { slot, to, data } => match self.slots.get(&slot) {
                Some(Socket::Udp { id, .. }) => {
                    let id = *id;
                    if let Err(what) = self.model.sent(slot, to, &data) {
                        cx.violate(Invariant::MatchesModel, self.describe(&what));
                    }
                    cx.send_to(id, to, &data);
                }
                other => {
                    let what = format!("send on {slot:?}, which is {other:?}");
                    cx.violate(Invariant::NamesAreFresh, self.describe(&what));
                }
            },
            Action::Close(slot, end) => self.close(cx, routes, slot, end),
            Action::Passthrough(a, b) => self.pass_through(cx, a, b),
            Action::Log(stage) => self.log(cx, stage),
        }
    }

    fn is_fresh(&mut self, cx: &mut Cx<'_>, id: ActionId, slot: Option<Slot>) -> bool {
        let is_fresh =
            self.used_effects.insert(id) && slot.is_none_or(|slot| self.used_slots.insert(slot));
        if !is_fresh {
            let what = format!("{id:?} or {slot:?} was used before");
            cx.violate(Invariant::NamesAreFresh, self.describe(&what));
        }
        is_fresh
    }

    fn cancel(&mut self, cx: &mut Cx<'_>, routes: &mut Routes, id: ActionId) {
        match self.effects.remove(&id) {
            Some(Effect::Resolve(query)) => {
                cx.cancel_resolve(query);
                routes.queries.remove(&query);
            }
            Some(Effect::Dial(dial, _)) => {
                cx.cancel_dial(dial);
                routes.dials.remove(&dial);
            }
            Some(Effect::Answered) => self.take_back(cx, id),
            None => {
                let what = format!("cancel of {id:?}, which is not pending");
                cx.violate(Invariant::NamesAreFresh, self.describe(&what));
            }
        }
    }

    /// An answer that the machine no longer wants: its socket, if any, is dropped.
    fn take_back(&mut self, cx: &mut Cx<'_>, id: ActionId) {
        let Some(at) = self.answers.iter().position(|(of, _)| *of == id) else {
            return;
        };
        match self.answers.remove(at) {
            Some((_, Answer::Connected(_, socket, _))) => cx.abort(socket),
            Some((_, Answer::Bound(_, udp, _))) => cx.unbind(udp),
            Some((_, Answer::Resolved(_) | Answer::Failed(_))) | None => {}
        }
    }

    fn close(&mut self, cx: &mut Cx<'_>, routes: &mut Routes, slot: Slot, end: End) {
        if self.relay.as_ref().is_some_and(|relay| relay.has(slot)) {
            self.relay = None;
        }
        match self.slots.remove(&slot) {
            Some(Socket::Tcp(tcp)) => {
                routes.sockets.remove(&tcp.id);
                if end == End::Reset {
                    cx.abort(tcp.id);
                } else {
                    cx.close(tcp.id);
                }
            }
            Some(Socket::Udp { id, is_listener }) => {
                if !is_listener {
                    routes.udp.remove(&id);
                    cx.unbind(id);
                }
            }
            None => {
                let what = format!("close of {slot:?}, which is not live");
                cx.violate(Invariant::NamesAreFresh, self.describe(&what));
            }
        }
    }

    fn pass_through(&mut self, cx: &mut Cx<'_>, a: Slot, b: Slot) {
        let holds = |slot| {
            let pipes = self.machine.pipes(slot);
            pipes.is_some_and(|p| !p.rx.is_empty() || !p.tx.is_empty())
        };
        if holds(a) || holds(b) {
            let what = self.describe("passthrough with bytes in a pipe");
            cx.violate(Invariant::PassthroughEmpty, what);
        } else if a == b || self.tcp(a).is_none() || self.tcp(b).is_none() || self.relay.is_some() {
            let what = format!("passthrough between {a:?} and {b:?}");
            cx.violate(Invariant::NamesAreFresh, self.describe(&what));
        } else {
            cx.mark("passthrough");
            self.relay = Some(Relay::new(a, b));
        }
    }

    /// Remembers how an effect ended; the machine hears of it in the drain that follows.
    pub(super) fn ended(&mut self, id: ActionId, answer: impl FnOnce(Option<Slot>) -> Answer) {
        let slot = match self.effects.get(&id) {
            Some(Effect::Dial(_, slot)) => Some(*slot),
            Some(Effect::Resolve(_) | Effect::Answered) | None => None,
        };
        if self.effects.insert(id, Effect::Answered).is_some() {
            self.answers.push_back((id, answer(slot)));
        } else {
            self.effects.remove(&id);
        }
    }

    /// Tells the machine how effects ended.
    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, routes: &mut Routes) -> bool {
        let Some((id, answer)) = self.answers.pop_front() else {
            return false;
        };
        self.effects.remove(&id);
        let number = self.number;
        match answer {
            Answer::Resolved(addresses) => {
                self.apply(cx, Input::Done(id, Outcome::Resolved(&addresses)));
            }
            Answer::Connected(slot, socket, from) => {
                self.slots.insert(slot, Socket::Tcp(TcpSlot::new(socket)));
                routes.sockets.insert(socket, (number, slot));
                let detail = Some(Detail::Socket(Some(socket.number())));
                let what = format_args!("{slot:?} is socket #{}", socket.number());
                cx.sketch(Tag::SlotOpened, number, detail, what);
                self.apply(cx, Input::Done(id, Outcome::Connected(from)));
            }
            Answer::Bound(slot, udp, at) => {
                let socket = Socket::Udp {
                    id: udp,
                    is_listener: false,
                };
                self.slots.insert(slot, socket);
                routes.udp.insert(udp, (number, slot));
                let what = format_args!("{slot:?} is UDP at {at}");
                cx.sketch(Tag::SlotOpened, number, Some(Detail::Socket(None)), what);
                self.apply(cx, Input::Done(id, Outcome::Bound(at)));
            }
            Answer::Failed(refusal) => {
                self.failures.insert(refusal);
                self.apply(cx, Input::Done(id, Outcome::Failed(refusal)));
            }
        }
        true
    }
}
