//! The caller of a stack: takes what comes, at its own pace, and sends what it has.
use std::collections::BTreeMap;

use bytes::Bytes;
use sansbox_core::Instant;
use sansbox_stack::{Event, FlowId, ResetReason, RxPacket, Stack};

use super::{Rng, pattern};

/// One connection as the caller sees it.
pub struct Served {
    pub stream: u64,
    pub download: usize,
    pub written: usize,
    pub read: usize,
    pub fin: bool,
    pub shut: bool,
    pub closed: bool,
}

/// How hastily the caller acts.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of 1000 chances to read it takes this many.
    pub reads: u64,
    /// At most so many bytes at once.
    pub appetite: usize,
    /// Largest chunk written.
    pub chunk: usize,
}

pub struct App {
    pub flows: BTreeMap<FlowId, Served>,
    /// By the client's port: what is downloaded.
    pub plans: BTreeMap<u16, (u64, usize)>,
    pub pace: Pace,
    pub rng: Rng,
    pub events: Vec<Event>,
}

impl App {
    /// Handles all events. `packets` is the batch they belong to.
    pub fn events(&mut self, stack: &mut Stack, now: Instant, packets: &[RxPacket<'_>]) {
        while let Some(event) = stack.poll_event() {
            self.events.push(event);
            match event {
                Event::Open {
                    flow,
                    source,
                    answered,
                    ..
                } => {
                    if !answered {
                        stack.accept(now, flow);
                    }
                    let (stream, download) = self.plans[&source.port()];
                    let served = Served {
                        stream,
                        download,
                        written: 0,
                        read: 0,
                        fin: false,
                        shut: false,
                        closed: false,
                    };
                    self.flows.insert(flow, served);
                }
                Event::Data(flow) => self.read(stack, now, flow, packets),
                Event::Writable(_) => {}
                Event::Fin(flow) => {
                    let served = self.flows.get_mut(&flow).unwrap();
                    assert!(!served.fin, "the end is told once");
                    served.fin = true;
                }
                Event::Closed(flow) => self.flows.get_mut(&flow).unwrap().closed = true,
                Event::Cancelled(flow, _) => {
                    self.flows.remove(&flow);
                }
                Event::Reset(flow, reason) => {
                    // A client that has everything answers our FIN, sent again because its
                    // acknowledgements were lost, with RST once it has forgotten the connection.
                    // That it has everything is checked at the end.
                    let served = self.flows.get_mut(&flow).unwrap();
                    let over = served.fin && served.shut && reason == ResetReason::Peer;
                    assert!(over, "{event:?}");
                    served.closed = true;
                }
            }
        }
    }

    /// Is there something to read, to write or to end?
    pub fn is_busy(&self, stack: &Stack) -> bool {
        self.flows.iter().any(|(flow, served)| {
            let done = served.shut && stack.pieces(*flow).next().is_none();
            !served.closed && !done
        })
    }

    /// Takes some of what can be read, and checks it.
    pub fn read(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        flow: FlowId,
        packets: &[RxPacket<'_>],
    ) {
        let served = self.flows.get_mut(&flow).unwrap();
        if !self.rng.chance(self.pace.reads) {
            return;
        }
        let mut taken = 0;
        for piece in stack.pieces(flow) {
            let bytes = piece.bytes(packets);
            for byte in bytes.iter().take(self.pace.appetite - taken) {
                let at = served.read + taken;
                assert_eq!(*byte, pattern(served.stream, at), "byte {at} up");
                taken += 1;
            }
        }
        served.read += taken;
        stack.consumed(now, flow, taken);
    }

    /// Reads what was left over, writes what fits, and ends what is done.
    pub fn turn(&mut self, stack: &mut Stack, now: Instant) {
        let flows: Vec<FlowId> = self.flows.keys().copied().collect();
        for flow in flows {
            if self.flows[&flow].closed {
                continue;
            }
            self.read(stack, now, flow, &[]);
            let served = self.flows.get_mut(&flow).unwrap();
            while served.written < served.download {
                let most = self.rng.below(self.pace.chunk as u64) as usize + 1;
                let len = most.min(served.download - served.written);
                let chunk: Vec<u8> = (served.written..served.written + len)
                    .map(|at| pattern(!served.stream, at))
                    .collect();
                if stack.write(flow, Bytes::from(chunk)).is_err() {
                    break;
                }
                served.written += len;
            }
            if served.written == served.download && !served.shut {
                stack.shutdown(now, flow);
                served.shut = true;
            }
        }
        self.events(stack, now, &[]);
    }
}
