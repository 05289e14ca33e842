//! Transport parameters that are sent otherwise than quinn-proto would (RFC 9000 section 18).
use bytes::{Buf as _, BufMut as _};
use quinn_proto::{VarInt, coding::Codec as _};
use std::collections::BTreeSet;

/// `initial_max_stream_data_bidi_local`, `_bidi_remote` and `_uni`.
const STREAM_DATA: [u64; 3] = [0x05, 0x06, 0x07];
const MAX_ACK_DELAY: u64 = 0x0b;
const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;

/// Values to be sent in place of quinn-proto's. Each says less than quinn-proto does, or what it
/// does anyway, so that a peer that keeps to them keeps to quinn-proto's limits as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `max_ack_delay` in milliseconds: at least 25.
    pub max_ack_delay: Option<u32>,
    /// `active_connection_id_limit`: 2 to 5.
    pub active_connection_id_limit: Option<u32>,
    /// The three `initial_max_stream_data`, in octets: less than the transport's
    /// `stream_receive_window`, and more than an eighth of it. The window grows to that when its
    /// owner has read that eighth.
    pub stream_data: Option<u32>,
    /// `disable_active_migration`, on either side.
    pub disables_migration: bool,
}

impl Parameters {
    /// The parameters that `encoded` holds, with these values. What is no sequence of parameters
    /// is left as it is.
    pub(crate) fn apply(&self, encoded: Vec<u8>) -> Vec<u8> {
        self.rewritten(&encoded).unwrap_or(encoded)
    }

    fn rewritten(&self, mut from: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(from.len() + 16);
        let mut seen = BTreeSet::new();
        while from.has_remaining() {
            let id = VarInt::decode(&mut from).ok()?.into_inner();
            let len = VarInt::decode(&mut from).ok()?.into_inner();
            let (value, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
            from = rest;
            seen.insert(id);
            match self.value(id) {
                Some(value) => put(&mut out, id, value),
                None => put_raw(&mut out, id, value),
            }
        }
        for id in [MAX_ACK_DELAY, ACTIVE_CONNECTION_ID_LIMIT] {
            if let Some(value) = self.value(id).filter(|_| !seen.contains(&id)) {
                put(&mut out, id, value);
            }
        }
        if self.disables_migration && !seen.contains(&DISABLE_ACTIVE_MIGRATION) {
            put_raw(&mut out, DISABLE_ACTIVE_MIGRATION, &[]);
        }
        Some(out)
    }

    fn value(&self, id: u64) -> Option<u32> {
        match id {
            MAX_ACK_DELAY => self.max_ack_delay,
            ACTIVE_CONNECTION_ID_LIMIT => self.active_connection_id_limit,
            id if STREAM_DATA.contains(&id) => self.stream_data,
            _ => None,
        }
    }
}

fn put(out: &mut Vec<u8>, id: u64, value: u32) {
    let mut encoded = Vec::with_capacity(4);
    VarInt::from_u32(value).encode(&mut encoded);
    put_raw(out, id, &encoded);
}

fn put_raw(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    // What was decoded as one, and a length that was one, are in range.
    for number in [id, value.len() as u64] {
        VarInt::from_u64(number).unwrap_or(VarInt::MAX).encode(out);
    }
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Parameters = Parameters {
        max_ack_delay: Some(26),
        active_connection_id_limit: Some(4),
        stream_data: Some(1000),
        disables_migration: true,
    };

    #[test]
    fn values_are_replaced_where_they_are_and_added_where_they_are_not() {
        let encoded = vec![
            0x05, 4, 0x80, 8, 0, 0, // 512 KiB
            0x01, 1, 30, // something else
            0x0e, 1, 5, //
            0xc0, 0, 0, 0, 0xff, 0x04, 0xde, 0x1b, 2, 0x43, 0xe8, // with a long number
        ];
        let expected = [
            0x05, 2, 0x43, 0xe8, // 1000
            0x01, 1, 30, //
            0x0e, 1, 4, //
            0xc0, 0, 0, 0, 0xff, 0x04, 0xde, 0x1b, 2, 0x43, 0xe8, //
            0x0b, 1, 26, //
            0x0c, 0,
        ];
        assert_eq!(ALL.apply(encoded.clone()), expected);
        assert_eq!(Parameters::default().apply(encoded.clone()), encoded);
    }

    #[test]
    fn what_is_no_sequence_is_left_alone() {
        for encoded in [vec![0x05], vec![0x05, 9, 1], vec![0xc0, 1]] {
            assert_eq!(ALL.apply(encoded.clone()), encoded);
        }
    }
}
