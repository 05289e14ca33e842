//! A session whose bytes go through its own pipes: handshakes, and relays that are not plain.
mod request;

use super::{
    Next,
    inbound::{Failure, Inbound},
    relay::{HALF_CLOSED_IDLE_TIMEOUT, IDLE_TIMEOUT, Idle},
};
use crate::{
    connect::{Connect, PIPE_LIMIT, Upstream},
    effects::{Cx, Effects},
    ids::{ActionId, InboundId, Slot, UserId},
    machine::{Action, Input, Outcome, SlotPipes, Stage, Wanted},
    plan::Plan,
    record::CloseReason,
    udp::UdpRelay,
};
use core::{net::SocketAddr, time::Duration};
use request::answer;
use sansbox_core::{Closing, End, Instant, Pipe, Progress, Refusal, Target};

/// How long the client may take to read the last words and to close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client that was refused may take nothing of what it is told.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A session whose bytes go through its own pipes.
#[derive(Debug)]
pub(crate) struct Active {
    local: SocketAddr,
    client_rx: Pipe,
    client_tx: Pipe,
    /// Decoded bytes on their way to the upstream.
    up: Pipe,
    /// Bytes on their way to the client, not yet encoded.
    down: Pipe,
    inbound: Inbound,
    /// A carrier does not wait for an answer, or not any more.
    is_answered: bool,
    link: Link,
    /// The target that `link` leads to and who was routed there, to use it for the next request.
    connected: Option<(Target, Option<UserId>)>,
    idle: Idle,
    idle_timeout: Duration,
    /// Why the session will have ended, when it is not in good order.
    reason: Option<CloseReason>,
    /// The client's input is no longer understood.
    deaf: bool,
    linger: Option<Instant>,
}

/// What the client is connected to.
#[derive(Debug)]
enum Link {
    None,
    Connecting(Box<Connect>),
    Open(Box<Upstream>),
    Udp(Box<UdpRelay>),
}

impl Active {
    pub(crate) fn new(now: Instant, plan: &Plan, inbound: InboundId, local: SocketAddr) -> Self {
        let inbound = plan.inbound(inbound);
        let inbound = Inbound::new(now, &inbound.service, !inbound.users.is_empty(), local);
        Self::with(now, local, inbound)
    }

    pub(crate) fn carried(now: Instant, local: SocketAddr, wanted: Wanted) -> Self {
        let inbound = Inbound::fixed(wanted);
        Self {
            is_answered: false,
            ..Self::with(now, local, inbound)
        }
    }

    fn with(now: Instant, local: SocketAddr, inbound: Inbound) -> Self {
        Self {
            local,
            client_rx: Pipe::new(PIPE_LIMIT),
            client_tx: Pipe::new(PIPE_LIMIT),
            up: Pipe::new(PIPE_LIMIT),
            down: Pipe::new(PIPE_LIMIT),
            inbound,
            is_answered: true,
            link: Link::None,
            connected: None,
            idle: Idle::new(now, IDLE_TIMEOUT),
            idle_timeout: IDLE_TIMEOUT,
            reason: None,
            deaf: false,
            linger: None,
        }
    }

    pub(crate) fn apply(&mut self, cx: &mut Cx<'_>, input: Input<'_>) -> Next {
        match input {
            Input::Tick => {
                if let Some((how, reason)) = self.handle_timeout(cx) {
                    return self.abort(cx.fx, how, reason);
                }
            }
            Input::Received(slot, bytes) => self.received(cx.now, slot, bytes),
            Input::Drained(slot, n) => self.drained(cx.now, slot, n),
            Input::Ended(Slot::CLIENT, End::Reset) => {
                return self.abort(cx.fx, End::Reset, CloseReason::ClientReset);
            }
            Input::Ended(slot, end) => self.ended(slot, end),
            Input::Datagram { slot, from, data } => {
                self.idle.touch(cx.now);
                if let Link::Udp(udp) = &mut self.link {
                    udp.datagram(cx, slot, from, data);
                }
            }
            Input::DatagramError { slot, to, error } => {
                if let Link::Udp(udp) = &self.link {
                    udp.undelivered(cx, slot, to, error);
                }
            }
            Input::Done(id, outcome) => self.done(cx, id, outcome),
            Input::Stop => return self.abort(cx.fx, End::Reset, CloseReason::Stopped),
            Input::Relayed(..) => {}
        }
        self.pump(cx);
        self.settle(cx.now, cx.fx)
    }

