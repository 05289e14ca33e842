//! What a scripted peer does on one connection, step by step.
use core::{fmt, net::SocketAddr, time::Duration};

/// Payload both ways at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Flow to send, and how many bytes of it.
    pub up: Option<(String, u64)>,
    /// Flow to receive, and how many bytes of it.
    pub down: Option<(String, u64)>,
    /// Read at most so many bytes, this often.
    pub pace: Option<(usize, Duration)>,
    /// The receiver knows the length beforehand: an end that comes too soon is no end to it.
    pub is_framed: bool,
}

/// One step; each begins when the one before is complete.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Send bytes.
    Send(Vec<u8>),
    /// Send bytes one by one, this long apart.
    SendSlowly(Vec<u8>, Duration),
    /// Receive exactly these bytes.
    Expect(Vec<u8>),
    /// Receive up to and with the first, in which the second occurs.
    ExpectHead(Vec<u8>, Vec<u8>),
    /// Receive so many bytes, whatever they are.
    Skip(usize),
    /// Send and receive payload.
    Exchange(Exchange),
    /// Send back whatever comes until FIN, then FIN.
    Echo,
    /// Send FIN; it ends this flow, if any is named.
    Fin(Option<String>),
    /// Receive FIN; it ends this flow, if any is named.
    ExpectFin(Option<String>),
    /// Receive RST, after any bytes.
    ExpectReset,
    /// Receive FIN or RST, after any bytes.
    ExpectEnd,
    /// Close the socket.
    Close,
    /// Reset the connection.
    Reset,
    /// Never answer again.
    Vanish,
    /// Do nothing, not even read.
    Sleep(Duration),
    /// Open a UDP socket.
    Bind,
    /// Receive a SOCKS5 reply that says where the UDP relay listens.
    LearnRelay,
    /// Send a datagram to the learnt relay.
    ToRelay(Vec<u8>),
    /// Send a datagram to an address.
    ToAddr(SocketAddr, Vec<u8>),
    /// Receive this datagram.
    ExpectDatagram(Vec<u8>),
    /// Receive no datagram for so long.
    ExpectNoDatagram(Duration),
    /// Send each datagram to the relay, this far apart, then wait as long: each that comes back
    /// must be one of them, and at least so many of them come back.
    Ping(Vec<Vec<u8>>, Duration, usize),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bytes: &[u8]| {
            let head = bytes.get(..40).unwrap_or(bytes);
            format!("\"{}\" ({} bytes)", head.escape_ascii(), bytes.len())
        };
        match self {
            Self::Send(bytes) => write!(f, "Send {}", shown(bytes)),
            Self::SendSlowly(bytes, every) => write!(f, "Send {} slowly {every:?}", shown(bytes)),
            Self::Expect(bytes) => write!(f, "Expect {}", shown(bytes)),
            Self::ExpectHead(end, holds) => {
                write!(f, "Expect {} up to {}", shown(holds), shown(end))
            }
            Self::Skip(n) => write!(f, "Skip {n} bytes"),
            Self::Exchange(exchange) => exchange.fmt(f),
            Self::Echo => f.write_str("Echo"),
            Self::Fin(flow) => write!(f, "Fin {flow:?}"),
            Self::ExpectFin(flow) => write!(f, "Expect FIN {flow:?}"),
            Self::ExpectReset => f.write_str("Expect RST"),
            Self::ExpectEnd => f.write_str("Expect FIN or RST"),
            Self::Close => f.write_str("Close"),
            Self::Reset => f.write_str("Reset"),
            Self::Vanish => f.write_str("Vanish"),
            Self::Sleep(time) => write!(f, "Sleep {time:?}"),
            Self::Bind => f.write_str("Bind"),
            Self::LearnRelay => f.write_str("Expect the relay's address"),
            Self::ToRelay(data) => write!(f, "Datagram {} to the relay", shown(data)),
            Self::ToAddr(to, data) => write!(f, "Datagram {} to {to}", shown(data)),
            Self::ExpectDatagram(data) => write!(f, "Expect datagram {}", shown(data)),
            Self::ExpectNoDatagram(time) => write!(f, "Expect no datagram for {time:?}"),
            Self::Ping(all, _, least) => write!(f, "Ping {}, {least} back", all.len()),
        }
    }
}

