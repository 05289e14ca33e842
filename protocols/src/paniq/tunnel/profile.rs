//! From a profile to both ends of a tunnel.
use super::{ClientConfig, HANDSHAKE_TIMEOUT, Limits, Pin, ServerConfig, Settings};
use crate::paniq::{
    Draws,
    preamble::{Rules, SourcePort, Window},
    profile::{ClientSettings, Invalid, Profile, ServerSettings, Shared},
};
use std::{net::SocketAddr, time::Duration};

/// How long a server may take to reach a target, which no profile says: `dial_timeout` of the Go
/// server.
pub const DIAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How many streams may wait for a tunnel, which no profile says.
pub const WAITING_MAX_DEFAULT: usize = 1024;

impl Settings {
    fn of(shared: &Shared) -> Self {
        Self {
            keepalive: shared.keepalive,
            idle_timeout: shared.idle_timeout,
            streams_max: shared.max_streams,
        }
    }
}

impl ClientConfig {
    /// What a profile says, and for what none says: a new source port for each tunnel, [`DIAL_TIMEOUT_DEFAULT`], [`WAITING_MAX_DEFAULT`], and as much patience with a
    /// new tunnel as all attempts of the preamble and QUIC's handshake may take. `server` is the
    /// address behind [`ClientSettings::server`].
    #[must_use]
    pub fn new(settings: &ClientSettings, server: SocketAddr) -> Self {
        let shared = &settings.shared;
        let attempts = shared.handshake_timeout.saturating_mul(settings.attempts);
        Self {
            server,
            preamble: settings.preamble(SourcePort::Fresh),
            codec: shared.codec(),
            settings: Settings::of(shared),
            pin: settings.pin.as_ref().map(Pin::from),
            dial_timeout: DIAL_TIMEOUT_DEFAULT,
            open_timeout: attempts.saturating_add(HANDSHAKE_TIMEOUT),
            waiting_max: WAITING_MAX_DEFAULT,
        }
    }

    /// As [`ClientConfig::new`], of a profile that was not checked yet. What is odd about it is
    /// not told: [`Profile::client`] does.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn from_profile(profile: &Profile, server: SocketAddr) -> Result<Self, Invalid> {
        Ok(Self::new(&profile.client()?.settings, server))
    }
}

impl ServerConfig {
    /// What a profile says, [`Limits::default`], and our own [`Rules`]: an encrypted time may be
    /// as old as `skew_hard_seconds` and all of a client's attempts. `draws` must come from a
    /// uniformly random seed.
    #[must_use]
    pub fn new(settings: &ServerSettings, draws: Draws) -> Self {
        let shared = &settings.shared;
        let timeout = shared.handshake_timeout;
        let window = Window::new(settings.skew_hard, timeout, settings.attempts);
        Self {
            preamble: settings.preamble(draws),
            rules: Rules::new(window),
            settings: Settings::of(shared),
            limits: Limits::default(),
            has_datagrams: shared.has_datagrams,
        }
    }

    /// As [`ServerConfig::new`], of a profile that was not checked yet, for a server that starts
    /// `since_1970`. What is odd about the profile is not told: [`Profile::server`] does.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn from_profile(
        profile: &Profile,
        since_1970: Duration,
        draws: Draws,
    ) -> Result<Self, Invalid> {
        Ok(Self::new(
            &profile.server(since_1970.as_secs())?.settings,
            draws,
        ))
    }
}
