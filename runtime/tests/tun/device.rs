//! Devices: what they are when they are open, and packets in and out.
use crate::namespace::{close, config, drain, ip, isolated, nets, next, plain, until};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use sansbox_runtime::tun::{Device, Opening, Queue, TunError};
use std::{
    io::{ErrorKind, IoSlice, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

const BOTH: [&str; 2] = ["172.19.0.1/30", "fdfe:dcba:9876::1/126"];
const V4: &str = "172.19.0.2:7";
const V6: &str = "[fdfe:dcba:9876::2]:7";
/// `virtio_net_hdr`.
const HEADER: usize = 10;
const UDP: u8 = 17;
const TCP: u8 = 6;
const SYN_ACK: u8 = 0x12;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;

fn is_udp(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet[9] == UDP,
        Some(6) => packet[6] == UDP,
        _ => false,
    }
}

/// Turns a packet round. No checksum changes: sums do not care about order.
fn turn_round(packet: &mut [u8]) {
    let (at, len, ports) = if packet[0] >> 4 == 4 {
        (12, 4, 20)
    } else {
        (8, 16, 40)
    };
    for (at, len) in [(at, len), (ports, 2)] {
        let (first, second) = packet[at..at + 2 * len].split_at_mut(len);
        first.swap_with_slice(second);
    }
}

/// What a socket that has a deadline gets.
fn received(socket: &UdpSocket, into: &mut [u8]) -> usize {
    loop {
        match socket.recv(into) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            received => return received.expect("a datagram"),
        }
    }
}

/// A socket of the kernel sends through the device and gets its own datagram back.
fn echoes(queue: &Queue, header: usize, to: &str) {
    let to: SocketAddr = to.parse().expect("an address");
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("bound");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("set");
    // The kernel takes packets to an IPv6 address a moment after it has it.
    let is_local = |line: &String| line.starts_with("local fdfe:dcba:9876::1 ");
    let is_ready = || to.is_ipv4() || ip("-6 route show table local").iter().any(is_local);
    until("the address is in use", is_ready);
    socket.connect(to).expect("connected");
    socket.send(b"there and back").expect("sent");
    let mut frame = next(queue, |frame| is_udp(&frame[header..]));
    let packet = &mut frame[header..];
    assert!(packet.ends_with(b"there and back"));
    turn_round(packet);
    let (head, rest) = frame.split_at(header + 20);
    let written = queue.write_vectored(&[IoSlice::new(head), IoSlice::new(rest)]);
    assert_eq!(written.expect("written"), frame.len());
    let mut answer = [0; 64];
    let n = received(&socket, &mut answer);
    assert_eq!(&answer[..n], b"there and back");
}

#[test]
fn a_segmenting_device_has_a_header_and_1500_bytes() {
    isolated(|| {
        let mut config = config("tunseg0", &BOTH);
        let mut device = Device::open(&config, Opening::default()).expect("a device");
        assert!(device.has_header() && !device.has_udp_segmentation());
        assert_eq!(device.mtu(), 1500);
        let interface = device.interface().expect("opened here").clone();
        assert_eq!(interface.name, "tunseg0");
        let link = ip("link show dev tunseg0");
        assert!(
            link[0].starts_with(&format!("{}: tunseg0:", interface.index)),
            "{link:?}"
        );
        for word in ["mtu 1500", "UP", "qlen 1000"] {
            assert!(link[0].contains(word), "{link:?}");
        }
        let addresses: Vec<_> = ip("-brief addr show dev tunseg0");
        assert_eq!(addresses.len(), 1);
        // These, and no link-local one.
        let words: Vec<_> = addresses[0].split_whitespace().skip(2).collect();
        assert_eq!(words, BOTH);
        let queues = device.take_queues();
        echoes(&queues[0], HEADER, V4);
        echoes(&queues[0], HEADER, V6);
        drop(queues);
        close(device);
        config.mtu = Some(65_535);
        let device = Device::open(&config, Opening::default()).expect("the name is free again");
        assert!(device.has_header());
        assert!(ip("link show dev tunseg0")[0].contains("mtu 65535"));
    });
}

