//! CBOR (RFC 8949) as a tree, and a profile out of it, one field after the other.
use sansbox_protocols::paniq::profile::{
    Nanos, Obfuscation, PrivateKey, Profile, PublicKey, Quic, ServerPin,
};

/// Deepest nesting that is looked at.
const DEPTH_MAX: usize = 100;

/// A data item. Of floating-point numbers it is kept that they are.
#[derive(Clone, Debug)]
enum Item {
    Uint(u64),
    /// -1 minus this.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Map(Vec<(Item, Item)>),
    Bool(bool),
    /// `null`, `undefined`.
    Nothing,
    Float(f64),
    /// Arrays, tags and the other simple values, of which a profile has none.
    Other,
}

/// Why there is no item.
enum Stop {
    /// The bytes are no CBOR.
    Bad,
    /// Too deep to say, or not text where nobody looks.
    Unknown,
}

/// What a profile's bytes mean.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// This profile.
    Profile(Box<Profile>),
    /// No profile.
    Refused,
    /// The reference does not say.
    Unknown,
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, n: u64) -> Result<Vec<u8>, Stop> {
        let n = usize::try_from(n).map_err(|_| Stop::Bad)?;
        let (head, rest) = self.0.split_at_checked(n).ok_or(Stop::Bad)?;
        self.0 = rest;
        Ok(head.to_vec())
    }

    /// Major type, and the argument; none for an indefinite length.
    fn head(&mut self) -> Result<(u8, u8, Option<u64>), Stop> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let argument = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
            }
            31 => None,
            _ => return Err(Stop::Bad),
        };
        Ok((major, info, argument))
    }

    fn is_break(&mut self) -> bool {
        let is_break = self.0.first() == Some(&0xff);
        if is_break {
            self.0 = &self.0[1..];
        }
        is_break
    }

    /// A string, in parts or not.
    fn string(&mut self, major: u8, len: Option<u64>) -> Result<Vec<Vec<u8>>, Stop> {
        if let Some(len) = len {
            return Ok(vec![self.take(len)?]);
        }
        let mut parts = Vec::new();
        while !self.is_break() {
            match self.head()? {
                (part, _, Some(len)) if part == major => parts.push(self.take(len)?),
                _ => return Err(Stop::Bad),
            }
        }
        Ok(parts)
    }

    fn item(&mut self, depth: usize) -> Result<Item, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Unknown);
        }
        let (major, info, argument) = self.head()?;
        Ok(match (major, argument) {
            (0, Some(n)) => Item::Uint(n),
            (1, Some(n)) => Item::Negative(n),
            (2, len) => Item::Bytes(self.string(2, len)?.concat()),
            (3, len) => {
                let parts = self.string(3, len)?;
                let parts: Result<String, _> = parts.into_iter().map(String::from_utf8).collect();
                Item::Text(parts.map_err(|_| Stop::Unknown)?)
            }
            (4, len) => {
                let mut left = len;
                while self.goes_on(&mut left) {
                    self.item(depth + 1)?;
                }
                Item::Other
            }
            (5, len) => {
                let (mut left, mut entries) = (len, Vec::new());
                while self.goes_on(&mut left) {
                    entries.push((self.item(depth + 1)?, self.item(depth + 1)?));
                }
                Item::Map(entries)
            }
            (6, Some(_)) => {
                self.item(depth + 1)?;
                Item::Other
            }
            (7, Some(n)) => simple(info, n)?,
            _ => return Err(Stop::Bad),
        })
    }

    fn goes_on(&mut self, left: &mut Option<u64>) -> bool {
        match left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => !self.is_break(),
        }
    }
}

fn simple(info: u8, n: u64) -> Result<Item, Stop> {
    let narrow = |n: u64| u32::try_from(n).unwrap_or_default();
    Ok(match info {
        20 | 21 => Item::Bool(info == 21),
        22 | 23 => Item::Nothing,
        25 => Item::Float(half(narrow(n))),
        26 => Item::Float(f32::from_bits(narrow(n)).into()),
        27 => Item::Float(f64::from_bits(n)),
        // Two bytes for a value that has one of its own.
        24 if n < 32 => return Err(Stop::Unknown),
        _ => Item::Other,
    })
}

