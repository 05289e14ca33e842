//! Datagrams as records on a stream, at both of its ends. Here a datagram always has a SOCKS5 UDP
//! header, as between a SOCKS client and its relay.
use crate::{
    connect::{Connect, Upstream},
    effects::Effects,
    ids::OutboundId,
    machine::Action,
    record::Drop,
};
use bytes::BytesMut;
use sansbox_core::{End, Pipe, Progress, Refusal};
use sansbox_protocols::{
    paniq::proxy::record::{Malformed, Record},
    socks::wire::udp::Header,
};

/// Appends a datagram, or says why it is dropped: datagrams that a stream has no room for are lost,
/// as on any way.
pub(crate) fn put(pipe: &mut Pipe, datagram: &[u8], scratch: &mut BytesMut) -> Result<(), Drop> {
    let (header, n) = Header::parse(datagram).map_err(|_| Drop::Malformed)?;
    let record = Record {
        address: header.address,
        data: datagram.get(n..).unwrap_or_default(),
    };
    if pipe.room() < record.buffer_len() || !record.emit(scratch) {
        return Err(Drop::Overflow);
    }
    // Copied, so that short ones share memory.
    pipe.push_slice(scratch);
    scratch.clear();
    Ok(())
}

/// Takes the next datagram, once it is whole.
pub(crate) fn take(pipe: &mut Pipe) -> Result<Option<BytesMut>, Malformed> {
    let Some(len) = Record::len_of(pipe.peek(2))? else {
        return Ok(None);
    };
    let Some(octets) = pipe.front(len) else {
        return Ok(None);
    };
    let datagram = Record::parse(octets)?.map(|(record, _)| {
        let (frag, address) = (0, record.address);
        let header = Header { frag, address };
        let mut datagram = BytesMut::with_capacity(header.buffer_len() + record.data.len());
        header.emit(&mut datagram);
        datagram.extend_from_slice(record.data);
        datagram
    });
    pipe.skip(len);
    Ok(datagram)
}

/// A carrier's stream of records: the way out of an association.
#[derive(Debug)]
pub(crate) enum Stream {
    Opening(Box<Connect>),
    Open(Box<Upstream>),
}

impl Stream {
    /// Asks a carrier for it.
    pub(crate) fn open(carrier: OutboundId, fx: &mut Effects) -> Self {
        Self::Opening(Box::new(Connect::datagrams(carrier, fx)))
    }

    /// Takes records off the stream, and looks whether it is open, and still is.
    pub(crate) fn pump(&mut self, came: &mut Vec<BytesMut>) -> Result<Progress, Refusal> {
        match self {
            Self::Opening(connect) => {
                let Some(upstream) = connect.take_ready() else {
                    return Ok(Progress::NONE);
                };
                *self = Self::Open(upstream);
                Ok(Progress::MADE)
            }
            Self::Open(upstream) => {
                let before = came.len();
                let rx = &mut upstream.rx;
                while let Some(datagram) = take(rx).map_err(|_| Refusal::UpstreamProtocol)? {
                    came.push(datagram);
                }
                if came.len() > before {
                    return Ok(Progress::MADE);
                }
                if rx.end() != End::Open {
                    return Err(Refusal::UpstreamProtocol);
                }
                Ok(Progress::NONE)
            }
        }
    }

    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        match self {
            Self::Opening(_) => None,
            Self::Open(upstream) => Some(upstream),
        }
    }

    pub(crate) fn upstream_mut(&mut self) -> Option<&mut Upstream> {
        match self {
            Self::Opening(_) => None,
            Self::Open(upstream) => Some(upstream),
        }
    }

    pub(crate) fn close(self, how: End, fx: &mut Effects) {
        match self {
            Self::Opening(connect) => connect.abort(fx),
            Self::Open(upstream) => fx.push(Action::Close(upstream.slot, how)),
        }
    }
}
