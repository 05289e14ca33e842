//! From the client to the upstream.
use super::{Auth, Down, Error, Pending, Server, ServerEvent, Then, Timer, Up, flow::Stage};
use crate::http::{EMPTY_LINES_MAX, wire::Malformed};
use sansbox_core::{End, Instant, Pipe, Progress};

/// Did a step change anything, so that another may?
type Step = Result<Progress, Error>;

impl Server {
    /// `handle_input`.
    pub(super) fn read(&mut self, now: Instant, wire: &mut Pipe, app: &mut Pipe) -> Step {
        let mut progress = Progress::NONE;
        loop {
            let step = self.read_step(now, wire, app)?;
            progress |= step;
            if step == Progress::NONE {
                return Ok(progress);
            }
        }
    }

    fn read_step(&mut self, now: Instant, wire: &mut Pipe, app: &mut Pipe) -> Step {
        let is_ending = matches!(self.up, Up::Tunnel | Up::Discard | Up::Closed);
        if wire.end() == End::Reset && !is_ending {
            return self.client_reset(app);
        }
        match &mut self.up {
            Up::AwaitHead { .. } => self.read_head(now, wire),
            Up::AwaitAuth(_) | Up::AwaitDial(_) | Up::Done | Up::Closed => Ok(Progress::NONE),
            Up::SendHead { head, flow } => {
                // An upstream that takes no more bytes may still have answered.
                if app.end() == End::Open {
                    if app.room() == 0 {
                        return Ok(Progress::NONE);
                    }
                    app.push(core::mem::take(&mut head.0));
                }
                self.up = match flow.is_done() {
                    true => Up::Done,
                    false => Up::Body(*flow),
                };
                Ok(Progress::MADE)
            }
            Up::Body(flow) => match flow.pass(wire, app) {
                Ok((Stage::Done, _)) => {
                    self.up = Up::Done;
                    Ok(Progress::MADE)
                }
                Ok((Stage::Waiting, progress)) => Ok(progress),
                Ok((Stage::Truncated, _)) => self.body_truncated(app),
                Err(malformed) => self.bad_body(malformed, app),
            },
            Up::Skip(flow) => match flow.drop_from(wire) {
                Ok((Stage::Done, _)) => {
                    self.up = Up::Done;
                    self.timer = None;
                    self.finish_exchange(now);
                    Ok(Progress::MADE)
                }
                Ok((Stage::Waiting, progress)) => Ok(progress),
                Ok((Stage::Truncated, _)) | Err(_) => self.skip_truncated(),
            },
            Up::Tunnel => Ok(wire.transfer(app)),
            Up::Discard => {
                let dropped = Progress(wire.skip(usize::MAX) > 0);
                if wire.end() == End::Open {
                    return Ok(dropped);
                }
                self.up = Up::Closed;
                if matches!(self.timer, Some((_, Timer::Linger))) {
                    self.timer = None;
                }
                Ok(Progress::MADE)
            }
        }
    }

    /// The body of a refused request breaks off. The refusal itself may still wait for room.
    fn skip_truncated(&mut self) -> Step {
        let Down::Reply { then, .. } = &mut self.down else {
            return self.end_without_reply();
        };
        *then = Then::Close;
        self.up = Up::Closed;
        self.timer = None;
        Err(Error::Truncated)
    }

