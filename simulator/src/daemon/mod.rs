//! A host that runs the engine's own loop: [`Drive`](sansbox_engine::drive::Drive),
//! [`CarrierDrive`](sansbox_engine::drive::CarrierDrive) and their
//! [`Pool`](sansbox_engine::drive::Pool), on the virtual network instead of a kernel's.
//!
//! [`MachineHost`](crate::MachineHost) has a loop of its own, which sees all that passes between a
//! machine and its sockets, and checks it; this host sees a daemon from outside, as a kernel does,
//! and so is a test of the loop itself, of carriers and of their streams.
//!
//! | file | holds |
//! |---|---|
//! | `sockets` | what drives hold, and who is woken for what |
//! | `device` | the kernel's side of a TUN device: packets of a site to frames, and back |
//! | `driver` | the network for one turn of one drive |
//! | `running` | a process: its drives, their births and turns |
//! | `stop` | its end |
//! | `account` | what is known of one drive from outside, and must hold of it |
//! | `host` | [`DaemonHost`]: a process that can crash and start again |
mod account;
mod device;
mod driver;
mod host;
mod running;
mod sockets;
mod stop;
#[cfg(test)]
mod tests;

pub use device::TunSettings;
pub use host::{DaemonHost, plan};
