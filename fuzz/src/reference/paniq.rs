//! paniq: frames, chains, payloads and requests.
use std::ops::Range;

/// Which of the four kinds a datagram is, and where its payload begins.
pub(crate) fn frame(s: [usize; 4], h: [(u32, u32); 4], datagram: &[u8]) -> Option<(usize, usize)> {
    let fits = |kind: &usize| {
        let at = s[*kind];
        datagram.len() >= at + 4 && {
            let header = (0..4).fold(0_u64, |sum, n| {
                sum + (u64::from(datagram[at + n]) << (8 * n))
            });
            (u64::from(h[*kind].0)..=u64::from(h[*kind].1)).contains(&header)
        }
    };
    let candidates: Vec<_> = (0..4).filter(fits).collect();
    match candidates[..] {
        [kind] => Some((kind, s[kind] + 4)),
        _ => None,
    }
}

/// How long the datagrams of a chain are and how many tags it has; `None` when it is none.
pub(crate) fn chain(text: &str) -> Option<(usize, usize)> {
    let (mut len, mut tags) = (0_usize, 0);
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>')?;
        let fields: Vec<_> = rest[at + 1..at + end].split_whitespace().collect();
        let argument = fields.get(1).copied().unwrap_or("");
        len += match *fields.first()? {
            "t" => 4,
            "d" | "ds" => 0,
            "b" => {
                let digits = argument.strip_prefix("0x").unwrap_or(argument);
                let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
                if digits.is_empty() || digits.len() % 2 == 1 || !is_hex {
                    return None;
                }
                digits.len() / 2
            }
            "r" | "rc" | "rd" | "dz" => {
                let n: i128 = argument.parse().ok()?;
                usize::try_from(n).ok().filter(|n| *n <= 65_507)?
            }
            _ => return None,
        };
        tags += 1;
        rest = &rest[at + end + 1..];
    }
    (len <= 65_507).then_some((len, tags))
}

/// The counter of a payload, and where its QUIC datagram is.
pub(crate) fn payload(has_counter: bool, payload: &[u8]) -> Option<(u64, Range<usize>)> {
    let head = if has_counter { 10 } else { 2 };
    if payload.len() < head {
        return None;
    }
    let big_endian = |octets: &[u8]| octets.iter().fold(0, |sum, o| (sum << 8) | u64::from(*o));
    let counter = big_endian(&payload[..head - 2]);
    let len = big_endian(&payload[head - 2..head]) as usize;
    let is_good = (1..=1452).contains(&len) && head + len <= payload.len();
    is_good.then_some((counter, head..head + len))
}

/// How long the message at the front is, whose address begins at `at`: `Ok(None)` when it is not
/// whole yet.
pub(crate) fn message(bytes: &[u8], at: usize) -> Result<Option<usize>, ()> {
    if bytes.first().is_some_and(|version| *version != 1) {
        return Err(());
    }
    let address = match bytes.get(at..) {
        Some([1, ..]) => 4,
        Some([4, ..]) => 16,
        Some([3, len, ..]) => 1 + usize::from(*len),
        None | Some([] | [3]) => return Ok(None),
        Some(_) => return Err(()),
    };
    let len = at + 1 + address + 2;
    Ok((bytes.len() >= len).then_some(len))
}
