//! How datagrams look on the client's side of an association, and from whom they are taken.
use crate::session::canonical;
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Host, Target};
use sansbox_protocols::socks::wire::{Address, udp::Header};

/// How datagrams look on the client's side.
#[derive(Debug)]
pub(crate) enum Framing {
    /// With a header that names the other end (RFC 1928 section 7).
    Socks(Client),
    /// Bare payload of one client for one target.
    Fixed { client: SocketAddr, target: Target },
    /// With such a header, on a stream that is the client's alone.
    Records,
}

/// From whom an association takes datagrams (RFC 1928 section 7): the host of the control
/// connection, at the port it declared or first sends from.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its end of the control connection, with the scope of a link-local address.
    control: SocketAddr,
    port: Option<u16>,
}

/// A datagram from the client, or why it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromClient {
    /// Payload for a target; the header is stripped.
    Payload(Target),
    /// From somebody else.
    Stranger,
    /// A fragment: reassembly is optional and not offered.
    Fragment,
    /// No valid header.
    Malformed,
}

impl Framing {
    /// A SOCKS5 association for the client behind a control connection.
    pub(crate) fn socks(control: SocketAddr, declared: &Target) -> Self {
        let control = canonical(control);
        // A declared address that is not the client's as seen from here was written behind a NAT,
        // and its port says nothing.
        let is_ours = match &declared.host {
            Host::Ip(declared) => {
                declared.is_unspecified() || declared.to_canonical() == control.ip()
            }
            Host::Domain(_) => false,
        };
        let port = (is_ours && declared.port != 0).then_some(declared.port);
        Self::Socks(Client { control, port })
    }

    /// Takes a datagram from the client and strips its header.
    pub(crate) fn open(&mut self, from: SocketAddr, data: &mut BytesMut) -> FromClient {
        match self {
            Self::Fixed { client, target } if *client == from => {
                FromClient::Payload(target.clone())
            }
            Self::Fixed { .. } => FromClient::Stranger,
            Self::Socks(client) => {
                let known = client.port.is_none_or(|port| port == from.port());
                if from.ip().to_canonical() != client.control.ip() || !known {
                    return FromClient::Stranger;
                }
                let opened = unwrap(data);
                if let FromClient::Payload(_) = opened {
                    client.port = Some(from.port());
                }
                opened
            }
            Self::Records => unwrap(data),
        }
    }

    /// Where the client's socket is, once known.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        match self {
            Self::Fixed { client, .. } => Some(*client),
            Self::Records => None,
            Self::Socks(client) => {
                let mut address = client.control;
                address.set_port(client.port?);
                Some(address)
            }
        }
    }

    /// Wraps a datagram that came from `origin` for the client; copies into `scratch`, whose
    /// memory is used again once the datagram is sent.
    pub(crate) fn seal(
        &self,
        origin: SocketAddr,
        data: BytesMut,
        scratch: &mut BytesMut,
    ) -> BytesMut {
        match self {
            Self::Fixed { .. } => data,
            Self::Socks(_) | Self::Records => wrap(origin.into(), &data, scratch),
        }
    }
}

/// Strips the header of a client's datagram.
fn unwrap(data: &mut BytesMut) -> FromClient {
    let Ok((header, len)) = Header::parse(data) else {
        return FromClient::Malformed;
    };
    if header.frag != 0 {
        return FromClient::Fragment;
    }
    let Ok(target) = header.address.to_target() else {
        return FromClient::Malformed;
    };
    let _ = data.split_to(len);
    FromClient::Payload(target)
}

/// `data` behind a SOCKS5 UDP header that names `target`.
pub(crate) fn with_header(target: &Target, data: &[u8], scratch: &mut BytesMut) -> BytesMut {
    wrap(target.into(), data, scratch)
}

fn wrap(address: Address<'_>, data: &[u8], scratch: &mut BytesMut) -> BytesMut {
    let header = Header { frag: 0, address };
    scratch.reserve(header.buffer_len() + data.len());
    header.emit(scratch);
    scratch.extend_from_slice(data);
    scratch.split()
}

/// Whom a datagram is for that [`with_header`] made.
pub(crate) fn header_target(data: &[u8]) -> Option<Target> {
    let (header, _) = Header::parse(data).ok()?;
    header.address.to_target().ok()
}

/// Length of the SOCKS5 UDP header that `data` begins with, when it is whole and no fragment.
pub(crate) fn header_len(data: &[u8]) -> Option<usize> {
    match Header::parse(data) {
        Ok((header, len)) if header.frag == 0 => Some(len),
        Ok(_) | Err(_) => None,
    }
}
