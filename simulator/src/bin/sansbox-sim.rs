//! Lists and runs scenarios.
fn main() {}
