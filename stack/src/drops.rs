//! Why packets are dropped: one enum per module, one counter per reason.
//!
//! No module drops silently: whatever does not go on is named by a reason, which the caller
//! counts in the module's `Drops`.

/// How often something was dropped, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The module that dropped it; see the table in the README.
    pub module: &'static str,
    /// Its word for why.
    pub reason: &'static str,
    /// How often.
    pub count: u64,
}

/// Declares an enum of reasons, `ALL` of them, their names, and `Drops`: a counter for each.
macro_rules! drop_reasons {
    (
        $(#[$enum_doc:meta])*
        pub enum $name:ident, $drops:ident {
            $( $(#[$doc:meta])* $variant:ident => $text:literal, )+
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$doc])* $variant, )+
        }

        impl $name {
            /// Every reason, in the order of declaration.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The reason as a metric's label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
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
                for (at, count) in $name::ALL.iter().zip(&mut self.counts) {
                    if *at == reason {
                        *count = count.saturating_add(1);
                    }
                }
            }

            /// How many packets were dropped for `reason`.
            #[must_use]
            pub fn of(&self, reason: $name) -> u64 {
                self.iter().find(|(at, _)| *at == reason).map_or(0, |(_, count)| count)
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
        }
    };
}
pub(crate) use drop_reasons;

/// Fails unless the table in the documentation `text` of a module has a row for every name.
#[cfg(test)]
pub(crate) fn assert_table_is_complete(text: &str, names: &[&str]) {
    for name in names {
        let row = format!("//! | `{name}` |");
        assert!(text.contains(&row), "no row {row}");
    }
    let rows = text.lines().filter(|line| line.starts_with("//! | `"));
    assert_eq!(rows.count(), names.len(), "rows of reasons that are gone");
}
