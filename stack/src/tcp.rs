//! TCP (RFC 9293), the passive side only: a client's connection ends here.
mod ack;
mod close;
pub(crate) mod congestion;
pub(crate) mod context;
pub(crate) mod flow;
pub(crate) mod half_open;
mod reassembly;
mod receive;
pub(crate) mod refuse;
mod retransmit;
mod rtt;
mod scoreboard;
mod send;
pub(crate) mod seq;
pub(crate) mod time_wait;
mod transmit;
mod window;
