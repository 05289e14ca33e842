//! Whether a connection's peer still answers.
use super::{ConnectionId, Endpoint, StreamId};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use quinn_proto as quic;
use sansbox_core::Instant;

/// What went over a connection so far. Two looks at it tell whether the peer answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Acknowledgements that came. What else comes tells nothing of the way to the peer.
    pub answers: u64,
    /// Frames sent that the peer must acknowledge.
    pub asked: u64,
    /// The round trip, as estimated.
    pub rtt: Duration,
}

impl Endpoint {
    /// What went over a connection; `None` when it is forgotten.
    #[must_use]
    pub fn activity(&self, connection: ConnectionId) -> Option<Activity> {
        let quic = &self.connections.get(&connection)?.quic;
        let stats = quic.stats();
        Some(Activity {
            answers: stats.frame_rx.acks,
            asked: eliciting(&stats.frame_tx),
            rtt: quic.rtt(),
        })
    }

    /// As [`Endpoint::handle_datagram`]; was anything in it both authentic and not seen before?
    /// For who judges every datagram, and hands over none without.
    pub fn judge_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: u8,
        data: BytesMut,
    ) -> bool {
        let id = self.handle_datagram(now, from, ecn, data);
        let Some(connection) = id.and_then(|id| self.connections.get_mut(&id)) else {
            return false;
        };
        // Of packets that cannot be opened, or were seen before, no frame is counted.
        let frames = &connection.quic.stats().frame_rx;
        let received = eliciting(frames) + frames.acks + frames.connection_close;
        core::mem::replace(&mut connection.judged, received) < received
    }

    /// Asks the peer of a connection for an answer, without waiting for the next probe.
    pub fn ping(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(entry) = self.connections.get_mut(&connection)
            && !entry.is_lost
        {
            let _turn = self.sources.enter(now);
            entry.quic.ping();
        }
        self.settle(now, connection);
    }

    /// Where the peer of a connection is; `None` when the connection is forgotten.
    #[must_use]
    pub fn peer(&self, connection: ConnectionId) -> Option<SocketAddr> {
        let connection = self.connections.get(&connection)?;
        Some(connection.quic.remote_address())
    }

    /// The connections whose handshakes are complete and that are not lost, the oldest first, and
    /// where their peers are.
    pub fn connected(&self) -> impl Iterator<Item = (ConnectionId, SocketAddr)> {
        let connected = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_connected && !connection.is_lost);
        connected.map(|(id, connection)| (*id, connection.quic.remote_address()))
    }

    /// Is the handshake of a connection complete?
    #[must_use]
    pub fn is_connected(&self, connection: ConnectionId) -> bool {
        let connection = self.connections.get(&connection);
        connection.is_some_and(|connection| connection.is_connected)
    }

    /// Is somebody at `address` the peer of a connection?
    #[must_use]
    pub fn has_peer(&self, address: SocketAddr) -> bool {
        let mut connections = self.connections.values();
        self.hosts.contains_key(&address.ip())
            && connections.any(|connection| connection.quic.remote_address() == address)
    }

    /// Has [`Endpoint::poll_event`] something to tell?
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// May the peer still lack something of a stream that was sent or ended on this connection? An
    /// end of the connection now would cut it off.
    #[must_use]
    pub fn has_unacknowledged(&mut self, connection: ConnectionId) -> bool {
        let connection = self.connections.get_mut(&connection);
        connection.is_some_and(|connection| connection.quic.streams().send_streams() > 0)
    }

    /// Has [`Endpoint::exchange`] anything left to do for this stream?
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        let connection = self.connections.get(&stream.connection);
        connection.is_some_and(|connection| connection.streams.contains_key(&stream.id))
    }
}

/// Frames that elicit an acknowledgement (RFC 9000 section 13.2): all but ACK, PADDING and
/// CONNECTION_CLOSE.
fn eliciting(frames: &quic::FrameStats) -> u64 {
    [
        frames.crypto,
        frames.ping,
        frames.immediate_ack,
        frames.ack_frequency,
        frames.stream,
        frames.reset_stream,
        frames.stop_sending,
        frames.max_data,
        frames.max_stream_data,
        frames.max_streams_bidi,
        frames.max_streams_uni,
        frames.data_blocked,
        frames.stream_data_blocked,
        frames.streams_blocked_bidi,
        frames.streams_blocked_uni,
        frames.new_connection_id,
        frames.retire_connection_id,
        frames.new_token,
        frames.path_challenge,
        frames.path_response,
        frames.handshake_done.into(),
    ]
    .iter()
    .sum()
}