/// RFC 8949 appendix D.
fn half(bits: u32) -> f64 {
    let (exponent, mantissa) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(i32::try_from(exponent).unwrap_or_default() - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// What `data` means.
pub(crate) fn meaning(data: &[u8]) -> Meaning {
    let mut reader = Reader(data);
    let root = match reader.item(0) {
        Ok(root) if reader.0.is_empty() => root,
        Ok(_) | Err(Stop::Bad) => return Meaning::Refused,
        Err(Stop::Unknown) => return Meaning::Unknown,
    };
    match profile(root) {
        Some(profile) => Meaning::Profile(Box::new(profile)),
        None => Meaning::Refused,
    }
}

/// Calls `set` with every number and value of a map, in order.
fn entries(item: Item, mut set: impl FnMut(u64, Item) -> Option<()>) -> Option<()> {
    let Item::Map(entries) = item else {
        return None;
    };
    let mut entries = entries.into_iter();
    entries.try_for_each(|(key, value)| set(uint(key)?, value))
}

fn profile(root: Item) -> Option<Profile> {
    let (mut p, mut version) = (Profile::default(), None);
    entries(root, |key, item| {
        match key {
            0 => version = Some(uint(item)?),
            1 => p.name = text(item)?,
            2 => p.proxy_addr = text(item)?,
            3 => p.handshake_timeout = millis(item)?,
            4 => p.handshake_attempts = count(item)?,
            5 => p.preamble_delay_ms = count(item)?,
            6 => p.preamble_jitter_ms = count(item)?,
            7 => p.quic = quic(item)?,
            8 => p.obfuscation = obfuscation(item)?,
            9 => p.transport_padding = padding(item)?,
            1000 => p.server_pin = key_bytes(item)?.map(ServerPin::new),
            1001 => p.sansbox_udp = boolean(item)?,
            _ => {}
        }
        Some(())
    })?;
    (version == Some(1)).then_some(p)
}

fn quic(item: Item) -> Option<Quic> {
    let mut q = Quic::default();
    entries(item, |key, item| {
        match key {
            1 => q.max_packet_size = count(item)?,
            2 => q.max_payload = count(item)?,
            3 => q.keepalive = millis(item)?,
            4 => q.idle_timeout = millis(item)?,
            5 => q.max_streams = count(item)?,
            _ => {}
        }
        Some(())
    })?;
    Some(q)
}

fn padding(item: Item) -> Option<sansbox_protocols::paniq::profile::Padding> {
    let mut p = sansbox_protocols::paniq::profile::Padding::default();
    entries(item, |key, item| {
        match (key, item) {
            (1, item) => p.pad_min = Some(count(item)?),
            (2, item) => p.pad_max = Some(count(item)?),
            (3, item) => p.pad_burst_min = Some(count(item)?),
            (4, item) => p.pad_burst_max = Some(count(item)?),
            (5, Item::Float(value)) => p.pad_burst_prob = Some(value),
            (5, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    Some(p)
}

fn obfuscation(item: Item) -> Option<Obfuscation> {
    let mut o = Obfuscation::default();
    entries(item, |key, item| {
        let at = |first: u64| usize::try_from(key - first).unwrap_or_default();
        match key {
            1 => o.jc = int(item)?,
            2 => o.jmin = int(item)?,
            3 => o.jmax = int(item)?,
            4..=7 => o.s[at(4)] = int(item)?,
            8..=11 => o.h[at(8)] = text(item)?,
            12..=16 => o.i[at(12)] = text(item)?,
            17 => o.server_private_key = key_bytes(item)?.map(PrivateKey::new),
            18 => o.server_public_key = key_bytes(item)?.map(PublicKey::new),
            19 => o.signature_validate = Some(boolean(item)?),
            20 => o.require_timestamp = Some(boolean(item)?),
            21 => o.encrypted_timestamp = Some(boolean(item)?),
            22 => o.require_encrypted_timestamp = Some(boolean(item)?),
            23 => o.legacy_mode_enabled = Some(boolean(item)?),
            24 => o.legacy_mode_sunset = text(item)?,
            25 => o.legacy_mode_max_days = count(item)?,
            26 => o.skew_soft_seconds = count(item)?,
            27 => o.skew_hard_seconds = count(item)?,
            28 => o.replay_window_seconds = count(item)?,
            29 => o.replay_cache_size = count(item)?,
            30 => o.transport_replay = boolean(item)?,
            31 => o.transport_replay_limit = uint(item)?,
            32 => o.rate_limit_pps = count(item)?,
            33 => o.rate_limit_burst = count(item)?,
            _ => {}
        }
        Some(())
    })?;
    Some(o)
}

fn uint(item: Item) -> Option<u64> {
    if let Item::Uint(n) = item {
        Some(n)
    } else {
        None
    }
}

fn count(item: Item) -> Option<i64> {
    i64::try_from(uint(item)?).ok()
}

fn int(item: Item) -> Option<i64> {
    if let Item::Negative(n) = item {
        i64::try_from(n).ok().map(|n| -1 - n)
    } else {
        count(item)
    }
}

fn millis(item: Item) -> Option<Nanos> {
    count(item)?.checked_mul(1_000_000).map(Nanos)
}

fn text(item: Item) -> Option<String> {
    if let Item::Text(text) = item {
        Some(text)
    } else {
        matches!(item, Item::Nothing).then(String::new)
    }
}

fn boolean(item: Item) -> Option<bool> {
    if let Item::Bool(yes) = item {
        Some(yes)
    } else {
        None
    }
}

fn key_bytes(item: Item) -> Option<Option<[u8; 32]>> {
    let Item::Bytes(bytes) = item else {
        return None;
    };
    if bytes.is_empty() {
        return Some(None);
    }
    bytes.try_into().ok().map(Some)
}
