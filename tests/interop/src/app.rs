//! Who is at the end of a stream.
use sansbox_core::{End, Pipe};
use sha2::{Digest as _, Sha256};

const PIPE: usize = 64 * 1024;

/// What is at a target, by its port: as in `tests/peers/tunnel`.
pub mod port {
    /// Sends back what comes.
    pub const ECHO: u16 = 7;
    /// Cannot be reached.
    pub const REFUSES: u16 = 9;
    /// Resets both directions when something comes.
    pub const RESETS: u16 = 66;
    /// Sends back all that came, once its end came.
    pub const AT_END: u16 = 80;
    /// Says that it will say nothing, and reads on.
    pub const LISTENS: u16 = 99;
}

/// What somebody who asks does after the first octet came back, or all was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Ends its direction.
    Finish,
    /// Says what it has to say only after the other direction's end, and then ends its own.
    SpeakAfterTheirEnd,
    /// Resets both directions once something came back.
    Abandon,
    /// Waits.
    Wait,
}

#[derive(Debug)]
enum Role {
    Asks { left: usize, at: usize, then: Then },
    IsAsked { port: u16, kept: Vec<u8> },
}

/// Who is at the end of a stream, with pipes to and from it.
#[derive(Debug)]
pub struct App {
    /// What came.
    pub received: Pipe,
    /// What goes.
    pub to_send: Pipe,
    /// Octets that came.
    pub came: usize,
    /// The target was reached.
    pub is_accepted: bool,
    /// The target was not reached.
    pub is_refused: bool,
    /// Both directions ended well once; pipes are reset when their connection is gone.
    has_ended: bool,
    said: Sha256,
    heard: Sha256,
    role: Role,
}

impl App {
    fn new(role: Role) -> Self {
        Self {
            received: Pipe::new(PIPE),
            to_send: Pipe::new(PIPE),
            came: 0,
            is_accepted: false,
            is_refused: false,
            has_ended: false,
            said: Sha256::new(),
            heard: Sha256::new(),
            role,
        }
    }

    /// Says so many octets.
    #[must_use]
    pub fn asks(octets: usize, then: Then) -> Self {
        let (left, at) = (octets, 0);
        Self::new(Role::Asks { left, at, then })
    }

    /// Plays the target with this port.
    #[must_use]
    pub fn is_asked(port: u16) -> Self {
        let kept = Vec::new();
        Self::new(Role::IsAsked { port, kept })
    }

    /// SHA-256 of what was said, in hexadecimal digits.
    #[must_use]
    pub fn said(&self) -> String {
        hex(&self.said)
    }

    /// SHA-256 of what was heard.
    #[must_use]
    pub fn heard(&self) -> String {
        hex(&self.heard)
    }

    /// Both directions ended well, as far as this end can tell.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.has_ended
    }

    /// Its octets were moved: is it over?
    pub fn note_end(&mut self) {
        let ended = |pipe: &Pipe| pipe.is_eof() && pipe.end() == End::Fin;
        self.has_ended |= ended(&self.received) && ended(&self.to_send);
    }

    /// The other end reset both directions.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.received.end() == End::Reset && self.to_send.end() == End::Reset
    }

    /// Does what it does with what is in its pipes.
    pub fn turn(&mut self) {
        match &mut self.role {
            Role::Asks { .. } => {
                self.hear();
                self.ask();
            }
            Role::IsAsked { port, kept } => {
                let (received, to_send) = (&mut self.received, &mut self.to_send);
                match *port {
                    port::RESETS if !received.is_empty() => {
                        let _ = received.reset();
                        let _ = to_send.reset();
                    }
                    port::LISTENS => {
                        let _ = to_send.finish();
                        self.hear();
                    }
                    port::AT_END => {
                        while let Some(octets) = received.take(usize::MAX) {
                            kept.extend_from_slice(&octets);
                        }
                        if received.end() == End::Fin && to_send.end() == End::Open {
                            to_send.push_slice(kept);
                            let _ = to_send.finish();
                        }
                    }
                    _ => {
                        let _ = received.transfer(to_send);
                    }
                }
            }
        }
    }

    fn hear(&mut self) {
        while let Some(octets) = self.received.take(usize::MAX) {
            self.came += octets.len();
            self.heard.update(&octets);
        }
    }

    fn ask(&mut self) {
        let Role::Asks { left, at, then } = &mut self.role else {
            return;
        };
        if *then == Then::SpeakAfterTheirEnd && self.received.end() == End::Open {
            return;
        }
        let n = self.to_send.room().min(*left);
        if n > 0 {
            let octets: Vec<u8> = (*at..*at + n).map(|n| ((n * 37) % 253) as u8).collect();
            self.said.update(&octets);
            self.to_send.push_slice(&octets);
            *left -= n;
            *at += n;
        }
        match then {
            Then::Finish | Then::SpeakAfterTheirEnd if *left == 0 => {
                let _ = self.to_send.finish();
            }
            Then::Abandon if self.came > 0 => {
                let _ = self.to_send.reset();
                let _ = self.received.reset();
            }
            Then::Finish | Then::SpeakAfterTheirEnd | Then::Abandon | Then::Wait => {}
        }
    }
}

fn hex(sum: &Sha256) -> String {
    let digits = sum.clone().finalize();
    digits.iter().map(|octet| format!("{octet:02x}")).collect()
}
