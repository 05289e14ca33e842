//! Events of carriers as bytes, to be hashed: one way only.
use super::{
    action::put_families, put_bytes, put_ip, put_number, put_refusal, put_socket_addr, put_target,
};
use bytes::BufMut as _;
use core::net::SocketAddr;
use sansbox_engine::{
    carrier::{Event, Note, Path, Stream},
    config::model::LogLevel,
    machine::Wanted,
};

/// Appends what stands for an event.
pub fn put_event(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Resolve(name, families) => {
            out.put_u8(1);
            put_bytes(out, name.as_str().as_bytes());
            put_families(out, *families);
        }
        Event::Bind(path, local) => {
            put_path(out, 2, *path);
            put_socket_addr(out, *local);
        }
        Event::Unbind(path) => put_path(out, 3, *path),
        Event::BindEcho(path, to, outbound) => {
            put_path(out, 10, *path);
            put_ip(out, *to);
            put_number(out, outbound.0.into());
        }
        Event::Echo(path, request) => {
            put_path(out, 11, *path);
            put_ip(out, request.to);
            put_number(out, request.sequence.into());
            out.put_u8(request.hop_limit);
            put_bytes(out, &request.data);
        }
        Event::Connected(stream, bound) => {
            put_stream(out, 4, *stream);
            put_socket_addr(out, *bound);
        }
        Event::Refused(stream, why) => {
            put_stream(out, 5, *stream);
            put_refusal(out, *why);
        }
        Event::Request(stream, peer, wanted) => put_request(out, *stream, *peer, wanted),
        Event::Cancelled(stream) => put_stream(out, 7, *stream),
        Event::Ready(stream) => put_stream(out, 8, *stream),
        Event::Log(note) => put_note(out, note),
    }
}

fn put_path(out: &mut Vec<u8>, kind: u8, path: Path) {
    out.put_u8(kind);
    put_number(out, path.0);
}

fn put_stream(out: &mut Vec<u8>, kind: u8, stream: Stream) {
    out.put_u8(kind);
    put_number(out, stream.0);
}

fn put_request(out: &mut Vec<u8>, stream: Stream, peer: SocketAddr, wanted: &Wanted) {
    put_stream(out, 6, stream);
    put_socket_addr(out, peer);
    match wanted {
        Wanted::Connection(target) => {
            out.put_u8(0);
            put_target(out, target);
        }
        Wanted::Datagrams => out.put_u8(1),
    }
}

fn put_note(out: &mut Vec<u8>, Note { level, peer, text }: &Note) {
    out.put_u8(9);
    out.put_u8(match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
        LogLevel::Fatal => 5,
        LogLevel::Panic => 6,
    });
    match peer {
        Some(peer) => {
            out.put_u8(1);
            put_socket_addr(out, *peer);
        }
        None => out.put_u8(0),
    }
    put_bytes(out, text.as_bytes());
}
