//! The SOCKS5 client machine over anything that can `Read` and `Write`.
//! `cargo run -p sansbox-examples --bin library_blocking -- PROXY TARGET TEXT`
use sansbox_core::{Instant, Pipe, StreamProtocol as _, Target};
use sansbox_protocols::socks::{Client, Command, Version};
use std::{env, io, io::Read, io::Write, net::SocketAddr, net::TcpStream, time::Duration};

/// Asks the proxy at the other end of `stream` for a connection to `target`. Returns what the
/// target has sent already; from then on `stream` is the connection.
fn connect<S: Read + Write>(stream: &mut S, target: Target) -> io::Result<Vec<u8>> {
    // No clock: the stream's own read timeout bounds how long this takes.
    let (now, never) = (Instant::ZERO, Duration::MAX);
    let client = Client::new(now, Version::V5, None, Command::Connect, target, never);
    let mut client = client.map_err(io::Error::other)?;
    let [mut app, mut out, mut wire, mut early] = [(); 4].map(|()| Pipe::new(4096));
    loop {
        let sent = client.poll_transmit(now, &mut app, &mut out);
        let _ = sent.map_err(io::Error::other)?;
        while let Some(bytes) = out.take(usize::MAX) {
            stream.write_all(&bytes)?;
        }
        if client.is_transparent() {
            return Ok(early.peek(usize::MAX).to_vec());
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer)? {
            0 => drop(wire.finish()),
            n => wire.push_slice(&buffer[..n]),
        }
        let read = client.handle_input(now, &mut wire, &mut early);
        let _ = read.map_err(io::Error::other)?;
    }
}

fn main() -> io::Result<()> {
    let usage = "three arguments: PROXY TARGET TEXT";
    let [proxy, target, text] = [1, 2, 3].map(|n| env::args().nth(n).expect(usage));
    let target: SocketAddr = target.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let early = connect(&mut stream, target.into())?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    io::stdout().write_all(&early)?;
    io::copy(&mut stream, &mut io::stdout()).map(drop)
}
