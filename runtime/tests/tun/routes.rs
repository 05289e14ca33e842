//! `auto_route`: what is installed, what it does, and that nothing of it stays.
use crate::namespace::{
    close, config, drain, ip, isolated, leaves_by, nets, next, plain, routes, rules, run, until,
};
use nix::sys::socket::{setsockopt, sockopt};
use sansbox_engine::config::model::Tun;
use sansbox_runtime::tun::{Device, Family, Queue, Routes, TunError, default_interface};
use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::Duration,
};

const BOTH: [&str; 2] = ["172.19.0.1/30", "fdfe:dcba:9876::1/126"];
/// Tells [`holds_routes_until_killed`] that it is the process to be killed.
const VICTIM: &str = "SANSBOX_TUN_VICTIM";

fn auto(name: &str, address: &[&str]) -> Tun {
    let mut config = config(name, address);
    config.auto_route = true;
    config
}

fn install(config: &Tun) -> (Device, Routes) {
    let device = plain(config);
    let routes = Routes::install(config, &device).expect("installed");
    (device, routes.expect("auto_route"))
}

/// A way to the Internet: a device whose packets nobody answers.
fn uplink(name: &str, network: u8, metric: u32) -> Device {
    let v4 = format!("10.{network}.0.2/24");
    let v6 = format!("fd{network}::2/64");
    let device = plain(&config(name, &[&v4, &v6]));
    ip(&format!(
        "route add default via 10.{network}.0.1 dev {name} metric {metric}"
    ));
    ip(&format!(
        "-6 route add default via fd{network}::1 dev {name} metric {metric}"
    ));
    device
}

/// Nothing is left: no rule, no route.
fn assert_clean() {
    for family in ["-4", "-6"] {
        assert_eq!(
            (rules(family), routes(family)),
            (Vec::new(), Vec::new()),
            "{family}"
        );
    }
}

#[test]
fn everything_goes_into_the_device() {
    isolated(|| {
        let _uplink = uplink("up0", 50, 100);
        let (device, installed) = install(&auto("tun0", &BOTH));
        assert_eq!(
            rules("-4"),
            [
                "9000: from all to 172.19.0.0/30 lookup 2022",
                "9001: from all lookup 2022 suppress_prefixlength 0",
                "9002: not from all dport 53 lookup main suppress_prefixlength 0",
                "9002: from all iif tun0 goto 9010",
                "9003: not from all iif lo lookup 2022",
                "9003: from 0.0.0.0 iif lo lookup 2022",
                "9003: from 172.19.0.0/30 iif lo lookup 2022",
                "9010: from all nop",
            ]
        );
        assert_eq!(
            rules("-6"),
            [
                "9000: from all lookup 2022 suppress_prefixlength 0",
                "9001: not from all dport 53 lookup main suppress_prefixlength 0",
                "9001: from fdfe:dcba:9876::/126 iif lo lookup 2022",
                "9002: from all iif tun0 goto 9010",
                "9002: from ::/1 iif lo goto 9010",
                "9002: from 8000::/1 iif lo goto 9010",
                "9003: from all lookup 2022",
                "9010: from all nop",
            ]
        );
        assert_eq!(routes("-4"), ["default dev tun0 proto static scope link"]);
        assert_eq!(
            routes("-6"),
            ["default dev tun0 proto static metric 1024 pref medium"]
        );
        let leaves = |to: &str, more: &str| leaves_by(to, more).expect("somewhere");
        for outside in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(leaves(outside, ""), "tun0");
            // A socket that is bound to an interface leaves by it.
            assert_eq!(leaves(outside, "oif up0"), "up0");
        }
        // Neighbours are reached without the device, but are not asked for names.
        for neighbour in ["10.50.0.9", "fd50::9"] {
            assert_eq!(leaves(neighbour, ""), "up0");
            assert_eq!(leaves(neighbour, "ipproto udp dport 53"), "tun0");
        }
        // So do sockets that are bound to another address of this machine.
        assert_eq!(leaves("192.0.2.1", "from 10.50.0.2"), "up0");
        assert_eq!(leaves("2001:db8::1", "from fd50::2"), "up0");
        assert_eq!(leaves("192.0.2.1", "from 172.19.0.1"), "tun0");
        assert_eq!(leaves("2001:db8::1", "from fdfe:dcba:9876::1"), "tun0");
        drop(installed);
        assert_clean();
        assert_eq!(leaves("192.0.2.1", ""), "up0");
        drop(device);
    });
}

