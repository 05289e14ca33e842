//! Clients and servers of paniq over a wire that loses, delays and is rebound.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
mod hostile;
mod outages;
mod poison;
mod probers;
mod profile;
mod profiles;
mod raw;
mod relay;
mod sweep;
mod world;
