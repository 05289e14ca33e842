//! Bytes through a device: both families, every outbound, ends in every order.
use super::{
    super::{lab::*, scenarios},
    lab::*,
};
use crate::{World, scenario::Verdict};
use sansbox_engine::record::CloseReason::Completed;

/// One conversation of `len` bytes each way with a target.
fn conversation(world: &mut World, setting: &Setting, to: &str, len: u64) -> Verdict {
    let tun = setting.build(world)?;
    tun.machine(world, programs([(to, talk(len))]));
    origin(world, move |_| answer(len));
    run_to(world, &[Completed])
}

scenarios! {
    /// A conversation over IPv4 through a device with offload.
    #[sometimes("super-packet written", "closed Completed")]
    fn tun_echo(world) {
        conversation(world, &Setting::default(), ORIGIN, 100_000)
    }

    /// The same over IPv6.
    #[sometimes("super-packet written", "closed Completed")]
    fn tun_echo_v6(world) {
        conversation(world, &Setting::default(), ORIGIN_V6, 100_000)
    }

    /// A device without offload: plain packets with whole checksums.
    fn tun_plain(world) {
        let setting = Setting { tun: plain_device(), ..Setting::default() };
        conversation(world, &setting, ORIGIN, 100_000)
    }
}