#[test]
fn without_auto_route_nothing_is_installed() {
    isolated(|| {
        let config = config("tun0", &BOTH);
        let mut device = plain(&config);
        assert!(
            Routes::install(&config, &device)
                .expect("nothing")
                .is_none()
        );
        assert_clean();
        let file = device.take_queues().pop().expect("a queue");
        let adopted = Device::adopt(file.into(), 1500, false, Vec::new()).expect("adopted");
        let refused = Routes::install(&auto("tun0", &BOTH), &adopted);
        assert!(matches!(refused, Err(TunError::NoInterface)));
    });
}

#[test]
fn users_and_interfaces_skip_it_and_a_missing_family_is_unreachable() {
    isolated(|| {
        let _uplink = uplink("up0", 50, 100);
        let mut config = auto("tun0", &BOTH[..1]);
        config.strict_route = true;
        config.exclude_uid = vec![2000..=3000, 1000..=1000];
        config.exclude_interface = vec!["eth7".to_owned()];
        assert!(leaves_by("2001:db8::1", "").is_some());
        let (_device, installed) = install(&config);
        assert_eq!(
            rules("-4"),
            [
                "9000: from all uidrange 1000-1000 goto 9010",
                "9000: from all uidrange 2000-3000 goto 9010",
                "9001: from all iif eth7 [detached] goto 9010",
                "9002: from all to 172.19.0.0/30 lookup 2022",
                "9003: from all lookup 2022 suppress_prefixlength 0",
                "9004: not from all dport 53 lookup main suppress_prefixlength 0",
                "9004: from all iif tun0 goto 9010",
                "9005: not from all iif lo lookup 2022",
                "9005: from 0.0.0.0 iif lo lookup 2022",
                "9005: from 172.19.0.0/30 iif lo lookup 2022",
                "9010: from all nop",
            ]
        );
        assert_eq!(rules("-6"), ["9000: from all unreachable"]);
        assert_eq!(routes("-6"), [""; 0]);
        assert_eq!(leaves_by("2001:db8::1", ""), None);
        for (user, interface) in [(1000, "up0"), (1001, "tun0"), (2500, "up0"), (0, "tun0")] {
            let left = leaves_by("192.0.2.1", &format!("uid {user}"));
            assert_eq!(left.as_deref(), Some(interface), "user {user}");
        }
        drop(installed);
        assert_clean();
        assert!(leaves_by("2001:db8::1", "").is_some());
        // Without strict_route the other family is let be.
        config.strict_route = false;
        let (_device, _installed) = install(&auto("tun1", &BOTH[..1]));
        assert_eq!(rules("-6"), [""; 0]);
        assert_eq!(leaves_by("2001:db8::1", "").as_deref(), Some("up0"));
    });
}

