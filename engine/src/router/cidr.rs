//! Sets of IP prefixes.
//!
//! IPv4 prefixes are ranges of 32-bit numbers, IPv6 prefixes up to /64 ranges of 64-bit numbers and
//! longer ones of 128-bit numbers; each table is sorted, merged and has a directory over equal
//! slices of the space between its ends, so a look-up searches only a few ranges.
use core::net::{IpAddr, Ipv6Addr};
use ipnet::IpNet;

/// Most slices of a directory: 512 KiB.
const SLICES_MAX: usize = 1 << 17;
/// Longest IPv6 prefix kept as its upper half.
const UPPER_PREFIX_LEN_MAX: u8 = 64;

/// A set of prefixes of both families. IPv4-mapped IPv6 prefixes hold no IPv4 address, as in
/// sing-box; addresses are unmapped before they come here.
#[derive(Debug)]
pub(super) struct CidrSet {
    v4: RangeTable<u32>,
    v6_upper: RangeTable<u64>,
    v6: RangeTable<u128>,
}

impl CidrSet {
    /// `None` when the list is absent or empty.
    pub(super) fn new(nets: Option<&[IpNet]>) -> Option<Self> {
        let nets = nets.filter(|nets| !nets.is_empty())?;
        let (mut v4, mut v6_upper, mut v6) = (Vec::new(), Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => {
                    let (first, last) = (net.network(), net.broadcast());
                    if net.prefix_len() <= UPPER_PREFIX_LEN_MAX {
                        v6_upper.push((upper(first), upper(last)));
                    } else {
                        v6.push((first.to_bits(), last.to_bits()));
                    }
                }
            }
        }
        Some(Self {
            v4: RangeTable::new(v4),
            v6_upper: RangeTable::new(v6_upper),
            v6: RangeTable::new(v6),
        })
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6_upper.contains(upper(ip)) || self.v6.contains(ip.to_bits()),
        }
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6_upper.memory_bytes() + self.v6.memory_bytes()
    }
}

fn upper(ip: Ipv6Addr) -> u64 {
    (ip.to_bits() >> 64) as u64
}

/// A number that stands for an address or its upper half.
trait Bits: Copy + Ord {
    const WIDTH: u32;
    const MAX: Self;
    fn wrapping_next(self) -> Self;
    /// `(self - base) >> shift`, which the caller knows to be small.
    fn slice(self, base: Self, shift: u32) -> usize;
    fn leading_zeros_of_span(self, base: Self) -> u32;
}

macro_rules! impl_bits {
    ($($t:ty),*) => {$(
        impl Bits for $t {
            const WIDTH: u32 = Self::BITS;
            const MAX: Self = Self::MAX;
            fn wrapping_next(self) -> Self {
                self.wrapping_add(1)
            }
            fn slice(self, base: Self, shift: u32) -> usize {
                (self.wrapping_sub(base) >> shift) as usize
            }
            fn leading_zeros_of_span(self, base: Self) -> u32 {
                self.wrapping_sub(base).leading_zeros()
            }
        }
    )*};
}
impl_bits!(u32, u64, u128);

/// Sorted disjoint inclusive ranges.
#[derive(Debug)]
struct RangeTable<T> {
    ranges: Box<[(T, T)]>,
    /// Per slice, how many ranges start before it; one more entry than slices.
    directory: Box<[u32]>,
    /// Start of the first range.
    base: T,
    /// Start of the last range.
    top: T,
    /// Width of a slice as a power of two.
    shift: u32,
}

impl<T: Bits> RangeTable<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let touches = last.1 == T::MAX || next.0 <= last.1.wrapping_next();
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
        let (Some(&(base, _)), Some(&(top, _))) = (ranges.first(), ranges.last()) else {
            return Self {
                ranges: Box::default(),
                directory: Box::default(),
                base: T::MAX,
                top: T::MAX,
                shift: 0,
            };
        };
        let span_bits = T::WIDTH - top.leading_zeros_of_span(base);
        let slice_bits = ranges.len().next_power_of_two().min(SLICES_MAX).ilog2();
        let shift = span_bits.saturating_sub(slice_bits);
        let slices = top.slice(base, shift) + 1;
        let mut directory = Vec::with_capacity(slices + 1);
        for (index, &(start, _)) in ranges.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            directory.resize(directory.len().max(start.slice(base, shift) + 1), index);
        }
        directory.resize(slices + 1, u32::try_from(ranges.len()).unwrap_or(u32::MAX));
        Self {
            ranges: ranges.into(),
            directory: directory.into(),
            base,
            top,
            shift,
        }
    }

    fn contains(&self, key: T) -> bool {
        if key < self.base || self.ranges.is_empty() {
            return false;
        }
        let last_slice = self.directory.len().saturating_sub(2);
        // Behind the last start, the slice of the key need not fit the directory, or usize.
        let slice = if key < self.top {
            key.slice(self.base, self.shift)
        } else {
            last_slice
        };
        let Some(&[first, end]) = self.directory.get(slice..slice + 2) else {
            return false;
        };
        let (first, end) = (first as usize, end as usize);
        let within = self.ranges.get(first..end).unwrap_or_default();
        let after = first + within.partition_point(|&(start, _)| start <= key);
        after
            .checked_sub(1)
            .and_then(|i| self.ranges.get(i))
            .is_some_and(|&(_, end)| key <= end)
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.ranges) + size_of_val(&*self.directory)
    }
}

/// What `ip_is_private` means in sing-box: private use (RFC 1918, RFC 4193), loopback, link-local,
/// multicast and unspecified addresses.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_unique_local()
                || ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
        }
    }
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
