//! The TUN device of a process: opened, fed, and held to its budgets.
use super::{Device, Kind, Running, TunSettings, Work};
use crate::{check::Invariant, host::Cx, net::packet::Packet};
use sansbox_engine::drive::{CarrierDrive, Service};
use sansbox_stack::{
    Interface, Usage,
    config::{SEND_FLOOR, WINDOW_FLOOR},
    drops::Dropped,
};

/// What is queued to be sent may be above its limit by a chunk.
const CHUNK_LEN_MAX: u64 = 64 << 10;

impl<S: Service> Running<S> {
    /// Opens the TUN device of the configuration, if it has one.
    pub(super) fn open_devices(&mut self, cx: &mut Cx<'_>, settings: TunSettings) {
        for (inbound, tun) in self.service.devices() {
            let facts = settings.facts(tun.mtu);
            let (seed, now) = (self.next_seed(), cx.now());
            let Some(machine) = self.service.device(inbound, facts, seed, now) else {
                return cx.violate(Invariant::Expected, format!("no carrier for {facts:?}"));
            };
            let numbers = cx.stream("tun");
            let who = format_args!("the carrier of a device");
            self.admit(cx, Kind::Carrier, (who, None), |number, this| {
                let device = Device::new(settings, facts, number, numbers);
                this.device = Some(device.clone());
                let device = (device, facts);
                let drive = CarrierDrive::device(machine, number, inbound, device, &this.pool);
                Work::Carrier(Box::new(drive))
            });
        }
    }

    /// A packet came to the device.
    pub(in super::super) fn packet(&self, cx: &mut Cx<'_>, packet: &Packet) {
        if let Some(device) = &self.device {
            device.take(cx, packet);
        }
    }

    /// The machine for the packets of the device.
    fn interface(&self) -> Option<&Interface> {
        let mut residents = self.residents.iter();
        residents.find_map(|(_, resident)| match &resident.work {
            Work::Carrier(drive) => drive.carrier().interface(),
            Work::Session(_) | Work::Association(_) => None,
        })
    }

    /// Clients of a device hold no more than its budgets, and what is dropped is counted.
    pub(super) fn check_device(&mut self, cx: &mut Cx<'_>) {
        let Some(interface) = self.interface() else {
            return;
        };
        let stack = interface.stack();
        let (config, usage, flows) = (stack.config(), stack.usage(), u64::from(stack.open_flows()));
        let windows_max = (config.window_budget + flows * u64::from(WINDOW_FLOOR))
            .min(flows * u64::from(config.window_max));
        let queued_max = (config.send_budget + flows * (u64::from(SEND_FLOOR) + CHUNK_LEN_MAX))
            .min(flows * (u64::from(config.send_max) + CHUNK_LEN_MAX));
        if usage.windows > windows_max || usage.queued > queued_max {
            let what = format!("{usage:?} of {flows} flows, above {windows_max} or {queued_max}");
            cx.violate(Invariant::PipeBounded, what);
        }
        let drops: Vec<Dropped> = interface.drops().collect();
        for (nth, drop) in drops.iter().enumerate() {
            if drop.count > self.drops.get(nth).map_or(0, |before| before.count) {
                cx.mark(format!("dropped {}/{}", drop.module, drop.reason));
            }
        }
        self.drops = drops;
    }

    /// What a device's carrier, or the device itself, still holds.
    pub(super) fn left_of_devices(&self) -> Option<String> {
        let unread = self.device.as_ref().map_or(0, Device::left);
        let interface = self.interface()?;
        let stack = interface.stack();
        let (open, half_open) = (stack.open_flows(), stack.half_open_flows());
        let usage = stack.usage();
        let (mappings, queued) = (interface.mappings(), interface.queued());
        let is_tcp_left = open + half_open > 0 || usage != Usage::default();
        (is_tcp_left || unread + mappings + queued > 0).then(|| {
            format!(
                "{unread} frames, {queued} packets, {open} flows, {half_open} half-open ones, \
                 {mappings} mappings, {usage:?} left"
            )
        })
    }
}
