//! Events out, and what the caller leaves of a batch.
use super::Stack;
use crate::batch::RxPacket;
use crate::event::{CancelReason, Event};
use crate::key::FlowId;
use crate::table::Entry;
use crate::tcp::flow::{flag, news};

/// What waits to be polled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queued {
    /// News of an entry; what they are stands there.
    News(FlowId),
    /// A connection that is no more.
    Cancelled(FlowId, CancelReason),
}

impl Stack {
    /// The next event. To be polled until there is none after each batch, each timeout, and each
    /// call that consumes: events are kept until then.
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(queued) = self.events.front().copied() {
            let flow = match queued {
                Queued::News(flow) => flow,
                Queued::Cancelled(flow, reason) => {
                    self.events.pop_front();
                    return Some(Event::Cancelled(flow, reason));
                }
            };
            let index = self.table.resolve(flow);
            if let Some(event) = index.and_then(|index| self.news_of(index, flow)) {
                return Some(event);
            }
            self.events.pop_front();
            if let Some(place) = index.and_then(|index| self.table.get_mut(index)) {
                place.told = false;
            }
        }
        None
    }

    pub(super) fn queue_event(&mut self, index: u32) {
        let flow = self.table.id(index);
        if let Some(place) = self.table.get_mut(index)
            && !place.told
        {
            place.told = true;
            self.events.push_back(Queued::News(flow));
        }
    }

    /// The next piece of news of one entry.
    fn news_of(&mut self, index: u32, flow: FlowId) -> Option<Event> {
        let place = self.table.get_mut(index)?;
        match &mut place.entry {
            Entry::HalfOpen(half) => {
                if half.told() {
                    return None;
                }
                half.set_told();
                Some(Event::Open {
                    flow,
                    source: half.key.source(),
                    destination: half.key.destination(),
                    answered: false,
                })
            }
            Entry::Open(key, _) => {
                let (source, destination) = (key.source(), key.destination());
                let (state, _) = self.flow_mut(index)?;
                let mut take = |bit: u8| {
                    let told = state.news & bit != 0;
                    state.news &= !bit;
                    told
                };
                if take(news::OPEN) {
                    return Some(Event::Open {
                        flow,
                        source,
                        destination,
                        answered: true,
                    });
                }
                if take(news::DATA) {
                    return Some(Event::Data(flow));
                }
                if take(news::WRITABLE) {
                    return Some(Event::Writable(flow));
                }
                if take(news::FIN) {
                    return Some(Event::Fin(flow));
                }
                if !state.end_is_due() {
                    return None;
                }
                let event = if state.has(flag::BROKEN) {
                    Event::Reset(flow, state.broken)
                } else {
                    Event::Closed(flow)
                };
                self.remove_flow(index);
                Some(event)
            }
            Entry::Vacant | Entry::TimeWait(_) => None,
        }
    }

    /// Copies what was not consumed of the batch, once, so that `packets` may go away. Must be
    /// called with the batch of [`Stack::recv_batch`] before the next one.
    pub fn retain(&mut self, packets: &[RxPacket<'_>]) {
        while let Some(index) = self.in_batch.pop() {
            let Some((flow, context)) = self.flow_mut(index) else {
                continue;
            };
            if flow.has(flag::IN_BATCH) {
                flow.retain(context, |data| data.bytes(packets));
            }
        }
    }
}
