//! Blocks of the pcapng format (draft-ietf-opsawg-pcapng), as they are written here: little
//! endian, nanoseconds, raw IP packets.
use core::net::IpAddr;
use sansbox_core::Instant;

/// Link type of packets that begin with their IP header.
const LINKTYPE_RAW: u16 = 101;
/// Secrets type of a TLS key log.
const SECRETS_TLS_KEY_LOG: u32 = 0x544c_534b;
/// Digits behind the second in time stamps.
const TIME_DIGITS: u8 = 9;
/// Longest option value, so that its length with padding fits its field.
const OPTION_LEN_MAX: usize = 65_532;

/// Which way a packet went through its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// A capture that grows block by block.
#[derive(Debug)]
pub(super) struct Capture {
    out: Vec<u8>,
}

/// The options of one block.
#[derive(Debug, Default)]
struct Options(Vec<u8>);

impl Options {
    fn put(&mut self, code: u16, value: &[u8]) {
        let value = value.get(..OPTION_LEN_MAX).unwrap_or(value);
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend(code.to_le_bytes());
        self.0.extend(len.to_le_bytes());
        put_padded(&mut self.0, value);
    }

    /// `opt_comment`.
    fn comment(&mut self, text: &str) {
        if !text.is_empty() {
            self.put(1, text.as_bytes());
        }
    }

    fn end(mut self) -> Vec<u8> {
        if !self.0.is_empty() {
            self.0.extend([0; 4]);
        }
        self.0
    }
}

impl Capture {
    /// A capture of one section, written by `program`, with a comment on all of it.
    pub(super) fn new(program: &str, comment: &str) -> Self {
        let mut capture = Self { out: Vec::new() };
        let mut body = Vec::new();
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // The section's length is left open.
        body.extend(u64::MAX.to_le_bytes());
        let mut options = Options::default();
        options.comment(comment);
        options.put(4, program.as_bytes());
        body.extend(options.end());
        capture.block(0x0a0d_0d0a, &body);
        capture
    }

    /// An interface; they are numbered from 0.
    pub(super) fn interface(&mut self, name: &str, about: &str, address: IpAddr) {
        let mut body = Vec::new();
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend([0; 6]);
        let mut options = Options::default();
        options.put(2, name.as_bytes());
        options.put(3, about.as_bytes());
        match address {
            IpAddr::V4(ip) => options.put(4, &[ip.octets(), [255; 4]].concat()),
            IpAddr::V6(ip) => options.put(5, &[&ip.octets()[..], &[128]].concat()),
        }
        options.put(9, &[TIME_DIGITS]);
        body.extend(options.end());
        self.block(1, &body);
    }

    /// Names of addresses.
    pub(super) fn names<'a>(&mut self, names: impl Iterator<Item = (IpAddr, &'a str)>) {
        let mut body = Vec::new();
        for (address, name) in names {
            let (kind, octets) = match address {
                IpAddr::V4(ip) => (1_u16, ip.octets().to_vec()),
                IpAddr::V6(ip) => (2_u16, ip.octets().to_vec()),
            };
            let value = [&octets[..], name.as_bytes(), &[0]].concat();
            let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
            body.extend(kind.to_le_bytes());
            body.extend(len.to_le_bytes());
            put_padded(&mut body, &value);
        }
        body.extend([0; 4]);
        self.block(4, &body);
    }

    /// Secrets for what follows.
    pub(super) fn key_log(&mut self, lines: &[String]) {
        let mut text = lines.join("\n");
        text.push('\n');
        let mut body = Vec::new();
        body.extend(SECRETS_TLS_KEY_LOG.to_le_bytes());
        body.extend(len32(text.len()).to_le_bytes());
        put_padded(&mut body, text.as_bytes());
        self.block(10, &body);
    }

    /// A packet.
    pub(super) fn packet(
        &mut self,
        port: (u32, Direction),
        at: Instant,
        packet: &[u8],
        comment: &str,
    ) {
        self.cut_packet(port, at, (packet, packet.len()), comment);
    }

    /// The front of a packet that was `original` bytes long.
    pub(super) fn cut_packet(
        &mut self,
        (interface, direction): (u32, Direction),
        at: Instant,
        (packet, original): (&[u8], usize),
        comment: &str,
    ) {
        let nanos = at.as_nanos();
        let len = len32(packet.len());
        let mut body = Vec::with_capacity(packet.len() + comment.len() + 64);
        body.extend(interface.to_le_bytes());
        body.extend(((nanos >> 32) as u32).to_le_bytes());
        body.extend((nanos as u32).to_le_bytes());
        body.extend(len.to_le_bytes());
        body.extend(len32(original).to_le_bytes());
        put_padded(&mut body, packet);
        let mut options = Options::default();
        options.comment(comment);
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        options.put(2, &flags.to_le_bytes());
        body.extend(options.end());
        self.block(6, &body);
    }

    /// The finished file.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let len = len32(body.len() + 12).to_le_bytes();
        self.out.extend(kind.to_le_bytes());
        self.out.extend(len);
        self.out.extend(body);
        self.out.extend(len);
    }
}

/// Lengths of blocks are far below 2^32: a packet has at most 64 KiB.
fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn put_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    let padded = bytes.len().next_multiple_of(4);
    out.extend(core::iter::repeat_n(0, padded - bytes.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        crate::transcript::hex(bytes)
    }

    #[test]
    fn a_section_says_its_byte_order_and_who_wrote_it() {
        let bytes = Capture::new("prog", "").finish();
        let expected = concat!(
            "0a0d0d0a",
            "28000000",
            "4d3c2b1a",
            "0100",
            "0000",
            "ffffffffffffffff",
            "0400",
            "0400",
            "70726f67",
            "00000000",
            "28000000",
        );
        assert_eq!(hex(&bytes), expected);
    }

    #[test]
    fn an_interface_has_name_address_and_nanoseconds() {
        let mut capture = Capture { out: Vec::new() };
        capture.interface("a", "b", IpAddr::from([10, 0, 0, 1]));
        let expected = concat!(
            "01000000",
            "3c000000",
            "6500",
            "0000",
            "00000000",
            "0200",
            "0100",
            "61000000",
            "0300",
            "0100",
            "62000000",
            "0400",
            "0800",
            "0a000001ffffffff",
            "0900",
            "0100",
            "09000000",
            "00000000",
            "3c000000",
        );
        assert_eq!(hex(&capture.finish()), expected);
    }

    #[test]
    fn a_packet_is_padded_and_carries_time_comment_and_direction() {
        let mut capture = Capture { out: Vec::new() };
        let at = Instant::from_nanos(0x1_0000_0002);
        capture.packet((3, Direction::Out), at, &[0xaa], "hi");
        let expected = concat!(
            "06000000", "38000000", "03000000", "01000000", "02000000", "01000000", "01000000",
            "aa000000", "0100", "0200", "68690000", "0200", "0400", "02000000", "00000000",
            "38000000",
        );
        assert_eq!(hex(&capture.finish()), expected);
    }

    #[test]
    fn secrets_and_names_are_padded() {
        let mut capture = Capture { out: Vec::new() };
        capture.key_log(&["ab".into()]);
        capture.names([(IpAddr::from([1, 2, 3, 4]), "x")].into_iter());
        let expected = concat!(
            "0a000000",
            "18000000",
            "4b534c54",
            "03000000",
            "61620a00",
            "18000000",
            "04000000",
            "1c000000",
            "0100",
            "0600",
            "0102030478000000",
            "00000000",
            "1c000000",
        );
        assert_eq!(hex(&capture.finish()), expected);
    }
}
