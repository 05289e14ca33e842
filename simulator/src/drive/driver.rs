//! One machine, its sockets and its effects.
use super::{
    Rules, Subject,
    effects::{Answer, Effect},
    host::Routes,
    relay::Relay,
};
use crate::{
    check::{Closed, DatagramModel, Invariant},
    host::{Cx, SocketId, UdpId},
    rng::StreamId,
    transcript::{Detail, Fill, Tag},
};
use sansbox_core::{End, Instant, Refusal};
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::{Input, Stage},
    record::CloseReason,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Rounds of one drain before the machine is declared to spin.
const ROUNDS_MAX: u32 = 1_000_000;

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp(TcpSlot),
    /// A UDP socket; a listener's is shared and outlives the machine.
    Udp {
        id: UdpId,
        is_listener: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSlot {
    pub(super) id: SocketId,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The other side's FIN was reported.
    pub(super) ended: bool,
    /// This side's FIN was sent.
    pub(super) shut: bool,
    /// A reset was reported.
    pub(super) dead: bool,
}

impl TcpSlot {
    pub(super) const fn new(id: SocketId) -> Self {
        Self {
            id,
            readable: true,
            ended: false,
            shut: false,
            dead: false,
        }
    }
}

/// How many bytes wait in both pipes of each slot, and how the pipes ended.
type Fills = Vec<(Slot, usize, End, usize, End)>;

pub(super) struct Driver {
    pub(super) number: u64,
    pub(super) machine: Box<dyn Subject>,
    pub(super) rules: Rules,
    pub(super) slots: BTreeMap<Slot, Socket>,
    pub(super) used_slots: BTreeSet<Slot>,
    pub(super) effects: BTreeMap<ActionId, Effect>,
    pub(super) used_effects: BTreeSet<ActionId>,
    pub(super) answers: VecDeque<(ActionId, Answer)>,
    pub(super) relay: Option<Relay>,
    /// Stream that read lengths are drawn from.
    pub(super) stream: StreamId,
    /// Relayed counts are held back until they must be reported.
    pub(super) reports_late: bool,
    pub(super) failures: BTreeSet<Refusal>,
    pub(super) is_past_handshake: bool,
    /// What it would do that forwards datagrams and does nothing else.
    pub(super) model: DatagramModel,
    closes: u32,
    reason: Option<CloseReason>,
    buffered_max: usize,
    drawn_fill: Box<[Fill]>,
    pub(super) is_over: bool,
}

impl Driver {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        number: u64,
        machine: Box<dyn Subject>,
        rules: Rules,
        client: Socket,
    ) -> Self {
        let stream = cx.stream(&format!("machine-{number}"));
        let reports_late = cx.streams().one_in(stream, 2);
        Self {
            number,
            machine,
            rules,
            slots: BTreeMap::from([(Slot::CLIENT, client)]),
            used_slots: BTreeSet::from([Slot::CLIENT]),
            effects: BTreeMap::new(),
            used_effects: BTreeSet::new(),
            answers: VecDeque::new(),
            relay: None,
            stream,
            reports_late,
            failures: BTreeSet::new(),
            is_past_handshake: false,
            model: DatagramModel::default(),
            closes: 0,
            reason: None,
            buffered_max: 0,
            drawn_fill: Box::default(),
            is_over: false,
        }
    }

    pub(super) fn tcp(&mut self, slot: Slot) -> Option<&mut TcpSlot> {
        match self.slots.get_mut(&slot) {
            Some(Socket::Tcp(tcp)) => Some(tcp),
            Some(Socket::Udp { .. }) | None => None,
        }
    }

    /// Applies one input, if there is one, then drains everything that follows.
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, routes: &mut Routes, input: Option<Input<'_>>) {
        if matches!(input, Some(Input::Tick)) {
            self.report_relayed(cx);
        }
        if let Some(input) = input {
            self.apply(cx, input);
        }
        self.settle(cx, routes);
        self.check_deadline(cx, routes);
        self.check_second_drain(cx);
        self.check_record(cx);
        self.draw_fill(cx);
        if self.machine.is_finished() && !self.is_over {
            self.finish(cx, routes);
        }
    }

    /// The only way into the machine.
    pub(super) fn apply(&mut self, cx: &mut Cx<'_>, input: Input<'_>) {
        let number = self.number;
        if let Input::Datagram { slot, data, .. } = &input {
            self.model.received(*slot, data);
        }
        match &input {
            Input::Ended(..)
            | Input::DatagramError { .. }
            | Input::Done(..)
            | Input::Relayed(..)
            | Input::Stop => {
                cx.note(Tag::Input, number, format_args!("{input:?}"));
            }
            // In the transcript as what sockets read and wrote.
            Input::Tick | Input::Received(..) | Input::Drained(..) | Input::Datagram { .. } => {}
        }
        self.machine.apply(cx.now(), input);
    }

    /// Until nothing moves: actions, their answers, writes, reads, relaying.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>, routes: &mut Routes) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.act(cx, routes);
            moved |= self.answer(cx, routes);
            moved |= self.write(cx);
            moved |= self.read(cx);
            moved |= self.relay(cx);
            self.check_pipes(cx);
            if !moved || cx.is_broken() {
                return;
            }
        }
        cx.violate(Invariant::NoBusyLoop, self.describe("never drained"));
    }

    fn check_pipes(&mut self, cx: &mut Cx<'_>) {
        let mut buffered = 0;
        let slack = self.rules.read_max;
        for slot in self.slots.keys() {
            let Some(pipes) = self.machine.pipes(*slot) else {
                continue;
            };
            for (name, pipe) in [("rx", pipes.rx), ("tx", pipes.tx)] {
                buffered += pipe.len();
                if pipe.len() > pipe.limit() + slack {
                    let what = format!(
                        "{name} of {slot:?} holds {} bytes, limit {}",
                        pipe.len(),
                        pipe.limit()
                    );
                    cx.violate(Invariant::PipeBounded, self.describe(&what));
                }
            }
        }
        self.buffered_max = self.buffered_max.max(buffered);
        self.check_no_pipes(cx);
    }

    /// A slot that is not live, or whose bytes go past the machine, has no pipes.
    fn check_no_pipes(&self, cx: &mut Cx<'_>) {
        for slot in &self.used_slots {
            let is_live = self.slots.contains_key(slot);
            let is_relayed = self.relay.as_ref().is_some_and(|relay| relay.has(*slot));
            if (is_live && !is_relayed) || self.machine.pipes(*slot).is_none() {
                continue;
            }
            let (invariant, what) = if is_relayed {
                (Invariant::PassthroughEmpty, "in passthrough")
            } else {
                (Invariant::NothingLeft, "not live")
            };
            let what = format!("{slot:?} is {what} and has pipes");
            cx.violate(invariant, self.describe(&what));
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.machine.poll_timeout().is_some_and(|at| at <= now)
    }

    fn check_deadline(&mut self, cx: &mut Cx<'_>, routes: &mut Routes) {
        for _ in 0..2 {
            if !self.is_due(cx.now()) || cx.is_broken() {
                return;
            }
            self.report_relayed(cx);
            self.apply(cx, Input::Tick);
            self.settle(cx, routes);
        }
        if self.is_due(cx.now()) {
            let what = self.describe("deadline in the past after two ticks");
            cx.violate(Invariant::NoBusyLoop, what);
        }
    }

    fn fill(&self) -> Fills {
        let of = |slot: &Slot| {
            let pipes = self.machine.pipes(*slot)?;
            let (rx, tx) = (pipes.rx, pipes.tx);
            Some((*slot, rx.len(), rx.end(), tx.len(), tx.end()))
        };
        self.slots.keys().filter_map(of).collect()
    }

    /// Draws what waits in the pipes, where that changed.
    fn draw_fill(&mut self, cx: &mut Cx<'_>) {
        if !cx.is_drawn() {
            return;
        }
        let of = |(slot, received, _, to_send, _): (Slot, usize, End, usize, End)| Fill {
            slot: slot.0,
            received,
            to_send,
        };
        let fill: Box<[Fill]> = self.fill().into_iter().map(of).collect();
        let is_empty = |fill: &[Fill]| fill.iter().all(|f| f.received + f.to_send == 0);
        if fill == self.drawn_fill || (is_empty(&fill) && is_empty(&self.drawn_fill)) {
            return;
        }
        self.drawn_fill.clone_from(&fill);
        let sum: usize = fill.iter().map(|f| f.received + f.to_send).sum();
        let detail = Some(Detail::Fill(fill));
        let text = format_args!("{sum} bytes");
        cx.sketch(Tag::PipeFill, self.number, detail, text);
    }

    fn check_second_drain(&mut self, cx: &mut Cx<'_>) {
        let has_late_report = self.relay.as_ref().is_some_and(Relay::has_unreported);
        if cx.is_broken() || has_late_report || self.is_due(cx.now()) {
            return;
        }
        let before = (self.fill(), self.machine.poll_timeout());
        self.apply(cx, Input::Tick);
        if let Some(action) = self.machine.poll_action() {
            let what = self.describe(&format!("second drain gave {action:?}"));
            cx.violate(Invariant::DrainIsIdempotent, what);
        } else if before != (self.fill(), self.machine.poll_timeout()) {
            let what = self.describe("second drain changed pipes or timer");
            cx.violate(Invariant::DrainIsIdempotent, what);
        }
    }

    pub(super) fn log(&mut self, cx: &mut Cx<'_>, stage: Stage) {
        match stage {
            Stage::Refused(why) => cx.mark(format!("refused {why:?}")),
            Stage::Connected => cx.mark("connected"),
            Stage::AuthFailed => cx.mark("authentication failed"),
            Stage::Opened | Stage::Routed | Stage::Closed => {}
        }
        match stage {
            Stage::Opened | Stage::Routed => {}
            Stage::Connected | Stage::Refused(_) | Stage::AuthFailed => {
                self.is_past_handshake = true;
            }
            Stage::Closed => {
                self.is_past_handshake = true;
                self.closes += 1;
            }
        }
    }

    fn check_record(&mut self, cx: &mut Cx<'_>) {
        let now_is = self.machine.record().and_then(|record| record.closed);
        if self.reason.is_some() && self.reason != now_is {
            let what = format!("close reason went from {:?} to {now_is:?}", self.reason);
            cx.violate(Invariant::OneCloseReason, self.describe(&what));
        }
        self.reason = now_is;
        if self.closes > 1 {
            let what = self.describe("closed was logged twice");
            cx.violate(Invariant::OneCloseReason, what);
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>, routes: &mut Routes) {
        self.is_over = true;
        let is_own = |socket: &&Socket| {
            !matches!(
                socket,
                Socket::Udp {
                    is_listener: true,
                    ..
                }
            )
        };
        let open = self.slots.values().filter(is_own).count();
        if open > 0 || self.machine.poll_timeout().is_some() {
            let what = self.describe("finished with open slots or a timer");
            cx.violate(Invariant::NothingLeft, what);
        }
        if !self.effects.is_empty() || !self.answers.is_empty() {
            let what = self.describe("finished with effects neither answered nor cancelled");
            cx.violate(Invariant::EffectsSettled, what);
        }
        let record = self.machine.record();
        if record.is_some() && (self.reason.is_none() || self.closes != 1) {
            let what = self.describe("finished without exactly one logged close reason");
            cx.violate(Invariant::OneCloseReason, what);
        }
        self.check_cause(cx);
        if let Some(record) = self.machine.record() {
            cx.check_text(format_args!("{record:?}"));
        }
        let counts = self.machine.record().map(|r| (r.bytes_up, r.bytes_down));
        let (bytes_up, bytes_down) = counts.unwrap_or_default();
        let closed = Closed {
            at: cx.now(),
            host: cx.name().into(),
            reason: self.reason,
            bytes_up,
            bytes_down,
            buffered_max: self.buffered_max,
        };
        let text = format_args!("{:?} {bytes_up} {bytes_down}", self.reason);
        cx.note(Tag::Finished, self.number, text);
        if let Some(reason) = self.reason {
            cx.mark(format!("closed {reason:?}"));
        }
        cx.ledger().push(closed);
        routes.forget(self.number);
    }

    fn check_cause(&self, cx: &mut Cx<'_>) {
        let Some(CloseReason::Refused(why)) = self.reason else {
            return;
        };
        let has_outside_cause = matches!(
            why,
            Refusal::ConnectionRefused
                | Refusal::NetworkUnreachable
                | Refusal::HostUnreachable
                | Refusal::NameNotFound
                | Refusal::TtlExpired
        );
        let relayed_by_upstream = self.is_past_handshake && self.failures.is_empty();
        if has_outside_cause && !self.failures.contains(&why) && !relayed_by_upstream {
            let what = format!("refused with {why:?} after {:?}", self.failures);
            cx.violate(Invariant::RefusalHasCause, self.describe(&what));
        }
    }

    /// What the machine waits for, for reports.
    pub(super) fn describe(&self, what: &str) -> String {
        format!(
            "machine {}: {what} (timer {:?}, slots {:?}, fill {:?}, effects {:?}, relaying {})",
            self.number,
            self.machine.poll_timeout(),
            self.slots,
            self.fill(),
            self.effects,
            self.relay.is_some(),
        )
    }
}
