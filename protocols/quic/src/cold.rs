//! Keys of packets that are expanded while they are used, and else as short as they can be: the
//! expanded forms of a connection's keys take two kilobytes, which idle connections have no use for.
//!
//! rustls makes keys expanded and forgets what they were made from. So the cipher suites here
//! [record](turn::record) it: [`Chain`] keeps it for the keys of a connection's 1-RTT packets, and
//! whose turn it is keeps what is expanded of it in its [`Hot`] until nobody has used it for a while.
mod hot;
mod phase;
mod suites;
#[cfg(test)]
mod tests;

pub(crate) use hot::Hot;
pub(crate) use suites::suites;

use crate::turn;
use bytes::BytesMut;
use core::sync::atomic::{AtomicU32, Ordering};
use hot::{Opening, Sealing, Slot};
use phase::Phases;
use quinn_proto::crypto::{self, CryptoError, KeyPair};
use ring::aead::{self, quic::HeaderProtectionKey};
use rustls::quic;
use std::sync::{Arc, PoisonError};
use suites::Ring;
use zeroize::Zeroizing;

#[expect(clippy::disallowed_types, reason = "keys are to be Sync")]
type Mutex<T> = std::sync::Mutex<T>;

const KEY_LEN_MAX: usize = 32;
const IV_LEN: usize = 12;

/// From what a key was made that rustls expanded.
pub(crate) struct Made {
    /// Where the expanded key is.
    at: usize,
    ring: &'static Ring,
    secret: Secret,
}

/// A key, and zeros behind it if it is shorter.
type Key = Zeroizing<[u8; KEY_LEN_MAX]>;

#[derive(Clone)]
struct Secret {
    key: Key,
    /// Of keys of packets.
    iv: Zeroizing<[u8; IV_LEN]>,
}

fn find(made: &[Made], at: usize) -> Option<&Made> {
    made.iter().rfind(|made| made.at == at)
}

fn place_of<T: ?Sized>(key: &T) -> usize {
    core::ptr::from_ref(key).addr()
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// All keys of the 1-RTT packets of one connection.
pub(crate) struct Chain {
    /// No other chain of this owner has it.
    id: u64,
    /// Where it is in the owner's [`Hot`], if it is.
    place: AtomicU32,
    ring: &'static Ring,
    headers: [Key; 2],
    phases: Mutex<Phases>,
}

impl Chain {
    /// The chain of a connection whose first keys are `keys`, and these keys; `None` where nobody
    /// recorded what they were made from.
    pub(crate) fn begin(keys: &quic::Keys, made: &[Made]) -> Option<(Arc<Self>, crypto::Keys)> {
        let header = |keys: &quic::DirectionalKeys| find(made, place_of(&*keys.header));
        let (out, into) = (header(&keys.local)?, header(&keys.remote)?);
        let chain = Arc::new(Self {
            id: turn::next_chain(),
            place: AtomicU32::new(0),
            ring: out.ring,
            headers: [out.secret.key.clone(), into.secret.key.clone()],
            phases: Mutex::default(),
        });
        let packet = chain.add(0, &*keys.local.packet, &*keys.remote.packet, made)?;
        let header = |way| -> Box<dyn crypto::HeaderKey> {
            let chain = Arc::clone(&chain);
            Box::new(HeaderKey { chain, way })
        };
        let header = KeyPair {
            local: header(Way::Out),
            remote: header(Way::In),
        };
        Some((Arc::clone(&chain), crypto::Keys { header, packet }))
    }

    /// The keys of one more phase, of which what opens packets is expanded at once.
    pub(crate) fn add(
        self: &Arc<Self>,
        phase: u32,
        local: &dyn quic::PacketKey,
        remote: &dyn quic::PacketKey,
        made: &[Made],
    ) -> Option<KeyPair<Box<dyn crypto::PacketKey>>> {
        let (out, into) = (find(made, place_of(local))?, find(made, place_of(remote))?);
        self.phases(|phases| phases.add(phase, &out.secret, &into.secret));
        self.hot(|slot| slot.expand_openings(self));
        let key = |way| -> Box<dyn crypto::PacketKey> {
            let chain = Arc::clone(self);
            Box::new(PacketKey { chain, phase, way })
        };
        Some(KeyPair {
            local: key(Way::Out),
            remote: key(Way::In),
        })
    }

    fn phases<T>(&self, what: impl FnOnce(&mut Phases) -> T) -> T {
        let phases = self.phases.lock();
        what(&mut phases.unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses what is expanded of the chain. What is expanded in nobody's turn is kept by nobody.
    fn hot<T>(&self, what: impl FnOnce(&mut Slot) -> T) -> T {
        turn::hot(|now, hot| match hot {
            Some(hot) => {
                let (place, slot) = hot.slot(now, self.place.load(Ordering::Relaxed), self.id);
                self.place.store(place, Ordering::Relaxed);
                what(slot)
            }
            None => what(&mut Slot::default()),
        })
    }

    /// The key of a header, expanded.
    fn expand_header(&self, way: Way) -> HeaderProtectionKey {
        let [out, into] = &self.headers;
        let key = match way {
            Way::Out => out,
            Way::In => into,
        };
        let key = HeaderProtectionKey::new(self.ring.header, self.ring.cut(key));
        key.expect("a key of this algorithm's")
    }

    fn expand(&self, key: &Key) -> aead::LessSafeKey {
        let key = aead::UnboundKey::new(self.ring.aead, self.ring.cut(key));
        aead::LessSafeKey::new(key.expect("a key of this algorithm's"))
    }

    /// What seals the packets of a phase.
    fn expand_sealing(&self, phase: u32) -> Sealing {
        self.phases(|phases| {
            let secret = phases.get(phase, Way::Out);
            let secret = secret.expect("there as long as its key is");
            Sealing::new(phase, self.expand(&secret.key), *secret.iv)
        })
    }

    /// What opens the packets of all phases that there are, but those that `has` has.
    fn expand_openings(&self, has: impl Fn(u32) -> bool) -> Vec<Opening> {
        self.phases(|phases| {
            phases
                .all(Way::In)
                .filter(|(phase, _)| !has(*phase))
                .map(|(phase, of)| Opening::new(phase, self.expand(&of.key), *of.iv))
                .collect()
        })
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let place = self.place.load(Ordering::Relaxed);
        turn::hot(|_, hot| {
            if let Some(hot) = hot {
                hot.remove(place, self.id);
            }
        });
    }
}

/// The key of the packets of one phase in one direction.
struct PacketKey {
    chain: Arc<Chain>,
    phase: u32,
    way: Way,
}

impl Drop for PacketKey {
    fn drop(&mut self) {
        let (phase, way) = (self.phase, self.way);
        self.chain.phases(|phases| phases.forget(phase, way));
        let place = self.chain.place.load(Ordering::Relaxed);
        turn::hot(|_, hot| {
            if let Some(slot) = hot.and_then(|hot| hot.get(place, self.chain.id)) {
                slot.forget(phase, way);
            }
        });
    }
}

impl crypto::PacketKey for PacketKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, rest) = buf.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - self.tag_len());
        let chain = &self.chain;
        let made = chain.hot(|slot| {
            slot.sealing(chain, self.phase)
                .seal(packet, header, payload)
        });
        tag.copy_from_slice(made.as_ref());
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let chain = &self.chain;
        let len = chain.hot(|slot| {
            let key = slot.opening(chain, self.phase).ok_or(CryptoError)?;
            key.open(packet, header, payload)
        })?;
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.chain.ring.aead.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.chain.ring.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.chain.ring.integrity_limit
    }
}

