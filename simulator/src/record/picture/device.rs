//! The packets of a recorded TUN device: a lane for each client, and whole packets.
use super::{
    connection::{Connection, Way},
    ink::{Far, OURS},
};
use crate::{
    out::IpPacket,
    transcript::{Carries, Head, Tag},
};
use sansbox_core::Instant;
use sansbox_engine::carrier::tun::Device;
use sansbox_flight::wire::DeviceEntry;
use sansbox_stack::vnet::HEADER_LEN;

impl Connection<'_> {
    pub(super) fn begin_device(&mut self, at: Instant, facts: Device) {
        let Device { mtu, has_offload } = facts;
        self.front = if has_offload { HEADER_LEN } else { 0 };
        let with = if has_offload { "with" } else { "without" };
        let text = format!("a TUN device of MTU {mtu}, {with} offload");
        self.note(at, Tag::MachineBorn, text.as_bytes());
    }

    /// Draws what a device's carrier was told; of sizes alone there is no more than a line.
    pub(super) fn device_record(&mut self, at: Instant, entry: DeviceEntry<'_>) {
        let text = match entry {
            DeviceEntry::Frame(frame) => {
                let packet = frame.get(self.front..).unwrap_or_default();
                self.device_packet(at, Way::In, packet);
                return;
            }
            DeviceEntry::Written(stream, segment) => {
                let (len, number) = (segment.len(), stream.0);
                format!("{len} bytes of the session of stream {number:#x}")
            }
            DeviceEntry::Batch { .. }
            | DeviceEntry::Sent { .. }
            | DeviceEntry::Answered(..)
            | DeviceEntry::Abandoned(_)
            | DeviceEntry::Taken(..)
            | DeviceEntry::Ended(..)
            | DeviceEntry::DatagramError(..) => format!("{entry:?}"),
            // Of these there are very many, and what they do is seen.
            DeviceEntry::Polled | DeviceEntry::Exchanged(_) => return,
        };
        self.note(at, Tag::Input, text.as_bytes());
    }

    pub(super) fn device_packet(&mut self, at: Instant, way: Way, packet: &[u8]) {
        let Some(IpPacket {
            source,
            destination,
            ..
        }) = IpPacket::read(packet)
        else {
            let text = format!("{} bytes that are no IP packet", packet.len());
            self.note(at, Tag::Input, text.as_bytes());
            return;
        };
        let client = match way {
            Way::In => source.ip(),
            Way::Out => destination.ip(),
        };
        let lane = self.ink.lane(Far::Client(client), None);
        let lanes = match way {
            Way::In => (lane, OURS),
            Way::Out => (OURS, lane),
        };
        let head = Head {
            source,
            destination,
            carries: Carries::Raw,
            unkept: 0,
        };
        let moment = self.ink.moment(at);
        self.ink.packet(moment, lanes, head, packet);
    }
}
