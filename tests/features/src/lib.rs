//! Holds nothing. What only tests depend on switches on features of crates that the program uses,
//! too, and `cargo build --workspace`, which looks at no test's dependencies, would build those
//! crates and all above them a second time. This crate depends on the same as everybody does, so
//! that both give the same features, and the program is linked from what the tests were.
