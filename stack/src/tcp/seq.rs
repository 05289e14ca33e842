//! Comparison of sequence numbers, which wrap (RFC 9293 section 3.4).

/// Does `a` come before `b`?
pub(crate) const fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// Does `a` come after `b`?
pub(crate) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// The later one.
pub(crate) const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

/// The earlier one.
pub(crate) const fn earlier(a: u32, b: u32) -> u32 {
    if before(a, b) { a } else { b }
}

/// How far `to` is behind `from`; 0 if it is before it.
pub(crate) const fn distance(from: u32, to: u32) -> u32 {
    if before(to, from) {
        0
    } else {
        to.wrapping_sub(from)
    }
}