    fn read_head(&mut self, now: Instant, wire: &mut Pipe) -> Step {
        let Up::AwaitHead { scanner, blank } = &mut self.up else {
            return Ok(Progress::NONE);
        };
        // RFC 9112 2.2: empty lines before a request are skipped.
        while wire.front(2) == Some(b"\r\n") {
            wire.skip(2);
            *blank += 1;
            if *blank > EMPTY_LINES_MAX {
                return self.bad_request(Malformed::EmptyLines);
            }
        }
        if wire.is_eof() {
            // The client is done between requests: that is how connections end.
            self.up = Up::Closed;
            self.down = Down::Closed;
            self.timer = None;
            return Ok(Progress::MADE);
        }
        let is_perhaps_blank = wire.len() == 1 && wire.first() == b"\r";
        let found = match is_perhaps_blank {
            true => Ok(None),
            false => scanner.find(wire),
        };
        match found {
            Ok(Some(len)) => {
                let pending = Pending::read(wire.front(len).unwrap_or_default());
                wire.skip(len);
                match pending {
                    Ok(pending) => self.read_request(Box::new(pending)),
                    Err(malformed) => self.bad_request(malformed),
                }
            }
            Err(malformed) => self.bad_request(malformed),
            Ok(None) if wire.end() != End::Open => {
                (self.up, self.down) = (Up::Closed, Down::Closed);
                self.timer = None;
                Err(Error::Truncated)
            }
            Ok(None) if wire.room() == 0 => self.bad_request(Malformed::HeadTooLarge),
            Ok(None) => {
                self.head_begun(now, !wire.is_empty());
                Ok(Progress::NONE)
            }
        }
    }

    /// A head has its own deadline from its first byte on; the first one has had it from the
    /// start.
    fn head_begun(&mut self, now: Instant, has_begun: bool) {
        match self.timer {
            Some((_, Timer::Idle)) if has_begun => {
                self.timer = Some((now + self.handshake_timeout, Timer::Head));
            }
            Some((at, Timer::FirstByte)) if has_begun => self.timer = Some((at, Timer::Head)),
            _ => {}
        }
    }

    fn read_request(&mut self, mut pending: Box<Pending>) -> Step {
        self.timer = None;
        self.exchange = pending.exchange;
        let credentials = pending.credentials.take();
        match (self.auth, credentials) {
            (Auth::None, _) => self.authorized(pending),
            (Auth::Basic, None) => self.challenge(),
            (Auth::Basic, Some(credentials)) => {
                self.asked = Some(ServerEvent::Auth {
                    username: credentials.username,
                    password: credentials.password,
                });
                self.up = Up::AwaitAuth(pending);
            }
        }
        Ok(Progress::MADE)
    }

    fn bad_request(&mut self, malformed: Malformed) -> Step {
        self.up = Up::Discard;
        self.reply(malformed.status(), &malformed.to_string(), true);
        Err(Error::BadRequest(malformed))
    }

    /// A chunked request body is malformed: the upstream must not take what it has for a whole
    /// request.
    fn bad_body(&mut self, malformed: Malformed, app: &mut Pipe) -> Step {
        let _ = app.reset();
        self.up = Up::Discard;
        self.upstream_done(false);
        match self.down {
            Down::AwaitHead(_) => self.reply(malformed.status(), &malformed.to_string(), true),
            // The response has begun, or even ended with `Connection: close`.
            Down::Idle | Down::Reply { .. } | Down::Body { .. } | Down::Tunnel | Down::Closed => {
                self.down = Down::Closed;
            }
        }
        Err(Error::BadRequest(malformed))
    }

    /// The client's FIN stands inside its request body.
    fn body_truncated(&mut self, app: &mut Pipe) -> Step {
        if matches!(self.down, Down::Body { .. }) {
            // It lost interest in sending because of an early response, which it may still read.
            let _ = app.finish();
            self.up = Up::Closed;
            return Ok(Progress::MADE);
        }
        let _ = app.reset();
        self.upstream_done(false);
        self.end_without_reply()
    }

    fn end_without_reply(&mut self) -> Step {
        (self.up, self.down) = (Up::Closed, Down::Closed);
        self.timer = None;
        Err(Error::Truncated)
    }

    fn client_reset(&mut self, app: &mut Pipe) -> Step {
        self.timer = None;
        let is_between = matches!(self.up, Up::AwaitHead { .. });
        if !is_between {
            let _ = app.reset();
            if matches!(self.up, Up::SendHead { .. } | Up::Body(_) | Up::Done) {
                self.upstream_done(false);
            }
        }
        (self.up, self.down) = (Up::Closed, Down::Closed);
        self.asked = None;
        Err(Error::Reset)
    }
}
