//! Links in words: `20ms ±2ms, 10Mbit, loss 1%; in 100Mbit`.
//!
//! Items are parted by commas. Behind a semicolon, `out` or `in` begins what holds for that way
//! alone, on top of what holds for both.
//!
//! | item | means |
//! |---|---|
//! | `20ms` | latency; units `ns`, `us`, `ms`, `s`, `min` |
//! | `20ms ±2ms`, `20ms +-2ms` | from 18 to 22 ms, evenly |
//! | `20ms ~2ms` | normal, with that standard deviation |
//! | `ordered` | nobody overtakes, whatever the jitter |
//! | `10Mbit`, `10Mbit burst 15kB` | rate, token bucket; units `bit`, `kbit`, `Mbit`, `Gbit` |
//! | `queue 50`, `queue 64kB` | packets or octets that wait at most |
//! | `codel`, `codel 5ms/100ms`, `codel-ecn` | drops, or marks, by time waited |
//! | `loss 1%` | each for itself |
//! | `loss burst 1%/25%` | into the bad state, and out of it; all is lost there |
//! | `loss every 7`, `loss nth 3` | by count |
//! | `loss syn 5%` | of a kind: `syn`, `fin`, `rst`, `ack`, `udp`, `tcp` |
//! | `dup 1%` | comes twice |
//! | `flip 1%`, `truncate 1%`, `extend 1%` | damaged, noticed by the checksum |
//! | `flip! 1%` | the same, unnoticed |
//! | `mtu 1280`, `mtu 1280 drop`, `mtu 1280 fragment` | answered, lost, or cut |
//! | `ecn 1%`, `ecn bleach` | marked, or marks cleared |
use super::{
    codel::Codel,
    corrupt::{Corruption, Damage},
    link::{Jitter, Link, Marks, Settings},
    loss::{Loss, Select},
    mtu::{Mtu, TooLong},
    queue::Line,
};
use core::{fmt, str::FromStr, time::Duration};

/// Octets that `extend` adds at most.
const EXTEND_LEN_MAX: usize = 64;

/// A link that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLink {
    /// The item that is wrong.
    pub item: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.item, self.why)
    }
}

impl std::error::Error for BadLink {}

type Parsed<T> = Result<T, &'static str>;

/// A number and the unit behind it.
fn split(text: &str) -> Parsed<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| "a whole number is wanted")?;
    Ok((number, unit))
}

fn scaled(number: u64, by: u64) -> Parsed<u64> {
    number.checked_mul(by).ok_or("too large")
}

fn duration(text: &str) -> Parsed<Duration> {
    let (number, unit) = split(text)?;
    let nanos = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        _ => return Err("a time has a unit: ns, us, ms, s or min"),
    };
    Ok(Duration::from_nanos(scaled(number, nanos)?))
}

/// Octets per second.
fn rate(text: &str) -> Parsed<u64> {
    let (number, unit) = split(text)?;
    let bits = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        _ => return Err("a rate has a unit: bit, kbit, Mbit or Gbit"),
    };
    match scaled(number, bits)? / 8 {
        0 => Err("less than one octet per second"),
        octets => Ok(octets),
    }
}

fn octets(text: &str) -> Parsed<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        _ => return Err("a size has a unit: B, kB or MB"),
    };
    scaled(number, factor)
}

/// Millionths of a share in percent, with up to four decimals.
fn share(text: &str) -> Parsed<u32> {
    const WRONG: &str = "a share is a percentage from 0% to 100%, with up to four decimals";
    let number = text.strip_suffix('%').ok_or(WRONG)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 4 {
        return Err(WRONG);
    }
    let whole: u32 = whole.parse().map_err(|_| WRONG)?;
    let decimals: u32 = format!("{decimals:0<4}").parse().map_err(|_| WRONG)?;
    let millionths = whole.checked_mul(10_000).ok_or(WRONG)? + decimals;
    if millionths > 1_000_000 {
        return Err(WRONG);
    }
    Ok(millionths)
}

fn count<T: FromStr>(text: &str) -> Parsed<T> {
    text.parse().map_err(|_| "a whole number is wanted")
}

fn loss(words: &[&str]) -> Parsed<Loss> {
    match words {
        [rate] => Ok(Loss::Random(share(rate)?)),
        ["burst", rates] => {
            let (to_bad, to_good) = rates
                .split_once('/')
                .ok_or("two shares are wanted, as in 1%/25%")?;
            Ok(Loss::Burst {
                to_bad: share(to_bad)?,
                to_good: share(to_good)?,
                in_good: 0,
                in_bad: 1_000_000,
            })
        }
        ["every", n] => match count(n)? {
            0 => Err("every 0th is none"),
            n => Ok(Loss::Every(n)),
        },
        ["nth", n] => match count(n)? {
            0 => Err("packets are counted from 1"),
            n => Ok(Loss::Nth(n)),
        },
        [kind, rate] => {
            let select = match *kind {
                "syn" => Select::Syn,
                "fin" => Select::Fin,
                "rst" => Select::Rst,
                "ack" => Select::PureAck,
                "udp" => Select::Udp,
                "tcp" => Select::Tcp,
                _ => return Err("no such loss"),
            };
            Ok(Loss::Of(select, share(rate)?))
        }
        _ => Err("no such loss"),
    }
}

