//! Decision files: all that a run is made from, to run it again elsewhere.
//!
//! ```json
//! {
//!   "format": "sansbox-decisions-1",
//!   "scenario": "socks5_connects",
//!   "seed": 7,
//!   "swarm": {"preset": "lite", "heal_at_ms": 120000},
//!   "tier": "packet",
//!   "calm": true,
//!   "signature": {"invariant": "NothingLeft", "host": "proxy"},
//!   "decisions": [["fault/dial-refused/tcp/proxy->10.0.0.3:80#0", 0, 1]]
//! }
//! ```
//!
//! A decision is the name of a stream, which draw of that stream it is, and what is drawn. In a
//! calm run nothing bad happens but what is listed. A few decisions fit on a command line as
//! `STREAM@NTH=CHOICE`, separated by commas.
use super::swarm::Swarm;
use crate::{
    check::{Invariant, Violation},
    rng::{Named, Overrides, Source},
    tcp::Tier,
    world::Setup,
};
use core::{fmt, time::Duration};
use serde::{Deserialize, Serialize};

/// What every file begins with.
const FORMAT: &str = "sansbox-decisions-1";
/// Longest file that is read, in bytes.
pub const FILE_LEN_MAX: usize = 64 << 20;
/// Up to so many decisions are written on a command line.
pub const INLINE_MAX: usize = 5;

/// Why a text is no decisions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionsError {
    /// No JSON, or not of this form; as the parser says, with line and column.
    #[error("no decision file: {0}")]
    Damaged(String),
    /// JSON of another kind or version.
    #[error("a decision file begins with \"format\": \"{FORMAT}\", this one says {0:?}")]
    Format(String),
    /// Longer than any real one.
    #[error("a decision file has at most {FILE_LEN_MAX} bytes")]
    TooLong,
    /// One stream's draw is decided twice.
    #[error("draw {nth} of {stream:?} is decided twice")]
    Twice {
        /// The stream.
        stream: String,
        /// Which draw.
        nth: u32,
    },
    /// Not `STREAM@NTH=CHOICE`.
    #[error("{0:?} is no decision: STREAM@NTH=CHOICE is one")]
    Inline(String),
    /// The file is of another scenario.
    #[error("these decisions are of {of}, not of {wanted}")]
    Foreign {
        /// Whose they are.
        of: String,
        /// Which was to run.
        wanted: String,
    },
}

/// What makes two failures the same: which invariant broke, and on what kind of host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Which invariant.
    pub invariant: Invariant,
    /// The host's name without its number.
    pub host: String,
}

impl Signature {
    /// The signature of a failure.
    #[must_use]
    pub fn of(violation: &Violation) -> Self {
        let numbered = |c: char| c.is_ascii_digit() || c == ' ' || c == '-';
        Self {
            invariant: violation.invariant,
            host: violation.host.trim_end_matches(numbered).into(),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} on {}", self.invariant, self.host)
    }
}

