//! paniq: frames, preambles, payloads, requests.
mod frame;
mod preamble;
mod request;
mod transport;

pub use frame::paniq_frame;
pub use preamble::paniq_preamble;
pub use request::paniq_request;
pub use transport::paniq_transport;

use crate::input::Input;
use sansbox_core::Seed;
use sansbox_protocols::paniq::Draws;

/// Draws from two octets of the input: enough to come upon every branch.
fn draws(input: &mut Input<'_>) -> Draws {
    Draws::new(Seed::from_u64(u64::from(input.u16())))
}
