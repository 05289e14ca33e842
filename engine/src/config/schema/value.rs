//! Scalars in Go's notations.
use core::{fmt::Write as _, net::IpAddr};
use ipnet::IpNet;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A duration in Go's notation plus `d` for 24 hours, in nanoseconds: an optional sign, then
/// decimal numbers with optional fractions and units (`ns us µs ms s m h d`), or a lone `0`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, left) = duration_part(rest)?;
        total = total.checked_add(nanos).filter(|sum| *sum <= 1 << 63)?;
        rest = left;
    }
    if negative {
        return Some(0i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).ok()
}

/// One number with its unit, at the start of `text`, in nanoseconds; and the text after it.
fn duration_part(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = text.split_at_checked(digits(text))?;
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        (fraction, rest) = after.split_at_checked(digits(after))?;
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_len = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_len)?;
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS_PER_SECOND,
        "m" => 60 * NANOS_PER_SECOND,
        "h" => 3_600 * NANOS_PER_SECOND,
        "d" => 86_400 * NANOS_PER_SECOND,
        _ => return None,
    };
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let mut nanos = whole.checked_mul(unit)?;
    // Go drops what is finer than a nanosecond; 18 digits are finer for every unit.
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or_default();
    if let Ok(value) = fraction.parse::<u128>() {
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = value * u128::from(unit) / scale;
        nanos = nanos.checked_add(u64::try_from(part).ok()?)?;
    }
    Some((nanos, rest))
}

/// Nanoseconds as Go writes a duration: `1h30m0s`, `1.5s`, `300ms`, `0s`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let mut out = String::new();
    if nanos < 0 {
        out.push('-');
    }
    let size = nanos.unsigned_abs();
    let (unit, name) = match size {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..NANOS_PER_SECOND => (1_000_000, "ms"),
        _ => (NANOS_PER_SECOND, "s"),
    };
    let mut whole = size / unit;
    if unit == NANOS_PER_SECOND {
        let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
        if hours > 0 {
            let _ = write!(out, "{hours}h");
        }
        if hours > 0 || minutes > 0 {
            let _ = write!(out, "{minutes}m");
        }
        whole %= 60;
    }
    let _ = write!(out, "{whole}");
    let mut fraction = size % unit;
    if fraction > 0 {
        let mut width = unit.ilog10() as usize;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        let _ = write!(out, ".{fraction:0width$}");
    }
    out.push_str(name);
    out
}

/// A whole number as Go reads it. In typed objects every number went through a 64-bit float
/// before, so `80.0` and `8e1` are 80 there; elsewhere only digits are whole.
pub(crate) fn parse_integer(literal: &str, typed: bool) -> Option<i128> {
    if !typed {
        return literal.parse().ok();
    }
    /// From here on Go writes floats with an exponent, which no longer reads as whole.
    const FLOAT_MAX: f64 = 1e21;
    let float: f64 = literal.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "far below i128::MAX")]
    (float.fract() == 0.0 && float.abs() < FLOAT_MAX).then_some(float as i128)
}

/// A whole number that has no sign, not even on zero.
pub(crate) fn parse_unsigned(literal: &str, typed: bool, max: u64) -> Option<u64> {
    let value = parse_integer(literal, typed).filter(|_| !literal.starts_with('-'))?;
    u64::try_from(value).ok().filter(|value| *value <= max)
}

