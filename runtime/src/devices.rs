//! TUN devices of inbounds: opened once, a queue for each worker.
use crate::{
    runtime::StartError,
    shared::lock,
    tun::{Device, Family, Interface, Opening, Routes, default_interface},
};
use core::net::IpAddr;
use sansbox_engine::{carrier::tun, config::model::Tun, drive::Service, ids::InboundId};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the interface of the default route is taken for true.
const UPLINK_AGE_MAX: Duration = Duration::from_secs(1);

/// The queue that one worker serves.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) inbound: InboundId,
    pub(crate) fd: OwnedFd,
    pub(crate) facts: tun::Device,
}

/// All devices, and the routes that lead into them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    opened: Vec<(InboundId, Arc<Tun>, Device)>,
}

impl Devices {
    /// Opens a device for each inbound that has one, with a queue for each of `workers`; hands the
    /// queues out.
    pub(crate) fn open<S: Service>(
        service: &S,
        workers: usize,
    ) -> Result<(Self, Vec<Vec<Queue>>), StartError> {
        let mut queues: Vec<Vec<Queue>> = (0..workers).map(|_| Vec::new()).collect();
        let mut devices = Self::default();
        for (inbound, tun) in service.devices() {
            let opening = Opening {
                queues: workers,
                ..Opening::default()
            };
            let opened = Device::open(&tun, opening);
            let mut device = opened.map_err(|source| StartError::Device { inbound, source })?;
            let facts = tun::Device {
                mtu: device.mtu(),
                has_offload: device.has_header(),
            };
            for (worker, queue) in queues.iter_mut().zip(device.take_queues()) {
                worker.push(Queue {
                    inbound,
                    fd: queue.into(),
                    facts,
                });
            }
            devices.opened.push((inbound, tun, device));
        }
        Ok((devices, queues))
    }

    /// Leads packets into the devices, for as long as what this returns lives.
    pub(crate) fn route(&self) -> Result<Vec<Routes>, StartError> {
        let mut routes = Vec::new();
        for (inbound, tun, device) in &self.opened {
            let inbound = *inbound;
            let installed = Routes::install(tun, device);
            routes.extend(installed.map_err(|source| StartError::Device { inbound, source })?);
        }
        Ok(routes)
    }

    /// What sockets of this process have to know of them.
    pub(crate) fn uplink(&self) -> Uplink {
        let devices = || self.opened.iter().map(|(_, _, device)| device);
        Uplink {
            addresses: devices().flat_map(Device::addresses).copied().collect(),
            except: devices().find_map(|device| Some(device.interface()?.index)),
            found: Mutex::default(),
            ports: Mutex::default(),
            told: Mutex::default(),
            is_echo_told: AtomicBool::new(false),
        }
    }

    /// The interface of each device, with the inbound.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (InboundId, &Interface)> {
        let opened = self.opened.iter();
        opened.filter_map(|(inbound, _, device)| Some((*inbound, device.interface()?)))
    }
}

/// The way around the devices of this process: packets of its own that enter one would leave by
/// another socket, and enter it again.
#[derive(Debug)]
pub(crate) struct Uplink {
    addresses: Vec<IpAddr>,
    /// An interface that is never the way out.
    except: Option<u32>,
    /// The interfaces of the default routes.
    found: Mutex<BTreeMap<Family, (Instant, Option<String>)>>,
    /// Ports of UDP sockets that send to anybody.
    ports: Mutex<BTreeMap<u16, u32>>,
    /// Addresses that were told of.
    told: Mutex<BTreeSet<IpAddr>>,
    /// It was told that no echo requests are carried.
    is_echo_told: AtomicBool,
}

impl Uplink {
    /// Is there any device?
    pub(crate) fn has_devices(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Would packets of a socket that got this local address enter a device?
    pub(crate) fn reenters(&self, local: IpAddr) -> bool {
        self.has_devices() && self.addresses.contains(&local.to_canonical())
    }

    /// The name of the interface of the default route for targets like `to`; `None` when there is
    /// no such route.
    pub(crate) fn interface(&self, to: IpAddr) -> Option<String> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut found = lock(&self.found);
        if let Some((at, name)) = found.get(&family)
            && at.elapsed() < UPLINK_AGE_MAX
        {
            return name.clone();
        }
        // What cannot be listed is as good as not there.
        let now = default_interface(family, self.except).ok().flatten();
        let name = now.map(|interface| interface.name);
        found.insert(family, (Instant::now(), name.clone()));
        name
    }

    /// Is it the first time that a socket got this address of a device?
    pub(crate) fn is_news(&self, local: IpAddr) -> bool {
        lock(&self.told).insert(local.to_canonical())
    }

    /// Is it the first time that no socket for echo requests is to be had?
    pub(crate) fn is_echo_news(&self) -> bool {
        !self.is_echo_told.swap(true, Ordering::Relaxed)
    }

    /// Remembers the port of a UDP socket until what this returns is dropped.
    pub(crate) fn hold_port(self: &Arc<Self>, port: u16) -> Option<Port> {
        if !self.has_devices() {
            return None;
        }
        *lock(&self.ports).entry(port).or_default() += 1;
        Some(Port {
            uplink: Arc::clone(self),
            port,
        })
    }

    /// Is the client at this end a UDP socket of this process, whose datagrams came into a device?
    pub(crate) fn is_own(&self, client: core::net::SocketAddr) -> bool {
        self.reenters(client.ip()) && lock(&self.ports).contains_key(&client.port())
    }
}

/// The port of a UDP socket that is there.
#[derive(Debug)]
pub(crate) struct Port {
    uplink: Arc<Uplink>,
    port: u16,
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut ports = lock(&self.uplink.ports);
        if let Some(count) = ports.get_mut(&self.port) {
            *count -= 1;
            if *count == 0 {
                ports.remove(&self.port);
            }
        }
    }
}
