//! The reference model of whatever forwards datagrams: it sends what it received, once, to where
//! it was asked to, and nothing else.
use core::net::SocketAddr;
use sansbox_engine::ids::Slot;
use sansbox_protocols::socks::wire::udp::Header;

/// Datagrams that wait in a model; beyond it the model has no opinion any more.
const WAITING_MAX: usize = 1 << 16;

#[derive(Debug)]
struct Datagram {
    slot: Slot,
    data: Box<[u8]>,
}

/// What a machine has received and not sent yet.
#[derive(Debug, Default)]
pub(crate) struct DatagramModel {
    waiting: Vec<Datagram>,
    is_lost: bool,
}

/// A datagram as it is, and without the SOCKS5 header that it may have.
fn readings(data: &[u8]) -> [Option<&[u8]>; 2] {
    let inner = Header::parse(data).ok().and_then(|(_, at)| data.get(at..));
    [Some(data), inner]
}

impl DatagramModel {
    pub(crate) fn received(&mut self, slot: Slot, data: &[u8]) {
        if self.waiting.len() == WAITING_MAX {
            self.is_lost = true;
            self.waiting.clear();
        }
        if !self.is_lost {
            let data = data.into();
            self.waiting.push(Datagram { slot, data });
        }
    }

    /// Is there a datagram that this one forwards? It came in elsewhere.
    pub(crate) fn sent(&mut self, slot: Slot, to: SocketAddr, data: &[u8]) -> Result<(), String> {
        if self.is_lost {
            return Ok(());
        }
        let sent = readings(data);
        let is_it = |waiting: &Datagram| {
            let received = readings(&waiting.data);
            let mut received = received.iter().flatten();
            waiting.slot != slot && received.any(|one| sent.iter().flatten().any(|s| s == one))
        };
        match self.waiting.iter().position(is_it) {
            Some(at) => {
                self.waiting.remove(at);
                Ok(())
            }
            None => {
                let len = data.len();
                Err(format!(
                    "{len} bytes to {to} that nobody sent, or only once"
                ))
            }
        }
    }
}
