//! Requests and replies.
use crate::reference::paniq as reference;
use bytes::BytesMut;
use sansbox_protocols::paniq::proxy::wire::{Malformed, Reply, Request};

/// `parse` agrees with the reference on whole, cut and broken messages; `emit` writes what was
/// read; a target that is asked for is understood.
pub fn paniq_request(data: &[u8]) {
    let request = check(data, 1, Request::parse);
    if let Some((request, len)) = request {
        let mut out = BytesMut::new();
        request.emit(&mut out);
        assert_eq!((out.len(), &out[..]), (request.buffer_len(), &data[..len]));
        assert!(len <= Request::LEN_MAX);
        if let Ok(target) = request.address.to_target() {
            let mut out = BytesMut::new();
            Request::from(&target).emit(&mut out);
            let (again, _) = Request::parse(&out).expect("ours").expect("and whole");
            let again = again.address.to_target().expect("a target still");
            assert_eq!(again.port, target.port);
        }
    }
    if let Some((reply, len)) = check(data, 2, Reply::parse) {
        let mut out = BytesMut::new();
        reply.emit(&mut out);
        assert_eq!((out.len(), &out[..]), (reply.buffer_len(), &data[..len]));
        assert!(len <= Reply::LEN_MAX);
    }
}

/// What is parsed, after the same of every strict prefix.
fn check<'a, T>(
    data: &'a [u8],
    at: usize,
    parse: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, Malformed>,
) -> Option<(T, usize)> {
    let len_of = |bytes: &'a [u8]| {
        let parsed = parse(bytes).map_err(|_| ());
        parsed.map(|message| message.map(|(_, len)| len))
    };
    for n in 0..=data.len().min(600) {
        let bytes = &data[..n];
        assert_eq!(len_of(bytes), reference::message(bytes, at), "{bytes:x?}");
    }
    parse(data).ok().flatten()
}
