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
//! `cargo run -p sansbox-examples --bin epoll -- [PORT [quiet]]`, then
//! `curl -x socks5h://127.0.0.1:PORT https://example.com`. It logs what becomes of each connection,
//! unless it is to be quiet.
#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (port, is_quiet) = match arguments[..] {
        [] => ("0", false),
        [port] => (port, false),
        [port, "quiet"] => (port, true),
        _ => return Err(std::io::Error::other("usage: epoll [PORT [quiet]]")),
    };
    let port = port.parse().map_err(std::io::Error::other)?;
    server::Server::bind(port, is_quiet)?.run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("epoll is Linux's");
}
