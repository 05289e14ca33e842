//! What a prober says to a server, and what it hears.
use crate::{
    net::packet::Transport,
    rng::{StreamId, Streams},
};
use core::{cell::RefCell, fmt, net::SocketAddr, time::Duration};
use sansbox_core::Refusal;
use std::rc::Rc;

/// What is made of an observed first flight. Those that were measured at the Great Firewall are
/// named as in Alice et al., "How China Detects and Blocks Shadowsocks", IMC 2020.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The flight itself ("R1").
    Replay,
    /// Its bytes at these places replaced by others ("R2" to "R6"); places behind its end are
    /// left out.
    Changed(Vec<usize>),
    /// One bit of it, anywhere, turned round.
    Flipped,
    /// Its first bytes, so many in a hundred, never all.
    Truncated(u8),
    /// So many random bytes behind it.
    Appended(usize),
    /// Nothing of it: so many random bytes ("NR1", "NR2").
    Random(usize),
    /// Nothing of it: these bytes.
    Bytes(Vec<u8>),
    /// Nothing at all.
    Silence,
}

impl Probe {
    /// One of each kind.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::Replay,
            Self::Changed(vec![0]),
            Self::Changed(vec![16]),
            Self::Flipped,
            Self::Truncated(50),
            Self::Truncated(99),
            Self::Appended(16),
            Self::Random(50),
            Self::Random(221),
            Self::Bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
            Self::Silence,
        ]
    }

    /// What is sent, made from what was seen.
    #[must_use]
    pub fn flight(&self, seen: &[u8], streams: &mut Streams, stream: StreamId) -> Vec<u8> {
        let mut flight = seen.to_vec();
        let mut random = |n: u64| streams.below(stream, n);
        match self {
            Self::Replay => {}
            Self::Changed(places) => {
                for place in places {
                    if let Some(byte) = flight.get_mut(*place) {
                        *byte ^= 1 + random(255) as u8;
                    }
                }
            }
            Self::Flipped => {
                let bit = random(8 * flight.len() as u64);
                if let Some(byte) = flight.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Truncated(percent) => {
                let keep = flight.len() * usize::from(*percent) / 100;
                flight.truncate(keep.min(flight.len().saturating_sub(1)));
            }
            Self::Appended(n) => flight.extend((0..*n).map(|_| random(256) as u8)),
            Self::Random(n) => flight = (0..*n).map(|_| random(256) as u8).collect(),
            Self::Bytes(bytes) => flight.clone_from(bytes),
            Self::Silence => flight.clear(),
        }
        flight
    }
}

/// How a server ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did not, as long as the prober waited.
    Open,
    /// With a FIN.
    Fin,
    /// With a RST, or an ICMP message.
    Reset,
    /// There was no connection.
    Refused(Refusal),
}

/// What a server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which server.
    pub server: SocketAddr,
    /// What it said: of TCP one piece, of UDP each datagram.
    pub heard: Vec<Vec<u8>>,
    /// How it ended it.
    pub ending: Ending,
    /// From the connection, or the datagram, to the end.
    pub took: Duration,
}

/// One probe and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// TCP or UDP.
    pub transport: Transport,
    /// Which probe.
    pub probe: Probe,
    /// The bytes sent.
    pub flight: Vec<u8>,
    /// What the suspect did.
    pub suspect: Reaction,
    /// What the site did that the suspect should look like, where there is one.
    pub decoy: Option<Reaction>,
}

/// By what a suspect is told from the site that it should look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// By what it said.
    Heard {
        /// What the suspect said.
        suspect: Vec<Vec<u8>>,
        /// What the site said.
        decoy: Vec<Vec<u8>>,
    },
    /// By how it ended it.
    Ending {
        /// How the suspect did.
        suspect: Ending,
        /// How the site did.
        decoy: Ending,
    },
    /// By when it ended it.
    Time {
        /// When the suspect did.
        suspect: Duration,
        /// When the site did.
        decoy: Duration,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |all: &[Vec<u8>]| {
            let text = all.concat();
            let head = text.get(..80).unwrap_or(&text);
            format!("{} bytes \"{}\"", text.len(), head.escape_ascii())
        };
        match self {
            Self::Heard { suspect, decoy } => {
                write!(f, "it said {}, the site {}", shown(suspect), shown(decoy))
            }
            Self::Ending { suspect, decoy } => {
                write!(f, "it ended by {suspect:?}, the site by {decoy:?}")
            }
            Self::Time { suspect, decoy } => {
                write!(f, "it ended after {suspect:?}, the site after {decoy:?}")
            }
        }
    }
}

impl Finding {
    /// Can the suspect be told from its decoy? Times may differ by `leeway`. Without a decoy
    /// there is nothing to compare.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, leeway: Duration) -> Result<(), Difference> {
        let Some(decoy) = &self.decoy else {
            return Ok(());
        };
        let suspect = &self.suspect;
        if suspect.heard != decoy.heard {
            return Err(Difference::Heard {
                suspect: suspect.heard.clone(),
                decoy: decoy.heard.clone(),
            });
        }
        if suspect.ending != decoy.ending {
            return Err(Difference::Ending {
                suspect: suspect.ending,
                decoy: decoy.ending,
            });
        }
        if suspect.took.abs_diff(decoy.took) > leeway {
            return Err(Difference::Time {
                suspect: suspect.took,
                decoy: decoy.took,
            });
        }
        Ok(())
    }
}

/// Where a prober writes down what it found. A clone is the same book.
#[derive(Clone, Debug, Default)]
pub struct Findings(Rc<RefCell<Vec<Finding>>>);

impl Findings {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn put(&self, finding: Finding) {
        self.0.borrow_mut().push(finding);
    }

    /// Everything so far, in the order in which it was complete.
    #[must_use]
    pub fn all(&self) -> Vec<Finding> {
        self.0.borrow().clone()
    }

    /// Can any suspect be told from its decoy? Times may differ by `leeway`.
    ///
    /// # Errors
    /// The first probe by which one can, and how, as a sentence.
    pub fn check(&self, leeway: Duration) -> Result<(), String> {
        for finding in self.0.borrow().iter() {
            if let Err(difference) = finding.compare(leeway) {
                let (probe, server) = (&finding.probe, finding.suspect.server);
                return Err(format!("{server} is told by {probe:?}: {difference}"));
            }
        }
        Ok(())
    }
}