#[test]
fn a_plain_device_has_packets_of_65535_bytes() {
    isolated(|| {
        let mut config = config("tunplain0", &BOTH);
        config.interface_name = None;
        let mut device = plain(&config);
        assert!(!device.has_header() && !device.has_udp_segmentation());
        assert_eq!(
            (device.mtu(), &*device.interface().expect("opened").name),
            (65_535, "tun0")
        );
        assert!(ip("link show dev tun0")[0].contains("mtu 65535"));
        let queues = device.take_queues();
        echoes(&queues[0], 0, V4);
        echoes(&queues[0], 0, V6);
        drop(queues);
        close(device);
        config.mtu = Some(1280);
        assert_eq!(plain(&config).mtu(), 1280);
    });
}

#[test]
fn a_queue_never_blocks_and_takes_whole_packets() {
    isolated(|| {
        let mut device = plain(&config("tunblock0", &BOTH[..1]));
        let queue = device.take_queues().pop().expect("a queue");
        drain(&queue);
        let read = queue.read(&mut [0; 2048]);
        assert_eq!(read.expect_err("empty").kind(), ErrorKind::WouldBlock);
        let none = queue.write_vectored(&[]).expect_err("no packet");
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        let parts = vec![IoSlice::new(b"E"); 1025];
        let many = queue
            .write_vectored(&parts)
            .expect_err("the kernel would cut it off");
        assert_eq!(many.kind(), ErrorKind::InvalidInput);
        let nonsense = queue.write_vectored(&[IoSlice::new(&[0xff; 40])]);
        assert_eq!(
            nonsense.expect_err("no packet").kind(),
            ErrorKind::InvalidInput
        );
        ip("link set tunblock0 down");
        let down = queue.read(&mut [0; 64]).expect_err("nothing comes");
        assert_eq!(down.kind(), ErrorKind::WouldBlock, "it may come up again");
        ip("link del tunblock0");
        let gone = queue.read(&mut [0; 64]).expect_err("nothing comes");
        assert_eq!(gone.raw_os_error(), Some(Errno::BADFD.raw_os_error()));
    });
}

#[test]
fn two_queues_share_the_flows() {
    isolated(|| {
        let how = Opening {
            queues: 2,
            ..Opening::default()
        };
        let mut device = Device::open(&config("tuntwo0", &BOTH), how).expect("a device");
        assert!(!device.has_udp_segmentation());
        let queues = device.take_queues();
        assert_eq!(queues.len(), 2);
        for _ in 0..64 {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("bound");
            for part in [b"one", b"two"] {
                socket.send_to(part, V4).expect("sent");
            }
        }
        let of = |queue: &Queue| -> Vec<Vec<u8>> {
            let frames = drain(queue)
                .into_iter()
                .map(|frame| frame[HEADER..].to_vec());
            frames.filter(|packet| is_udp(packet)).collect()
        };
        let [first, second] = [of(&queues[0]), of(&queues[1])];
        assert_eq!(first.len() + second.len(), 128);
        assert!(!first.is_empty() && !second.is_empty());
        let ports = |packets: &[Vec<u8>]| -> Vec<[u8; 2]> {
            packets
                .iter()
                .map(|packet| [packet[20], packet[21]])
                .collect()
        };
        let second = ports(&second);
        assert!(ports(&first).iter().all(|port| !second.contains(port)));
        // What is written to either goes to the same host.
        let socket = UdpSocket::bind("172.19.0.1:0").expect("bound");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("set");
        for queue in &queues {
            socket.send_to(b"back", V4).expect("sent");
            let found = queues.iter().find_map(|queue| of(queue).pop());
            let mut packet = found.expect("in one of them");
            turn_round(&mut packet);
            // The checksum is left to the kernel, as it was read.
            packet[26..28].fill(0);
            queue
                .write_vectored(&[IoSlice::new(&[0; HEADER]), IoSlice::new(&packet)])
                .expect("written");
            assert_eq!(received(&socket, &mut [0; 8]), 4);
        }
    });
}

/// Answers the SYN of a connecting socket, so that it may send.
fn establish(queue: &Queue) {
    let mut frame = next(queue, |frame| {
        frame[HEADER] >> 4 == 4 && frame[HEADER + 9] == TCP
    });
    let packet = &mut frame[HEADER..];
    turn_round(packet);
    let segment = &mut packet[20..];
    let next = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]) + 1;
    segment[4..8].copy_from_slice(&7_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&next.to_be_bytes());
    segment[13] = SYN_ACK;
    segment[14..16].fill(0xff);
    // Its options stay as they are, and the checksum is still to be done.
    assert_eq!(frame[0], NEEDS_CSUM);
    queue
        .write_vectored(&[IoSlice::new(&frame)])
        .expect("written");
}

