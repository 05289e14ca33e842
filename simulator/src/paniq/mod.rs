//! paniq tunnels in a world: our client and server, and those of other programs as data.
//!
//! | module | holds |
//! |---|---|
//! | [`lab`] | [`Lab`]: who meets whom over which path, and with which load |
//! | [`persona`] | [`Persona`]: what the other programs do otherwise |
//! | [`profile`] | what both ends know |
//! | [`load`] | scripts for both ends of a stream, checked octet by octet |
//! | [`facts`] | what was seen |
//! | [`dial`] | how long servers take to reach targets |
//! | [`edits`] | single datagrams lost, doubled, late or made up |
mod client_host;
pub mod dial;
pub mod edits;
mod emulated;
pub mod facts;
pub mod lab;
pub mod load;
mod machine;
pub mod persona;
pub mod profile;
mod server_host;

pub use edits::{Edit, Edits};
pub use facts::{Facts, Seen};
pub use lab::Lab;
pub use load::{Ended, Reach, Step, Talk};
pub use persona::Persona;
pub use profile::Profile;
