//! `virtio_net_hdr` against a reference that cuts with plain arithmetic.
use super::segment::fold;
use super::sum;
use crate::input::Input;
use bytes::BytesMut;
use sansbox_stack::{
    ip::{self, Checksum},
    vnet::{self, Coalescer, Gso, HEADER_LEN, complete, defer, split},
};

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
const ECE: u8 = 0x40;

/// The first octet decides: either the rest is a frame as a device gives it, or 13 octets say
/// what a super-packet looks like and the rest is its payload. Headers survive being written and
/// read; a super-packet is cut into what the reference cuts it into, those segments are joined to
/// it again, and a sum that was deferred is completed to what it was.
pub fn vnet_hdr(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        frame(input.rest());
    } else {
        Super::read(&mut input).check();
    }
}

/// A frame of any bytes.
fn frame(frame: &[u8]) {
    let read = vnet::Header::parse(frame);
    let Some(head) = frame.get(..HEADER_LEN) else {
        return assert!(read.is_err());
    };
    let word = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
    let size_min = match head[1] & 0x7f {
        0 => 0,
        1 | 4 => 8,
        5 => 1,
        _ => return assert!(read.is_err(), "an unknown kind"),
    };
    let Ok((header, packet)) = read else {
        return assert!(word(4) < size_min, "refused for nothing");
    };
    assert!(word(4) >= size_min);
    assert_eq!(packet, &frame[HEADER_LEN..]);
    let written = header.emit();
    assert_eq!(written[1..], head[1..]);
    assert_eq!(written[0], head[0] & 3);
    let Ok(ip) = ip::Header::parse(packet) else {
        return;
    };
    let mut whole = BytesMut::from(&packet[..ip.total_len]);
    if complete(&mut whole, &ip, &header).is_ok() && header.needs_checksum {
        let start = usize::from(header.checksum_start);
        let at = start + usize::from(header.checksum_offset);
        assert!(start >= ip.payload_at && at + 2 <= whole.len());
        let (before, after) = (&packet[..ip.total_len], &mut whole);
        let check = !fold(sum(&before[start..]));
        let check = if check == 0 && at - start == 6 {
            0xffff
        } else {
            check
        };
        assert_eq!(after[at..at + 2], check.to_be_bytes());
        after[at..at + 2].copy_from_slice(&before[at..at + 2]);
        assert_eq!(after[..], *before);
    }
    if let Ok(mut parts) = split(packet, &ip, &header) {
        let mut out = BytesMut::new();
        let mut made = 0;
        while parts.next_into(&mut out).is_some() {
            made += 1;
        }
        assert_eq!(made, parts.count());
        assert!(out.len() <= made * packet.len());
    }
}

/// What a super-packet is made of.
#[derive(Clone, Debug)]
struct Super {
    v6: bool,
    protocol: u8,
    id: u16,
    options: Vec<u8>,
    seq: u32,
    flags: u8,
    size: usize,
    payload: Vec<u8>,
}