/// Steps of one connection; the socket is closed behind the last.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) is_tolerant: bool,
}

impl Script {
    /// A script without steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These steps.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            is_tolerant: false,
        }
    }

    /// One more step.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends bytes.
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Receives exactly these bytes.
    #[must_use]
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// Receives an HTTP head in which `holds` occurs.
    #[must_use]
    pub fn expect_head(self, holds: impl AsRef<[u8]>) -> Self {
        self.then(Step::ExpectHead(
            b"\r\n\r\n".to_vec(),
            holds.as_ref().to_vec(),
        ))
    }

    /// Sends `len` bytes of a flow.
    #[must_use]
    pub fn upload(self, flow: &str, len: u64) -> Self {
        self.then(Step::Exchange(Exchange {
            up: Some((flow.into(), len)),
            ..Exchange::default()
        }))
    }

    /// Receives `len` bytes of a flow.
    #[must_use]
    pub fn download(self, flow: &str, len: u64) -> Self {
        self.then(Step::Exchange(Exchange {
            down: Some((flow.into(), len)),
            ..Exchange::default()
        }))
    }

    /// Receives `len` bytes of a flow whose length was said before: an end that comes too soon is
    /// seen as one.
    #[must_use]
    pub fn download_framed(self, flow: &str, len: u64) -> Self {
        self.then(Step::Exchange(Exchange {
            down: Some((flow.into(), len)),
            is_framed: true,
            ..Exchange::default()
        }))
    }

    /// Sends and receives `len` bytes each at once.
    #[must_use]
    pub fn exchange(self, up: &str, down: &str, len: u64) -> Self {
        self.then(Step::Exchange(Exchange {
            up: Some((up.into(), len)),
            down: Some((down.into(), len)),
            ..Exchange::default()
        }))
    }

    /// Sends FIN, which ends a flow.
    #[must_use]
    pub fn fin(self, flow: &str) -> Self {
        self.then(Step::Fin(Some(flow.into())))
    }

    /// Receives FIN, which ends a flow.
    #[must_use]
    pub fn expect_fin(self, flow: &str) -> Self {
        self.then(Step::ExpectFin(Some(flow.into())))
    }

    /// Does nothing for a while.
    #[must_use]
    pub fn sleep(self, time: Duration) -> Self {
        self.then(Step::Sleep(time))
    }

    /// All steps of another script behind these.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// An end that comes early ends the script in peace.
    #[must_use]
    pub const fn tolerant(mut self) -> Self {
        self.is_tolerant = true;
        self
    }

    /// Bytes that its [`Step::Send`] steps send.
    #[must_use]
    pub fn sent_len(&self) -> usize {
        let len = |step: &Step| {
            if let Step::Send(bytes) = step {
                bytes.len()
            } else {
                0
            }
        };
        self.steps.iter().map(len).sum()
    }

    /// The same script up to the moment when `at` bytes of its [`Step::Send`] steps are sent,
    /// and then `last`.
    #[must_use]
    pub fn cut(&self, at: usize, last: Step) -> Self {
        let mut left = at;
        let mut out = Self::new().tolerant();
        for step in &self.steps {
            if let Step::Send(bytes) = step {
                if bytes.len() > left {
                    out = out.send(bytes.get(..left).unwrap_or_default());
                    break;
                }
                left -= bytes.len();
            } else if left == 0 && at > 0 {
                break;
            }
            out.steps.push(step.clone());
        }
        out.then(last)
    }

    pub(super) fn flows(&self) -> Vec<String> {
        let mut out = Vec::new();
        for step in &self.steps {
            if let Step::Exchange(Exchange { up, down, .. }) = step {
                let names = [up, down]
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone());
                out.extend(names);
            } else if let Step::Fin(Some(flow)) | Step::ExpectFin(Some(flow)) = step {
                out.push(flow.clone());
            }
        }
        out
    }
}
