//! The table against a model.
use super::tests::{addr, client, expired};
use super::*;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use proptest::prelude::*;
use sansbox_core::Instant;

/// The same in the simplest way: everything is searched for.
#[derive(Default)]
struct Model {
    /// Least recently used first.
    mappings: Vec<(SocketAddr, Instant)>,
}

impl Model {
    fn send(
        &mut self,
        now: Instant,
        from: SocketAddr,
        idle: Duration,
        max: usize,
        own: usize,
    ) -> Option<SocketAddr> {
        if let Some(at) = self.mappings.iter().position(|(known, _)| *known == from) {
            let (_, deadline) = self.mappings.remove(at);
            self.mappings.push((from, deadline.max(now + idle)));
            return None;
        }
        let same = |ip: IpAddr| move |(known, _): &(SocketAddr, Instant)| known.ip() == ip;
        let mine = self
            .mappings
            .iter()
            .filter(|mapping| same(from.ip())(mapping))
            .count();
        let gone = if mine >= own {
            self.mappings.iter().position(same(from.ip()))
        } else {
            (self.mappings.len() >= max).then_some(0)
        };
        let gone = gone.map(|at| self.mappings.remove(at).0);
        self.mappings.push((from, now + idle));
        gone
    }
}

proptest! {
    #[test]
    fn table_does_what_the_model_does(
        steps in proptest::collection::vec((0_u8..4, 0_u16..6, 0_u64..40, any::<bool>(), 0_u8..10), 1..300),
    ) {
        let (sessions_max, sessions_per_client_max) = (7, 3);
        let mut table = Table::new(Config { sessions_max, sessions_per_client_max, ..Config::default() });
        let mut model = Model::default();
        let mut now = Instant::ZERO;
        for (host, port, wait, is_quic, step) in steps {
            now += Duration::from_secs(wait);
            let mut ended: Vec<_> = expired(&mut table, now).into_iter().map(|(from, _)| from).collect();
            let mut over: Vec<_> = model.mappings.iter().filter(|(_, due)| *due <= now).map(|(from, _)| *from).collect();
            model.mappings.retain(|(_, due)| *due > now);
            ended.sort();
            over.sort();
            prop_assert_eq!(ended, over);
            let from = client(host, port);
            if step == 0 {
                let id = table.find(from);
                prop_assert_eq!(id.is_some(), model.mappings.iter().any(|(known, _)| *known == from));
                model.mappings.retain(|(known, _)| *known != from);
                id.and_then(|id| table.close(id));
                continue;
            }
            let class = if is_quic { Class::Quic } else { Class::Udp };
            let out = table.outbound(now, from, addr("192.0.2.1:9"), class).expect("room");
            let gone = model.send(now, from, class.idle(None), sessions_max, sessions_per_client_max);
            prop_assert_eq!(out.evicted.map(|closed| closed.client), gone);
            prop_assert_eq!(table.client(out.id), Some(from));
            prop_assert_eq!(table.len(), model.mappings.len());
            prop_assert!(table.poll_timeout().is_some());
        }
    }
}
