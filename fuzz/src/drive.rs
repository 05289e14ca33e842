//! Drives one machine with bytes cut in any way, and with any room for what it says.
use crate::input::Input;
use sansbox_core::{End, Instant, Pipe, Progress, StreamProtocol};
use std::{fmt::Debug, time::Duration};

/// How bytes come and go.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Sizes of the pieces that arrive, in turn and then again.
    pub(crate) chunks: Vec<usize>,
    /// Limit of the outgoing pipes.
    pub(crate) room: usize,
    /// Most bytes taken out of each outgoing pipe in a round.
    pub(crate) drain: usize,
    /// The end comes with the last bytes, not after them.
    pub(crate) ends_at_once: bool,
}

impl Schedule {
    /// Octets that [`Self::read`] takes.
    pub(crate) const LEN: usize = 6;

    /// Everything at once.
    pub(crate) fn whole() -> Self {
        Self {
            chunks: vec![usize::MAX],
            room: 1 << 20,
            drain: usize::MAX,
            ends_at_once: false,
        }
    }

    pub(crate) fn read(input: &mut Input<'_>) -> Self {
        let [flags, room, drain, a, b, c] = input.bytes::<{ Self::LEN }>();
        let size = |byte: u8| match byte {
            0 => usize::MAX,
            1..=200 => usize::from(byte),
            201.. => (usize::from(byte) - 200) * 64,
        };
        Self {
            chunks: [a, b, c][..1 + usize::from(flags >> 1) % 3]
                .iter()
                .map(|n| size(*n))
                .collect(),
            room: size(room).min(1 << 20),
            drain: size(drain),
            ends_at_once: flags & 1 == 1,
        }
    }

    /// The same, with pieces of at least `n` bytes: for inputs of many thousand bytes.
    pub(crate) fn at_least(mut self, n: usize) -> Self {
        for size in self.chunks.iter_mut().chain([&mut self.drain]) {
            *size = (*size).max(n);
        }
        self
    }
}

/// What the other end of a pipe writes.
#[derive(Clone, Debug)]
pub(crate) struct Feed<'a> {
    pub(crate) bytes: &'a [u8],
    /// A FIN follows the bytes.
    pub(crate) fin: bool,
}

impl Feed<'_> {
    /// Writes the next piece, if `pipe` has room.
    pub(crate) fn step(&mut self, pipe: &mut Pipe, chunk: usize, at_once: bool) -> Progress {
        if pipe.end() != End::Open {
            return Progress::NONE;
        }
        let n = chunk.min(pipe.room()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(n);
        self.bytes = later;
        pipe.push(bytes::BytesMut::from(now));
        let is_due = self.fin && later.is_empty() && (at_once || n == 0);
        Progress(n > 0)
            | if is_due {
                pipe.finish()
            } else {
                Progress::NONE
            }
    }
}

/// Takes up to `max` bytes out of `pipe`.
pub(crate) fn drain(pipe: &mut Pipe, max: usize, to: &mut Vec<u8>) -> Progress {
    let before = to.len();
    while let Some(segment) = pipe.take(max.saturating_sub(to.len() - before)) {
        to.extend_from_slice(&segment);
    }
    Progress(to.len() > before)
}

/// All that a machine did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome<V, R> {
    pub(crate) events: Vec<V>,
    pub(crate) error: Option<R>,
    /// To the peer.
    pub(crate) sent: Vec<u8>,
    pub(crate) sent_end: End,
    /// To the application.
    pub(crate) delivered: Vec<u8>,
    pub(crate) delivered_end: End,
}

/// Most rounds before a machine counts as one that never rests.
pub(crate) const ROUNDS_MAX: usize = 200_000;

