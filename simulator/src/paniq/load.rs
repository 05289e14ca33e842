//! What runs over tunnels: a script for each end of a stream, checked byte by byte.
use crate::check::payload;
use core::time::Duration;
use sansbox_core::{End, Instant, Pipe};
use sansbox_protocols::paniq::Draws;
use std::collections::VecDeque;

/// Octets that are made at a time.
const CHUNK_LEN: u64 = 16 * 1024;

/// What an end of a stream does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends so many octets.
    Send(u64),
    /// Waits for so many octets.
    Take(u64),
    /// Does nothing for so long.
    Pause(Duration),
    /// Ends its direction.
    Fin,
    /// Waits for the end of the other direction, behind everything.
    End,
    /// Breaks the stream.
    Reset,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answers after so long.
    Answers(Duration),
    /// It refuses after so long.
    Refuses(Duration),
    /// Nobody is there.
    Silent,
    /// A name: its lookup takes so long and gives this many addresses, of which only the `nth`
    /// (from 0) is not a black hole; it answers after one millisecond.
    Name {
        /// Of the lookup.
        lookup: Duration,
        /// How many.
        addresses: u8,
        /// Which lives.
        nth: u8,
    },
}

/// One stream: when, where to, and what both ends do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Its name, unique in a world.
    pub name: String,
    /// When the client asks for it, after the start.
    pub at: Duration,
    /// How its target is reached.
    pub reach: Reach,
    /// What the client's end does.
    pub near: Vec<Step>,
    /// What the target does.
    pub far: Vec<Step>,
}

/// The usual time to a target.
pub const NEARBY: Duration = Duration::from_millis(3);

impl Talk {
    /// A talk with a target that answers.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        near: impl IntoIterator<Item = Step>,
        far: impl IntoIterator<Item = Step>,
    ) -> Self {
        Self {
            name: name.into(),
            at: Duration::ZERO,
            reach: Reach::Answers(NEARBY),
            near: near.into_iter().collect(),
            far: far.into_iter().collect(),
        }
    }

    /// A request, an answer, and the end by the target: HTTP/1.1 with `Connection: close`.
    #[must_use]
    pub fn fetch(name: impl Into<String>, up: u64, down: u64) -> Self {
        use Step::{End, Fin, Send, Take};
        let near = [Send(up), Take(down), End, Fin];
        Self::new(name, near, [Take(up), Send(down), Fin, End])
    }

    /// A request whose end is the end of the direction, then the answer: HTTP/1.0 in the old way.
    #[must_use]
    pub fn half_closed(name: impl Into<String>, up: u64, down: u64) -> Self {
        use Step::{End, Fin, Send, Take};
        let near = [Send(up), Fin, Take(down), End];
        Self::new(name, near, [Take(up), End, Send(down), Fin])
    }

    /// The target speaks first, as with SSH and SMTP.
    #[must_use]
    pub fn server_first(name: impl Into<String>, banner: u64, up: u64, down: u64) -> Self {
        use Step::{End, Fin, Send, Take};
        let near = [Take(banner), Send(up), Take(down), End, Fin];
        let far = [Send(banner), Take(up), Send(down), Fin, End];
        Self::new(name, near, far)
    }

    /// A target that refuses.
    #[must_use]
    pub fn refused(name: impl Into<String>) -> Self {
        Self {
            reach: Reach::Refuses(NEARBY),
            ..Self::new(name, [Step::Send(100), Step::End], [])
        }
    }

    /// A target that is not there.
    #[must_use]
    pub fn black_hole(name: impl Into<String>) -> Self {
        Self {
            reach: Reach::Silent,
            ..Self::refused(name)
        }
    }

    /// Does its target answer, and neither end break it?
    #[must_use]
    pub fn ends_well(&self) -> bool {
        let steps = self.near.iter().chain(&self.far);
        matches!(self.reach, Reach::Answers(_)) && !steps.into_iter().any(|s| *s == Step::Reset)
    }

    /// So much later.
    #[must_use]
    pub const fn at(mut self, at: Duration) -> Self {
        self.at = at;
        self
    }
}

/// What somebody who browses does within `time`: bursts of requests at once, with answers of every
/// length, an upload now and then, servers that speak first, half-closed requests, targets that
/// refuse or are not there, streams that stay open and say something at times.
#[must_use]
pub fn browsing(draws: &mut Draws, time: Duration, pages: u64) -> Vec<Talk> {
    let mut all = Vec::new();
    for page in 0..pages {
        let at = Duration::from_millis(draws.below(time.as_millis() as u64));
        for nth in 0..1 + draws.below(6) {
            let name = format!("page {page} part {nth}");
            let up = 1 + draws.below(800);
            let down = match draws.below(8) {
                0 => draws.below(200_000),
                1..4 => draws.below(30_000),
                _ => draws.below(3_000),
            };
            let talk = match draws.below(16) {
                0 => Talk::refused(name),
                1 => Talk::black_hole(name),
                2 | 3 => Talk::half_closed(name, up, down),
                4 => Talk::server_first(name, 40, up, down),
                5 => Talk::fetch(name, draws.below(150_000), up),
                6 => dozing(name, draws),
                7 => broken_off(name, up, down),
                _ => Talk::fetch(name, up, down),
            };
            let after = Duration::from_millis(draws.below(120));
            all.push(talk.at(at + after));
        }
    }
    all
}

