//! The process's time, of which only differences are used.
use core::time::Duration;
use sansbox_core::Instant;
use std::sync::OnceLock;

/// Distance of [`base`] from the time of the process, so that subtracting from it is safe where
/// the system's clock begins at zero.
const BASE_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The instant of the process that stands for [`Instant::ZERO`].
#[must_use]
pub fn base() -> std::time::Instant {
    static BASE: OnceLock<std::time::Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the type has no constructor; only differences are used"
    )]
    *BASE.get_or_init(|| std::time::Instant::now() + BASE_AHEAD)
}

/// The time as quinn-proto wants it.
#[must_use]
pub fn to_std(at: Instant) -> std::time::Instant {
    base() + Duration::from_nanos(at.as_nanos())
}

/// quinn-proto's time as everybody else wants it.
#[must_use]
pub fn from_std(at: std::time::Instant) -> Instant {
    Instant::ZERO + at.saturating_duration_since(base())
}
