//! TUN devices of a program's own: what is refused, and that descriptors stay the caller's.
#![cfg(all(target_os = "linux", feature = "runtime"))]
#![expect(unsafe_code, reason = "calls the interface as C does")]
use sansbox_ffi::{
    door::{device::*, instance::*},
    status::Status,
    types::{Device, DeviceSettings, EchoKind, HandshakeKind},
};
use std::{
    ffi::CStr,
    fs::File,
    io::Read as _,
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixDatagram, UnixStream},
    },
    ptr::{null, null_mut},
    time::Duration,
};

const TUN: &str = r#"{"inbounds": [{"type": "tun", "address": "172.19.0.1/30"}]}"#;
const ROUTED: &str =
    r#"{"inbounds": [{"type": "tun", "address": "172.19.0.1/30", "auto_route": true}]}"#;

fn start(json: &str, devices: &[Device]) -> (Status, u64, String) {
    let (mut text, mut instance) = ([0; 400], 0);
    // SAFETY: all pointers are to what stands here.
    let status = unsafe {
        sansbox_start_with_devices(
            json.as_ptr().cast(),
            json.len(),
            devices.as_ptr(),
            devices.len(),
            text.as_mut_ptr(),
            text.len(),
            &raw mut instance,
        )
    };
    // SAFETY: the text ends in a zero, or is the zeros that were there.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    (status, instance, text.to_string_lossy().into_owned())
}

fn device(fd: i32) -> Device {
    Device {
        fd,
        mtu: 1500,
        ..Device::default()
    }
}

fn stop(instance: u64) {
    // SAFETY: null is allowed.
    let status = unsafe { sansbox_stop(instance, 0, 1000, null_mut()) };
    assert_eq!(status, Status::Ok);
}

fn settings(instance: u64, inbound: u32) -> (Status, DeviceSettings) {
    let mut settings = DeviceSettings::default();
    // SAFETY: the pointer is to what stands here.
    let status = unsafe { sansbox_device(instance, inbound, &raw mut settings) };
    (status, settings)
}

fn set(instance: u64, inbound: u32, settings: DeviceSettings) -> Status {
    // SAFETY: the pointer is to what stands here.
    unsafe { sansbox_set_device(instance, inbound, &raw const settings) }
}

#[test]
fn devices_that_cannot_be_are_refused() {
    let (end, _wire) = UnixDatagram::pair().expect("a pair");
    let good = device(end.as_raw_fd());
    let closed = {
        let file = File::open("/dev/null").expect("a file");
        // Larger than any that another test opens meanwhile.
        file.as_raw_fd() + 900
    };
    for bad in [
        device(-1),
        device(closed),
        Device {
            inbound: 65_536,
            ..good
        },
        Device {
            has_header: 2,
            ..good
        },
        Device {
            reserved: 1,
            ..good
        },
    ] {
        assert_eq!(start(TUN, &[bad]).0, Status::BadArgument, "{bad:?}");
    }
    for (json, bad, why) in [
        (TUN, Device { inbound: 1, ..good }, "handed in"),
        (TUN, Device { mtu: 1279, ..good }, "1279"),
        (ROUTED, good, "auto_route"),
        (r#"{"inbounds": []}"#, good, "handed in"),
    ] {
        let devices = if json == TUN && bad.inbound == 1 {
            vec![good, bad]
        } else {
            vec![bad]
        };
        let (status, _, text) = start(json, &devices);
        assert_eq!(status, Status::StartFailed, "{text}");
        assert!(text.contains(why), "{text}");
    }
    let (status, _, text) = start(TUN, &[good, good]);
    assert_eq!(status, Status::StartFailed, "{text}");
    assert!(text.contains("one already"), "{text}");
    let mut instance = 0;
    let handle = &raw mut instance;
    // SAFETY: null has a status.
    let none = unsafe {
        [
            sansbox_start_with_devices(null(), 0, null(), 1, null_mut(), 0, handle),
            sansbox_start_with_devices(null(), 0, null(), 0, null_mut(), 0, null_mut()),
            sansbox_device(0, 0, null_mut()),
            sansbox_set_device(0, 0, null()),
        ]
    };
    assert_eq!(none, [Status::NullPointer; 4]);
    // It was neither closed nor used up by all that.
    assert_eq!(end.send(&[]).expect("open"), 0);
}

#[test]
fn descriptors_stay_the_callers() {
    let (end, mut wire) = UnixStream::pair().expect("a pair");
    let (status, instance, text) = start(TUN, &[device(end.as_raw_fd())]);
    assert_eq!(status, Status::Ok, "{text}");
    drop(end);
    let patience = Some(Duration::from_millis(50));
    wire.set_read_timeout(patience).expect("set");
    let open = wire
        .read(&mut [0])
        .expect_err("nothing to read, and no end");
    assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
    stop(instance);
    assert_eq!(wire.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn settings_are_changed_or_refused() {
    let (end, _wire) = UnixDatagram::pair().expect("a pair");
    let (status, instance, text) = start(TUN, &[device(end.as_raw_fd())]);
    assert_eq!(status, Status::Ok, "{text}");
    let first = DeviceSettings {
        egress_mtu: 1500,
        handshake_mode: HandshakeKind::Fast as u32,
        icmp_echo: EchoKind::Reply as u32,
    };
    assert_eq!(settings(instance, 0), (Status::Ok, first));
    let second = DeviceSettings {
        egress_mtu: 1400,
        handshake_mode: HandshakeKind::Consistent as u32,
        icmp_echo: EchoKind::Off as u32,
    };
    assert_eq!(set(instance, 0, second), Status::Ok);
    assert_eq!(settings(instance, 0), (Status::Ok, second));
    for bad in [
        DeviceSettings {
            egress_mtu: 575,
            ..first
        },
        DeviceSettings {
            egress_mtu: 1 << 16,
            ..first
        },
        DeviceSettings {
            handshake_mode: 0,
            ..first
        },
        DeviceSettings {
            icmp_echo: 9,
            ..first
        },
    ] {
        assert_eq!(set(instance, 0, bad), Status::BadArgument, "{bad:?}");
    }
    for inbound in [1, 65_536] {
        assert_eq!(settings(instance, inbound).0, Status::BadArgument);
        assert_eq!(set(instance, inbound, first), Status::BadArgument);
    }
    assert_eq!(settings(instance, 0), (Status::Ok, second), "as before");
    stop(instance);
    assert_eq!(settings(instance, 0).0, Status::BadHandle);
    assert_eq!(set(instance, 0, first), Status::BadHandle);
}
