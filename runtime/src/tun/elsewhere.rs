//! What systems other than Linux have in the place of routes.
use super::{Device, Family, Interface, TunError};
use sansbox_engine::config::model::Tun;

/// Rules and routes. There are none on this system.
#[derive(Debug)]
pub struct Routes(core::convert::Infallible);

impl Routes {
    /// # Errors
    /// Always [`TunError::Unsupported`].
    pub fn install(_: &Tun, _: &Device) -> Result<Option<Self>, TunError> {
        Err(TunError::Unsupported)
    }
}

/// # Errors
/// Always [`TunError::Unsupported`].
pub fn default_interface(_: Family, _: Option<u32>) -> Result<Option<Interface>, TunError> {
    Err(TunError::Unsupported)
}
