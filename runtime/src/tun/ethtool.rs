//! One feature of a device, off: the generic netlink family `ethtool`.
//!
//! tun-rs asks for UDP segmentation wherever the kernel has it, and has no way back.
use super::netlink::Netlink;
use core::convert::Infallible;
use netlink_packet_core::{
    DefaultNla, Emitable as _, NLA_F_NESTED, NetlinkDeserializable, NetlinkHeader,
    NetlinkSerializable, NlasIterator,
};
use rustix::net::netlink::GENERIC;
use std::io;

/// The family that knows the numbers of the others (`GENL_ID_CTRL`).
const CONTROL: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const HEADER_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
/// No answer but the acknowledgement.
const FLAG_OMIT_REPLY: u32 = 2;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
/// `struct genlmsghdr`.
const COMMAND_LEN: usize = 4;

/// A message of any generic family.
#[derive(Clone, Debug)]
struct Generic {
    family: u16,
    bytes: Vec<u8>,
}

impl Generic {
    fn new(family: u16, command: u8, attributes: &[DefaultNla]) -> Self {
        let mut bytes = vec![command, 1, 0, 0];
        bytes.extend(emitted(attributes));
        Self { family, bytes }
    }
}

impl NetlinkSerializable for Generic {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes);
    }
}

impl NetlinkDeserializable for Generic {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self {
            family: header.message_type,
            bytes: payload.to_vec(),
        })
    }
}

/// Turns UDP segmentation (`tx-udp-segmentation`) of an interface off.
///
/// # Errors
/// When the kernel has no such family or feature.
pub(super) fn forbid_udp_segmentation(interface: u32) -> io::Result<()> {
    let mut netlink = Netlink::open(Some(GENERIC))?;
    let name = DefaultNla::new(CONTROL_FAMILY_NAME, b"ethtool\0".to_vec());
    let found = netlink.ask(Generic::new(CONTROL, CONTROL_GET_FAMILY, &[name]))?;
    let family = family_id(&found).ok_or(io::ErrorKind::Unsupported)?;
    let header = nested(
        FEATURES_HEADER,
        &[
            DefaultNla::new(HEADER_INDEX, interface.to_ne_bytes().to_vec()),
            DefaultNla::new(HEADER_FLAGS, FLAG_OMIT_REPLY.to_ne_bytes().to_vec()),
        ],
    );
    // A bit that is named and has no value is to be off.
    let name = DefaultNla::new(BIT_NAME, b"tx-udp-segmentation\0".to_vec());
    let bits = nested(BITSET_BITS, &[nested(BITS_BIT, &[name])]);
    let wanted = nested(FEATURES_WANTED, &[bits]);
    netlink.change(Generic::new(family, FEATURES_SET, &[header, wanted]), 0)
}

fn family_id(message: &Generic) -> Option<u16> {
    let attributes = NlasIterator::new(message.bytes.get(COMMAND_LEN..)?);
    let mut read = attributes.filter_map(Result::ok);
    let id = read.find(|nla| nla.kind() == CONTROL_FAMILY_ID)?;
    Some(u16::from_ne_bytes(id.value().try_into().ok()?))
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    DefaultNla::new(kind | NLA_F_NESTED, emitted(inner))
}

fn emitted(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}
