//! Opens the Initial packets of QUIC v1 clients, whose keys anybody can derive (RFC 9001
//! section 5.2), and puts their CRYPTO frames together.
use super::{
    Look,
    cursor::Cursor,
    hello::{self, ClientHello},
    stream::Stream,
};
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::{
    Aes128Gcm,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use sha2::Sha256;

const VERSION_1: u64 = 1;
/// RFC 9001 section 5.2.
const INITIAL_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
/// RFC 9000 section 17.2.
const CONNECTION_ID_LEN_MAX: usize = 20;
const SAMPLE_LEN: usize = 16;
const PACKET_NUMBER_LEN_MAX: usize = 4;
/// Connection IDs whose keys are tried: the client's first, and the one of a Retry.
const KEYS_MAX: usize = 4;

const FRAME_PADDING: u64 = 0;
const FRAME_PING: u64 = 1;
const FRAME_ACK: u64 = 2;
const FRAME_ACK_ECN: u64 = 3;
const FRAME_CRYPTO: u64 = 6;

/// The Initial packets of one client.
#[derive(Default)]
pub(super) struct Initials {
    keys: Vec<(Vec<u8>, Keys)>,
    crypto: Stream,
}

impl core::fmt::Debug for Initials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let crypto = &self.crypto;
        f.debug_struct("Initials")
            .field("crypto", crypto)
            .finish_non_exhaustive()
    }
}

impl Initials {
    /// A datagram of the client.
    pub(super) fn datagram(&mut self, datagram: &[u8]) -> Look<ClientHello> {
        let mut rest = datagram;
        let mut opened_any = false;
        while let Some((packet, behind)) = LongHeader::parse(rest) {
            if packet.is_initial
                && let Some(frames) = self.open(&packet)
            {
                opened_any = true;
                collect_crypto(&frames, &mut self.crypto);
            }
            rest = behind;
        }
        if !opened_any && self.crypto.begin().is_empty() {
            return Look::Never;
        }
        hello::from_handshake(self.crypto.begin())
    }

    /// Tries the keys of earlier packets, then those of this packet's own connection ID.
    fn open(&mut self, packet: &LongHeader<'_>) -> Option<Vec<u8>> {
        let known = self.keys.iter().find_map(|(_, keys)| keys.open(packet));
        if known.is_some() {
            return known;
        }
        let is_new = self.keys.iter().all(|(id, _)| id != packet.destination);
        if !is_new || self.keys.len() >= KEYS_MAX {
            return None;
        }
        let keys = Keys::of_client(packet.destination)?;
        let frames = keys.open(packet)?;
        self.keys.push((packet.destination.to_vec(), keys));
        Some(frames)
    }
}

/// A packet with a long header (RFC 9000 section 17.2).
struct LongHeader<'a> {
    is_initial: bool,
    destination: &'a [u8],
    /// All of it, and where its packet number begins.
    bytes: &'a [u8],
    number_at: usize,
}

impl<'a> LongHeader<'a> {
    /// The first packet of a datagram, and what is behind it.
    fn parse(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut rest = Cursor(datagram);
        let first = rest.number(1)?;
        let kind = first >> 4 & 3;
        // Header form and fixed bit; a Retry (type 3) has no length and nothing behind it.
        if first & 0xc0 != 0xc0 || rest.number(4)? != VERSION_1 || kind == 3 {
            return None;
        }
        let (destination, source) = (rest.vector(1)?.0, rest.vector(1)?.0);
        if destination.len().max(source.len()) > CONNECTION_ID_LEN_MAX {
            return None;
        }
        let is_initial = kind == 0;
        if is_initial {
            let token = usize::try_from(rest.varint()?).ok()?;
            rest.take(token)?;
        }
        let len = usize::try_from(rest.varint()?).ok()?;
        let number_at = datagram.len() - rest.0.len();
        rest.take(len)?;
        let (bytes, behind) = datagram.split_at_checked(number_at + len)?;
        let packet = Self {
            is_initial,
            destination,
            bytes,
            number_at,
        };
        Some((packet, behind))
    }
}

