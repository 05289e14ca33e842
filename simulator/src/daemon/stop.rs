//! The end of a process: first its listeners, then its sessions, then its carriers.
use super::{
    driver::OneTurn,
    running::{Running, Work},
};
use crate::{check::Invariant, host::Cx};
use core::time::Duration;
use sansbox_core::Instant;
use sansbox_engine::drive::Service;

/// How long sessions that are told to stop may take to say so to everybody.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// The listeners are closed; sessions go on until this time.
    Grace(Instant),
    /// Sessions were told to stop, and must have by this time.
    Stopping(Instant),
    /// Nothing is left.
    Over,
}

impl<S: Service> Running<S> {
    /// The end begins, unless it has.
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>, grace: Duration) {
        if self.stage != Stage::Serving {
            return;
        }
        self.close_listeners(cx);
        self.stage = Stage::Grace(cx.now() + grace);
    }

    /// When the end goes on.
    pub(super) const fn stage_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Grace(at) | Stage::Stopping(at) => Some(at),
            Stage::Serving | Stage::Over => None,
        }
    }

    /// Goes on towards the end.
    pub(super) fn advance(&mut self, cx: &mut Cx<'_>) {
        while !cx.is_broken() {
            match self.stage {
                Stage::Serving | Stage::Over => return,
                Stage::Grace(_) | Stage::Stopping(_) if self.sessions() == 0 => self.end(cx),
                Stage::Grace(at) if cx.now() >= at => {
                    self.pool.stop();
                    for (number, _) in &self.residents {
                        self.net.ways.wake(number);
                    }
                    self.stage = Stage::Stopping(cx.now() + CUT_AFTER);
                    self.settle(cx);
                }
                Stage::Stopping(at) if cx.now() >= at => {
                    let left = self.waiting().unwrap_or_default();
                    return cx.violate(Invariant::Liveness, format!("told to stop: {left}"));
                }
                Stage::Grace(_) | Stage::Stopping(_) => return,
            }
        }
    }

    /// Only carriers are left: they tell their other ends.
    fn end(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let numbers: Vec<usize> = self.residents.iter().map(|(number, _)| number).collect();
        for number in numbers {
            let Some(mut resident) = self.residents.try_remove(number) else {
                continue;
            };
            let mut driver = OneTurn {
                cx,
                net: &mut self.net,
                account: &mut resident.account,
                tally: &self.pool.tally,
                number,
                waker: &resident.waker,
            };
            if let Work::Carrier(drive) = &mut resident.work {
                drive.stop(&mut driver, &self.pool, now);
                drive.release(&self.pool);
            }
        }
        self.stage = Stage::Over;
        self.settle(cx);
        self.close_sockets(cx);
    }
}
