//! The SOCKS5 client machine inside tokio code. The machine keeps the handshake's deadline.
//! `cargo run -p sansbox-examples --bin library_tokio -- PROXY TARGET TEXT`
use sansbox_core::{Instant, Pipe, StreamProtocol as _, Target};
use sansbox_protocols::socks::{Client, ClientError, Command, Version};
use std::{env, io, net::SocketAddr, time::Duration};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, time};

async fn connect(stream: &mut TcpStream, target: Target) -> io::Result<Vec<u8>> {
    let (epoch, timeout) = (time::Instant::now(), Duration::from_secs(5));
    let now = || Instant::from_nanos(epoch.elapsed().as_nanos() as u64);
    let fail = io::Error::other::<ClientError>;
    let client = Client::new(now(), Version::V5, None, Command::Connect, target, timeout);
    let mut client = client.map_err(fail)?;
    let [mut app, mut out, mut wire, mut early] = [(); 4].map(|()| Pipe::new(4096));
    loop {
        let sent = client.poll_transmit(now(), &mut app, &mut out);
        let _ = sent.map_err(fail)?;
        while let Some(bytes) = out.take(usize::MAX) {
            stream.write_all(&bytes).await?;
        }
        if client.is_transparent() {
            return Ok(early.peek(usize::MAX).to_vec());
        }
        let deadline = client.poll_timeout().unwrap_or(Instant::FAR);
        let left = deadline.saturating_duration_since(now());
        let mut buffer = [0; 4096];
        match time::timeout(left, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => drop(wire.finish()),
            Ok(read) => wire.push_slice(&buffer[..read?]),
            Err(_elapsed) => drop(client.handle_timeout(now()).map_err(fail)?),
        }
        let read = client.handle_input(now(), &mut wire, &mut early);
        let _ = read.map_err(fail)?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let usage = "three arguments: PROXY TARGET TEXT";
    let [proxy, target, text] = [1, 2, 3].map(|n| env::args().nth(n).expect(usage));
    let mut stream = TcpStream::connect(proxy).await?;
    let target: SocketAddr = target.parse().map_err(io::Error::other)?;
    let mut answer = connect(&mut stream, target.into()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    stream.read_to_end(&mut answer).await?;
    print!("{}", String::from_utf8_lossy(&answer));
    Ok(())
}