    fn received(&mut self, now: Instant, slot: Slot, bytes: bytes::BytesMut) {
        self.idle.touch(now);
        if slot == Slot::CLIENT {
            if self.client_rx.end() == End::Open && !self.deaf {
                self.client_rx.push(bytes);
            }
        } else if let Some(rx) = self.upstream_rx(slot).filter(|rx| rx.end() == End::Open) {
            rx.push(bytes);
        }
    }

    fn drained(&mut self, now: Instant, slot: Slot, n: usize) {
        self.idle.touch(now);
        if slot == Slot::CLIENT {
            self.client_tx.skip(n);
            return;
        }
        match &mut self.link {
            Link::Open(upstream) if upstream.slot == slot => {
                upstream.tx.skip(n);
            }
            Link::Connecting(connect) => {
                if let Some(upstream) = connect.upstream_mut().filter(|u| u.slot == slot) {
                    upstream.tx.skip(n);
                }
            }
            Link::Udp(udp) => udp.drained(slot, n),
            Link::None | Link::Open(_) => {}
        }
    }

    fn ended(&mut self, slot: Slot, end: End) {
        let pipe = if slot == Slot::CLIENT {
            &mut self.client_rx
        } else {
            match self.upstream_rx(slot) {
                Some(rx) => rx,
                None => return,
            }
        };
        let _ = if end == End::Reset {
            pipe.reset()
        } else {
            pipe.finish()
        };
    }

    fn upstream_rx(&mut self, slot: Slot) -> Option<&mut Pipe> {
        match &mut self.link {
            Link::Open(upstream) if upstream.slot == slot => Some(&mut upstream.rx),
            Link::Connecting(connect) => connect
                .upstream_mut()
                .filter(|u| u.slot == slot)
                .map(|u| &mut u.rx),
            Link::Udp(udp) => udp.stream_rx(slot),
            Link::None | Link::Open(_) => None,
        }
    }

    fn done(&mut self, cx: &mut Cx<'_>, id: ActionId, outcome: Outcome<'_>) {
        match &mut self.link {
            Link::Connecting(connect) => {
                if let Err(why) = connect.done(cx.now, cx.plan, id, outcome, cx.fx) {
                    self.refuse(cx.fx, why);
                }
            }
            Link::Udp(udp) => match udp.done(cx, id, outcome) {
                Ok(Some(bound)) => {
                    self.inbound.accept(&bound.into());
                    cx.fx.push(Action::Log(Stage::Connected));
                }
                Ok(None) => {}
                Err(why) => self.refuse(cx.fx, why),
            },
            Link::None | Link::Open(_) => {}
        }
    }

    /// Moves bytes and events until nothing moves any more.
    fn pump(&mut self, cx: &mut Cx<'_>) {
        loop {
            let mut progress = self.pump_client(cx);
            progress |= self.pump_link(cx);
            match self
                .inbound
                .poll_transmit(cx.now, &mut self.down, &mut self.client_tx)
            {
                Ok(sent) => progress |= sent,
                Err(failure) => self.fail(cx.fx, failure),
            }
            if progress == Progress::NONE {
                return;
            }
        }
    }

    fn pump_client(&mut self, cx: &mut Cx<'_>) -> Progress {
        let mut progress = Progress::NONE;
        if !self.deaf {
            match self
                .inbound
                .handle_input(cx.now, &mut self.client_rx, &mut self.up)
            {
                Ok(received) => progress |= received,
                Err(failure) => self.fail(cx.fx, failure),
            }
        }
        while let Some(event) = self.inbound.poll_event() {
            self.handle_event(cx, event);
            progress = Progress::MADE;
        }
        progress
    }