/// A 32-bit number in Go's notation: decimal, `0x`, `0b`, `0o` or a leading `0` for octal, with
/// single underscores between digits and after the prefix.
pub(crate) fn parse_u32(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    let digits = match digits.strip_prefix('_') {
        Some(rest) if radix != 10 => rest,
        _ => digits,
    };
    if digits.split('_').any(str::is_empty) || digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// `10.0.0.1/8` as Go's `netip` reads it, with the bits beyond the length.
pub(crate) fn parse_prefix(text: &str) -> Option<IpNet> {
    let (ip, len) = text.rsplit_once('/')?;
    let canonical = len == "0" || !len.starts_with(['0', '+']);
    let ip: IpAddr = ip.parse().ok()?;
    IpNet::new(ip, len.parse().ok().filter(|_| canonical)?).ok()
}

/// An address that may name a zone (`fe80::1%lo`).
pub(crate) enum ZonedAddress {
    Plain(IpAddr),
    Zoned,
}

/// An address as Go's `netip` reads it.
pub(crate) fn parse_address(text: &str) -> Option<ZonedAddress> {
    if let Some((ip, zone)) = text.split_once('%') {
        let ip: IpAddr = ip.parse().ok()?;
        return (ip.is_ipv6() && !zone.is_empty()).then_some(ZonedAddress::Zoned);
    }
    text.parse().ok().map(ZonedAddress::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanos) in [
            ("30s", Some(30_000_000_000)),
            ("1d2h", Some(93_600_000_000_000)),
            ("2h1d", Some(93_600_000_000_000)),
            ("1.5d", Some(129_600_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("-5s", Some(-5_000_000_000)),
            ("+3s", Some(3_000_000_000)),
            ("1µs", Some(1_000)),
            ("1μs", Some(1_000)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("9223372036s", Some(9_223_372_036_000_000_000)),
            ("9223372037s", None),
            ("106752d", None),
            ("99999999999999999999h", None),
            ("", None),
            ("-", None),
            ("5", None),
            ("d", None),
            (".s", None),
            ("1h 2m", None),
            ("1w", None),
            ("1D", None),
            ("1m30", None),
            ("1e3s", None),
        ] {
            assert_eq!(parse_duration(text), nanos, "{text}");
        }
    }

    #[test]
    fn durations_write_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (129_600_000_000_000, "36h0m0s"),
            (-1_000_000_000, "-1s"),
            (7_766_279_630_452_241_920, "2157299h53m50.45224192s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(nanos), text);
        }
    }

    #[test]
    fn marks_read_as_go_reads_them() {
        for (text, mark) in [
            ("0x2023", Some(0x2023)),
            ("0X20", Some(0x20)),
            ("8227", Some(8227)),
            ("010", Some(8)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("1_000", Some(1000)),
            ("0x_f", Some(15)),
            ("0_7", Some(7)),
            ("0", Some(0)),
            ("zz", None),
            ("", None),
            ("0x", None),
            ("1__0", None),
            ("1_", None),
            ("_1", None),
            ("+1", None),
            ("0x+1", None),
            ("-1", None),
            ("4294967296", None),
        ] {
            assert_eq!(parse_u32(text), mark, "{text}");
        }
    }

    #[test]
    fn whole_numbers_depend_on_where_they_stand() {
        for (literal, typed, value) in [
            ("80", false, Some(80)),
            ("80.0", false, None),
            ("80.0", true, Some(80)),
            ("8e1", true, Some(80)),
            ("1.5", true, None),
            ("-0", true, None),
            ("-1", true, None),
            ("65536", true, None),
            ("1e400", true, None),
        ] {
            assert_eq!(parse_unsigned(literal, typed, 65_535), value, "{literal}");
        }
        assert_eq!(parse_integer("-0", true), Some(0));
    }

    #[test]
    fn addresses_may_name_a_zone() {
        let kind = |text| match parse_address(text) {
            Some(ZonedAddress::Plain(ip)) => ip.to_string(),
            Some(ZonedAddress::Zoned) => "zoned".to_owned(),
            None => "bad".to_owned(),
        };
        assert_eq!(kind("::ffff:1.2.3.4"), "::ffff:1.2.3.4");
        assert_eq!(kind("fe80::1%lo"), "zoned");
        for bad in [
            "",
            "localhost",
            "1.2.3",
            "01.2.3.4",
            "[::1]",
            "1.2.3.4%lo",
            "::1%",
        ] {
            assert_eq!(kind(bad), "bad", "{bad}");
        }
    }
}
