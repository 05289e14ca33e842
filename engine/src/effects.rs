//! Where a machine collects what it wants done, and the numbers it gives out.
use crate::{
    config::model::Network,
    ids::{ActionId, Slot},
    machine::{Action, Stage},
    plan::Plan,
    record::Record,
    router::{Decision, Metadata},
};
use sansbox_core::{Instant, Target};
use std::collections::VecDeque;

/// What every step of a session or association works with.
#[derive(Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) plan: &'a Plan,
    pub(crate) record: &'a mut Record,
    pub(crate) fx: &'a mut Effects,
}

impl Cx<'_> {
    /// Asks the rules what becomes of a request, and records and logs the answer.
    pub(crate) fn route(&mut self, network: Network, target: &Target) -> Decision {
        let record = &mut *self.record;
        record.target = Some(target.clone());
        let users = &self.plan.inbound(record.inbound).users;
        let verdict = self.plan.route(&Metadata {
            inbound: record.inbound,
            network,
            source: record.peer,
            target,
            user: record.user.and_then(|id| users.name(id)),
        });
        record.rule = verdict.rule;
        record.outbound = match verdict.decision {
            Decision::Route(outbound) => Some(outbound),
            Decision::Reject { .. } => None,
        };
        self.fx.push(Action::Log(Stage::Routed));
        verdict.decision
    }
}

/// Actions not yet polled, and the next free slot and action numbers.
#[derive(Debug)]
pub(crate) struct Effects {
    actions: VecDeque<Action>,
    next_slot: u32,
    next_action: u32,
}

impl Effects {
    pub(crate) const fn new() -> Self {
        Self {
            actions: VecDeque::new(),
            next_slot: Slot::CLIENT.0 + 1,
            next_action: 0,
        }
    }

    /// A slot number never given out before.
    pub(crate) const fn slot(&mut self) -> Slot {
        let slot = Slot(self.next_slot);
        self.next_slot += 1;
        slot
    }

    /// An action number never given out before.
    pub(crate) const fn action_id(&mut self) -> ActionId {
        let id = ActionId(self.next_action);
        self.next_action += 1;
        id
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// The next action; the queue owns no heap once it is drained after `release` was asked for.
    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Gives the queue's memory back; for machines that will be silent for long.
    pub(crate) fn release(&mut self) {
        if self.actions.is_empty() {
            self.actions = VecDeque::new();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}