    fn pump_link(&mut self, cx: &mut Cx<'_>) -> Progress {
        let mut progress = Progress::NONE;
        let early = self.down.len();
        match &mut self.link {
            Link::None => {}
            Link::Connecting(connect) => match connect.pump(cx.now, cx.plan, &mut self.down, cx.fx)
            {
                Ok(moved) => {
                    progress |= moved;
                    // What comes behind the last proxy's answer is payload already.
                    cx.record.bytes_down += self.down.len().saturating_sub(early) as u64;
                    if let Some(upstream) = connect.take_ready() {
                        cx.fx.push(Action::Log(Stage::Connected));
                        answer(&mut self.is_answered, cx.fx, &Ok(&upstream.bound));
                        self.inbound.accept(&upstream.bound);
                        self.link = Link::Open(upstream);
                        progress = Progress::MADE;
                    }
                }
                Err(why) => {
                    self.refuse(cx.fx, why);
                    progress = Progress::MADE;
                }
            },
            Link::Open(upstream) => {
                if upstream.rx.end() == End::Reset {
                    progress |= self.up.reset();
                }
                let before = (self.up.len(), upstream.rx.len());
                progress |= self.up.transfer(&mut upstream.tx);
                progress |= upstream.rx.transfer(&mut self.down);
                cx.record.bytes_up += (before.0 - self.up.len()) as u64;
                cx.record.bytes_down += before.1.saturating_sub(upstream.rx.len()) as u64;
            }
            Link::Udp(udp) => {
                progress |= udp.pump(cx);
                match udp.exchange(cx, &mut self.up, &mut self.down) {
                    Ok(moved) => progress |= moved,
                    Err(_) => self.fail(cx.fx, Failure::RECORDS),
                }
            }
        }
        progress
    }

    /// Tells the client that its request cannot be carried out.
    fn refuse(&mut self, fx: &mut Effects, why: Refusal) {
        self.unlink(fx, End::Reset);
        self.reason = Some(CloseReason::Refused(why));
        fx.push(Action::Log(Stage::Refused(why)));
        answer(&mut self.is_answered, fx, &Err(why));
        self.inbound.refuse(why);
    }

    /// Stops listening to the client; what is still to be said goes out.
    fn fail(&mut self, fx: &mut Effects, failure: Failure) {
        if self.deaf {
            return;
        }
        self.go_deaf();
        self.reason.get_or_insert(failure.reason);
        self.unlink(fx, End::Reset);
        let _ = match failure.closing {
            Closing::Reset => self.client_tx.reset(),
            Closing::Fin | Closing::Silent => self.client_tx.finish(),
            Closing::Reply => Progress::NONE,
        };
    }

    /// Lets the upstream go, with all that was on its way.
    fn unlink(&mut self, fx: &mut Effects, how: End) {
        match core::mem::replace(&mut self.link, Link::None) {
            Link::None => return,
            Link::Connecting(connect) => connect.abort(fx),
            Link::Open(upstream) => fx.push(Action::Close(upstream.slot, how)),
            Link::Udp(udp) => udp.close(fx),
        }
        self.connected = None;
        self.up = Pipe::new(PIPE_LIMIT);
        self.down = Pipe::new(PIPE_LIMIT);
    }

    /// Closes everything at once.
    fn abort(&mut self, fx: &mut Effects, how: End, reason: CloseReason) -> Next {
        self.unlink(fx, how);
        fx.push(Action::Close(Slot::CLIENT, how));
        let challenged = self
            .inbound
            .is_challenged()
            .then_some(CloseReason::AuthFailed);
        Next::Finish(self.reason.or(challenged).unwrap_or(reason))
    }

    /// Looks whether the session has come to an end or to passthrough.
    fn settle(&mut self, now: Instant, fx: &mut Effects) -> Next {
        if self.deaf {
            // Whatever the machine still had to say is in the pipe by now.
            let _ = self.client_tx.finish();
        }
        if self.client_tx.end() == End::Reset {
            let reason = self.reason.unwrap_or(CloseReason::UpstreamReset);
            return self.abort(fx, End::Reset, reason);
        }
        if self.is_plain() {
            let Link::Open(upstream) = &self.link else {
                return Next::Stay;
            };
            return Next::Passthrough(upstream.slot);
        }
        let link_is_over = match &self.link {
            Link::None => true,
            // A tunnel has two ends; for an exchange the inbound's last word is the end.
            Link::Open(upstream) => upstream.tx.is_eof() || !self.inbound.is_transparent(),
            Link::Connecting(_) => false,
            Link::Udp(_) => self.up.end() != End::Open,
        };
        if matches!(self.link, Link::Udp(_)) && link_is_over {
            self.unlink(fx, End::Fin);
            let _ = self.client_tx.finish();
        }
        if self.client_tx.end() == End::Open || !link_is_over {
            if self.client_rx.end() != End::Open || self.client_tx.end() != End::Open {
                self.half_closed(now);
            }
            return Next::Stay;
        }
        self.finish(now, fx)
    }

