//! A netlink socket: one request, its acknowledgement or what the kernel lists.
//!
//! Messages come from `netlink-packet-route`; the socket is rustix's. The crates that offer both
//! wait by an executor of their own.
use core::fmt::Debug;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use rustix::{
    io::retry_on_intr,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
        netlink::SocketAddrNetlink, recv, send, socket_with,
    },
};
use std::{io, os::fd::OwnedFd};

/// The kernel sends lists in pieces of at most 32 KiB.
const BUFFER: usize = 64 * 1024;
/// How often a list is asked for that changed meanwhile.
const LISTINGS_MAX: usize = 8;
/// Links, addresses, routes and rules (`NETLINK_ROUTE`): the protocol of number 0.
pub(super) const ROUTE: Option<Protocol> = None;
/// Numbers below it are of acknowledgements and ends (`NLMSG_MIN_TYPE`).
const CONTROL: u32 = 16;
/// Of every message.
const HEADER: usize = 16;

/// A socket to the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// # Errors
    /// When the system has no more sockets, or none of this protocol.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let raw = SocketType::RAW;
        let socket = socket_with(AddressFamily::NETLINK, raw, flags, protocol)?;
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Has something changed.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn change<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.receive::<M>(|_| true, |_| {}).map(drop)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// What the kernel answers, or `NotFound`.
    pub(super) fn ask<M>(&mut self, message: M) -> io::Result<M>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Debug,
    {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        let mut answer = None;
        self.receive(|_| true, |message| answer = Some(message))?;
        answer.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Lists those of a kind whose bytes `is_wanted`: a router has a million routes, and reading
    /// them all takes seconds. What cannot be read is left out: it is newer than this program.
    ///
    /// # Errors
    /// What the kernel answers; `ResourceBusy` when the list keeps changing.
    pub(super) fn list<M>(
        &mut self,
        message: M,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Clone + Debug,
    {
        for _ in 0..LISTINGS_MAX {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let mut all = Vec::new();
            let is_torn = self.receive(&is_wanted, |message| all.push(message))?;
            if !is_torn {
                return Ok(all);
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn send<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + Debug,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message =
            NetlinkMessage::new(Default::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        retry_on_intr(|| send(&self.socket, &bytes, SendFlags::empty()))?;
        Ok(())
    }

    /// Reads to the end of the answer, and of that what `is_wanted`. Returns whether what it lists
    /// changed meanwhile.
    fn receive<M: NetlinkDeserializable + Debug>(
        &mut self,
        is_wanted: impl Fn(&[u8]) -> bool,
        mut each: impl FnMut(M),
    ) -> io::Result<bool> {
        let mut is_torn = false;
        loop {
            let socket = &self.socket;
            let buffer = self.buffer.as_mut_slice();
            let (n, whole) = retry_on_intr(|| recv(socket, &mut *buffer, RecvFlags::TRUNC))?;
            if whole > n {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut rest = buffer.get(..n).unwrap_or_default();
            while let Some((bytes, more)) = first(rest) {
                rest = more;
                if field(bytes, 8, 4) != self.sequence {
                    continue;
                }
                is_torn |= field(bytes, 6, 2) & u32::from(NLM_F_DUMP_INTR) != 0;
                let is_control = field(bytes, 4, 2) < CONTROL;
                if !is_control && !is_wanted(bytes.get(HEADER..).unwrap_or_default()) {
                    continue;
                }
                let Ok(message) = NetlinkMessage::<M>::deserialize(bytes) else {
                    continue;
                };
                let payload = message.payload;
                if let NetlinkPayload::InnerMessage(message) = payload {
                    each(message);
                } else if let NetlinkPayload::Error(e) = payload {
                    // An error of no number is an acknowledgement.
                    return e.code.map_or(Ok(is_torn), |_| Err(e.to_io()));
                } else if let NetlinkPayload::Done(done) = payload {
                    if done.code < 0 {
                        return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                    }
                    return Ok(is_torn);
                }
            }
        }
    }
}

/// The first message, and what follows it.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(field(bytes, 0, 4)).ok()?;
    let message = bytes.get(..length).filter(|_| length >= HEADER)?;
    let aligned = length.next_multiple_of(4).min(bytes.len());
    Some((message, bytes.get(aligned..)?))
}

/// A number of the header, in the byte order of the machine; 0 where there is none.
fn field(bytes: &[u8], at: usize, len: usize) -> u32 {
    match (len, bytes.get(at..at + len)) {
        (2, Some(&[a, b])) => u16::from_ne_bytes([a, b]).into(),
        (4, Some(&[a, b, c, d])) => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}