/// A run: its scenario, its seed, and what is decided in the seed's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Faults, where a swarm is at work.
    pub swarm: Option<Swarm>,
    /// When everything goes on as with another seed, and with which.
    pub branch: Option<(Duration, u64)>,
    /// TCP of the hosts.
    pub tier: Tier,
    /// Nothing bad happens but what is listed.
    pub is_calm: bool,
    /// How the run fails, if it does.
    pub signature: Option<Signature>,
    /// What is decided.
    pub made: Vec<Named>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    scenario: String,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    swarm: Option<FileSwarm>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    branch: Option<FileBranch>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tier: Option<String>,
    calm: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    signature: Option<Signature>,
    decisions: Vec<(String, u32, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSwarm {
    preset: String,
    heal_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBranch {
    at_ns: u64,
    seed: u64,
}

/// Only to say whether a text is a file of another format.
#[derive(Deserialize)]
struct Header {
    format: String,
}

fn damaged(error: serde_json::Error) -> DecisionsError {
    DecisionsError::Damaged(error.to_string())
}

impl Decisions {
    /// The run that a setup makes of a scenario.
    #[must_use]
    pub fn of(scenario: &str, setup: &Setup) -> Self {
        let made = setup.source.overrides.iter();
        let named = |((stream, nth), choice): (&(Box<str>, u32), &u64)| Named {
            stream: stream.clone(),
            nth: *nth,
            choice: *choice,
        };
        Self {
            scenario: scenario.into(),
            seed: setup.seed,
            swarm: setup.swarm,
            branch: setup.branch,
            tier: setup.tier,
            is_calm: setup.source.is_calm,
            signature: None,
            made: made.map(named).collect(),
        }
    }

    /// What a world is made from to run it.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup {
            seed: self.seed,
            source: Source {
                overrides: overrides(&self.made),
                is_calm: self.is_calm,
                bytes: None,
            },
            swarm: self.swarm,
            branch: self.branch,
            tier: self.tier,
            ..Setup::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is damaged, cut off, of another format, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, DecisionsError> {
        if text.len() > FILE_LEN_MAX {
            return Err(DecisionsError::TooLong);
        }
        let header: Header = serde_json::from_str(text).map_err(damaged)?;
        if header.format != FORMAT {
            return Err(DecisionsError::Format(header.format));
        }
        let file: File = serde_json::from_str(text).map_err(damaged)?;
        let swarm = match file.swarm {
            Some(swarm) => Some(Swarm {
                preset: swarm.preset.parse().map_err(DecisionsError::Damaged)?,
                heal_at: Duration::from_millis(swarm.heal_at_ms),
            }),
            None => None,
        };
        let tier = file.tier.as_deref().unwrap_or("ideal").parse();
        let branch = |b: FileBranch| (Duration::from_nanos(b.at_ns), b.seed);
        let made = file.decisions.into_iter();
        let made = made.map(|(stream, nth, choice)| Named {
            stream: stream.into(),
            nth,
            choice,
        });
        let made: Vec<Named> = made.collect();
        check_once(&made)?;
        Ok(Self {
            scenario: file.scenario,
            seed: file.seed,
            swarm,
            branch: file.branch.map(branch),
            tier: tier.map_err(DecisionsError::Damaged)?,
            is_calm: file.calm,
            signature: file.signature,
            made,
        })
    }

    /// Writes a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let swarm = |swarm: Swarm| FileSwarm {
            preset: swarm.preset.to_string(),
            heal_at_ms: millis(swarm.heal_at),
        };
        let branch = |(at, seed): (Duration, u64)| FileBranch {
            at_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            seed,
        };
        let made = self.made.iter();
        let file = File {
            format: FORMAT.into(),
            scenario: self.scenario.clone(),
            seed: self.seed,
            swarm: self.swarm.map(swarm),
            branch: self.branch.map(branch),
            tier: (self.tier != Tier::default()).then(|| self.tier.to_string()),
            calm: self.is_calm,
            signature: self.signature.clone(),
            decisions: made
                .map(|d| (d.stream.to_string(), d.nth, d.choice))
                .collect(),
        };
        serde_json::to_string_pretty(&file).expect("strings and numbers are JSON") + "\n"
    }

    /// Fails unless these are decisions of that scenario.
    ///
    /// # Errors
    /// [`DecisionsError::Foreign`].
    pub fn check_scenario(&self, wanted: &str) -> Result<(), DecisionsError> {
        if self.scenario == wanted {
            return Ok(());
        }
        Err(DecisionsError::Foreign {
            of: self.scenario.clone(),
            wanted: wanted.into(),
        })
    }

    /// The command that runs it again; `None` when there are too many decisions for a line.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        let decisions = if self.made.is_empty() && !self.is_calm {
            String::new()
        } else if self.made.len() <= INLINE_MAX {
            format!(" --calm --decisions '{}'", inline(&self.made))
        } else {
            return None;
        };
        Some(format!("{}{decisions}", self.command_head()))
    }

    /// The command that runs it again from a file.
    #[must_use]
    pub fn command_with(&self, path: &str) -> String {
        format!("sansbox-sim run {} --decisions @{path}", self.scenario)
    }

    fn command_head(&self) -> String {
        let mut out = format!("sansbox-sim run {} --seed {:#x}", self.scenario, self.seed);
        if let Some(swarm) = self.swarm {
            out += &format!(" --swarm {}", swarm.preset);
            if swarm.heal_at != Swarm::default().heal_at {
                out += &format!(" --heal-at {}ms", millis(swarm.heal_at));
            }
        }
        if self.tier != Tier::default() {
            out += &format!(" --tier {}", self.tier);
        }
        if let Some((at, seed)) = self.branch {
            out += &format!(" --branch-at {}ns --branch-seed {seed:#x}", at.as_nanos());
        }
        out
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The same decisions as a world wants them.
#[must_use]
pub fn overrides(made: &[Named]) -> Overrides {
    let key = |d: &Named| ((d.stream.clone(), d.nth), d.choice);
    made.iter().map(key).collect()
}

fn check_once(made: &[Named]) -> Result<(), DecisionsError> {
    let mut seen = std::collections::BTreeSet::new();
    for Named { stream, nth, .. } in made {
        if !seen.insert((stream, nth)) {
            return Err(DecisionsError::Twice {
                stream: stream.to_string(),
                nth: *nth,
            });
        }
    }
    Ok(())
}

/// Decisions as a line.
#[must_use]
pub fn inline(made: &[Named]) -> String {
    let one = |d: &Named| format!("{}@{}={}", d.stream, d.nth, d.choice);
    let all: Vec<String> = made.iter().map(one).collect();
    all.join(",")
}

/// Reads decisions from a line.
///
/// # Errors
/// When one of them is none, or one draw is decided twice.
pub fn parse_inline(text: &str) -> Result<Vec<Named>, DecisionsError> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let one = |part: &str| {
        let (stream, rest) = part.rsplit_once('@')?;
        let (nth, choice) = rest.split_once('=')?;
        Some(Named {
            stream: stream.into(),
            nth: nth.parse().ok()?,
            choice: choice.parse().ok()?,
        })
    };
    let made: Result<Vec<Named>, DecisionsError> = parts
        .map(|part| one(part).ok_or_else(|| DecisionsError::Inline(part.into())))
        .collect();
    let made = made?;
    check_once(&made)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Decisions {
        Decisions {
            scenario: "socks5_connects".into(),
            seed: 0x1f2e,
            swarm: Some(Swarm::default()),
            branch: Some((Duration::from_nanos(1_500_000_001), 3)),
            tier: Tier::Packet,
            is_calm: true,
            signature: Some(Signature {
                invariant: Invariant::NothingLeft,
                host: "proxy".into(),
            }),
            made: parse_inline("fault/dial-refused/tcp/proxy->[fd00::3]:80#0@0=1,x@2=77").unwrap(),
        }
    }

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let decisions = example();
        assert_eq!(
            Decisions::parse(&decisions.to_json()),
            Ok(decisions.clone())
        );
        let setup = decisions.setup();
        let mut again = Decisions::of(&decisions.scenario, &setup);
        again.signature.clone_from(&decisions.signature);
        assert_eq!(again, decisions);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_error_or_another_file_but_no_panic() {
        let text = example().to_json();
        for len in 0..text.trim_end().len() {
            let cut = text.get(..len).unwrap();
            assert!(
                matches!(Decisions::parse(cut), Err(DecisionsError::Damaged(_))),
                "{cut}"
            );
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 0x15;
            if let Ok(text) = String::from_utf8(bytes) {
                let _ = Decisions::parse(&text);
            }
        }
    }

    #[test]
    fn foreign_files_say_what_they_are() {
        let other = example().to_json().replace("decisions-1", "decisions-9");
        let said = Decisions::parse(&other).unwrap_err().to_string();
        assert!(said.contains("sansbox-decisions-9"), "{said}");
        let said = Decisions::parse("{\"a\": 1}").unwrap_err().to_string();
        assert!(said.contains("missing field `format`"), "{said}");
        let said = example().check_scenario("flood").unwrap_err().to_string();
        assert!(said.contains("of socks5_connects, not of flood"), "{said}");
        let twice = example()
            .to_json()
            .replace("\"x\"", "\"y\"")
            .replace("\"decisions\": [", "\"decisions\": [[\"y\", 2, 1],");
        let said = Decisions::parse(&twice).unwrap_err().to_string();
        assert!(said.contains("draw 2 of \"y\""), "{said}");
    }

    #[test]
    fn lines_come_back_and_bad_lines_are_named() {
        let made = example().made;
        assert_eq!(parse_inline(&inline(&made)), Ok(made));
        assert_eq!(parse_inline(""), Ok(vec![]));
        for bad in ["x", "x@1", "x@1=", "x@-1=2", "x@1=2=3", "@@"] {
            let said = parse_inline(bad).unwrap_err().to_string();
            assert!(said.contains("STREAM@NTH=CHOICE"), "{bad}: {said}");
        }
    }

    #[test]
    fn commands_name_all_that_matters() {
        let command = example().command().unwrap();
        for part in [
            "run socks5_connects --seed 0x1f2e --swarm lite",
            "--tier packet",
            "--branch-at 1500000001ns --branch-seed 0x3",
            "--calm --decisions 'fault/dial-refused/tcp/proxy->[fd00::3]:80#0@0=1,x@2=77'",
        ] {
            assert!(command.contains(part), "{command}");
        }
        let mut many = example();
        many.made = (0..9)
            .map(|nth| Named {
                stream: "x".into(),
                nth,
                choice: 0,
            })
            .collect();
        assert_eq!(many.command(), None);
    }
}
