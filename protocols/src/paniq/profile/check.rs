//! Checks a profile for one of its sides (`docs/protocols/paniq.md`, The profile, also for what the
//! Go programs accept and then cannot work with).
use super::{
    duration::Nanos,
    keys::PublicKey,
    model::{Obfuscation, Profile, default},
    padding,
    problem::{Invalid, Problem, Reason, Warning, WarningKind},
    settings::{Checked, ClientSettings, ServerSettings, Shared},
};
use crate::paniq::{
    mac::MAC1_LEN,
    obf::{HEADER_LEN, Kind, Params, Spec, UDP_PAYLOAD_LEN_MAX},
    preamble::{ATTEMPTS_DEFAULT, RateLimit},
    timestamp::ENCRYPTED_LEN,
    transport::{Budget, BudgetError, Counting, INNER_LEN_MAX, Padding, Sizes},
};
use sansbox_core::{Host, Target};
use std::{sync::Arc, time::Duration};

/// Paths of fields that are named more than once.
const PRIVATE_KEY: &str = "obfuscation.server_private_key";
const PUBLIC_KEY: &str = "obfuscation.server_public_key";
const REQUIRE_TIMESTAMP: &str = "obfuscation.require_timestamp";
const PIN: &str = "server_pin";
const DELAY: &str = "preamble_delay_ms";

/// Most of anything that is counted here; 136 years, if it is seconds.
const COUNT_MAX: u32 = u32::MAX;
/// Datagrams per second that a limiter with nanoseconds can tell apart.
const PER_SECOND_MAX: u32 = 1_000_000_000;
const DEFAULT_STREAMS: u32 = 256;
const DEFAULT_SKEW_SOFT: u32 = 15;
const DEFAULT_SKEW_HARD: u32 = 30;
const DEFAULT_REPLAY_WINDOW: u32 = 30;
const DEFAULT_REPLAY_CACHE: u32 = 4096;
const DEFAULT_BURST: u32 = 5;
const SECONDS_PER_DAY: u64 = 86_400;
/// Header, encrypted time and MAC behind the prefix of an Initiation, at most, in bytes.
const INITIATION_LEN: usize = HEADER_LEN + ENCRYPTED_LEN + MAC1_LEN;

impl Profile {
    /// What the profile means to a client. Fields that only a server reads are not looked at.
    ///
    /// # Errors
    /// [`Invalid`] with every field that is wrong.
    pub fn client(&self) -> Result<Checked<ClientSettings>, Invalid> {
        let mut check = Check::default();
        let shared = check.shared(self);
        let server = check.address(&self.proxy_addr);
        let obfuscation = &self.obfuscation;
        if *obfuscation == Obfuscation::default() {
            check.refuse("obfuscation", Reason::Required);
        }
        if obfuscation.server_private_key.is_some() {
            check.refuse(PRIVATE_KEY, Reason::PrivateKeyAtClient);
        }
        let server_key = obfuscation.server_public_key.clone();
        if server_key.as_ref().is_some_and(PublicKey::is_low_order) {
            check.refuse(PUBLIC_KEY, Reason::LowOrderKey);
        }
        let attempts = self.handshake_attempts;
        let attempts = check.count("handshake_attempts", attempts, ATTEMPTS_DEFAULT, COUNT_MAX);
        let mut millis = |field, value| {
            let millis = check.count(field, value, 0, COUNT_MAX);
            Duration::from_millis(millis.into())
        };
        let delay = millis(DELAY, self.preamble_delay_ms);
        let jitter = millis("preamble_jitter_ms", self.preamble_jitter_ms);
        if let Some(shared) = &shared {
            check.pauses(shared, delay);
        }
        let encrypted_timestamp = obfuscation.encrypted_timestamp.unwrap_or(true);
        check.done(|| {
            Some(ClientSettings {
                shared: shared?,
                server: server?,
                encrypted_timestamp: encrypted_timestamp && server_key.is_some(),
                server_key,
                pin: self.server_pin.clone(),
                attempts,
                delay,
                jitter,
            })
        })
    }