/// Says something at times, as a WebSocket does.
fn dozing(name: String, draws: &mut Draws) -> Talk {
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..1 + draws.below(4) {
        let pause = Duration::from_millis(draws.below(30_000));
        let len = 1 + draws.below(2_000);
        near.extend([Step::Pause(pause), Step::Send(len), Step::Take(len)]);
        far.extend([Step::Take(len), Step::Send(len)]);
    }
    near.extend([Step::Fin, Step::End]);
    far.extend([Step::End, Step::Fin]);
    Talk::new(name, near, far)
}

/// The target breaks the stream in the middle of its answer.
fn broken_off(name: String, up: u64, down: u64) -> Talk {
    let near = [Step::Send(up), Step::Take(down + 1), Step::End];
    Talk::new(name, near, [Step::Take(up), Step::Send(down), Step::Reset])
}

/// How an end of a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did not.
    Pending,
    /// Its script is done.
    Whole,
    /// The other direction ended well, and too early.
    Short,
    /// The stream broke.
    Broken,
    /// There was no stream; the text says why.
    Refused(String),
    /// What came is not what was sent; the text says where.
    Wrong(String),
}

/// One end of a stream while its script runs.
#[derive(Debug)]
pub(crate) struct Party {
    steps: VecDeque<Step>,
    out: String,
    into: String,
    sent: u64,
    pub(crate) taken: u64,
    /// Octets of the current step that are done.
    done: u64,
    wake: Option<Instant>,
    pub(crate) ended: Ended,
}

impl Party {
    pub(crate) fn near(talk: &Talk) -> Self {
        Self::new(
            &talk.near,
            format!("{}/up", talk.name),
            format!("{}/down", talk.name),
        )
    }

    pub(crate) fn far(talk: &Talk) -> Self {
        Self::new(
            &talk.far,
            format!("{}/down", talk.name),
            format!("{}/up", talk.name),
        )
    }

    fn new(steps: &[Step], out: String, into: String) -> Self {
        Self {
            steps: steps.iter().copied().collect(),
            out,
            into,
            sent: 0,
            taken: 0,
            done: 0,
            wake: None,
            ended: Ended::Pending,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        !matches!(self.ended, Ended::Pending)
    }

    /// When a pause ends.
    pub(crate) const fn wake(&self) -> Option<Instant> {
        match self.ended {
            Ended::Pending => self.wake,
            Ended::Whole | Ended::Short | Ended::Broken | Ended::Refused(_) | Ended::Wrong(_) => {
                None
            }
        }
    }

    /// Does what it can.
    pub(crate) fn turn(&mut self, now: Instant, received: &mut Pipe, to_send: &mut Pipe) {
        while !self.is_over() {
            let Some(step) = self.steps.front().copied() else {
                self.ended = Ended::Whole;
                return;
            };
            // Who has said all may find the other direction closed.
            let is_broken = received.end() == End::Reset || to_send.end() == End::Reset;
            if is_broken && step != Step::Reset {
                self.ended = Ended::Broken;
                return;
            }
            if !self.step(now, step, received, to_send) {
                return;
            }
            self.steps.pop_front();
            (self.done, self.wake) = (0, None);
        }
    }

    /// Goes on with a step; is it done?
    fn step(&mut self, now: Instant, step: Step, received: &mut Pipe, to_send: &mut Pipe) -> bool {
        match step {
            Step::Send(all) => {
                while self.done < all && to_send.room() > 0 {
                    let len = (all - self.done).min(CHUNK_LEN).min(to_send.room() as u64);
                    to_send.push_slice(&payload(&self.out, self.sent, len as usize));
                    self.sent += len;
                    self.done += len;
                }
                self.done == all
            }
            Step::Take(all) => {
                while self.done < all
                    && let Some(bytes) = received.take((all - self.done) as usize)
                {
                    if !self.check(&bytes) {
                        return false;
                    }
                    self.done += bytes.len() as u64;
                }
                if self.done < all && received.is_eof() {
                    self.ended = Ended::Short;
                }
                self.done == all
            }
            Step::Pause(time) => *self.wake.get_or_insert(now + time) <= now,
            Step::Fin => {
                let _ = to_send.finish();
                true
            }
            Step::End => {
                if !received.is_empty() {
                    let what = format!("{} octets of {} too many", received.len(), self.into);
                    self.ended = Ended::Wrong(what);
                }
                received.is_eof()
            }
            Step::Reset => {
                let _ = (received.reset(), to_send.reset());
                true
            }
        }
    }

    /// Are they the next octets of what the other end sent?
    fn check(&mut self, bytes: &[u8]) -> bool {
        let wanted = payload(&self.into, self.taken, bytes.len());
        self.taken += bytes.len() as u64;
        if wanted == bytes {
            return true;
        }
        let n = bytes
            .iter()
            .zip(&wanted)
            .take_while(|(a, b)| a == b)
            .count() as u64;
        let at = self.taken - bytes.len() as u64 + n;
        self.ended = Ended::Wrong(format!("octet {at} of {} is another", self.into));
        false
    }
}

/// Two pipes: one end of a stream as its owner holds it.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) received: Pipe,
    pub(crate) to_send: Pipe,
}

/// Octets that wait in each direction of an end, at most.
const PIPE_LEN: usize = 64 * 1024;

impl Ends {
    pub(crate) fn new() -> Self {
        Self {
            received: Pipe::new(PIPE_LEN),
            to_send: Pipe::new(PIPE_LEN),
        }
    }
}