/// Runs `machine` until nothing moves. `limit` is that of the incoming pipes.
pub(crate) fn run<M: StreamProtocol>(
    machine: &mut M,
    mut peer: Feed<'_>,
    mut local: Feed<'_>,
    limit: usize,
    schedule: &Schedule,
    mut answer: impl FnMut(&mut M, &M::Event),
) -> Outcome<M::Event, M::Error> {
    let now = Instant::ZERO;
    let mut chunks = schedule.chunks.iter().copied().cycle();
    let [mut wire_in, mut app_in] = [(); 2].map(|()| Pipe::new(limit));
    let [mut wire_out, mut app_out] = [(); 2].map(|()| Pipe::new(schedule.room));
    let (mut events, mut error) = (Vec::new(), None);
    let (mut sent, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS_MAX {
        let mut size = || chunks.next().unwrap_or(1);
        let mut progress = peer.step(&mut wire_in, size(), schedule.ends_at_once);
        progress |= local.step(&mut app_in, size(), schedule.ends_at_once);
        progress |= keep(
            machine.handle_input(now, &mut wire_in, &mut app_out),
            &mut error,
        );
        while let Some(event) = machine.poll_event() {
            answer(machine, &event);
            events.push(event);
            progress = Progress::MADE;
        }
        progress |= keep(
            machine.poll_transmit(now, &mut app_in, &mut wire_out),
            &mut error,
        );
        progress |= drain(&mut wire_out, schedule.drain, &mut sent);
        progress |= drain(&mut app_out, schedule.drain, &mut delivered);
        if progress == Progress::NONE {
            let (sent_end, delivered_end) = (wire_out.end(), app_out.end());
            return Outcome {
                events,
                error,
                sent,
                sent_end,
                delivered,
                delivered_end,
            };
        }
    }
    panic!("the machine never comes to rest");
}

/// Keeps the one error that a machine may report.
pub(crate) fn keep<R: Debug>(result: Result<Progress, R>, error: &mut Option<R>) -> Progress {
    result.unwrap_or_else(|e| {
        let before = error.replace(e);
        assert!(
            before.is_none(),
            "a machine fails once: {before:?}, then {error:?}"
        );
        Progress::MADE
    })
}

/// Calls `machine` as a driver never should, in an order that `input` decides: pieces of `payload`,
/// ends and resets at any time, late timers, owners that answer when they like. Looks for panics,
/// fired timers that stay, and events out of nowhere after the end.
pub(crate) fn walk<M: StreamProtocol>(
    machine: &mut M,
    mut ops: Input<'_>,
    payload: &[u8],
    mut answer: impl FnMut(&mut M, u8),
) {
    let mut now = Instant::ZERO;
    let mut payload = payload.iter().copied().cycle();
    let mut pipes = [1024, 64, 64, 3].map(Pipe::new);
    for _ in 0..256 {
        if ops.is_empty() {
            break;
        }
        let op = ops.byte();
        let [wire_in, app_in, wire_out, app_out] = &mut pipes;
        match op % 12 {
            0..=2 => {
                let pipe = if op & 0x80 == 0 { wire_in } else { app_in };
                let n = usize::from(op >> 4 & 7) * 9 + 1;
                if pipe.end() == End::Open {
                    let piece: Vec<u8> = payload.by_ref().take(n.min(pipe.room())).collect();
                    pipe.push_slice(&piece);
                }
            }
            3 | 4 => drop(machine.handle_input(now, wire_in, app_out)),
            5 | 6 => drop(machine.poll_transmit(now, app_in, wire_out)),
            7 => drop(machine.poll_event()),
            8 => answer(machine, op / 12),
            9 => {
                let pipe = &mut pipes[usize::from(op / 12) % 4];
                let _ = if op & 0x80 == 0 {
                    pipe.finish()
                } else {
                    pipe.reset()
                };
            }
            10 => {
                now += Duration::from_secs(u64::from(op));
                let before = machine.poll_timeout();
                drop(machine.handle_timeout(now));
                let after = machine.poll_timeout();
                let is_due = before.is_some_and(|at| at <= now);
                assert!(!is_due || after != before, "a fired timer stays");
                assert!(is_due || after == before, "a timer moves before its time");
            }
            _ => {
                wire_out.skip(usize::from(op));
                app_out.skip(usize::from(op));
            }
        }
    }
}
