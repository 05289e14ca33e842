//! An HTTP/1.1 server that does what the path says, and remembers what it was asked.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | a body of N bytes with `Content-Length` |
//! | `/chunked/N` | the same in chunks, with a trailer |
//! | `/close/N` | the same ended by closing |
//! | `/digest` | length and SHA-256 of the request's body |
//! | `/head` | the request's head as text |
//! | `/status/N` | status N |
//! | `/slow/MS` | `ok` after MS milliseconds |
//! | `/refuse` | 417 to `Expect: 100-continue` without reading a body |
//! | `/upgrade` | 101, then an echo |
use super::tcp::TcpServer;
use crate::body;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Largest head that is read.
const HEAD_MAX: usize = 64 * 1024;
/// Body bytes of one chunk.
const CHUNK: u64 = 10_007;

/// The server.
#[derive(Debug)]
pub struct HttpServer {
    server: TcpServer,
    heads: Arc<Mutex<Vec<String>>>,
}

impl HttpServer {
    /// One on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the system has none left.
    #[must_use]
    pub fn start() -> Self {
        Self::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a listener"))
    }

    /// One on `listener`.
    #[must_use]
    pub fn serve(listener: TcpListener) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let server = TcpServer::serve(listener, move |stream| {
            // A connection that breaks ends; the client's side of the test tells why.
            let _ = connection(stream, &kept);
        });
        Self { server, heads }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://ADDRESS` and `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.server.accepted()
    }

    /// The heads of all requests until now.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Request {
    head: String,
    path: String,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    fn number(&self) -> u64 {
        let last = self.path_only().rsplit('/').next().unwrap_or_default();
        last.parse().unwrap_or(0)
    }

    fn says(&self, name: &str, token: &str) -> bool {
        self.field(name)
            .is_some_and(|value| value.eq_ignore_ascii_case(token))
    }
}

fn connection(stream: TcpStream, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = read_request(&mut input)? {
        heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.head.clone());
        if !answer(&request, &mut input, &mut out)? || request.says("connection", "close") {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if input.read_until(b'\n', &mut head)? == 0 || head.len() > HEAD_MAX {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
    Ok(Some(Request { head, path }))
}

/// Answers one request; returns whether the connection goes on.
fn answer(
    request: &Request,
    input: &mut BufReader<TcpStream>,
    out: &mut TcpStream,
) -> io::Result<bool> {
    let what = request.path_only().split('/').nth(1).unwrap_or_default();
    let expects = request.says("expect", "100-continue");
    if what == "refuse" {
        fixed(out, "417 Expectation Failed", b"refused\n")?;
        return Ok(false);
    }
    if expects {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if what == "upgrade" {
        out.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )?;
        return echo(input, out).map(|()| false);
    }
    let digest = read_body(request, input)?;
    let number = request.number();
    match what {
        "bytes" => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {number}\r\n\r\n")?;
            if !request.head.starts_with("HEAD ") {
                body::write(out, number)?;
            }
        }
        "chunked" => chunked(out, number)?,
        "close" => {
            out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            body::write(out, number)?;
            return Ok(false);
        }
        "digest" => fixed(out, "200 OK", digest.to_string().as_bytes())?,
        "head" => fixed(out, "200 OK", request.head.as_bytes())?,
        "slow" => {
            thread::sleep(Duration::from_millis(number));
            fixed(out, "200 OK", b"ok")?;
        }
        "status" if number == 204 => out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?,
        "status" => fixed(out, &format!("{number} As Asked"), b"")?,
        _ => fixed(out, "404 Not Found", b"no such path\n")?,
    }
    Ok(true)
}

fn fixed(out: &mut impl Write, status: &str, content: &[u8]) -> io::Result<()> {
    let len = content.len();
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n").into_bytes();
    bytes.extend(content);
    out.write_all(&bytes)
}

fn chunked(out: &mut impl Write, len: u64) -> io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n")?;
    let content = body::bytes(len);
    for chunk in content.chunks(usize::try_from(CHUNK).unwrap_or(1)) {
        write!(out, "{:x};part=yes\r\n", chunk.len())?;
        out.write_all(chunk)?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"0\r\nX-End: reached\r\n\r\n")
}

fn echo(input: &mut BufReader<TcpStream>, out: &mut TcpStream) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let len = bytes.len();
        if len == 0 {
            return Ok(());
        }
        out.write_all(bytes)?;
        input.consume(len);
    }
}

fn read_body(request: &Request, input: &mut BufReader<TcpStream>) -> io::Result<body::Digest> {
    if request.says("transfer-encoding", "chunked") {
        let mut hasher = body::Hasher::default();
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16)
                .map_err(|_| io::Error::other(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            io::copy(&mut input.by_ref().take(size), &mut hasher)?;
            input.read_line(&mut line)?;
        }
        // Trailers.
        let mut line = String::new();
        while input.read_line(&mut line)? > 2 {
            line.clear();
        }
        return Ok(hasher.finish());
    }
    let len = request
        .field("content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    body::digest_of(&mut input.by_ref().take(len))
}
