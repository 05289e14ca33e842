//! A SOCKS proxy on an event loop written by hand: one thread, epoll, no async.
//!
//! ```text
//!   epoll_wait ─► which drive? ─► Drive::turn ─► the machine ─► Driver: read, write, dial, ...
//! ```
//!
//! The engine has the machines (`Session`) and the loop around one machine (`Drive`). What is left
//! for a loop of your own is in this file: when to wait, and whose turn it is. `driver.rs` has the
//! system calls.
//!
//! `cargo run -p sansbox-examples --bin epoll -- [PORT]`, then
//! `curl -x socks5h://127.0.0.1:PORT https://example.com`
#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).map(|port| port.parse());
    let port = port.transpose().map_err(std::io::Error::other)?;
    server::Server::bind(port.unwrap_or(0))?.run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("epoll is Linux's");
}
