//! The worlds of `tests/oracle.rs` in numbers: bytes in are bytes out, for a range of seeds.
//!
//! ```text
//! cargo run --profile sweep -p sansbox-stack --example oracle -- 0 100000
//! ```
#![allow(clippy::print_stdout, reason = "it is a program")]
#[path = "../tests/support/mod.rs"]
mod support;

use support::run::{Outcome, world};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (Some(Ok(from)), Some(Ok(to))) = (args.next(), args.next()) else {
        println!("usage: oracle FROM TO");
        std::process::exit(2);
    };
    let (mut stalled, mut lost) = (Vec::new(), 0);
    let (mut failed, mut packets, mut resent, mut micros) = (Vec::new(), 0, 0, 0);
    for seed in from..to {
        match std::panic::catch_unwind(|| world(seed).run()) {
            Ok(Outcome::Stalled) => stalled.push(seed),
            Ok(Outcome::HandshakeLost) => lost += 1,
            Ok(Outcome::Done(summary)) => {
                packets += summary.packets_in + summary.packets_out;
                resent += summary.retransmitted;
                micros += summary.now;
            }
            Err(_) => failed.push(seed),
        }
    }
    println!(
        "seeds {from}..{to}: {packets} packets, {resent} sent again, {} virtual seconds, \
         handshakes lost: {lost}, \
         oracle stalled: {stalled:?}, failed: {failed:?}",
        micros / 1_000_000
    );
    if !failed.is_empty() {
        std::process::exit(1);
    }
}
