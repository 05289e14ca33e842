//! TUN devices of inbounds: opened once, a queue for each worker.
use crate::{
    options::DeviceFile,
    runtime::StartError,
    shared::lock,
    steering::Steering,
    tun::{Device, Family, Interface, Opening, Routes, TunError, default_interface},
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
    pub(crate) steering: Steering,
}

/// All devices, and the routes that lead into them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    opened: Vec<(InboundId, Arc<Tun>, Device)>,
}

impl Devices {
    /// Opens a device for each inbound that has one, with a queue for each of `workers`, or takes
    /// what was `handed_in` for it; hands the queues out.
    pub(crate) fn open<S: Service>(
        service: &S,
        workers: usize,
        mut handed_in: Vec<DeviceFile>,
    ) -> Result<(Self, Vec<Vec<Queue>>), StartError> {
        let mut queues: Vec<Vec<Queue>> = (0..workers).map(|_| Vec::new()).collect();
        let mut devices = Self::default();
        for (inbound, tun) in service.devices() {
            let file = handed_in.iter().position(|file| file.inbound == inbound);
            let opened = match file.map(|at| handed_in.swap_remove(at)) {
                Some(file) => adopt(&tun, file),
                None => {
                    let opening = Opening {
                        queues: workers,
                        ..Opening::default()
                    };
                    Device::open(&tun, opening)
                }
            };
            let mut device = opened.map_err(|source| StartError::Device { inbound, source })?;
            let facts = tun::Device {
                mtu: device.mtu(),
                has_offload: device.has_header(),
            };
            let opened = device.take_queues();
            let steering = Steering::of(opened.len(), facts.has_offload);
            let opened = opened.into_iter().zip(steering);
            for (worker, (queue, steering)) in queues.iter_mut().zip(opened) {
                worker.push(Queue {
                    inbound,
                    fd: queue.into(),
                    facts,
                    steering,
                });
            }
            devices.opened.push((inbound, tun, device));
        }
        if let Some(file) = handed_in.first() {
            return Err(StartError::Device {
                inbound: file.inbound,
                source: TunError::Unwanted,
            });
        }
        Ok((devices, queues))
    }

    /// How each device is served at first.
    pub(crate) fn settings(&self) -> BTreeMap<InboundId, tun::Settings> {
        let opened = self.opened.iter();
        let settings = opened.map(|(inbound, tun, _)| (*inbound, tun.sansbox.into()));
        settings.collect()
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

/// The routes that lead into the devices of a [`Running`](crate::Running), to take them away from
/// any thread.
#[derive(Clone, Debug)]
pub struct RoutesHandle(Arc<Mutex<Vec<Routes>>>);

impl RoutesHandle {
    pub(crate) fn new(routes: Vec<Routes>) -> Self {
        Self(Arc::new(Mutex::new(routes)))
    }

    /// Has packets go their old way again; they do when this returns. Devices stay, and nothing
    /// more comes into them.
    pub fn remove(&self) {
        lock(&self.0).clear();
    }
}

/// Takes a device that is open already.
fn adopt(config: &Tun, handed_in: DeviceFile) -> Result<Device, TunError> {
    let DeviceFile {
        file,
        mtu,
        has_header,
        ..
    } = handed_in;
    if config.auto_route {
        return Err(TunError::NoInterface);
    }
    let leave_out = "leave it out";
    let key = match config {
        Tun {
            interface_name: Some(_),
            ..
        } => Some("interface_name"),
        Tun { mtu: Some(own), .. } if *own != mtu => Some("mtu"),
        _ => None,
    };
    if let Some(key) = key {
        let advice = leave_out;
        return Err(TunError::HandedIn { key, advice });
    }
    if mtu < tun::MTU_MIN {
        return Err(TunError::MtuTooSmall(mtu));
    }
    let addresses = config.address.iter().map(ipnet::IpNet::addr).collect();
    Device::adopt(file, mtu, has_header, addresses).map_err(|source| TunError::Configure {
        what: "waiting",
        source,
    })
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

    /// Would packets of a socket that got this local address enter a device? A socket gets the
    /// address of the interface that the kernel routes it to, so it is asked when one is connected.
    ///
    /// A socket that is bound to another address, but to no interface, keeps that address wherever
    /// it is routed, so this cannot tell.
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use std::process::Command;

    const OWN: [u8; 4] = [172, 19, 0, 1];

    fn uplink(addresses: Vec<IpAddr>) -> Arc<Uplink> {
        Arc::new(Uplink {
            addresses,
            except: None,
            found: Mutex::default(),
            ports: Mutex::default(),
            told: Mutex::default(),
            is_echo_told: AtomicBool::new(false),
        })
    }

    #[test]
    fn a_port_is_own_until_the_last_socket_with_it_is_gone() {
        let uplink = uplink(vec![OWN.into()]);
        let client = |port| SocketAddr::from((OWN, port));
        let first = uplink.hold_port(5000).expect("there is a device");
        let second = uplink.hold_port(5000).expect("there is a device");
        assert!(uplink.is_own(client(5000)) && !uplink.is_own(client(5001)));
        let other = SocketAddr::from(([172, 19, 0, 2], 5000));
        assert!(!uplink.is_own(other), "from another host");
        drop(first);
        assert!(uplink.is_own(client(5000)));
        drop(second);
        assert!(!uplink.is_own(client(5000)));
        assert!(lock(&uplink.ports).is_empty());
    }

    #[test]
    fn without_devices_nothing_comes_back() {
        let uplink = uplink(Vec::new());
        assert!(uplink.hold_port(5000).is_none());
        assert!(!uplink.reenters(OWN.into()));
        assert!(!uplink.is_own(SocketAddr::from((OWN, 5000))));
    }

    #[test]
    fn addresses_are_known_in_either_notation_and_told_of_once() {
        let uplink = uplink(vec![OWN.into()]);
        let mapped = "::ffff:172.19.0.1".parse().expect("an address");
        assert!(uplink.reenters(OWN.into()) && uplink.reenters(mapped));
        assert!(!uplink.reenters([172, 19, 0, 2].into()));
        assert!(uplink.is_news(OWN.into()));
        assert!(!uplink.is_news(mapped) && !uplink.is_news(OWN.into()));
    }

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.expect("ip runs").success(), "ip {arguments}");
    }

    #[test]
    fn the_interface_of_the_default_route_is_asked_for_once_a_second() {
        crate::isolated::isolated(|| {
            let open = |name: &str, address: &str| {
                let mut config = Tun::new(vec![address.parse().expect("a prefix")]);
                config.interface_name = Some(name.to_owned());
                Device::open(&config, Opening::default()).expect("a device")
            };
            let _first = open("up0", "10.50.0.2/24");
            let _second = open("up1", "10.51.0.2/24");
            let to = [192, 0, 2, 1].into();
            let uplink = uplink(Vec::new());
            assert_eq!(uplink.interface(to), None);
            // A name that is not there is as good as one that is.
            ip("route add default via 10.50.0.1 dev up0");
            let begun = Instant::now();
            let soon = uplink.interface(to);
            assert!(soon.is_none() || begun.elapsed() >= UPLINK_AGE_MAX);
            std::thread::sleep(UPLINK_AGE_MAX);
            assert_eq!(uplink.interface(to).as_deref(), Some("up0"));
            ip("route replace default via 10.51.0.1 dev up1");
            std::thread::sleep(UPLINK_AGE_MAX);
            assert_eq!(uplink.interface(to).as_deref(), Some("up1"));
            let v6 = "2001:db8::1".parse().expect("an address");
            assert_eq!(uplink.interface(v6), None, "each family has its own");
        });
    }
}