    /// What the profile means to a server that starts at `now_unix`, in Unix seconds. Fields that
    /// only a client reads are not looked at.
    ///
    /// # Errors
    /// [`Invalid`] with every field that is wrong.
    pub fn server(&self, now_unix: u64) -> Result<Checked<ServerSettings>, Invalid> {
        let mut check = Check::default();
        let shared = check.shared(self);
        let from = &self.obfuscation;
        if spec(from) == Spec::default() {
            check.refuse("obfuscation", Reason::NoObfuscation);
        }
        let private_key = from.server_private_key.clone();
        check.pair(from);
        check.pin(self);
        if private_key.is_none() {
            check.warn(PRIVATE_KEY, WarningKind::NoKey);
        }
        let signature_validate = from.signature_validate.unwrap_or(true);
        let require_timestamp = from.require_timestamp.unwrap_or(true);
        let require_encrypted_timestamp = from.require_encrypted_timestamp.unwrap_or(false);
        if require_timestamp && !signature_validate {
            check.refuse(REQUIRE_TIMESTAMP, Reason::NeedsValidation);
        }
        if require_encrypted_timestamp && private_key.is_none() {
            let field = "obfuscation.require_encrypted_timestamp";
            check.refuse(field, Reason::NeedsPrivateKey);
        }
        if let (Some(shared), true, false) =
            (&shared, require_timestamp, require_encrypted_timestamp)
            && !shared.params.signatures().any(|s| s.has_timestamp())
        {
            check.refuse(REQUIRE_TIMESTAMP, Reason::NeedsTimestamp);
        }
        let legacy_until = check.legacy(from, now_unix);
        let rate_limit = check.rate_limit(from, shared.as_ref());
        let mut count = |field, value, default| {
            check.count(&format!("obfuscation.{field}"), value, default, COUNT_MAX)
        };
        let skew_soft = count(
            "skew_soft_seconds",
            from.skew_soft_seconds,
            DEFAULT_SKEW_SOFT,
        );
        let skew_hard = count(
            "skew_hard_seconds",
            from.skew_hard_seconds,
            DEFAULT_SKEW_HARD,
        );
        let window = from.replay_window_seconds;
        let window = count("replay_window_seconds", window, DEFAULT_REPLAY_WINDOW);
        let cache = from.replay_cache_size;
        let replays_max = count("replay_cache_size", cache, DEFAULT_REPLAY_CACHE);
        let seconds = |n: u32| Duration::from_secs(n.into());
        let encrypted_timestamp =
            require_encrypted_timestamp || from.encrypted_timestamp.unwrap_or(true);
        check.done(|| {
            Some(ServerSettings {
                shared: shared?,
                encrypted_timestamp: encrypted_timestamp && private_key.is_some(),
                private_key,
                signature_validate,
                require_timestamp,
                require_encrypted_timestamp,
                legacy_until,
                skew_soft: seconds(skew_soft),
                skew_hard: seconds(skew_hard),
                replay_window: seconds(window),
                replays_max: usize::try_from(replays_max).unwrap_or(usize::MAX),
                attempts: match self.handshake_attempts {
                    ..=0 => ATTEMPTS_DEFAULT,
                    given => u32::try_from(given).unwrap_or(COUNT_MAX),
                },
                rate_limit,
            })
        })
    }
}

/// The framer's parameters as they are written.
fn spec(obfuscation: &Obfuscation) -> Spec<'_> {
    Spec {
        jc: obfuscation.jc,
        jmin: obfuscation.jmin,
        jmax: obfuscation.jmax,
        s: obfuscation.s,
        h: obfuscation.h.each_ref().map(String::as_str),
        i: obfuscation.i.each_ref().map(String::as_str),
    }
}

fn or(span: Nanos, default: Nanos) -> Duration {
    let given = span.positive().or_else(|| default.positive());
    given.unwrap_or_default()
}

fn budget_problem(error: BudgetError) -> Problem {
    let packet = "quic.max_packet_size";
    let payload = "quic.max_payload";
    let (field, reason) = match error {
        BudgetError::PacketTooSmall => (packet, Reason::BudgetTooSmall),
        BudgetError::PacketTooLarge => (packet, Reason::AtMost(UDP_PAYLOAD_LEN_MAX as u64)),
        BudgetError::PayloadTooSmall => (payload, Reason::PayloadTooSmall),
        BudgetError::PayloadAboveBudget => (payload, Reason::PayloadAboveBudget),
        BudgetError::PayloadTooLarge => (payload, Reason::AtMost(INNER_LEN_MAX as u64)),
        BudgetError::PaddingAboveHeadroom { headroom, .. } => {
            (padding::MIN, Reason::AboveHeadroom(headroom))
        }
    };
    Problem::new(field, reason)
}

