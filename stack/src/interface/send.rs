//! Packets to clients.
use core::net::{IpAddr, SocketAddr};

use sansbox_core::Instant;

use super::{Drop, EchoError, Interface, QueryId, UdpError};
use crate::batch::{Checksum, TxBatch};
use crate::fragment::fragment;
use crate::icmp::{Kind, Subject, emit_echo_reply};
use crate::ip::{Field, Header, UDP_HEADER_LEN, emit_udp, len16, udp_head};
use crate::nat::MappingId;

/// Where the checksum stands in a UDP header.
const UDP_CHECKSUM_OFFSET: u16 = 6;

impl Interface {
    /// Sends a client a datagram that came from `from`, in fragments if it is longer than the MTU
    /// of the device. False: it was dropped, and is counted.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        mapping: MappingId,
        from: SocketAddr,
        data: &[u8],
    ) -> bool {
        let from = canonical(from);
        let Ok(inbound) = self.table.inbound(now, mapping, from) else {
            return false;
        };
        let client = inbound.client;
        if client.is_ipv4() != from.is_ipv4() {
            return self.dropped(Drop::WrongFamily);
        }
        let offload = self.config.stack.checksum_offload;
        let head_len = if client.is_ipv4() { 20 } else { 40 } + UDP_HEADER_LEN;
        let mtu = usize::from(self.budget.tun_mtu());
        if head_len + data.len() > mtu {
            return self.send_cut(from, client, data);
        }
        let field = if offload {
            Field::Partial
        } else {
            Field::Complete
        };
        let id = if client.is_ipv4() {
            self.ids.next_v4()
        } else {
            0
        };
        let Some((head, head_len)) = udp_head(from, client, id, data, field) else {
            return self.dropped(Drop::TooLong);
        };
        let checksum = if offload {
            Checksum::Partial {
                start: len16(head_len - UDP_HEADER_LEN),
                offset: UDP_CHECKSUM_OFFSET,
            }
        } else {
            Checksum::Full
        };
        let head = head.get(..head_len).unwrap_or_default();
        self.out.push(head, data, checksum) || self.dropped(Drop::QueueFull)
    }

    /// A datagram that is longer than the device's MTU.
    fn send_cut(&mut self, from: SocketAddr, client: SocketAddr, data: &[u8]) -> bool {
        self.made.clear();
        let id = self.ids.next_v4();
        match emit_udp(from, client, id, data, &mut self.made) {
            Some(_) => self.send_made(),
            None => self.dropped(Drop::TooLong),
        }
    }

    /// Answers an echo request that was carried upstream. False: it was dropped, and is counted.
    pub fn send_echo_reply(
        &mut self,
        now: Instant,
        query: QueryId,
        remote: IpAddr,
        sequence: u16,
        data: &[u8],
    ) -> bool {
        let remote = SocketAddr::new(remote.to_canonical(), 0);
        let Ok(inbound) = self.queries.inbound(now, query.0, remote) else {
            return false;
        };
        let (client, identifier) = (inbound.client.ip(), inbound.client.port());
        if client.is_ipv4() != remote.is_ipv4() {
            return self.dropped(Drop::WrongFamily);
        }
        let id = self.ids.next_v4();
        self.made.clear();
        let asked = (identifier, sequence);
        match emit_echo_reply(remote.ip(), client, asked, data, id, &mut self.made) {
            Some(_) => self.send_made(),
            None => self.dropped(Drop::TooLong),
        }
    }

    /// Tells a client that its datagrams to a destination do not arrive: what an upstream socket's
    /// error means, as ICMP about that session. False: there is no such mapping, or the limits of
    /// errors are reached; both are counted.
    pub fn udp_error(&mut self, now: Instant, mapping: MappingId, error: &UdpError) -> bool {
        let Some(client) = self.table.client(mapping) else {
            return self.dropped(Drop::NoSession);
        };
        let remote = canonical(error.remote);
        if client.is_ipv4() != remote.is_ipv4() {
            return self.dropped(Drop::WrongFamily);
        }
        let reporter = error.reporter.map(|reporter| reporter.to_canonical());
        let subject = Subject::Udp { client, remote };
        self.tell_about(now, error.kind, reporter, subject)
    }

    /// Tells a client that an echo request of its did not arrive; see [`Self::udp_error`].
    pub fn echo_error(&mut self, now: Instant, query: QueryId, error: &EchoError) -> bool {
        let Some(client) = self.queries.client(query.0) else {
            return self.dropped(Drop::NoSession);
        };
        let subject = Subject::Echo {
            client: client.ip(),
            remote: error.remote.to_canonical(),
            identifier: client.port(),
            sequence: error.sequence,
        };
        let reporter = error.reporter.map(|reporter| reporter.to_canonical());
        self.tell_about(now, error.kind, reporter, subject)
    }

    /// Counts an echo request that is not carried. The client is told with
    /// [`Self::echo_error`], or not at all.
    pub fn count_refused_echo(&mut self) {
        self.drops.count(Drop::EchoRefused);
    }

    fn tell_about(
        &mut self,
        now: Instant,
        kind: Kind,
        reporter: Option<IpAddr>,
        subject: Subject,
    ) -> bool {
        self.made.clear();
        let made = &mut self.made;
        let told = self.icmp.error_by(now, kind, reporter, subject, made);
        told.is_ok() && self.send_made()
    }

    /// Gives up a mapping whose association ended; no event follows.
    pub fn unmap(&mut self, mapping: MappingId) {
        self.table.close(mapping);
    }

    /// Gives up a query whose socket upstream is closed; no event follows.
    pub fn end_echo(&mut self, query: QueryId) {
        self.queries.close(query.0);
    }

    /// Fills `batch` with packets to send, and says whether it has added any. TCP and the rest
    /// share it evenly.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TxBatch) -> bool {
        let before = batch.packets().len();
        self.out.fill(batch, batch.room().div_ceil(2));
        let tcp = self.stack.poll_transmit(now, batch);
        self.out.fill(batch, batch.room());
        tcp || batch.packets().len() > before
    }

    /// Queues the packet that was made, in fragments if it is longer than the device's MTU: all of
    /// them or none.
    pub(super) fn send_made(&mut self) -> bool {
        let mtu = usize::from(self.budget.tun_mtu());
        if self.made.len() <= mtu {
            return self.out.push_packet(&self.made) || self.dropped(Drop::QueueFull);
        }
        let header = match Header::parse(&self.made) {
            Ok(header) => header,
            Err(refused) => {
                self.ip_drops.count(refused.reason);
                return false;
            }
        };
        let id = self.ids.next_v6();
        let Ok(mut parts) = fragment(&self.made, &header, mtu, id) else {
            return self.dropped(Drop::TooLong);
        };
        // Headers of at most 48 bytes before data in steps of 8 bytes.
        let count = self.made.len().div_ceil(mtu.saturating_sub(56).max(8));
        if !self.out.has_room(count, self.made.len() + 48 * count) {
            return self.dropped(Drop::QueueFull);
        }
        self.part.clear();
        while parts.next_into(&mut self.part).is_some() {
            self.out.push_packet(&self.part);
            self.part.clear();
        }
        true
    }

    /// Counts, and says that nothing is sent.
    fn dropped(&mut self, reason: Drop) -> bool {
        self.drops.count(reason);
        false
    }
}

/// A socket for both families names IPv4 addresses in the form of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