    /// All is said; waits for the client to read it and to close, but not for long.
    fn finish(&mut self, now: Instant, fx: &mut Effects) -> Next {
        self.unlink(fx, End::Fin);
        if !self.client_tx.is_empty() {
            if self.reason.is_some() {
                self.shorten_idle(now, REFUSAL_TIMEOUT);
            }
            self.half_closed(now);
            return Next::Stay;
        }
        // From here on input is only taken to be dropped, so that unread bytes do not turn the
        // close into a reset that overtakes the last words.
        self.go_deaf();
        if self.client_rx.end() != End::Open {
            return self.abort(fx, End::Fin, CloseReason::Completed);
        }
        self.linger.get_or_insert(now + LINGER_TIMEOUT);
        Next::Stay
    }

    fn half_closed(&mut self, now: Instant) {
        self.shorten_idle(now, HALF_CLOSED_IDLE_TIMEOUT);
    }

    /// Less silence is borne from now on, unless it is as little already.
    fn shorten_idle(&mut self, now: Instant, timeout: Duration) {
        if self.idle_timeout > timeout {
            self.idle_timeout = timeout;
            self.idle.shorten(now, timeout);
        }
    }

    /// Input is no longer looked at; its end still is.
    fn go_deaf(&mut self) {
        self.deaf = true;
        let end = self.client_rx.end();
        self.client_rx = Pipe::new(PIPE_LIMIT);
        if end != End::Open {
            let _ = self.client_rx.finish();
        }
    }

    /// Both ends only carry payload from now on and nothing is on its way.
    fn is_plain(&self) -> bool {
        let Link::Open(upstream) = &self.link else {
            return false;
        };
        let pipes = [
            &self.client_rx,
            &self.client_tx,
            &self.up,
            &self.down,
            &upstream.rx,
            &upstream.tx,
        ];
        self.inbound.is_transparent()
            && pipes
                .iter()
                .all(|pipe| pipe.is_empty() && pipe.end() == End::Open)
    }

    pub(crate) fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        if slot == Slot::CLIENT {
            return Some(SlotPipes {
                rx: &self.client_rx,
                tx: &self.client_tx,
            });
        }
        let upstream = match &self.link {
            Link::Open(upstream) => Some(&**upstream),
            Link::Connecting(connect) => connect.upstream(),
            Link::Udp(udp) => return udp.pipes(slot),
            Link::None => None,
        };
        let upstream = upstream.filter(|u| u.slot == slot)?;
        Some(SlotPipes {
            rx: &upstream.rx,
            tx: &upstream.tx,
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if let Some(at) = self.linger {
            return Some(at);
        }
        let link = match &self.link {
            Link::Connecting(connect) => connect.poll_timeout(),
            Link::Udp(udp) => udp.poll_timeout(),
            Link::None | Link::Open(_) => None,
        };
        let inbound = if self.deaf {
            None
        } else {
            self.inbound.poll_timeout()
        };
        [Some(self.idle.poll_timeout()), inbound, link]
            .into_iter()
            .flatten()
            .min()
    }

    /// Handles what is due; how and why the session ends, when it ends of it.
    fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Option<(End, CloseReason)> {
        if let Some(at) = self.linger {
            // Not a reset: the client may still be receiving the last words.
            return (at <= cx.now).then_some((End::Fin, CloseReason::Completed));
        }
        if matches!(&self.link, Link::Udp(udp) if !udp.is_on_stream()) {
            // An association lives as long as its control connection.
            self.idle.touch(cx.now);
        }
        if self.idle.is_over(cx.now, self.idle_timeout) {
            return Some((End::Reset, CloseReason::IdleTimeout));
        }
        if !self.deaf
            && self.inbound.poll_timeout().is_some_and(|at| at <= cx.now)
            && let Err(failure) = self.inbound.handle_timeout(cx.now)
        {
            self.fail(cx.fx, failure);
        }
        let link = match &mut self.link {
            Link::Connecting(connect) => connect.handle_timeout(cx.now, cx.plan, cx.fx),
            Link::Udp(udp) => {
                udp.handle_timeout(cx);
                Ok(())
            }
            Link::None | Link::Open(_) => Ok(()),
        };
        if let Err(why) = link {
            self.refuse(cx.fx, why);
        }
        None
    }
}
