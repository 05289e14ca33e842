//! What may be changed while devices are served.
use crate::shared::lock;
use sansbox_engine::{carrier::tun::Settings, ids::InboundId};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

/// The settings of all devices, and how often they were changed.
#[derive(Debug)]
pub(crate) struct Tuning {
    settings: Mutex<BTreeMap<InboundId, Settings>>,
    version: AtomicU64,
}

impl Tuning {
    /// As the machines have them from their birth.
    pub(crate) const fn new(settings: BTreeMap<InboundId, Settings>) -> Self {
        Self {
            settings: Mutex::new(settings),
            version: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, inbound: InboundId) -> Option<Settings> {
        lock(&self.settings).get(&inbound).copied()
    }

    /// False: there is no such device.
    pub(crate) fn set(&self, inbound: InboundId, to: Settings) -> bool {
        let mut all = lock(&self.settings);
        let Some(settings) = all.get_mut(&inbound) else {
            return false;
        };
        *settings = to;
        // Under the lock: who sees this number finds these settings.
        self.version.fetch_add(1, Release);
        true
    }

    /// Another number than before: there is something to take over.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }
}