impl Super {
    fn read(input: &mut Input<'_>) -> Self {
        let [kind, options, flags, scale] = input.bytes();
        let protocol = if kind & 2 == 0 { TCP } else { UDP };
        let size = usize::from(input.u16() % 1500).max(8);
        let (id, seq) = (input.u16(), u32::from(input.u16()) << 16 | 0xffff);
        let repeat = 1 + usize::from(scale % 32);
        let mut payload = input.clone().rest().repeat(repeat);
        let most = if protocol == UDP { 64 * size } else { 60_000 };
        payload.truncate(most.min(60_000));
        if payload.is_empty() {
            payload.push(0);
        }
        Self {
            v6: kind & 1 == 1,
            protocol,
            id,
            options: vec![1; usize::from(options % 11) * 4],
            seq,
            // FIN, PSH, ACK, ECE, CWR: with others a kernel does not join.
            flags: flags & (FIN_PSH | ECE | CWR) | 0x10,
            size,
            payload,
        }
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            return [&[0xfd; 15][..], &[1], &[0xfd; 15], &[2]].concat();
        }
        vec![10, 0, 0, 2, 192, 0, 2, 1]
    }

    /// One packet with `payload`, `passed` bytes after the first, with right sums.
    fn packet(&self, index: usize, passed: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
        let ports = [0x30, 0x39, 1, 187];
        let (mut upper, at) = if self.protocol == UDP {
            let len = u16::try_from(8 + payload.len()).expect("short");
            (
                [&ports[..], &len.to_be_bytes(), &[0; 2], payload].concat(),
                6,
            )
        } else {
            let seq = self.seq.wrapping_add(passed as u32).to_be_bytes();
            let offset = ((20 + self.options.len()) as u8 / 4) << 4;
            let rest = [0, 0, 0, 77, offset, flags, 2, 0, 0, 0, 0, 0];
            let parts = [&ports[..], &seq, &rest, &self.options, payload];
            (parts.concat(), 16)
        };
        let pseudo = sum(&self.addresses()) + u64::from(self.protocol) + upper.len() as u64;
        let check = !fold(sum(&upper) + pseudo);
        let check = if self.protocol == UDP && check == 0 {
            0xffff
        } else {
            check
        };
        upper[at..at + 2].copy_from_slice(&check.to_be_bytes());
        let len = u16::try_from(upper.len()).expect("short");
        let head = if self.v6 {
            [
                &[0x60, 0, 0, 0][..],
                &len.to_be_bytes(),
                &[self.protocol, 64],
            ]
            .concat()
        } else {
            let id = self.id.wrapping_add(index as u16).to_be_bytes();
            let [a, b] = (len + 20).to_be_bytes();
            let mut head = vec![
                0x45,
                0,
                a,
                b,
                id[0],
                id[1],
                0x40,
                0,
                64,
                self.protocol,
                0,
                0,
            ];
            let check = !fold(sum(&head) + sum(&self.addresses()));
            head[10..12].copy_from_slice(&check.to_be_bytes());
            head
        };
        [head, self.addresses(), upper].concat()
    }

    /// What it is cut into.
    fn segments(&self) -> Vec<Vec<u8>> {
        let parts: Vec<_> = self.payload.chunks(self.size).collect();
        let last = parts.len() - 1;
        let made = parts.iter().enumerate().map(|(index, part)| {
            let mut flags = self.flags;
            if index > 0 {
                flags &= !CWR;
            }
            if index < last {
                flags &= !FIN_PSH;
            }
            self.packet(index, index * self.size, flags, part)
        });
        made.collect()
    }

    fn check(&self) {
        let whole = self.packet(0, 0, self.flags, &self.payload);
        let segments = self.segments();
        let ip = ip::Header::parse(&whole).expect("a packet");
        let mut deferred = BytesMut::from(&whole[..]);
        let single = defer(&mut deferred, &ip).expect("TCP or UDP");
        assert!(single.needs_checksum && single.gso == Gso::None);
        let mut completed = deferred.clone();
        complete(&mut completed, &ip, &single).expect("one packet");
        assert_eq!(completed, whole, "completed to another packet");
        let gso = match (segments.len(), self.protocol, self.v6) {
            (1, ..) => Gso::None,
            (_, UDP, _) => Gso::Udp,
            (_, _, false) => Gso::TcpV4,
            (_, _, true) => Gso::TcpV6,
        };
        let is_cut = gso != Gso::None;
        let header = vnet::Header {
            gso,
            ecn: is_cut && self.protocol == TCP && self.flags & CWR != 0,
            header_len: (whole.len() - self.payload.len()) as u16,
            segment_size: self.size as u16,
            ..single
        };
        assert_eq!(cut(&deferred, &header), segments, "cut in another way");
        let own = vnet::Header::tcp(
            self.v6,
            ip.payload_at as u16,
            20 + self.options.len() as u16,
            self.payload.len() as u16,
            self.size as u16,
        );
        if self.protocol == TCP {
            assert_eq!(
                cut(&deferred, &own),
                segments,
                "the header for it says another thing"
            );
        }
        self.join(&segments, &deferred, &header);
    }

    fn join(&self, segments: &[Vec<u8>], deferred: &[u8], header: &vnet::Header) {
        let mut coalescer = Coalescer::new(segments.len(), true);
        for segment in segments {
            let pushed = coalescer.push(segment, Checksum::Verify);
            pushed.expect("a slot for each");
        }
        let joined: Vec<_> = coalescer.packets().map(|(h, p)| (h, p.to_vec())).collect();
        let again: Vec<_> = joined.iter().flat_map(|(h, p)| cut(p, h)).collect();
        assert_eq!(again, segments, "joined to something else");
        if segments.len() > 1 {
            assert_eq!(joined.len(), 1, "not joined");
            assert_eq!((&joined[0].0, &joined[0].1[..]), (header, deferred));
        }
        // A wrong sum must not become right.
        let mut wrong = segments[0].clone();
        *wrong.last_mut().expect("bytes") ^= 1;
        let mut coalescer = Coalescer::new(segments.len() + 1, true);
        for segment in [&wrong].into_iter().chain(&segments[1..]) {
            coalescer.push(segment, Checksum::Verify).expect("a slot");
        }
        let first = coalescer.packets().next().map(|(h, p)| (h, p.to_vec()));
        assert_eq!(first, Some((vnet::Header::default(), wrong)));
    }
}

fn cut(packet: &[u8], header: &vnet::Header) -> Vec<Vec<u8>> {
    let ip = ip::Header::parse(packet).expect("a packet");
    let mut parts = split(packet, &ip, header).expect("it can be cut");
    let mut out = BytesMut::new();
    let mut all = Vec::new();
    while parts.next_into(&mut out).is_some() {
        all.push(out.split().to_vec());
    }
    assert_eq!(all.len(), parts.count());
    all
}
