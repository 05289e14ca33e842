//! Servers of our own: the far end of what goes through the proxy.
pub mod dns;
pub mod hole;
pub mod http;
pub mod tcp;
pub mod udp;