#[test]
fn only_included_users_and_interfaces_and_no_excluded_prefix() {
    isolated(|| {
        let _uplink = uplink("eth9", 50, 100);
        let mut config = auto("tun0", &BOTH);
        config.route_exclude_address = nets(&["10.0.0.0/8", "fc00::/7"]);
        config.include_uid = vec![1000..=1000];
        config.include_interface = vec!["eth9".to_owned()];
        let (_device, _installed) = install(&config);
        assert_eq!(
            rules("-4"),
            [
                "9000: from all uidrange 0-999 goto 9010",
                "9000: from all uidrange 1001-4294967294 goto 9010",
                "9001: from all iif eth9 goto 9003",
                "9002: from all goto 9010",
                "9003: from all nop",
                "9004: from all to 172.19.0.0/30 lookup 2022",
                "9005: from all lookup 2022 suppress_prefixlength 0",
                "9006: not from all dport 53 lookup main suppress_prefixlength 0",
                "9006: from all iif tun0 goto 9010",
                "9007: not from all iif lo lookup 2022",
                "9007: from 0.0.0.0 iif lo lookup 2022",
                "9007: from 172.19.0.0/30 iif lo lookup 2022",
                "9010: from all nop",
            ]
        );
        assert_eq!(
            rules("-6"),
            [
                "9000: from all uidrange 0-999 goto 9010",
                "9000: from all uidrange 1001-4294967294 goto 9010",
                "9001: from all iif eth9 goto 9003",
                "9002: from all goto 9010",
                "9003: from all nop",
                "9004: from all lookup 2022 suppress_prefixlength 0",
                "9005: not from all dport 53 lookup main suppress_prefixlength 0",
                "9005: from fdfe:dcba:9876::/126 iif lo lookup 2022",
                "9006: from all iif tun0 goto 9010",
                "9006: from ::/1 iif lo goto 9010",
                "9006: from 8000::/1 iif lo goto 9010",
                "9007: from all lookup 2022",
                "9010: from all nop",
            ]
        );
        let prefixes = |family| -> Vec<String> {
            let first = |line: &String| line.split(' ').next().expect("a prefix").to_owned();
            routes(family).iter().map(first).collect()
        };
        assert_eq!(
            prefixes("-4"),
            [
                "0.0.0.0/5",
                "8.0.0.0/7",
                "11.0.0.0/8",
                "12.0.0.0/6",
                "16.0.0.0/4",
                "32.0.0.0/3",
                "64.0.0.0/2",
                "128.0.0.0/1"
            ]
        );
        assert_eq!(
            prefixes("-6"),
            [
                "::/1", "8000::/2", "c000::/3", "e000::/4", "f000::/5", "f800::/6", "fe00::/7"
            ]
        );
    });
}

#[test]
fn every_network_of_the_device_is_its_own() {
    isolated(|| {
        let mut config = auto("tun0", &["172.19.0.1/30", "10.7.0.1/24"]);
        config.route_address = nets(&["2.0.0.0/8", "1.0.0.0/8"]);
        let (_device, installed) = install(&config);
        assert_eq!(
            rules("-4"),
            [
                "9000: from all to 172.19.0.0/30 lookup 2022",
                "9000: from all to 10.7.0.0/24 lookup 2022",
                "9001: from all lookup 2022 suppress_prefixlength 0",
                "9002: not from all dport 53 lookup main suppress_prefixlength 0",
                "9002: from all iif tun0 goto 9010",
                "9003: not from all iif lo lookup 2022",
                "9003: from 0.0.0.0 iif lo lookup 2022",
                "9003: from 172.19.0.0/30 iif lo lookup 2022",
                "9003: from 10.7.0.0/24 iif lo lookup 2022",
                "9010: from all nop",
            ]
        );
        assert_eq!(
            routes("-4"),
            [
                "1.0.0.0/8 dev tun0 proto static scope link",
                "2.0.0.0/8 dev tun0 proto static scope link"
            ]
        );
        drop(installed);
        assert_clean();
    });
}

#[test]
fn a_device_that_outlives_its_processes_is_taken_over() {
    isolated(|| {
        ip("tuntap add dev tun0 mode tun");
        let mut config = auto("tun0", &BOTH);
        let (device, installed) = install(&config);
        // As if killed: neither rules nor routes are removed.
        std::mem::forget(installed);
        drop(device);
        let is_free = || ip("link show dev tun0")[0].contains("NO-CARRIER");
        until("it is free", is_free);
        assert_eq!(rules("-4").len(), 8);
        config.route_address = nets(&["198.51.100.0/24", "2001:db8::/32"]);
        let (_device, installed) = install(&config);
        assert_eq!(rules("-4").len(), 8);
        assert_eq!(
            routes("-4"),
            ["198.51.100.0/24 dev tun0 proto static scope link"]
        );
        assert_eq!(routes("-6").len(), 1);
        drop(installed);
        assert_clean();
    });
}

