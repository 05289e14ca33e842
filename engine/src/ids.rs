//! Small numbers that stand for the parts of a plan and of a session.

/// An inbound: index into the plan's inbounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u16);

/// An outbound: index into the plan's outbounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundId(pub u16);

/// A user of an inbound: index into its list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u16);

/// One socket of a machine: the accepted connection, a dialled connection or a UDP socket. Never
/// used again within the machine after it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// The accepted connection of a session; the listening UDP socket of an association.
    pub const CLIENT: Self = Self(0);
}

/// An effect that the machine asked for and waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u32);
