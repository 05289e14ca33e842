//! What a session does about the client's wishes: check who it is, route, connect.
use super::{super::inbound::InboundEvent, Active, Link};
use crate::{
    config::model::{Network, RejectMethod},
    connect::Connect,
    effects::{Cx, Effects},
    machine::{Action, Stage},
    plan::Service,
    record::CloseReason,
    router::Decision,
    udp::{Framing, UdpRelay, idle_timeout},
};
use core::net::SocketAddr;
use sansbox_core::{End, Refusal, Target};
use sansbox_protocols::socks::Command;

impl Active {
    pub(super) fn handle_event(&mut self, cx: &mut Cx<'_>, event: InboundEvent) {
        match event {
            InboundEvent::Auth { username, password } => {
                let users = &cx.plan.inbound(cx.record.inbound).users;
                cx.record.user = users.verify(username.as_bytes(), password.as_bytes());
                self.reason = None;
                if cx.record.user.is_none() {
                    self.reason = Some(CloseReason::AuthFailed);
                    cx.fx.push(Action::Log(Stage::AuthFailed));
                }
                self.inbound.auth_result(cx.record.user.is_some());
            }
            InboundEvent::Connect(target) => {
                self.connect(cx, target);
            }
            InboundEvent::Forward(target) => {
                let is_open = matches!(&self.link, Link::Open(u) if u.rx.end() == End::Open);
                let connected = self.connected.as_ref();
                let is_same =
                    connected.is_some_and(|(to, user)| *to == target && *user == cx.record.user);
                if is_open && is_same {
                    self.inbound.accept(&target);
                } else {
                    self.unlink(cx.fx, End::Fin);
                    self.connect(cx, target);
                }
            }
            InboundEvent::Associate(declared) => self.associate(cx, &declared),
            InboundEvent::Datagrams => self.take_records(cx),
            InboundEvent::Answered { reusable } => {
                if !reusable {
                    self.unlink(cx.fx, End::Fin);
                }
            }
        }
    }

    fn connect(&mut self, cx: &mut Cx<'_>, target: Target) {
        self.reason = None;
        let outbound = match cx.route(Network::Tcp, &target) {
            Decision::Route(outbound) => outbound,
            Decision::Reject { method, .. } => {
                let why = match method {
                    RejectMethod::Default => Refusal::Policy,
                    RejectMethod::Drop => Refusal::Dropped,
                };
                return self.refuse(cx.fx, why);
            }
        };
        let path = &cx.plan.outbound(outbound).path;
        if path.is_direct() && target.socket_addr() == Some(self.local) {
            return self.refuse(cx.fx, Refusal::Loop);
        }
        match Connect::new(
            cx.now,
            cx.plan,
            (path, cx.plan.inbound(cx.record.inbound).reach),
            Command::Connect,
            target.clone(),
            cx.fx,
        ) {
            Ok(connect) => {
                self.link = Link::Connecting(Box::new(connect));
                self.connected = Some((target, cx.record.user));
            }
            Err(why) => self.refuse(cx.fx, why),
        }
    }

    fn associate(&mut self, cx: &mut Cx<'_>, declared: &Target) {
        cx.record.target = None;
        let framing = Framing::socks(cx.record.peer, declared);
        let udp = UdpRelay::bind(framing, cx.record.peer, self.local, cx.fx);
        self.link = Link::Udp(Box::new(udp));
    }

    /// The client's stream is its association, and there is nothing to wait for.
    fn take_records(&mut self, cx: &mut Cx<'_>) {
        let any = Target::from(SocketAddr::from(([0, 0, 0, 0], 0)));
        let inbound = cx.plan.inbound(cx.record.inbound);
        let tells_errors = matches!(inbound.service, Service::Tun(_));
        let udp = UdpRelay::on_stream(cx.record.peer, tells_errors);
        self.link = Link::Udp(Box::new(udp));
        answer(&mut self.is_answered, cx.fx, &Ok(&any));
        self.inbound.accept(&any);
        cx.fx.push(Action::Log(Stage::Connected));
        self.shorten_idle(cx.now, idle_timeout(inbound));
    }
}

/// Tells the carrier that waits for it what became of the target.
pub(super) fn answer(is_answered: &mut bool, fx: &mut Effects, answer: &Result<&Target, Refusal>) {
    if !core::mem::replace(is_answered, true) {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let answer = answer.map(|bound| bound.socket_addr().unwrap_or(unspecified));
        fx.push(Action::Answer(answer));
    }
}
