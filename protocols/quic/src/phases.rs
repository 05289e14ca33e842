//! Packet keys of the phases to come (RFC 9001 section 6).
use crate::{cold::Chain, turn};
use quinn_proto::crypto::{self, KeyPair};
use rustls::quic::Secrets;
use std::sync::Arc;

/// From what the keys of the next phase are made.
pub(crate) struct Phases {
    secrets: Secrets,
    /// Who keeps the keys, where it is known from what they are made.
    chain: Option<Arc<Chain>>,
    /// The first phase is 0.
    next: u32,
}

impl Phases {
    pub(crate) const fn new(chain: Option<Arc<Chain>>, secrets: Secrets) -> Self {
        Self {
            secrets,
            chain,
            next: 1,
        }
    }

    /// The keys of the next phase, which are kept until the peer or this side begins it.
    pub(crate) fn next_keys(&mut self) -> KeyPair<Box<dyn crypto::PacketKey>> {
        let secrets = &mut self.secrets;
        let (keys, made) = turn::recording(|| secrets.next_packet_keys());
        let phase = self.next;
        self.next += 1;
        let (local, remote) = (&*keys.local, &*keys.remote);
        let chain = self.chain.as_ref();
        let cold = chain.and_then(|chain| chain.add(phase, local, remote, &made));
        cold.unwrap_or_else(|| KeyPair {
            local: Box::new(keys.local),
            remote: Box::new(keys.remote),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use super::*;
    use crate::{Identity, Sources, Turn, groups};
    use bytes::BytesMut;
    use core::time::Duration;
    use rustls::quic::{ClientConnection, Connection, KeyChange, ServerConnection, Version};
    use sansbox_core::{Instant, Seed};

    const NOW: Duration = Duration::from_secs(1_750_000_000);

    /// What both ends of a handshake have for the phases behind the first.
    fn pair() -> ([Phases; 2], Turn) {
        let sources = Sources::new(Seed::from_u64(1), NOW, false);
        let identity = Identity::self_signed(&Seed::from_u64(2), NOW).unwrap();
        let client = sources.client_tls_pinned(None, &[&groups::X25519]).unwrap();
        let server = sources.server_tls_of(&identity, &[&groups::X25519]);
        let (client, server) = (Arc::new(client), Arc::new(server.unwrap()));
        let turn = sources.enter(Instant::ZERO);
        let name = "a.example".try_into().unwrap();
        let client = ClientConnection::new(client, Version::V1, name, Vec::new()).unwrap();
        let server = ServerConnection::new(server, Version::V1, Vec::new()).unwrap();
        let mut ends: [Connection; 2] = [client.into(), server.into()];
        let mut phases = [None, None];
        while phases.iter().any(Option::is_none) {
            for from in [0, 1] {
                loop {
                    let mut octets = Vec::new();
                    let (change, made) = turn::recording(|| ends[from].write_hs(&mut octets));
                    ends[1 - from].read_hs(&octets).unwrap();
                    match change {
                        Some(KeyChange::OneRtt { keys, next }) => {
                            let (chain, _) = Chain::begin(&keys, &made).unwrap();
                            phases[from] = Some(Phases::new(Some(chain), next));
                        }
                        Some(KeyChange::Handshake { .. }) => {}
                        None => break,
                    }
                }
            }
        }
        (phases.map(Option::unwrap), turn)
    }

    #[test]
    fn each_phase_has_keys_that_fit_and_no_others() {
        const HEADER: &[u8] = b"header";
        let ([mut client, mut server], _turn) = pair();
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
