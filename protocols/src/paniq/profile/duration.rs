//! Durations as Go writes and reads them.
use std::{fmt, time::Duration};
use thiserror::Error;

/// A span of time in nanoseconds, with a sign: what Go calls a duration. Profiles write it as
/// text, such as `500ms` or `1h30m`; a zero stands for "not given".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

/// The text is no duration in Go's syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no duration such as \"500ms\" or \"1h30m\"")]
pub struct BadDuration;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLI;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Nanos {
    /// `seconds` as a duration.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND.cast_signed()))
    }

    /// Reads what Go's `time.ParseDuration` reads: a sign, then numbers with an optional fraction
    /// and a unit each (`ns`, `us`, `µs`, `ms`, `s`, `m`, `h`), or a lone `0`.
    ///
    /// # Errors
    /// [`BadDuration`], also for what does not fit 64 bits.
    pub fn parse(text: &str) -> Result<Self, BadDuration> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if unsigned == "0" {
            return Ok(Self(0));
        }
        let mut rest = unsigned;
        let mut total = 0_u64;
        loop {
            let (part, behind) = one(rest)?;
            total = total.checked_add(part).ok_or(BadDuration)?;
            // The most negative number has no positive twin.
            if total > 1 << 63 {
                return Err(BadDuration);
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        match (text.starts_with('-'), i64::try_from(total)) {
            (false, Ok(nanos)) => Ok(Self(nanos)),
            (true, Ok(nanos)) => Ok(Self(-nanos)),
            (true, Err(_)) => Ok(Self(i64::MIN)),
            (false, Err(_)) => Err(BadDuration),
        }
    }

    /// The duration, or none when it is zero or negative, which stands for the default.
    #[must_use]
    pub fn positive(self) -> Option<Duration> {
        let nanos = u64::try_from(self.0).ok().filter(|nanos| *nanos > 0);
        nanos.map(Duration::from_nanos)
    }

    /// Whole milliseconds, rounded down, but at least one; none when it is zero or negative.
    #[must_use]
    pub fn positive_millis(self) -> Option<u64> {
        let nanos = u64::try_from(self.0).ok().filter(|nanos| *nanos > 0);
        // Zero would stand for the default.
        nanos.map(|nanos| (nanos / MILLI).max(1))
    }

    /// `millis` as a duration, if it fits.
    #[must_use]
    pub fn from_millis(millis: u64) -> Option<Self> {
        let nanos = millis.checked_mul(MILLI)?;
        i64::try_from(nanos).ok().map(Self)
    }
}

/// One number with its unit in nanoseconds, and what follows it.
fn one(text: &str) -> Result<(u64, &str), BadDuration> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(BadDuration);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit());
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let unit = match unit {
        "ns" => 1,
        // Micro sign and Greek mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ms" => MILLI,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return Err(BadDuration),
    };
    let whole = match whole {
        "" => 0,
        whole => whole.parse::<u64>().map_err(|_| BadDuration)?,
    };
    let total = whole.checked_mul(unit).ok_or(BadDuration)?;
    total
        .checked_add(part_of(unit, fraction))
        .map(|total| (total, rest))
        .ok_or(BadDuration)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// `0.fraction` of `unit` in binary floating point, as Go computes it; digits that do not fit 63
/// bits are left out.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is Go's"
)]
fn part_of(unit: u64, fraction: &str) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0);
    for digit in fraction.bytes() {
        let next = value
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(digit - b'0')));
        let Some(next) = next.filter(|n| *n <= 1 << 63) else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

impl fmt::Display for Nanos {
    /// As Go's `Duration.String`: `2m0s`, `1.5s`, `100ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => return f.write_str("0s"),
            1..1000 => return write!(f, "{nanos}ns"),
            1000..MILLI => return decimal(f, nanos, 1000, "\u{b5}s"),
            MILLI..SECOND => return decimal(f, nanos, MILLI, "ms"),
            _ => {}
        }
        if nanos >= HOUR {
            write!(f, "{}h", nanos / HOUR)?;
        }
        if nanos >= MINUTE {
            write!(f, "{}m", nanos % HOUR / MINUTE)?;
        }
        decimal(f, nanos % MINUTE, SECOND, "s")
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let part = nanos % unit;
    if part != 0 {
        let width = usize::try_from(unit.ilog10()).unwrap_or_default();
        let text = format!("{part:0width$}");
        write!(f, ".{}", text.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_syntax_is_read() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("500ms", 500_000_000),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("2m0s", 120_000_000_000),
            ("-1.5s", -1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1us", 1000),
            ("1\u{b5}s", 1000),
            ("1\u{3bc}s2ns", 1002),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(Nanos::parse(text), Ok(Nanos(nanos)), "{text}");
        }
        for text in [
            "",
            "-",
            "5",
            "s",
            ".s",
            "5 s",
            " 5s",
            "5s ",
            "1d",
            "1e3s",
            "+-5s",
            "5S",
            "5\u{b5}",
            "9223372036854775808ns",
            "-9223372036854775809ns",
            "3000000h",
            "99999999999999999999s",
        ] {
            assert_eq!(Nanos::parse(text), Err(BadDuration), "{text}");
        }
    }

    #[test]
    fn it_is_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (120_000_000_000, "2m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanos: i64) {
            prop_assert_eq!(Nanos::parse(&Nanos(nanos).to_string()), Ok(Nanos(nanos)));
        }

        #[test]
        fn any_text_is_survived(text in "[-+0-9.nuµmsh]{0,30}") {
            let _ = Nanos::parse(&text);
        }
    }
}
