//! TLS records and the type of the handshake message they begin with (RFC 8446 4 and 5.1).
use super::dialogue::{Expect, Step};

/// Octets before the fragment.
const HEADER_LEN: usize = 5;
/// Longest fragment (RFC 8446 5.2).
const FRAGMENT_LEN_MAX: usize = (16 << 10) + 256;
/// Content types.
mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

pub(super) fn step(bytes: &[u8]) -> Step {
    let Some(([kind, major, minor, high, low], rest)) = bytes.split_first_chunk::<HEADER_LEN>()
    else {
        return Step::More;
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let name = match *kind {
        content::CHANGE_CIPHER_SPEC => "ChangeCipherSpec".to_owned(),
        content::ALERT => "alert".to_owned(),
        content::HANDSHAKE => match rest.first() {
            Some(first) => handshake(*first),
            None => return Step::More,
        },
        content::APPLICATION_DATA => format!("data, {len} bytes"),
        _ => return OPAQUE,
    };
    if len > FRAGMENT_LEN_MAX {
        return OPAQUE;
    }
    if rest.len() < len {
        return Step::More;
    }
    Step::Message {
        name: format!("TLS {name}"),
        fields: vec![
            ("content type", kind.to_string()),
            ("version", format!("{major}.{minor}")),
            ("length", format!("{len} bytes")),
        ],
        len: HEADER_LEN + len,
        own: Expect::Tls,
        other: None,
    }
}

const OPAQUE: Step = Step::Learn {
    own: Expect::Opaque,
    other: None,
};

fn handshake(kind: u8) -> String {
    match kind {
        1 => "ClientHello".into(),
        2 => "ServerHello".into(),
        4 => "NewSessionTicket".into(),
        8 => "EncryptedExtensions".into(),
        11 => "Certificate".into(),
        13 => "CertificateRequest".into(),
        15 => "CertificateVerify".into(),
        20 => "Finished".into(),
        other => format!("handshake {other}"),
    }
}
