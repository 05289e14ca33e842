//! Devices of tests, and what comes out of them.
pub(crate) use crate::isolated::{ip, isolated, routes, rules, run, until};
use sansbox_engine::config::model::{Tun, TunExtras};
use sansbox_runtime::tun::{Device, Opening, Queue};
use sansbox_stack::{Handshake, icmp::EchoMode, nat::Filtering};
use std::{
    io, thread,
    time::{Duration, Instant},
};

/// Longest wait for a packet that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// A packet and its header.
const FRAME_MAX: usize = 65_535 + 10;

/// Where packets to an address leave; `None` when nowhere.
pub(crate) fn leaves_by(to: &str, more: &str) -> Option<String> {
    let output = run(&format!("route get {to} {more}"));
    let text = String::from_utf8(output.stdout).expect("text");
    let mut words = text.split_whitespace().skip_while(|word| *word != "dev");
    words.nth(1).map(str::to_owned)
}

/// A configuration with the defaults of the table and of the rules.
pub(crate) fn config(name: &str, address: &[&str]) -> Tun {
    Tun {
        interface_name: Some(name.to_owned()),
        address: nets(address),
        mtu: None,
        auto_route: false,
        table: 2022,
        rule: 9000,
        strict_route: false,
        route_address: Vec::new(),
        route_exclude_address: Vec::new(),
        include_interface: Vec::new(),
        exclude_interface: Vec::new(),
        include_uid: Vec::new(),
        exclude_uid: Vec::new(),
        udp_timeout: None,
        sansbox: TunExtras {
            egress_mtu: 1280,
            handshake_mode: Handshake::Fast,
            icmp_echo: EchoMode::Reply,
            udp_filtering: Filtering::EndpointIndependent,
        },
    }
}

pub(crate) fn nets<N: std::str::FromStr<Err: std::fmt::Debug>>(list: &[&str]) -> Vec<N> {
    list.iter()
        .map(|net| net.parse().expect("a prefix"))
        .collect()
}

/// Opens a device without segmentation, so that frames are packets.
pub(crate) fn plain(config: &Tun) -> Device {
    let how = Opening {
        segmentation: false,
        ..Opening::default()
    };
    Device::open(config, how).expect("a device")
}

/// Closes a device whose queues are in it, or dropped, and waits until it is gone.
pub(crate) fn close(device: Device) {
    let name = device.interface().expect("opened").name.clone();
    drop(device);
    until(&format!("{name} is gone"), || {
        !run(&format!("link show dev {name}")).status.success()
    });
}

/// The next frame that is of interest.
pub(crate) fn next(queue: &Queue, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        match queue.read(&mut buffer) {
            Ok(n) if is_it(&buffer[..n]) => return buffer[..n].to_vec(),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "no such packet");
                thread::sleep(Duration::from_millis(1));
            }
            Err(e) => panic!("reading: {e}"),
        }
    }
}

/// Everything that is in a queue.
pub(crate) fn drain(queue: &Queue) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; FRAME_MAX];
    let mut all = Vec::new();
    while let Ok(n) = queue.read(&mut buffer) {
        all.push(buffer[..n].to_vec());
    }
    all
}