#[test]
fn runs_of_segments_come_as_one() {
    isolated(|| {
        let mut device = Device::open(&config("tuntcp0", &BOTH), Opening::default());
        let queue = device
            .as_mut()
            .expect("a device")
            .take_queues()
            .pop()
            .expect("a queue");
        let client = std::thread::spawn(|| {
            let mut socket = TcpStream::connect(V4).expect("connected");
            socket.write_all(&[7; 10_000]).expect("into its buffer");
            socket
        });
        establish(&queue);
        let is_long = |frame: &[u8]| frame.len() > HEADER + 1500;
        let run = next(&queue, is_long);
        // Checksum to be done, TCP over IPv4, segments that fit the MTU.
        assert_eq!(run[..2], [NEEDS_CSUM, 1]);
        let size = u16::from_ne_bytes([run[4], run[5]]);
        assert!((1000..1500).contains(&size), "{size}");
        drop(client.join().expect("it ends"));
    });
}

#[test]
fn runs_of_datagrams_come_as_one_only_when_asked_for() {
    isolated(|| {
        for asked in [false, true] {
            let how = Opening {
                udp_segmentation: asked,
                ..Opening::default()
            };
            let mut device = Device::open(&config("tunrun0", &BOTH), how).expect("a device");
            if asked && !device.has_udp_segmentation() {
                eprintln!("skipped: this kernel keeps datagrams apart");
                return;
            }
            let queue = device.take_queues().pop().expect("a queue");
            let socket = UdpSocket::bind("0.0.0.0:0").expect("bound");
            setsockopt(&socket, sockopt::UdpGsoSegment, &200).expect("set");
            socket.send_to(&[7; 500], V4).expect("sent");
            let first = next(&queue, |frame| is_udp(&frame[HEADER..]));
            let rest = drain(&queue)
                .into_iter()
                .filter(|frame| is_udp(&frame[HEADER..]));
            let lengths: Vec<_> = core::iter::once(first.clone())
                .chain(rest)
                .map(|frame| frame.len() - HEADER - 28)
                .collect();
            let gso_type = first[1];
            if asked {
                assert_eq!((gso_type, lengths), (5, vec![500]));
            } else {
                assert_eq!((gso_type, lengths), (0, vec![200, 200, 100]));
            }
            drop(queue);
            close(device);
        }
    });
}

#[test]
fn an_adopted_file_is_a_device() {
    isolated(|| {
        let mut opened = plain(&config("tunadopt0", &BOTH));
        let file = OwnedFd::from(opened.take_queues().pop().expect("a queue"));
        rustix::io::ioctl_fionbio(&file, false).expect("as an embedder may have it");
        let addresses = vec![IpAddr::from([172, 19, 0, 1])];
        let mut device = Device::adopt(file, 1400, false, addresses.clone()).expect("adopted");
        assert_eq!(device.addresses(), addresses);
        assert_eq!(
            (device.mtu(), device.has_header(), device.interface()),
            (1400, false, None)
        );
        let queue = device.take_queues().pop().expect("a queue");
        echoes(&queue, 0, V4);
        drain(&queue);
        let read = queue.read(&mut [0; 64]);
        assert_eq!(read.expect_err("empty").kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    isolated(|| {
        let config = config("tuntaken0", &BOTH);
        let _device = plain(&config);
        let taken = Device::open(&config, Opening::default()).expect_err("the name is taken");
        assert!(
            taken
                .to_string()
                .starts_with("cannot open tun device tuntaken0:"),
            "{taken}"
        );
        let mut other = config;
        other.interface_name = Some("a name of too many bytes".to_owned());
        let long = Device::open(&other, Opening::default()).expect_err("too long");
        assert!(matches!(long, TunError::Open { .. }), "{long}");
        other.interface_name = None;
        other.mtu = Some(1000);
        other.address = nets(&["fd00::1/64"]);
        let small = Device::open(&other, Opening::default()).expect_err("IPv6 needs 1280");
        assert!(matches!(small, TunError::Address { .. }), "{small}");
    });
}
