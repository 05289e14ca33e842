//! Regular expressions of Go, for a Rust engine.
pub(super) fn translate(e: &str) -> Result<String, String> {
    Ok(e.to_owned())
}
