//! Ends of connections.
use super::context::Context;
use super::flow::{Flow, State, flag, news};
use crate::event::ResetReason;

impl Flow {
    /// Both directions ended in order. The caller may still have bytes to consume.
    pub(crate) fn finish(&mut self, context: &mut Context) {
        self.state = State::Finished;
        self.release_held(context);
        self.release_chunks(context);
        self.rcv_edge = self.rcv_nxt;
        self.recommit(context);
        self.tell(news::END);
    }

    /// The connection broke. What the caller did not consume stays until it hears of it.
    pub(crate) fn break_off(&mut self, context: &mut Context, reason: ResetReason) {
        self.finish(context);
        self.broken = reason;
        self.set(flag::BROKEN);
        self.news &= !(news::FIN | news::WRITABLE);
    }

    /// May the end be told now? An orderly one waits until everything was taken.
    pub(crate) fn end_is_due(&self) -> bool {
        self.news & news::END != 0 && (self.unread == self.taken || self.has(flag::BROKEN))
    }
}
