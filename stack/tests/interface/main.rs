//! All packets of a device, through [`sansbox_stack::Interface`]: raw packets in, raw packets out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test support, outside of test functions as well"
)]
mod bench;
mod datagrams;
mod echo;
mod errors;
mod fragments;
mod hostile;
mod settings;
mod tcp;
