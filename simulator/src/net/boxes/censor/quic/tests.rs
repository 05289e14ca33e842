//! Against the sample packets of RFC 9001 appendix A, and packets sealed here.
use super::*;
use crate::net::boxes::censor::hello::tests::handshake;

/// The connection ID of RFC 9001 appendix A.
const RFC_ID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// RFC 9001 appendix A.2: the CRYPTO frame of the client's first packet.
fn rfc_frame() -> Vec<u8> {
    hex(concat!(
        "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868",
        "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578",
        "616d706c652e636f6dff01000100000a00080006001d00170018001000070005",
        "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba",
        "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400",
        "0d0010000e0403050306030203080408050806002d00020101001c0002400100",
        "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000",
        "75300901100f088394c8f03e51570806048000ffff",
    ))
}

/// An Initial packet under the keys of `keys_of`, with a packet number of four bytes.
fn seal(keys_of: &[u8], destination: &[u8], number: u32, frames: &[u8]) -> Vec<u8> {
    let keys = Keys::of_client(keys_of).unwrap();
    let mut header = vec![0xc3, 0, 0, 0, 1, destination.len() as u8];
    header.extend_from_slice(destination);
    header.extend([0, 0]);
    let len = (4 + frames.len() + 16) as u16 | 0x4000;
    header.extend(len.to_be_bytes());
    let number_at = header.len();
    header.extend(number.to_be_bytes());
    let payload = Payload {
        msg: frames,
        aad: &header,
    };
    let nonce = keys.nonce(number.into()).into();
    let sealed = keys.packets.encrypt(&nonce, payload).unwrap();
    let mask = keys.mask(*sealed.first_chunk().unwrap());
    header[0] ^= mask[0] & 0x0f;
    for (byte, mask) in header[number_at..].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
    [header, sealed].concat()
}

/// A CRYPTO frame.
fn crypto(offset: u16, bytes: &[u8]) -> Vec<u8> {
    let head = [offset | 0x4000, bytes.len() as u16 | 0x4000];
    let head: Vec<u8> = head.iter().flat_map(|n| n.to_be_bytes()).collect();
    [&[6][..], &head, bytes].concat()
}

/// A first flight that asks for `name`, in datagrams with parts of the hello in odd order.
pub(in crate::net::boxes) fn first_flight(name: &str) -> Vec<Vec<u8>> {
    let hello = handshake(name, &["h3"]);
    let (a, b) = hello.split_at(hello.len() / 2);
    let (a1, a2) = a.split_at(3);
    let ack = [2, 0, 0, 0, 0];
    let early = [&crypto(3, a2)[..], &[1, 0, 0, 0], &crypto(0, a1)].concat();
    let late = [&ack[..], &crypto(a.len() as u16, b), &[0; 50]].concat();
    vec![
        seal(&RFC_ID, &RFC_ID, 0, &early),
        seal(&RFC_ID, b"server", 1, &late),
    ]
}

fn name(look: &Look<ClientHello>) -> Option<&str> {
    match look {
        Look::Seen(hello) => hello.server_name.as_deref(),
        Look::More | Look::Never => None,
    }
}

#[test]
fn keys_are_those_of_the_appendix() {
    let keys = Keys::of_client(&RFC_ID).unwrap();
    assert_eq!(keys.iv[..], hex("fa044b2f42a3fd3b46fb255c"));
    let sample = hex("d1b1c98dd7689fb8ec11d242b123dc9b");
    let mask = keys.mask(*sample.first_chunk().unwrap());
    assert_eq!(mask[..5], hex("437b9aec36"));
}

#[test]
fn the_packet_of_the_appendix_is_opened() {
    let mut frames = rfc_frame();
    frames.resize(1162, 0);
    let packet = seal(&RFC_ID, &RFC_ID, 2, &frames);
    let expected = hex(concat!(
        "c000000001088394c8f03e5157080000449e7b9aec34",
        "d1b1c98dd7689fb8ec11d242b123dc9b",
    ));
    assert_eq!(packet[..expected.len()], expected);
    assert_eq!(packet.len(), 1200);
    let look = Initials::default().datagram(&packet);
    let Look::Seen(hello) = look else {
        panic!("{look:?}");
    };
    assert_eq!(hello.server_name.as_deref(), Some("example.com"));
    assert_eq!(hello.alpn, [b"alpn".to_vec()]);
}

#[test]
fn a_hello_may_take_several_packets() {
    let mut initials = Initials::default();
    let flight = first_flight("a.example.com");
    assert_eq!(initials.datagram(&flight[0]), Look::More);
    assert_eq!(name(&initials.datagram(&flight[1])), Some("a.example.com"));
    let mut coalesced = Initials::default();
    assert_eq!(
        name(&coalesced.datagram(&flight.concat())),
        Some("a.example.com")
    );
}

#[test]
fn after_a_retry_other_keys_hold() {
    let mut initials = Initials::default();
    let flight = first_flight("a.example.com");
    assert_eq!(initials.datagram(&flight[0]), Look::More);
    let frames = crypto(0, &handshake("a.example.com", &["h3"]));
    let again = seal(b"retried", b"retried", 1, &frames);
    assert_eq!(name(&initials.datagram(&again)), Some("a.example.com"));
}

#[test]
fn what_is_no_initial_is_known_at_once() {
    let mut version_2 = first_flight("a.example.com").remove(0);
    version_2[4] = 2;
    for other in [&b"hello"[..], &[0x40; 40], &[0xc0; 1200], &[], &version_2] {
        assert_eq!(Initials::default().datagram(other), Look::Never);
    }
}

#[test]
fn damage_never_panics() {
    let packet = first_flight("a.example.com").remove(0);
    for at in 0..packet.len() {
        let mut damaged = packet.clone();
        damaged[at] ^= 0x55;
        Initials::default().datagram(&damaged);
        Initials::default().datagram(&packet[..at]);
        let mut crypto = Stream::default();
        collect_crypto(&packet[at..], &mut crypto);
    }
}
