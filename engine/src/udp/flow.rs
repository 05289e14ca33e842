//! The targets that an association talks to.
use super::{FLOWS_MAX, framing::Framing};
use crate::{
    effects::{Cx, Effects},
    ids::{ActionId, OutboundId},
    machine::{Action, Cause, Stage},
    record::Drop,
};
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Instant, Refusal, Target};
use std::collections::BTreeMap;

/// One target of an association.
#[derive(Debug)]
pub(crate) struct Flow {
    /// When it was last used, in uses of the table.
    used: u64,
    pub(crate) way: Way,
}

/// How datagrams for a target leave.
#[derive(Debug)]
pub(crate) enum Way {
    /// Not at all: a rule or the outbound refuses them, and the client is told this, or nothing.
    Rejected(Option<Cause>),
    /// Its name is being resolved.
    Resolving {
        outbound: OutboundId,
        id: ActionId,
        deadline: Instant,
        waiting: Vec<BytesMut>,
    },
    /// From our own socket.
    Direct {
        outbound: OutboundId,
        to: SocketAddr,
    },
    /// Through another proxy's association.
    Proxy { outbound: OutboundId },
}

impl Way {
    const fn outbound(&self) -> Option<OutboundId> {
        match self {
            Self::Rejected(_) => None,
            Self::Resolving { outbound, .. }
            | Self::Direct { outbound, .. }
            | Self::Proxy { outbound } => Some(*outbound),
        }
    }
}

impl Flow {
    pub(crate) const fn new(way: Way) -> Self {
        Self { used: 0, way }
    }

    const fn is_resolving(&self) -> bool {
        matches!(self.way, Way::Resolving { .. })
    }
}

/// The targets of an association, at most [`FLOWS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Flows {
    flows: BTreeMap<Target, Flow>,
    uses: u64,
    /// How many wait for their name: with none, the questions about them cost nothing.
    resolving: usize,
}

impl Flows {
    /// Whether datagrams for `target` wait for its name; `None` when there is no such flow.
    pub(crate) fn is_resolving(&self, target: &Target) -> Option<bool> {
        let flow = self.flows.get(target)?;
        Some(flow.is_resolving())
    }

    pub(crate) fn use_flow(&mut self, target: &Target) -> Option<&mut Flow> {
        self.uses += 1;
        let flow = self.flows.get_mut(target)?;
        flow.used = self.uses;
        Some(flow)
    }

    /// The outbound whose own socket datagrams for this address leave from, if the client has sent
    /// any there.
    pub(crate) fn direct_to(&self, to: SocketAddr) -> Option<OutboundId> {
        match self.flows.get(&Target::from(to))?.way {
            Way::Direct { outbound, .. } => Some(outbound),
            Way::Rejected(_) | Way::Resolving { .. } | Way::Proxy { .. } => None,
        }
    }

    /// Datagrams that wait for names.
    pub(crate) fn waiting(&self) -> usize {
        if self.resolving == 0 {
            return 0;
        }
        let waiting = self.flows.values().map(|flow| match &flow.way {
            Way::Resolving { waiting, .. } => waiting.len(),
            Way::Rejected(_) | Way::Direct { .. } | Way::Proxy { .. } => 0,
        });
        waiting.sum()
    }

    pub(crate) fn insert(&mut self, target: Target, mut flow: Flow) {
        if self.flows.len() >= FLOWS_MAX {
            let idle = self.flows.iter().filter(|(_, f)| !f.is_resolving());
            let oldest = idle
                .min_by_key(|(_, f)| f.used)
                .map(|(target, _)| target.clone());
            match oldest {
                Some(oldest) => self.flows.remove(&oldest),
                // All are being resolved: the new one has to wait for its next datagram.
                None => return,
            };
        }
        flow.used = self.uses;
        self.resolving += usize::from(flow.is_resolving());
        let replaced = self.flows.insert(target, flow);
        self.resolving -= usize::from(replaced.is_some_and(|old| old.is_resolving()));
    }

    /// The flow whose name this action resolves, taken out.
    pub(crate) fn resolved(
        &mut self,
        wanted: ActionId,
    ) -> Option<(Target, OutboundId, Vec<BytesMut>)> {
        if self.resolving == 0 {
            return None;
        }
        let is_it = |flow: &Flow| matches!(flow.way, Way::Resolving { id, .. } if id == wanted);
        let target = self
            .flows
            .iter()
            .find(|(_, f)| is_it(f))
            .map(|(t, _)| t.clone())?;
        match self.flows.remove(&target)?.way {
            Way::Resolving {
                outbound, waiting, ..
            } => {
                self.resolving -= 1;
                Some((target, outbound, waiting))
            }
            Way::Rejected(_) | Way::Direct { .. } | Way::Proxy { .. } => None,
        }
    }

    /// Whether a datagram from `from` may reach the client: with a header that names its origin
    /// any may (endpoint-independent filtering), bare payload only from the one target.
    pub(crate) fn admits(&self, framing: &Framing, from: SocketAddr) -> bool {
        match framing {
            Framing::Socks(_) | Framing::Records => true,
            Framing::Fixed { .. } => {
                let is_it = |flow: &Flow| matches!(flow.way, Way::Direct { to, .. } if to == from);
                self.flows.values().any(is_it)
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.resolving == 0 {
            return None;
        }
        let deadlines = self.flows.values().filter_map(|flow| match flow.way {
            Way::Resolving { deadline, .. } => Some(deadline),
            Way::Rejected(_) | Way::Direct { .. } | Way::Proxy { .. } => None,
        });
        deadlines.min()
    }

    /// Gives up names that took too long.
    pub(crate) fn expire(&mut self, cx: &mut Cx<'_>) {
        let resolving = &mut self.resolving;
        self.flows.retain(|_, flow| match &flow.way {
            Way::Resolving {
                id,
                deadline,
                waiting,
                ..
            } if *deadline <= cx.now => {
                cx.fx.push(Action::Cancel(*id));
                cx.fx.push(Action::Log(Stage::Refused(Refusal::TimedOut)));
                for _ in waiting {
                    cx.record.drop_datagram(Drop::Unreachable);
                }
                *resolving -= 1;
                false
            }
            Way::Resolving { .. } | Way::Rejected(_) | Way::Direct { .. } | Way::Proxy { .. } => {
                true
            }
        });
    }

    /// Forgets the flows through an outbound.
    pub(crate) fn forget(&mut self, outbound: OutboundId, fx: &mut Effects) {
        let resolving = &mut self.resolving;
        self.flows.retain(|_, flow| {
            let goes = flow.way.outbound() == Some(outbound);
            if let (true, Way::Resolving { id, .. }) = (goes, &flow.way) {
                fx.push(Action::Cancel(*id));
                *resolving -= 1;
            }
            !goes
        });
    }

    /// Gives up all names.
    pub(crate) fn cancel(self, fx: &mut Effects) {
        for flow in self.flows.into_values() {
            if let Way::Resolving { id, .. } = flow.way {
                fx.push(Action::Cancel(id));
            }
        }
    }
}