/// The key of headers in one direction.
struct HeaderKey {
    chain: Arc<Chain>,
    way: Way,
}

/// Packet numbers have at most so many octets, and the sample begins behind as many (RFC 9001
/// section 5.4.2).
const NUMBER_LEN_MAX: usize = 4;
/// Octets of a mask.
const MASK_LEN: usize = 5;

impl HeaderKey {
    /// The mask of a packet, and what it is for: the first octet, and those where its number is.
    fn mask<'a>(
        &self,
        pn_offset: usize,
        packet: &'a mut [u8],
    ) -> Option<([u8; MASK_LEN], &'a mut u8, &'a mut [u8])> {
        let (header, sample) = packet.split_at_mut_checked(pn_offset + NUMBER_LEN_MAX)?;
        let sample = sample.get(..self.chain.ring.header.sample_len())?;
        let chain = &self.chain;
        let mask = chain.hot(|slot| slot.header(chain, self.way).new_mask(sample));
        let (header, number) = header.split_at_mut_checked(pn_offset)?;
        Some((mask.ok()?, header.first_mut()?, number))
    }
}

/// RFC 9001 section 5.4.1: masks the bits of a short header, and `len` octets of a packet number.
fn apply([of_first, of_number @ ..]: [u8; MASK_LEN], first: &mut u8, number: &mut [u8], len: u8) {
    const SHORT_HEADER_BITS: u8 = 0x1f;
    *first ^= of_first & SHORT_HEADER_BITS;
    let octets = number.iter_mut().zip(of_number);
    for (octet, mask) in octets.take(usize::from(len)) {
        *octet ^= mask;
    }
}

/// How long the packet number behind this octet is.
const fn number_len(first: u8) -> u8 {
    (first & 0x03) + 1
}

impl crypto::HeaderKey for HeaderKey {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        if let Some((mask, first, number)) = self.mask(pn_offset, packet) {
            let [of_first, ..] = mask;
            let len = number_len(*first ^ of_first);
            apply(mask, first, number, len);
        }
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        if let Some((mask, first, number)) = self.mask(pn_offset, packet) {
            let len = number_len(*first);
            apply(mask, first, number, len);
        }
    }

    fn sample_size(&self) -> usize {
        self.chain.ring.header.sample_len()
    }
}
