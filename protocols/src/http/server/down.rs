//! From the upstream to the client.
use super::{
    Down, Error, Flow, Server, Status, Then, Timer, Up, Upstream,
    flow::Stage,
    response::{self, Answer},
};
use crate::http::wire::{HeadScanner, Malformed};
use sansbox_core::{End, Instant, Pipe, Progress};

/// Did a step change anything, so that another may?
type Step = Result<Progress, Error>;

impl Server {
    /// `poll_transmit`.
    pub(super) fn write(&mut self, now: Instant, app: &mut Pipe, wire: &mut Pipe) -> Step {
        let mut progress = Progress::NONE;
        loop {
            let step = self.write_step(now, app, wire)?;
            progress |= step;
            if step == Progress::NONE {
                return Ok(progress);
            }
        }
    }

    fn write_step(&mut self, now: Instant, app: &mut Pipe, wire: &mut Pipe) -> Step {
        match &mut self.down {
            Down::Idle => Ok(self.watch_kept_upstream(app)),
            Down::Reply { bytes, then } => {
                if wire.room() == 0 {
                    return Ok(Progress::NONE);
                }
                wire.push(core::mem::take(bytes));
                let then = *then;
                self.replied(now, then);
                Ok(Progress::MADE)
            }
            Down::AwaitHead(_) if wire.room() == 0 => Ok(Progress::NONE),
            Down::AwaitHead(scanner) => {
                let found = scanner.find(app);
                self.read_response(found, app, wire)
            }
            Down::Body { flow, is_kept } => {
                let is_kept = *is_kept;
                // Bytes that the client will never read do not keep the upstream going.
                if wire.end() != End::Open {
                    return Ok(Progress::NONE);
                }
                match flow.pass(app, wire) {
                    Ok((Stage::Done, _)) => {
                        self.response_done(now, is_kept, app);
                        Ok(Progress::MADE)
                    }
                    Ok((Stage::Waiting, progress)) => Ok(progress),
                    Ok((Stage::Truncated, _)) => self.response_broken(now, None, wire),
                    Err(malformed) => self.response_broken(now, Some(malformed), wire),
                }
            }
            Down::Tunnel => Ok(app.transfer(wire)),
            Down::Closed => Ok(wire.finish()),
        }
    }

    /// A kept upstream has nothing to say between exchanges. If it does, or ends, what it says
    /// must not be taken for the response to the next request.
    fn watch_kept_upstream(&mut self, app: &Pipe) -> Progress {
        let is_quiet = app.is_empty() && app.end() == End::Open;
        if self.upstream != Upstream::Kept || is_quiet {
            return Progress::NONE;
        }
        self.upstream_done(false);
        Progress::MADE
    }

    fn replied(&mut self, now: Instant, then: Then) {
        match then {
            Then::NextRequest => {
                self.down = Down::Idle;
                if matches!(self.up, Up::Skip(_)) {
                    self.timer = Some((now + self.handshake_timeout, Timer::Skip));
                }
                self.finish_exchange(now);
            }
            Then::Tunnel => self.down = Down::Tunnel,
            Then::Close => self.close(now),
        }
    }

    fn read_response(
        &mut self,
        found: Result<Option<usize>, Malformed>,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Step {
        let len = match found {
            Ok(Some(len)) => len,
            Ok(None) if app.end() != End::Open => {
                self.bad_gateway("the server closed the connection without an answer");
                return Ok(Progress::MADE);
            }
            Ok(None) if app.room() > 0 => return Ok(Progress::NONE),
            Ok(None) => return Ok(self.bad_response(Malformed::HeadTooLarge)),
            Err(malformed) => return Ok(self.bad_response(malformed)),
        };
        let is_early = !matches!(self.up, Up::Done);
        let head = app.front(len).unwrap_or_default();
        let answer = response::read(head, &self.exchange, is_early);
        app.skip(len);
        match answer {
            Err(malformed) => return Ok(self.bad_response(malformed)),
            Ok(Answer::Interim(head)) => {
                wire.push(head.unwrap_or_default());
                self.down = Down::AwaitHead(HeadScanner::default());
            }
            Ok(Answer::Switch(head)) => {
                wire.push(head);
                (self.up, self.down) = (Up::Tunnel, Down::Tunnel);
                self.upstream = Upstream::None;
            }
            Ok(Answer::Final {
                head,
                flow,
                is_kept,
                close,
            }) => {
                wire.push(head);
                self.exchange.close = close;
                self.down = Down::Body { flow, is_kept };
            }
        }
        Ok(Progress::MADE)
    }

    fn bad_response(&mut self, malformed: Malformed) -> Progress {
        self.bad_gateway(&format!("the server's answer is broken: {malformed}"));
        Progress::MADE
    }

    /// The upstream failed before its final response began.
    fn bad_gateway(&mut self, why: &str) {
        self.upstream_done(false);
        self.answer_instead(Status::BadGateway, why);
    }

    fn response_done(&mut self, now: Instant, is_kept: bool, app: &Pipe) {
        let is_quiet = app.is_empty() && app.end() == End::Open;
        let is_complete = matches!(self.up, Up::Done);
        self.upstream_done(is_kept && is_quiet && is_complete);
        self.down = Down::Idle;
        match self.exchange.close || !is_complete {
            true => self.close(now),
            false => self.finish_exchange(now),
        }
    }

    /// The client has the head of a response that will not be completed.
    fn response_broken(
        &mut self,
        now: Instant,
        malformed: Option<Malformed>,
        wire: &mut Pipe,
    ) -> Step {
        let is_until_close = matches!(
            self.down,
            Down::Body {
                flow: Flow::UntilClose | Flow::Dechunked(_),
                ..
            }
        );
        // Where the end of the connection is the end of the body, only a reset tells the client
        // that it came too soon (RFC 9112 8).
        let ended = match is_until_close {
            true => wire.reset(),
            false => wire.finish(),
        };
        debug_assert!(ended == Progress::MADE, "the pipe was open");
        self.upstream_done(false);
        self.close(now);
        Err(Error::ResponseBroken(malformed))
    }
}
