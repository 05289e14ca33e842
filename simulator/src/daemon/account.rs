//! What is known of one drive from outside, and what must hold of it.
use crate::{
    check::{Closed, DatagramModel, Invariant},
    host::Cx,
    transcript::Tag,
};
use sansbox_core::Refusal;
use sansbox_engine::{
    ids::OutboundId,
    machine::Stage,
    record::{CloseReason, Record},
    timer::TimerKey,
};
use std::collections::BTreeSet;

/// What a drive serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    /// A session that forwards datagrams, which it gets as records.
    Records,
    Association,
    Carrier,
}

/// What is known of one drive.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) kind: Kind,
    /// Its name in transcripts; unlike a drive's number never used again.
    pub(super) serial: u64,
    /// What failed on the network.
    pub(super) failures: BTreeSet<Refusal>,
    pub(super) is_past_handshake: bool,
    /// By when its handshake must be over, where it has one.
    pub(super) handshake: Option<TimerKey>,
    /// What it would do that forwards datagrams and does nothing else.
    pub(super) model: DatagramModel,
    closes: u32,
    reason: Option<CloseReason>,
    bytes: (u64, u64),
    outbound: Option<OutboundId>,
}

impl Account {
    pub(super) fn new(kind: Kind, serial: u64) -> Self {
        Self {
            kind,
            serial,
            failures: BTreeSet::new(),
            is_past_handshake: false,
            handshake: None,
            model: DatagramModel::default(),
            closes: 0,
            reason: None,
            bytes: (0, 0),
            outbound: None,
        }
    }

    /// Its machine reached a stage.
    pub(super) fn log(&mut self, cx: &mut Cx<'_>, record: &Record, stage: Stage) {
        match stage {
            Stage::Refused(why) => cx.mark(format!("refused {why:?}")),
            Stage::Connected => cx.mark("connected"),
            Stage::AuthFailed => cx.mark("authentication failed"),
            Stage::Opened | Stage::Routed | Stage::Closed => {}
        }
        if !matches!(stage, Stage::Opened | Stage::Routed) {
            self.is_past_handshake = true;
        }
        cx.note(Tag::Action, self.serial, format_args!("Log({stage:?})"));
        cx.check_text(format_args!("{record:?}"));
        if self.reason.is_some() && self.reason != record.closed {
            let what = format!("{:?} became {:?}", self.reason, record.closed);
            cx.violate(Invariant::OneCloseReason, self.describe(&what));
        }
        self.reason = record.closed;
        self.outbound = record.outbound;
        self.bytes = (record.bytes_up, record.bytes_down);
        if stage == Stage::Closed {
            self.closes += 1;
        }
    }

    /// It is finished. `carriers` are outbounds whose carriers tell of failures elsewhere.
    pub(super) fn finish(&self, cx: &mut Cx<'_>, carriers: &BTreeSet<OutboundId>) {
        if self.reason.is_none() || self.closes != 1 {
            let what = format!("{:?} was logged {} times", self.reason, self.closes);
            cx.violate(Invariant::OneCloseReason, self.describe(&what));
        }
        self.check_cause(cx, carriers);
        let (bytes_up, bytes_down) = self.bytes;
        let text = format_args!("{:?} {bytes_up} {bytes_down}", self.reason);
        cx.note(Tag::Finished, self.serial, text);
        if let Some(reason) = self.reason {
            cx.mark(format!("closed {reason:?}"));
        }
        let closed = Closed {
            at: cx.now(),
            host: cx.name().into(),
            reason: self.reason,
            bytes_up,
            bytes_down,
            buffered_max: 0,
        };
        cx.ledger().push(closed);
    }

    fn check_cause(&self, cx: &mut Cx<'_>, carriers: &BTreeSet<OutboundId>) {
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
        let is_told = self.outbound.is_some_and(|o| carriers.contains(&o))
            || self.is_past_handshake && self.failures.is_empty();
        if has_outside_cause && !is_told && !self.failures.contains(&why) {
            let what = format!("refused with {why:?} after {:?}", self.failures);
            cx.violate(Invariant::RefusalHasCause, self.describe(&what));
        }
    }

    pub(super) fn describe(&self, what: &str) -> String {
        format!("{:?} {}: {what}", self.kind, self.serial)
    }
}
