//! Is an Initiation fresh, and what is to be remembered of it?
use super::Server;
use crate::paniq::{
    mac::MAC1_LEN,
    obf::{HEADER_LEN, Kind},
    preamble::{Dropped, replay::legacy_key},
    timestamp::{self, UnixTime},
};
use std::net::SocketAddr;

/// A preamble that passed, to be remembered under its own time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) made_at: u64,
    pub(super) key: [u8; 32],
    pub(super) oldest: u64,
}

/// What is to be remembered of a preamble.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judged {
    pub(super) passed: Option<Passed>,
    pub(super) mac: Option<[u8; MAC1_LEN]>,
}

/// Octets of prefix that no two Initiations share.
const UNIQUE_LEN: usize = 16;

impl Server {
    /// Is the Initiation fresh? What is to be remembered, if it has a time.
    pub(super) fn judge(
        &self,
        wall: UnixTime,
        source: SocketAddr,
        datagram: &[u8],
        payload: &[u8],
        timestamp: Option<u32>,
    ) -> Result<Judged, Dropped> {
        if let Some(key) = self
            .config
            .key
            .as_ref()
            .filter(|_| self.config.encrypted_timestamp)
        {
            let without_mac = payload.len().saturating_sub(MAC1_LEN);
            let payload = payload.get(..without_mac).unwrap_or_default();
            if let Some(opened) = timestamp::open(key, payload).map_err(Dropped::BadTimestamp)? {
                let passed = self.judge_encrypted(wall, &opened)?;
                return Ok(Judged { passed, mac: None });
            }
        }
        if self.config.require_encrypted_timestamp {
            return Err(Dropped::NoTimestamp);
        }
        let mac = self.unique_mac(payload);
        if mac.is_some_and(|mac| self.initiations.get(mac).is_some()) {
            return Err(Dropped::Replayed);
        }
        let Some(seconds) = timestamp else {
            let is_legacy = self
                .config
                .legacy_until
                .is_some_and(|until| wall.secs <= until);
            return match self.config.require_timestamp && !is_legacy {
                true => Err(Dropped::NoTimestamp),
                false => Ok(Judged { passed: None, mac }),
            };
        };
        let window = &self.config.timestamp_window;
        let made_at = u64::from(seconds);
        if !window.contains(made_at, wall.secs) {
            return Err(Dropped::Skew);
        }
        let passed = Passed {
            made_at,
            key: self.replay_key(seconds, source, datagram, payload),
            oldest: wall.secs.saturating_sub(window.past.as_secs()),
        };
        let passed = self.unless_known(passed)?;
        Ok(Judged { passed, mac })
    }

    /// The MAC of an Initiation, where no two share one.
    fn unique_mac(&self, payload: &[u8]) -> Option<[u8; MAC1_LEN]> {
        let mac = payload.last_chunk().copied();
        mac.filter(|_| {
            self.remembers_all() && self.config.key.is_some() && self.has_unique_prefix()
        })
    }

    fn has_unique_prefix(&self) -> bool {
        let head_len = self.config.codec.framer().head_len(Kind::Initiation);
        head_len >= UNIQUE_LEN + HEADER_LEN
    }

    fn judge_encrypted(
        &self,
        wall: UnixTime,
        opened: &timestamp::Opened,
    ) -> Result<Option<Passed>, Dropped> {
        let Some(window) = &self.rules.encrypted_window else {
            return Ok(None);
        };
        let made_at = opened.time.unix_seconds().ok_or(Dropped::Skew)?;
        if !window.contains(made_at, wall.secs) {
            return Err(Dropped::Skew);
        }
        self.unless_known(Passed {
            made_at,
            key: opened.id,
            oldest: wall.secs.saturating_sub(window.past.as_secs()),
        })
    }

    fn unless_known(&self, passed: Passed) -> Result<Option<Passed>, Dropped> {
        match self.replays.knows(passed.made_at, &passed.key) {
            true => Err(Dropped::Replayed),
            false => Ok(Some(passed)),
        }
    }

    /// What tells a preamble with `<t>` from others of its second: the MAC, which no two
    /// Initiations share. Without one, the random prefix where it is long enough, or else the
    /// source: two clients may well come in one second.
    fn replay_key(
        &self,
        seconds: u32,
        source: SocketAddr,
        datagram: &[u8],
        payload: &[u8],
    ) -> [u8; 32] {
        if self.config.key.is_some() {
            let mac = payload.get(..MAC1_LEN).unwrap_or_default();
            return legacy_key(seconds, payload, mac);
        }
        if self.recent.is_some() {
            return legacy_key(seconds, payload, &[]);
        }
        if self.has_unique_prefix() {
            return legacy_key(seconds, datagram, &[]);
        }
        legacy_key(seconds, payload, source.to_string().as_bytes())
    }
}