fn latency(settings: &mut Settings, words: &[&str]) -> Parsed<()> {
    let (first, rest) = words.split_first().ok_or("nothing is said")?;
    settings.latency = duration(first)?;
    settings.jitter = match rest {
        [] => Jitter::None,
        [more] => {
            if let Some(deviation) = more.strip_prefix('~') {
                Jitter::Normal(duration(deviation)?)
            } else {
                let around = more.strip_prefix('±').or_else(|| more.strip_prefix("+-"));
                let around = duration(around.ok_or("behind a latency comes ±jitter or ~jitter")?)?;
                let least = settings.latency.checked_sub(around);
                settings.latency = least.ok_or("the jitter is longer than the latency")?;
                Jitter::Uniform(around * 2)
            }
        }
        _ => return Err("behind a latency comes ±jitter or ~jitter"),
    };
    Ok(())
}

fn damage(word: &str) -> Option<(Damage, bool)> {
    let (name, is_unnoticed) = match word.strip_suffix('!') {
        Some(name) => (name, true),
        None => (word, false),
    };
    let damage = match name {
        "flip" => Damage::Bits(1),
        "truncate" => Damage::Truncate,
        "extend" => Damage::Extend(EXTEND_LEN_MAX),
        _ => return None,
    };
    Some((damage, is_unnoticed))
}

fn codel(marks: bool, words: &[&str]) -> Parsed<Codel> {
    let mut codel = Codel {
        marks,
        ..Codel::default()
    };
    match words {
        [] => {}
        [times] => {
            let (target, interval) = times
                .split_once('/')
                .ok_or("two times are wanted, as in 5ms/100ms")?;
            codel.target = duration(target)?;
            codel.interval = duration(interval)?;
        }
        _ => return Err("two times are wanted, as in 5ms/100ms"),
    }
    Ok(codel)
}

fn mtu(words: &[&str]) -> Parsed<Mtu> {
    let (first, rest) = words.split_first().ok_or("octets are wanted")?;
    let too_long = match rest {
        [] | ["answer"] => TooLong::Answer,
        ["drop"] => TooLong::Drop,
        ["fragment"] => TooLong::Fragment,
        _ => return Err("longer packets get an answer, drop or fragment"),
    };
    let octets = count(first)?;
    if octets < 68 {
        return Err("68 octets pass everywhere (RFC 791)");
    }
    Ok(Mtu { octets, too_long })
}

fn item(settings: &mut Settings, words: &[&str]) -> Parsed<()> {
    let (first, rest) = words.split_first().ok_or("nothing is said")?;
    match (*first, rest) {
        ("ordered", []) => settings.keeps_order = true,
        ("queue", [size]) => match count(size) {
            Ok(packets) => settings.queue.packets = packets,
            Err(_) => {
                settings.queue.octets = usize::try_from(octets(size)?).unwrap_or(usize::MAX);
            }
        },
        ("codel", rest) => settings.queue.codel = Some(codel(false, rest)?),
        ("codel-ecn", rest) => settings.queue.codel = Some(codel(true, rest)?),
        ("loss", rest) => settings.loss.push(loss(rest)?),
        ("dup", [rate]) => settings.duplication = share(rate)?,
        ("mtu", rest) => settings.mtu = Some(mtu(rest)?),
        ("ecn", ["bleach"]) => settings.marks = Marks::Bleached,
        ("ecn", [rate]) => settings.marks = Marks::Set(share(rate)?),
        (word, rest) => match (damage(word), rest) {
            (Some((damage, is_unnoticed)), [rate]) => settings.corruption.push(Corruption {
                damage,
                rate: share(rate)?,
                is_unnoticed,
            }),
            (None, []) if word.ends_with("bit") => {
                let rate = rate(word)?;
                settings.line = Some(Line::Rate { rate, burst: 0 });
            }
            (None, ["burst", burst]) => {
                let (rate, burst) = (rate(word)?, octets(burst)?);
                settings.line = Some(Line::Rate { rate, burst });
            }
            (None, _) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                latency(settings, words)?;
            }
            (Some(_) | None, _) => return Err("not understood"),
        },
    }
    Ok(())
}

fn items(settings: &mut Settings, text: &str) -> Result<(), BadLink> {
    for text in text.split(',') {
        let words: Vec<&str> = text.split_whitespace().collect();
        item(settings, &words).map_err(|why| BadLink {
            item: text.trim().into(),
            why,
        })?;
    }
    Ok(())
}

impl FromStr for Settings {
    type Err = BadLink;

    fn from_str(text: &str) -> Result<Self, BadLink> {
        let mut settings = Self::default();
        items(&mut settings, text)?;
        Ok(settings)
    }
}

impl FromStr for Link {
    type Err = BadLink;

    fn from_str(text: &str) -> Result<Self, BadLink> {
        let mut parts = text.split(';').map(str::trim);
        let both = parts.next().unwrap_or_default();
        let mut out: Settings = if both.is_empty() && text.contains(';') {
            Settings::default()
        } else {
            both.parse()?
        };
        let mut back = out.clone();
        for part in parts {
            let (way, rest) = part.split_once(' ').unwrap_or((part, ""));
            let lane = match way {
                "out" => &mut out,
                "in" => &mut back,
                _ => {
                    return Err(BadLink {
                        item: part.into(),
                        why: "behind a semicolon comes out or in",
                    });
                }
            };
            items(lane, rest)?;
        }
        Ok(Self::asymmetric(out, back))
    }
}
