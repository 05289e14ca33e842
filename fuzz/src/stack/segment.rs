//! TCP segments as bytes, written and read without the product.
use super::sum;

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

/// One of a few clients. All want to reach the same server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    pub(super) v6: bool,
    pub(super) port: u16,
}

/// What a segment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

const SERVER_PORT: u16 = 443;

impl Host {
    /// Addresses of the client and of the server, of 4 or 16 bytes each.
    fn addresses(self) -> [Vec<u8>; 2] {
        if self.v6 {
            let end = |n| [&[0xfd][..], &[0; 14], &[n]].concat();
            return [end(2), end(1)];
        }
        [vec![10, 0, 0, 2], vec![192, 0, 2, 1]]
    }

    const fn head_len(self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    /// The packet that carries `segment`, with right sums.
    pub(super) fn packet(self, segment: &Segment) -> Vec<u8> {
        let [source, destination] = self.addresses();
        let mut options = segment.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let offset = u8::try_from((20 + options.len()) / 4).expect("short") << 4;
        let mut tcp = [
            &self.port.to_be_bytes()[..],
            &SERVER_PORT.to_be_bytes(),
            &segment.seq.to_be_bytes(),
            &segment.ack.to_be_bytes(),
            &[offset, segment.flags],
            &segment.window.to_be_bytes(),
            &[0; 4],
            &options,
            &segment.payload,
        ]
        .concat();
        let len = u16::try_from(tcp.len()).expect("short");
        let pseudo = sum(&source) + sum(&destination) + 6 + u64::from(len);
        let check = !fold(sum(&tcp) + pseudo);
        tcp[16..18].copy_from_slice(&check.to_be_bytes());
        let head = if self.v6 {
            [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[6, 64]].concat()
        } else {
            let total = (len + 20).to_be_bytes();
            let mut head = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 6, 0, 0]].concat();
            let check = !fold(sum(&head) + sum(&source) + sum(&destination));
            head[10..12].copy_from_slice(&check.to_be_bytes());
            head
        };
        [head, source, destination, tcp].concat()
    }

    /// Reads a packet of the stack to one of `hosts`, and looks at every length and sum. `None`:
    /// an ICMP error. With `partial` the checksum is that of the pseudo header alone.
    pub(super) fn read(hosts: &[Self], packet: &[u8], partial: bool) -> Option<(usize, Segment)> {
        let v6 = packet[0] >> 4 == 6;
        let protocol = packet[if v6 { 6 } else { 9 }];
        assert!(protocol == 6 || protocol == if v6 { 58 } else { 1 });
        if protocol != 6 {
            return None;
        }
        let host = Self { v6, port: 0 };
        let [client, server] = host.addresses();
        let (head, tcp) = packet.split_at(host.head_len());
        assert!(head.ends_with(&[server.clone(), client.clone()].concat()));
        let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if v6 {
            assert_eq!(usize::from(field(4)), tcp.len());
        } else {
            assert_eq!(usize::from(field(2)), packet.len());
            assert_eq!(fold(sum(head)), u16::MAX);
        }
        let pseudo = sum(&client) + sum(&server) + 6 + tcp.len() as u64;
        let word = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        if partial {
            assert_eq!(word(16), fold(pseudo));
        } else {
            assert_eq!(fold(sum(tcp) + pseudo), u16::MAX, "a wrong checksum");
        }
        let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let head_len = usize::from(tcp[12] >> 4) * 4;
        assert_eq!(word(0), SERVER_PORT);
        let of = |host: &Self| host.v6 == v6 && host.port == word(2);
        let at = hosts.iter().position(of).expect("one of the clients");
        let segment = Segment {
            seq: long(4),
            ack: long(8),
            flags: tcp[13],
            window: word(14),
            options: tcp[20..head_len].to_vec(),
            payload: tcp[head_len..].to_vec(),
        };
        Some((at, segment))
    }
}

pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
