//! Events, as they happen to the network.
use super::Net;
use crate::{
    event::Event,
    host::{HostId, HostInput},
    transcript::Tag,
};

impl Net {
    /// Lets an event happen; returns which host hears of it.
    pub(crate) fn happen(&mut self, event: Event) -> Option<(HostId, HostInput)> {
        let core = &mut self.core;
        match event {
            Event::Start(host) => Some((host, HostInput::Start)),
            Event::Command(host, command) => {
                let tag = Tag::Command;
                core.note_text(host, tag, 0, format_args!("{command:?}"));
                Some((host, HostInput::Command(command)))
            }
            Event::Accept(number) => self.tcp.accept(core, number),
            Event::Dialed(dial) => self.tcp.dialed(core, dial),
            Event::Arrive(from, number) => {
                self.tcp.arrive(core, from, number);
                None
            }
            Event::Pump(socket) => {
                self.tcp.pump(core, socket);
                None
            }
            Event::Reset(socket, packet) => {
                self.tcp.reset(core, socket, packet);
                None
            }
            Event::Readable(socket) => self.tcp.wake(socket, true),
            Event::Writable(socket) => self.tcp.wake(socket, false),
            Event::Datagram(key) => {
                let datagram = core.datagrams.try_remove(key as usize)?;
                self.udp.arrive(core, datagram)
            }
            Event::Resolved(query) => self.names.resolved(core, query),
            Event::Packet(key) => self.packet(key),
            Event::HopTimer(hop) => {
                self.hop_timer(hop);
                None
            }
            Event::StackTimer(host) => {
                self.tcp.stack_timer(core, host);
                None
            }
            // The world's own business.
            Event::Fault(_) => None,
            Event::Rebooted(host) => {
                self.rebooted(host);
                None
            }
            Event::Heal => {
                core.heal();
                None
            }
            Event::Reseed(seed) => {
                core.streams.reseed(seed);
                None
            }
        }
    }
}
