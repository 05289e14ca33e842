//! The functions themselves. Each reads its pointers through `memory`, calls safe code once and
//! writes what comes out; a panic ends in it.
#[cfg(feature = "runtime")]
pub mod device;
pub mod feed;
#[cfg(feature = "runtime")]
pub mod instance;
pub mod machine;
pub mod plan;
pub mod version;
