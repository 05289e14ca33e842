//! What must hold in every run.
mod datagrams;
mod flow;
mod marks;
mod watch;

pub use flow::{Flows, payload};
pub use marks::Marks;
pub use watch::CANARY;

pub(crate) use datagrams::DatagramModel;
pub(crate) use watch::Watch;

use core::fmt;
use sansbox_core::Instant;
use sansbox_engine::record::CloseReason;

/// A property that every run must have.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Invariant {
    /// Delivered bytes are a prefix of the bytes sent.
    PrefixDelivered,
    /// No byte follows a FIN.
    NothingAfterFin,
    /// A FIN arrives only behind everything, and arrives unless an error is reported.
    EndsDelivered,
    /// A pipe holds at most its limit and one read.
    PipeBounded,
    /// Every effect is answered or cancelled before its machine is finished.
    EffectsSettled,
    /// Effects and slots are named once, and only live ones are used.
    NamesAreFresh,
    /// A handshake ends within its deadline.
    HandshakeDeadline,
    /// A deadline that has come is cleared or moved.
    NoBusyLoop,
    /// A second drain at the same instant does nothing.
    DrainIsIdempotent,
    /// Somebody can still move, or everybody is done.
    NoDeadlock,
    /// After the end nothing is left: slots, sockets, timers, machines.
    NothingLeft,
    /// A machine has exactly one close reason.
    OneCloseReason,
    /// A refusal that names a failure follows from such a failure.
    RefusalHasCause,
    /// All pipes are empty when a machine hands over to passthrough.
    PassthroughEmpty,
    /// A script went as written.
    ScriptHolds,
    /// No packet is longer than its path carries.
    PathBudget,
    /// [`CANARY`] is never seen on links that are declared encrypted.
    Canary,
    /// No text that machines make holds a secret.
    SecretsUnlogged,
    /// After the end memory, timers and what machines share are as at the start.
    BackToBaseline,
    /// A machine does what its reference model does.
    MatchesModel,
    /// Nothing panics.
    NoPanic,
    /// What a scenario expects of its end.
    Expected,
    /// Once no fault strikes any more and all peers are done, machines end within their timers.
    Liveness,
    /// A recorded machine that is told the same does the same.
    SameAsRecorded,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Where.
    pub host: String,
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            host,
            invariant,
            detail,
        } = self;
        write!(f, "{invariant:?} broken at {at} on {host}: {detail}")
    }
}

impl std::error::Error for Violation {}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Instant,
    /// On which host.
    pub host: String,
    /// Why, where the machine keeps a record.
    pub reason: Option<CloseReason>,
    /// Payload bytes from the client.
    pub bytes_up: u64,
    /// Payload bytes to the client.
    pub bytes_down: u64,
    /// Most bytes that its pipes held at once.
    pub buffered_max: usize,
}