#[test]
fn prefixes_are_taken_in_or_left_out() {
    isolated(|| {
        let _uplink = uplink("up0", 50, 100);
        let mut config = auto("tun0", &BOTH);
        config.route_exclude_address = nets(&["198.51.100.0/24", "2001:db8:1::/48"]);
        let (device, installed) = install(&config);
        let leaves = |to: &str| leaves_by(to, "").expect("somewhere");
        for outside in ["198.51.100.7", "2001:db8:1::7"] {
            assert_eq!(leaves(outside), "up0");
        }
        for inside in [
            "198.51.101.7",
            "198.51.99.255",
            "2001:db8:2::7",
            "2001:db8:0:ffff::7",
        ] {
            assert_eq!(leaves(inside), "tun0");
        }
        drop(installed);
        close(device);
        config.route_address = nets(&["198.51.0.0/16", "1.0.0.0/8"]);
        let (_device, installed) = install(&config);
        assert_eq!(leaves("198.51.100.7"), "up0");
        assert_eq!(leaves("198.51.0.7"), "tun0");
        assert_eq!(leaves("9.9.9.9"), "up0");
        // Of IPv6 nothing is named, so all of it is taken in.
        assert_eq!(leaves("2001:db8:2::7"), "tun0");
        drop(installed);
        assert_clean();
    });
}

#[test]
fn rules_of_others_stay() {
    isolated(|| {
        let foreign = [
            "8999: from all lookup 2022",
            "9005: from 192.0.2.9 lookup 100",
            "9011: from all lookup 2022 suppress_prefixlength 0",
        ];
        for rule in ["8999 lookup 2022", "9005 from 192.0.2.9 lookup 100"] {
            ip(&format!("rule add pref {rule}"));
        }
        ip("rule add pref 9011 lookup 2022 suppress_prefixlength 0");
        ip("rule add pref 9003 iif tun7 goto 9010");
        let mut config = auto("tun0", &BOTH[..1]);
        let (device, installed) = install(&config);
        let installed_rules = rules("-4");
        assert!(
            foreign
                .iter()
                .all(|rule| installed_rules.iter().any(|is| is == rule))
        );
        // One that is left over goes.
        assert!(!installed_rules.iter().any(|rule| rule.contains("tun7")));
        // A second device would share the table.
        config.interface_name = Some("tun1".to_owned());
        let second = plain(&config);
        let refused = Routes::install(&config, &second).expect_err("in use");
        let index = device.interface().expect("opened").index;
        let TunError::TableInUse { table, interface } = refused else {
            panic!("{refused}");
        };
        assert_eq!((table, interface), (2022, index));
        assert_eq!(rules("-4"), installed_rules);
        // With numbers of its own it may.
        (config.table, config.rule) = (3033, 9100);
        let own = Routes::install(&config, &second)
            .expect("installed")
            .expect("auto_route");
        assert!(
            rules("-4")
                .iter()
                .any(|rule| rule == "9101: from all lookup 3033 suppress_prefixlength 0")
        );
        drop(own);
        assert_eq!(rules("-4"), installed_rules);
        drop(installed);
        assert_eq!(rules("-4"), foreign);
    });
}

#[test]
fn a_rule_that_is_refused_leaves_nothing() {
    isolated(|| {
        let mut config = auto("tun0", &BOTH);
        config.exclude_interface = vec!["longer than any name".to_owned()];
        let device = plain(&config);
        let refused = Routes::install(&config, &device).expect_err("no such name");
        assert!(
            matches!(refused, TunError::Rule { priority: 9000, .. }),
            "{refused}"
        );
        assert_clean();
    });
}

