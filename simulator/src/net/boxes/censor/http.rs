//! The host that an HTTP/1 request names.
use super::Look;

/// Most header lines that are looked at.
const HEADERS_MAX: usize = 64;

/// From the begin of a TCP stream.
pub(super) fn host(stream: &[u8]) -> Look<String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(stream) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Look::More,
        Err(_) => return Look::Never,
    }
    let mut headers = request.headers.iter();
    let host = headers.find(|header| header.name.eq_ignore_ascii_case("host"));
    let Some(host) = host.and_then(|header| core::str::from_utf8(header.value).ok()) else {
        return Look::Never;
    };
    Look::Seen(without_port(host.trim()).to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_without_its_port() {
        let seen = |text: &str| host(text.as_bytes());
        let expected = Look::Seen("a.test".to_owned());
        assert_eq!(
            seen("GET / HTTP/1.1\r\nhOsT:  a.test:80\r\nX: y\r\n\r\n"),
            expected
        );
        assert_eq!(
            seen("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
            expected
        );
        let bracketed = seen("GET / HTTP/1.1\r\nHost: [fd00::1]\r\n\r\n");
        assert_eq!(bracketed, Look::Seen("[fd00::1]".into()));
        assert_eq!(seen("GET / HTTP/1.1\r\nHost: a.te"), Look::More);
        assert_eq!(seen("GET / HTTP/1.1\r\n\r\n"), Look::Never);
        assert_eq!(seen("\x05\x01\x00"), Look::Never);
    }
}