/// What was found so far.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Check {
    fn refuse(&mut self, field: &str, reason: Reason) {
        self.problems.push(Problem::new(field, reason));
    }

    fn warn(&mut self, field: &str, kind: WarningKind) {
        let field = field.to_owned();
        self.warnings.push(Warning { field, kind });
    }

    /// The settings that `make` puts together from its parts, which are all there when nothing
    /// was refused.
    fn done<S>(self, make: impl FnOnce() -> Option<S>) -> Result<Checked<S>, Invalid> {
        match make() {
            Some(settings) if self.problems.is_empty() => Ok(Checked {
                settings,
                warnings: self.warnings,
            }),
            _ => Err(Invalid(self.problems)),
        }
    }

    /// A number of which zero and less stand for `default`.
    fn count(&mut self, field: &str, value: i64, default: u32, max: u32) -> u32 {
        if value <= 0 {
            return default;
        }
        match u32::try_from(value) {
            Ok(value) if value <= max => value,
            _ => {
                self.refuse(field, Reason::AtMost(max.into()));
                default
            }
        }
    }

    fn address(&mut self, text: &str) -> Option<Target> {
        let field = "proxy_addr";
        if text.is_empty() {
            self.refuse(field, Reason::Required);
            return None;
        }
        let parsed = address(text);
        if parsed.is_none() {
            self.refuse(field, Reason::Address);
        }
        parsed
    }

    fn shared(&mut self, profile: &Profile) -> Option<Shared> {
        let from = &profile.obfuscation;
        let params = Params::parse(&spec(from)).map_err(|error| {
            let field = format!("obfuscation.{}", error.field);
            self.refuse(&field, Reason::Params(error.problem));
        });
        let padding = profile.transport_padding.resolve();
        let padding = padding.map_err(|mut problems| self.problems.append(&mut problems));
        let quic = &profile.quic;
        let max_streams = self.count(
            "quic.max_streams",
            quic.max_streams,
            DEFAULT_STREAMS,
            COUNT_MAX,
        );
        let (params, padding) = (params.ok()?, padding.ok()?);
        let sizes = Sizes {
            max_packet_size: quic.max_packet_size,
            max_payload: quic.max_payload,
            prefix: params.prefix_len(Kind::Transport),
            has_counter: from.transport_replay,
        };
        let budget = Budget::new(&sizes, &padding);
        let budget = budget.map_err(|error| self.problems.push(budget_problem(error)));
        let budget = budget.ok()?;
        self.datagrams(profile, &params, &budget);
        self.headroom(&padding, &budget);
        let mut counting = Counting::default();
        if from.transport_replay_limit != 0 {
            counting.limit = from.transport_replay_limit;
        }
        Some(Shared {
            params: Arc::new(params),
            handshake_timeout: or(profile.handshake_timeout, default::HANDSHAKE_TIMEOUT),
            budget,
            padding,
            counting,
            keepalive: or(quic.keepalive, default::KEEPALIVE),
            idle_timeout: or(quic.idle_timeout, default::IDLE_TIMEOUT),
            max_streams,
            has_datagrams: profile.sansbox_udp,
        })
    }

    /// What a Go program receives is cut off at twice the packet size, which is its buffer.
    fn datagrams(&mut self, profile: &Profile, params: &Params, budget: &Budget) {
        let max = 2 * budget.packet_len_max();
        let initiation = params.prefix_len(Kind::Initiation) + INITIATION_LEN;
        let response = params.prefix_len(Kind::Response) + HEADER_LEN;
        let mut lengths = vec![("s1".to_owned(), initiation), ("s2".to_owned(), response)];
        let texts = (1..).zip(&profile.obfuscation.i);
        let given = texts.filter(|(_, text)| !text.is_empty());
        let signatures = given.zip(params.signatures());
        lengths.extend(signatures.map(|((n, _), chain)| (format!("i{n}"), chain.len())));
        for (name, len) in lengths {
            if len > max {
                let field = format!("obfuscation.{name}");
                self.refuse(&field, Reason::DatagramTooLong { len });
            }
        }
    }

    fn headroom(&mut self, padding: &Padding, budget: &Budget) {
        let headroom = budget.headroom();
        let (_, burst_max) = padding.burst();
        for (field, most) in [
            (padding::MAX, padding.max()),
            (padding::BURST_MAX, burst_max),
        ] {
            if most > headroom {
                self.warn(field, WarningKind::ClampedTo { headroom });
            }
        }
    }

    /// A preamble whose pauses alone outlast an attempt never gets to its end.
    fn pauses(&mut self, shared: &Shared, delay: Duration) {
        let count = shared.params.preamble_len().saturating_sub(1);
        let pauses = delay.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        if pauses >= shared.handshake_timeout {
            let pauses_ms = u64::try_from(pauses.as_millis()).unwrap_or(u64::MAX);
            self.refuse(DELAY, Reason::PausesTooLong { pauses_ms });
        }
    }

    /// Both keys in one profile should belong together.
    fn pair(&mut self, from: &Obfuscation) {
        if let (Some(private), Some(public)) = (&from.server_private_key, &from.server_public_key)
            && private.public() != *public
        {
            self.warn(PUBLIC_KEY, WarningKind::OtherKey);
        }
    }

    /// A server's profile may hold the pin for its clients, and then the right one: all others lock
    /// every client out.
    fn pin(&mut self, profile: &Profile) {
        let Some(pin) = &profile.server_pin else {
            return;
        };
        match &profile.obfuscation.server_private_key {
            // Its certificate has a new key at each start.
            None => self.refuse(PIN, Reason::NeedsPrivateKey),
            // Without QUIC there is no server that could have it.
            #[cfg(feature = "quic")]
            Some(private) if private.pin() != *pin => self.refuse(PIN, Reason::OtherPin),
            Some(_) => {}
        }
    }

    /// When the legacy mode ends, if it is on.
    fn legacy(&mut self, from: &Obfuscation, now_unix: u64) -> Option<u64> {
        let field = "obfuscation.legacy_mode_sunset";
        let text = &from.legacy_mode_sunset;
        let given = match text.is_empty() {
            true => None,
            false => {
                let date = unix_seconds(text);
                if date.is_none() {
                    self.refuse(field, Reason::NoDate);
                    return None;
                }
                date
            }
        };
        if from.legacy_mode_enabled != Some(true) {
            return None;
        }
        let days = u64::try_from(from.legacy_mode_max_days).ok();
        let days = days.filter(|days| *days > 0);
        let after = |days: u64| now_unix.saturating_add(days.saturating_mul(SECONDS_PER_DAY));
        let until = given.or_else(|| days.map(after));
        match until {
            None => self.refuse("obfuscation.legacy_mode_enabled", Reason::NeedsSunset),
            Some(until) if now_unix > until => self.refuse(field, Reason::SunsetOver),
            Some(_) => {}
        }
        until
    }

    fn rate_limit(&mut self, from: &Obfuscation, shared: Option<&Shared>) -> Option<RateLimit> {
        let field = "obfuscation.rate_limit_pps";
        let per_second = self.count(field, from.rate_limit_pps, 0, PER_SECOND_MAX);
        let field = "obfuscation.rate_limit_burst";
        let burst = self.count(field, from.rate_limit_burst, DEFAULT_BURST, COUNT_MAX);
        if from.rate_limit_pps <= 0 {
            return None;
        }
        let needed = shared?.params.preamble_len();
        if usize::try_from(burst).is_ok_and(|burst| burst < needed) {
            let given = burst.into();
            self.refuse(field, Reason::BurstTooSmall { given, needed });
        }
        Some(RateLimit { per_second, burst })
    }
}

/// `host:port`, with brackets around IPv6 addresses.
fn address(text: &str) -> Option<Target> {
    let (host, port) = text.rsplit_once(':')?;
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    let host = Host::parse(host.as_bytes()).ok()?;
    let is_number = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    Some(Target::new(host, port))
}

/// Unix seconds of midnight UTC of `YYYY-MM-DD`, or of a time of RFC 3339; zero for any before
/// 1970.
fn unix_seconds(text: &str) -> Option<u64> {
    const DATE_LEN: usize = 10;
    let seconds = if text.len() == DATE_LEN {
        let date: jiff::civil::Date = text.parse().ok()?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        midnight.timestamp().as_second()
    } else {
        let time: jiff::Timestamp = text.parse().ok()?;
        time.as_second()
    };
    Some(u64::try_from(seconds).unwrap_or(0))
}