/// Not a test of its own: what [`a_killed_process_leaves_nothing_to_the_next`] starts and kills.
#[test]
#[ignore = "run by another test"]
fn holds_routes_until_killed() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let mut config = auto("tun0", &BOTH);
    config.exclude_uid = vec![4000..=4000];
    let _held = install(&config);
    println!("\ninstalled");
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts a process in this thread's namespace that installs routes, and waits until it has.
fn victim() -> Child {
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args([
            "--exact",
            "routes::holds_routes_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut lines = stdout.lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "installed"), "it failed");
    child
}

#[test]
fn a_killed_process_leaves_nothing_to_the_next() {
    isolated(|| {
        let mut child = victim();
        assert_eq!(rules("-4").len(), 9);
        // It runs: its rules are not to be touched.
        let mut config = auto("tun5", &BOTH);
        let device = plain(&config);
        let refused = Routes::install(&config, &device).expect_err("in use");
        assert!(matches!(refused, TunError::TableInUse { .. }), "{refused}");
        close(device);
        child.kill().expect("killed");
        child.wait().expect("dead");
        until("its device is gone", || {
            !run("link show dev tun0").status.success()
        });
        // Its rules are still there, one of them for a user of another configuration.
        for family in ["-4", "-6"] {
            assert_eq!(rules(family).len(), 9);
            assert_eq!(routes(family), [""; 0]);
        }
        config.interface_name = Some("tun0".to_owned());
        let (_device, installed) = install(&config);
        for family in ["-4", "-6"] {
            let rules = rules(family);
            assert_eq!(rules.len(), 8, "{rules:?}");
            assert!(!rules.iter().any(|rule| rule.contains("uidrange")));
        }
        drop(installed);
        assert_clean();
    });
}

#[test]
fn the_best_default_route_is_the_uplink() {
    isolated(|| {
        for family in Family::ALL {
            assert_eq!(default_interface(family, None).expect("listed"), None);
        }
        let slow = uplink("up0", 50, 700);
        let fast = uplink("up1", 51, 50);
        let (tun, _installed) = install(&auto("tun0", &BOTH));
        let index = |device: &Device| device.interface().expect("opened").index;
        for family in Family::ALL {
            let best = |except| default_interface(family, except).expect("listed");
            let name = |except| best(except).map(|interface| interface.name);
            // The device's own default route is in its own table.
            assert_eq!(name(None).as_deref(), Some("up1"));
            assert_eq!(best(Some(index(&tun))).expect("one").index, index(&fast));
            assert_eq!(name(Some(index(&fast))).as_deref(), Some("up0"));
        }
        // Somebody routes into the device by hand: still not an uplink.
        ip("route add default dev tun0 metric 1");
        let found = default_interface(Family::V4, Some(index(&tun))).expect("listed");
        assert_eq!(found.expect("one").name, "up1");
        ip("route add unreachable default metric 0");
        close(fast);
        let found = default_interface(Family::V4, Some(index(&tun))).expect("listed");
        assert_eq!(found.expect("one").name, "up0");
        close(slow);
        let found = default_interface(Family::V6, None).expect("listed");
        assert_eq!(found, None);
    });
}

#[test]
fn of_many_ways_of_one_route_the_first_counts() {
    isolated(|| {
        let first = plain(&config("up0", &["10.50.0.2/24"]));
        let _second = plain(&config("up1", &["10.51.0.2/24"]));
        ip("route add default nexthop via 10.50.0.1 dev up0 nexthop via 10.51.0.1 dev up1");
        let name = |except| {
            let found = default_interface(Family::V4, except).expect("listed");
            found.expect("one").name
        };
        assert_eq!(name(None), "up0");
        assert_eq!(
            name(first.interface().map(|interface| interface.index)),
            "up1"
        );
    });
}

#[test]
fn own_traffic_is_told_from_that_of_others() {
    isolated(|| {
        let mut up = uplink("up0", 50, 100);
        let (mut tun, _installed) = install(&auto("tun0", &BOTH));
        let up_queue = up.take_queues().pop().expect("a queue");
        let tun_queue = tun.take_queues().pop().expect("a queue");
        let has = |queue: &Queue, port: u16| {
            drain(queue)
                .iter()
                .any(|packet| packet.get(20..22) == Some(&port.to_be_bytes()))
        };
        let to: SocketAddr = "192.0.2.1:443".parse().expect("an address");
        let unbound = UdpSocket::bind("0.0.0.0:0").expect("bound");
        unbound.connect(to).expect("connected");
        let local = unbound.local_addr().expect("an address");
        assert!(tun.addresses().contains(&local.ip()), "it would come back");
        unbound.send(b"round and round").expect("sent");
        assert!(has(&tun_queue, local.port()));
        let bound = UdpSocket::bind("0.0.0.0:0").expect("bound");
        let name = default_interface(Family::V4, None)
            .expect("listed")
            .expect("one")
            .name;
        setsockopt(&bound, sockopt::BindToDevice, &name.into()).expect("bound");
        bound.connect(to).expect("connected");
        let local = bound.local_addr().expect("an address");
        assert!(!tun.addresses().contains(&local.ip()));
        bound.send(b"straight out").expect("sent");
        let of_bound = local.port().to_be_bytes();
        next(&up_queue, |packet| packet.get(20..22) == Some(&of_bound));
        assert!(!has(&tun_queue, local.port()));
    });
}
