//! Frames that Linux wrote to a TUN device; see `vectors/README.md`.
#![cfg(target_endian = "little")]
use bytes::BytesMut;
use sansbox_core::Instant;
use sansbox_stack::{
    fragment::{Limits, Reassembler},
    ip::{self, Checksum, Datagram, Header, protocol},
    vnet::{self, Coalescer, Gso, complete, split},
};

fn frames() -> Vec<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a digit");
    let byte = |pair: &[u8]| {
        let value = pair.iter().fold(0, |value, c| value << 4 | digit(*c));
        u8::try_from(value).expect("two digits")
    };
    let lines = include_str!("vectors/linux_tun.hex").lines();
    lines
        .map(|line| line.as_bytes().chunks(2).map(byte).collect())
        .collect()
}

/// The packets of a frame as a wire would carry them.
fn packets(frame: &[u8]) -> Vec<Vec<u8>> {
    let (header, packet) = vnet::Header::parse(frame).expect("a header");
    let ip = Header::parse(packet).expect("a packet");
    let mut parts = split(packet, &ip, &header).expect("split");
    let mut out = BytesMut::new();
    let mut all = Vec::new();
    while let Some(len) = parts.next_into(&mut out) {
        all.push(out.split_to(len).to_vec());
    }
    all
}

fn payload(packet: &[u8]) -> Vec<u8> {
    let header = Header::parse(packet).expect("a packet");
    let upper = header.payload(packet);
    let is_valid = ip::is_valid(header.source, header.destination, header.protocol, upper);
    assert!(is_valid, "checksum");
    let head = match header.protocol {
        protocol::TCP => usize::from(upper.get(12).expect("a header") >> 4) * 4,
        _ => 8,
    };
    upper.get(head..).expect("a payload").to_vec()
}

#[test]
fn p17_every_frame_of_linux_gets_complete_checksums() {
    let mut seen = Vec::new();
    for frame in frames() {
        let (header, packet) = vnet::Header::parse(&frame).expect("a header");
        let ip = Header::parse(packet).expect("a packet");
        if ip.fragment.is_some() {
            continue;
        }
        let parts = packets(&frame);
        let all: Vec<u8> = parts.iter().flat_map(|part| payload(part)).collect();
        seen.push((header.gso, ip.is_v6(), all.len(), parts.len()));
        let step = if header.gso == Gso::Udp { 250 } else { 251 };
        if header.gso != Gso::None {
            assert!(
                all.iter()
                    .enumerate()
                    .all(|(at, byte)| usize::from(*byte) == at % step)
            );
            continue;
        }
        let mut packet = packet.to_vec();
        complete(&mut packet, &ip, &header).expect("completed");
        assert_eq!([packet], parts[..]);
    }
    for (gso, is_v6) in [(Gso::TcpV4, false), (Gso::TcpV6, true)] {
        assert!(seen.contains(&(gso, is_v6, 1500, 3)));
        assert!(seen.contains(&(Gso::Udp, is_v6, 250, 3)));
        assert!(seen.contains(&(Gso::None, is_v6, 5, 1)));
    }
}

/// What is joined is what Linux itself makes, byte for byte: so Linux takes it back.
#[test]
fn p17_joined_frames_are_those_of_linux() {
    let mut joined = 0;
    for frame in frames() {
        let (header, packet) = vnet::Header::parse(&frame).expect("a header");
        if header.gso == Gso::None {
            continue;
        }
        let mut coalescer = Coalescer::new(8, true);
        for part in packets(&frame) {
            coalescer.push(&part, Checksum::Verify).expect("room");
        }
        let all: Vec<_> = coalescer
            .packets()
            .map(|(h, packet)| (h, packet.to_vec()))
            .collect();
        assert_eq!(all.len(), 1);
        // How much of a packet Linux has in one piece is its own business.
        let header_len = all.first().expect("one").0.header_len;
        assert_eq!(
            all,
            [(
                vnet::Header {
                    header_len,
                    ..header
                },
                packet.to_vec()
            )]
        );
        joined += 1;
    }
    assert_eq!(joined, 4);
}

#[test]
fn p8_fragments_of_linux_are_put_together() {
    let mut fragments = Reassembler::new(Limits::default());
    let mut whole = BytesMut::new();
    let mut done = 0;
    for frame in frames() {
        let (_, packet) = vnet::Header::parse(&frame).expect("a header");
        let header = Header::parse(packet).expect("a packet");
        if header.fragment.is_none() {
            continue;
        }
        whole.clear();
        let taken = fragments.handle_fragment(Instant::ZERO, packet, &header, &mut whole);
        if taken.expect("taken").is_none() {
            continue;
        }
        let header = Header::parse(&whole).expect("a packet");
        let got = Datagram::parse(&whole, &header, Checksum::Verify).expect("a datagram");
        let data = whole.get(got.payload).expect("inside");
        assert_eq!((got.destination_port, data.len()), (9001, 1400));
        assert!(
            data.iter()
                .enumerate()
                .all(|(at, byte)| usize::from(*byte) == at % 251)
        );
        done += 1;
    }
    assert_eq!((done, fragments.drops().total()), (2, 0));
}
