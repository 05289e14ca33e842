//! The runtime that this build has: tokio, or smol where its feature is on.
#[cfg(feature = "runtime-smol")]
pub(crate) use sansbox_smol::{
    Network, Observer, Options, Running, Runtime, RuntimeEvent, Shutdown, StartError,
};
#[cfg(all(feature = "runtime-tokio", not(feature = "runtime-smol")))]
pub(crate) use sansbox_tokio::{
    Network, Observer, Options, Running, Runtime, RuntimeEvent, Shutdown, StartError,
};

#[cfg(not(any(feature = "runtime-tokio", feature = "runtime-smol")))]
compile_error!("choose a runtime: --features runtime-tokio or --features runtime-smol");

/// Its name, as `sansbox version` says it.
pub(crate) const TAG: &str = if cfg!(feature = "runtime-smol") {
    "runtime_smol"
} else {
    "runtime_tokio"
};
