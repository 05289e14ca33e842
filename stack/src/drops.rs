//! Why packets are dropped: one enum per module, one counter per reason, one table of all of them
//! (in the README).
//!
//! No module drops silently: whatever does not go on is named by a reason and counted, by the
//! module itself or, where it keeps no state, by its caller.
use crate::{counters, fragment, icmp, interface, ip, mtu, nat, vnet};

/// How often something was dropped, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The module that dropped it, as [`Reason::module`].
    pub module: &'static str,
    /// Its word for why, as [`Reason::name`].
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

/// A row of the table of all reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `tcp` or the name of a module of this crate.
    pub module: &'static str,
    /// The word for metrics, unique in the module.
    pub name: &'static str,
    /// When it is counted, and what the sender hears.
    pub meaning: &'static str,
}

/// All reasons of all modules. Those of `vnet` are counted by whoever reads the device.
pub fn reasons() -> impl Iterator<Item = Reason> {
    let rows = [
        counters::DropReason::ROWS,
        ip::Drop::ROWS,
        fragment::Drop::ROWS,
        icmp::Drop::ROWS,
        nat::Drop::ROWS,
        mtu::Drop::ROWS,
        interface::Drop::ROWS,
        vnet::Drop::ROWS,
    ];
    rows.into_iter().flatten().copied()
}

/// Declares an enum of reasons of the module that is named, `ALL` of them, their rows of the
/// table, and a counter for each.
macro_rules! drop_reasons {
    (
        $module:literal;
        $(#[$enum_doc:meta])*
        pub enum $name:ident, $drops:ident {
            $( $variant:ident => $text:literal: $meaning:literal, )+
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( #[doc = $meaning] $variant, )+
        }

        impl $name {
            /// Every reason, in the order of declaration.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            pub(crate) const ROWS: &[$crate::drops::Reason] = &[
                $($crate::drops::Reason {
                    module: $module,
                    name: $text,
                    meaning: $meaning,
                },)+
            ];

            /// The reason as a metric's label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }

            /// When it is counted, and what the sender hears.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $( Self::$variant => $meaning, )+
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl core::error::Error for $name {}

        /// How often each reason occurred.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $drops {
            counts: [u64; $name::ALL.len()],
        }

        impl $drops {
            /// Nothing dropped yet.
            #[must_use]
            pub const fn new() -> Self {
                Self {
                    counts: [0; $name::ALL.len()],
                }
            }

            /// Counts one packet dropped for `reason`.
            pub fn count(&mut self, reason: $name) {
                if let Some(count) = self.counts.get_mut(reason as usize) {
                    *count = count.saturating_add(1);
                }
            }

            /// How many packets were dropped for `reason`.
            #[must_use]
            pub fn of(&self, reason: $name) -> u64 {
                self.counts.get(reason as usize).copied().unwrap_or_default()
            }

            /// How many packets were dropped for any reason.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
            }

            /// Every reason with its count.
            pub fn iter(&self) -> impl Iterator<Item = ($name, u64)> + '_ {
                $name::ALL.into_iter().zip(self.counts)
            }

            /// Every reason with its count, in the form that all modules share.
            pub fn rows(&self) -> impl Iterator<Item = $crate::drops::Dropped> + '_ {
                self.iter().map(|(reason, count)| $crate::drops::Dropped {
                    module: $module,
                    reason: reason.name(),
                    count,
                })
            }
        }
    };
}
pub(crate) use drop_reasons;
