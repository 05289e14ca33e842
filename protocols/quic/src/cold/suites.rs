//! Cipher suites that tell from what keys of packets are made.
use super::{IV_LEN, KEY_LEN_MAX, Key, Made, Secret, place_of};
use crate::turn;
use ring::aead;
use rustls::{
    CipherSuite, CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite,
    crypto::cipher::{AeadKey, Iv},
    quic::{Algorithm, HeaderProtectionKey, PacketKey},
};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// With what of ring keys are expanded, and for how many packets they are good (RFC 9001 section
/// 6.6).
pub(super) struct Ring {
    pub(super) aead: &'static aead::Algorithm,
    pub(super) header: &'static aead::quic::Algorithm,
    pub(super) confidentiality_limit: u64,
    pub(super) integrity_limit: u64,
}

static RING: [(CipherSuite, Ring); 3] = [
    (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        Ring {
            aead: &aead::AES_128_GCM,
            header: &aead::quic::AES_128,
            confidentiality_limit: 1 << 23,
            integrity_limit: 1 << 52,
        },
    ),
    (
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        Ring {
            aead: &aead::AES_256_GCM,
            header: &aead::quic::AES_256,
            confidentiality_limit: 1 << 23,
            integrity_limit: 1 << 52,
        },
    ),
    (
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        Ring {
            aead: &aead::CHACHA20_POLY1305,
            header: &aead::quic::CHACHA20,
            confidentiality_limit: u64::MAX,
            integrity_limit: 1 << 36,
        },
    ),
];

impl Ring {
    fn of(suite: CipherSuite) -> Option<&'static Self> {
        let mut known = RING.iter();
        known.find(|(of, _)| *of == suite).map(|(_, ring)| ring)
    }

    /// The octets of a key of packets or of their headers: both have as many.
    pub(super) fn cut<'k>(&self, key: &'k Key) -> &'k [u8] {
        key.get(..self.aead.key_len()).unwrap_or(&**key)
    }
}

/// A suite's algorithm, which records.
struct Recording {
    rustls: &'static dyn Algorithm,
    ring: &'static Ring,
}

impl Recording {
    /// `None` of what fits no key of the suites above.
    fn made(&self, key: &[u8], iv: &[u8]) -> Option<Made> {
        let mut secret = Secret {
            key: Zeroizing::new([0; KEY_LEN_MAX]),
            iv: Zeroizing::new([0; IV_LEN]),
        };
        secret.key.get_mut(..key.len())?.copy_from_slice(key);
        secret.iv.get_mut(..iv.len())?.copy_from_slice(iv);
        let ring = self.ring;
        Some(Made {
            at: 0,
            ring,
            secret,
        })
    }
}

impl Algorithm for Recording {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        let made = turn::records().then(|| self.made(key.as_ref(), iv.as_ref()));
        let key = self.rustls.packet_key(key, iv);
        if let Some(Some(made)) = made {
            let at = place_of(&*key);
            turn::keep_made(Made { at, ..made });
        }
        key
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        let made = turn::records().then(|| self.made(key.as_ref(), &[]));
        let key = self.rustls.header_protection_key(key);
        if let Some(Some(made)) = made {
            let at = place_of(&*key);
            turn::keep_made(Made { at, ..made });
        }
        key
    }

    fn aead_key_len(&self) -> usize {
        self.rustls.aead_key_len()
    }
}

/// rustls' own suites, each with how it expands keys where that is known.
static RECORDINGS: LazyLock<Vec<(&'static Tls13CipherSuite, Recording)>> = LazyLock::new(|| {
    let suites = rustls::crypto::ring::DEFAULT_CIPHER_SUITES.iter();
    let suites = suites.filter_map(|suite| suite.tls13());
    let recording = |suite: &'static Tls13CipherSuite| {
        let (rustls, ring) = (suite.quic?, Ring::of(suite.common.suite)?);
        Some((suite, Recording { rustls, ring }))
    };
    suites.filter_map(recording).collect()
});

static SUITES: LazyLock<Vec<Tls13CipherSuite>> = LazyLock::new(|| {
    let suites = RECORDINGS.iter();
    let suite = |(rustls, recording): &'static (&'static Tls13CipherSuite, Recording)| {
        let common = &rustls.common;
        Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: common.suite,
                hash_provider: common.hash_provider,
                confidentiality_limit: common.confidentiality_limit,
            },
            hkdf_provider: rustls.hkdf_provider,
            aead_alg: rustls.aead_alg,
            quic: Some(recording),
        }
    };
    suites.map(suite).collect()
});

/// The cipher suites of TLS 1.3 that ring has, in rustls' order.
pub(crate) fn suites() -> Vec<SupportedCipherSuite> {
    SUITES.iter().map(SupportedCipherSuite::from).collect()
}
