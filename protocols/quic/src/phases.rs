//! Packet keys of the phases to come (RFC 9001 section 6).
use bytes::BytesMut;
use quinn_proto::crypto::{self, CryptoError, KeyPair};
use rustls::quic::{PacketKey, Secrets};
use std::sync::{Arc, OnceLock};

/// From what the keys of the next phase are made.
pub(crate) struct Phases {
    secrets: Arc<Secrets>,
    /// Their keys were given out: the next are the phase's behind.
    is_given: bool,
}

impl Phases {
    pub(crate) fn new(secrets: Secrets) -> Self {
        let secrets = Arc::new(secrets);
        Self {
            secrets,
            is_given: false,
        }
    }

    /// The keys of the next phase, which are kept until the peer or this side begins it. What opens
    /// packets is there at once, or the time that they take tells of their key phase (RFC 9001
    /// section 9.5). What seals them need not be, and is as large as it is seldom used.
    pub(crate) fn next_keys(&mut self) -> KeyPair<Box<dyn crypto::PacketKey>> {
        if self.is_given {
            let mut secrets = Secrets::clone(&self.secrets);
            let _ = secrets.next_packet_keys();
            self.secrets = Arc::new(secrets);
        }
        self.is_given = true;
        let keys = Secrets::clone(&self.secrets).next_packet_keys();
        let local = SealKey {
            confidentiality_limit: keys.local.confidentiality_limit(),
            secrets: Arc::clone(&self.secrets),
            key: OnceLock::new(),
        };
        KeyPair {
            local: Box::new(local),
            remote: Box::new(keys.remote),
        }
    }
}

/// A key that is made when it is used first.
struct SealKey {
    confidentiality_limit: u64,
    secrets: Arc<Secrets>,
    key: OnceLock<Box<dyn PacketKey>>,
}

impl SealKey {
    fn key(&self) -> &impl crypto::PacketKey {
        let make = || Secrets::clone(&self.secrets).next_packet_keys().local;
        self.key.get_or_init(make)
    }
}

impl crypto::PacketKey for SealKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.key().encrypt(packet, buf, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.key().decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.key().tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.key().integrity_limit()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use super::*;
    use crate::{Identity, Sources, groups};
    use core::time::Duration;
    use rustls::quic::{ClientConnection, Connection, KeyChange, ServerConnection, Version};
    use sansbox_core::{Instant, Seed};

    const NOW: Duration = Duration::from_secs(1_750_000_000);

    /// What both ends of a handshake have for the phases behind the first.
    fn pair() -> [Phases; 2] {
        let sources = Sources::new(Seed::from_u64(1), NOW, false);
        let identity = Identity::self_signed(&Seed::from_u64(2), NOW).unwrap();
        let client = sources.client_tls_pinned(None, &[&groups::X25519]).unwrap();
        let server = sources.server_tls_of(&identity, &[&groups::X25519]);
        let (client, server) = (Arc::new(client), Arc::new(server.unwrap()));
        let _turn = sources.enter(Instant::ZERO);
        let name = "a.example".try_into().unwrap();
        let client = ClientConnection::new(client, Version::V1, name, Vec::new()).unwrap();
        let server = ServerConnection::new(server, Version::V1, Vec::new()).unwrap();
        let mut ends: [Connection; 2] = [client.into(), server.into()];
        let mut phases = [None, None];
        while phases.iter().any(Option::is_none) {
            for from in [0, 1] {
                loop {
                    let mut octets = Vec::new();
                    let change = ends[from].write_hs(&mut octets);
                    ends[1 - from].read_hs(&octets).unwrap();
                    match change {
                        Some(KeyChange::OneRtt { next, .. }) => {
                            phases[from] = Some(Phases::new(next));
                        }
                        Some(KeyChange::Handshake { .. }) => {}
                        None => break,
                    }
                }
            }
        }
        phases.map(Option::unwrap)
    }

    #[test]
    fn each_phase_has_keys_that_fit_and_no_others() {
        const HEADER: &[u8] = b"header";
        let [mut client, mut server] = pair();
        let keys: Vec<_> = (0..4)
            .map(|_| [client.next_keys(), server.next_keys()])
            .collect();
        for (nth, [from, to]) in keys.iter().enumerate() {
            for (seal, open) in [(&from.local, &to.remote), (&to.local, &from.remote)] {
                let mut packet = BytesMut::from(HEADER);
                packet.extend_from_slice(b"payload");
                packet.resize(packet.len() + seal.tag_len(), 0);
                seal.encrypt(7, &mut packet, HEADER.len());
                let sealed = packet.split_off(HEADER.len());
                let mut opened = sealed.clone();
                open.decrypt(7, HEADER, &mut opened).unwrap();
                assert_eq!(opened, b"payload"[..]);
                for (other, [a, b]) in keys.iter().enumerate().filter(|(other, _)| *other != nth) {
                    for key in [&a.remote, &b.remote] {
                        let opened = key.decrypt(7, HEADER, &mut sealed.clone());
                        assert!(opened.is_err(), "phase {nth} opened by {other}");
                    }
                }
                assert_eq!(seal.confidentiality_limit(), open.confidentiality_limit());
            }
        }
    }
}