/// What protects the Initial packets of a client.
struct Keys {
    packets: Aes128Gcm,
    iv: [u8; 12],
    headers: aes::Aes128,
}

impl Keys {
    fn of_client(destination: &[u8]) -> Option<Self> {
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&INITIAL_SALT), destination);
        let mut client = [0; 32];
        expand(&initial, b"client in", &mut client)?;
        let client = Hkdf::<Sha256>::from_prk(&client).ok()?;
        let (mut key, mut iv, mut header_key) = ([0; 16], [0; 12], [0; 16]);
        expand(&client, b"quic key", &mut key)?;
        expand(&client, b"quic iv", &mut iv)?;
        expand(&client, b"quic hp", &mut header_key)?;
        Some(Self {
            packets: Aes128Gcm::new(&key.into()),
            iv,
            headers: aes::Aes128::new(&header_key.into()),
        })
    }

    /// RFC 9001 section 5.4.3: what hides the first byte and the packet number.
    fn mask(&self, sample: [u8; SAMPLE_LEN]) -> [u8; SAMPLE_LEN] {
        let mut block = sample.into();
        self.headers.encrypt_block(&mut block);
        block.into()
    }

    /// RFC 9001 section 5.3.
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, of_number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= of_number;
        }
        nonce
    }

    /// The frames of a packet; `None` when these are not its keys.
    fn open(&self, packet: &LongHeader<'_>) -> Option<Vec<u8>> {
        let (header, behind) = packet.bytes.split_at_checked(packet.number_at)?;
        let sample = behind.get(PACKET_NUMBER_LEN_MAX..)?.first_chunk()?;
        let [mask_first, mask_number @ ..] = self.mask(*sample);
        let mut header = header.to_vec();
        let first = header.first_mut()?;
        *first ^= mask_first & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let (number, sealed) = behind.split_at_checked(number_len)?;
        let number = number
            .iter()
            .zip(mask_number)
            .map(|(byte, mask)| byte ^ mask);
        header.extend(number);
        // A first flight has few packets: their numbers are written out whole.
        let number = Cursor(header.get(packet.number_at..)?).number(number_len)?;
        let sealed = Payload {
            msg: sealed,
            aad: &header,
        };
        self.packets
            .decrypt(&self.nonce(number).into(), sealed)
            .ok()
    }
}

/// HKDF-Expand-Label of RFC 8446 section 7.1, without context.
fn expand(secret: &Hkdf<Sha256>, label: &[u8], out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label = [b"tls13 ", label].concat();
    let label_len = u8::try_from(label.len()).ok()?;
    let info = [&len[..], &[label_len], &label, &[0]].concat();
    secret.expand(&info, out).ok()
}

/// Stores what CRYPTO frames carry; stops at a frame that no first flight has.
fn collect_crypto(frames: &[u8], crypto: &mut Stream) -> Option<()> {
    let mut rest = Cursor(frames);
    while !rest.0.is_empty() {
        match rest.varint()? {
            FRAME_PADDING | FRAME_PING => {}
            kind @ (FRAME_ACK | FRAME_ACK_ECN) => skip_ack(&mut rest, kind == FRAME_ACK_ECN)?,
            FRAME_CRYPTO => {
                let offset = rest.varint()?;
                let len = usize::try_from(rest.varint()?).ok()?;
                crypto.insert(offset, rest.take(len)?);
            }
            _ => return None,
        }
    }
    Some(())
}

/// RFC 9000 section 19.3.
fn skip_ack(rest: &mut Cursor<'_>, has_ecn: bool) -> Option<()> {
    let (_largest, _delay, ranges, _first) = (
        rest.varint()?,
        rest.varint()?,
        rest.varint()?,
        rest.varint()?,
    );
    for _ in 0..ranges {
        let (_gap, _len) = (rest.varint()?, rest.varint()?);
    }
    if has_ecn {
        let (_ect0, _ect1, _ce) = (rest.varint()?, rest.varint()?, rest.varint()?);
    }
    Some(())
}

#[cfg(test)]
pub(super) mod tests;
