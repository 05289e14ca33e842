//! The C interface of sansbox. `include/sansbox.h` is made from this crate and says for callers
//! what each function does; `examples/socks_client.c` is a program that uses it.
//!
//! Two doors. `sansbox_plan_*` and `sansbox_machine_*` hand out the engine's machines for a
//! caller's own loop: no socket, no thread, no clock. `sansbox_start`, `sansbox_stats` and
//! `sansbox_stop` (feature `runtime`, on by default) run a whole proxy on threads of its own.
//!
//! | module | holds |
//! |---|---|
//! | [`door`] | the functions: pointers in, one call to safe code, pointers out |
//! | [`types`], [`status`] | what goes over the interface by value |
//! | `memory` | the caller's memory, and all that is done to it |
//! | `handles`, `object` | numbers that stand for objects |
//! | `driven` | a machine, and the checks that its driver keeps the contract |
//! | `plan`, `convert` | configurations; the engine's words in those of the interface |
//! | `instance`, `settings`, `log` | a running proxy |
//!
//! Nothing that a caller does with numbers, handles, the order of calls or the content of its
//! buffers is undefined behaviour: it is a [`status::Status`]. Pointers to memory that is not the
//! caller's cannot be found out by anybody; null and misaligned ones are.
mod convert;
pub mod door;
mod driven;
mod handles;
#[cfg(feature = "runtime")]
mod instance;
#[cfg(feature = "runtime")]
mod log;
mod memory;
mod object;
mod plan;
#[cfg(feature = "runtime")]
mod settings;
pub mod status;
pub mod types;

pub use driven::{ACTIONS_MAX, ADDRESSES_MAX, DATAGRAM_LEN_MAX};
