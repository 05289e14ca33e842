//! Forwarded HTTP requests: keep-alive, pipelining, and heads that are refused.
use super::{lab::*, scenarios};
use crate::peers::{Script, Step};
use core::time::Duration;
use sansbox_engine::record::CloseReason::{ClientProtocol, ClientReset, Completed, UpstreamReset};

const OTHER: &str = "10.0.0.5:80";

/// Expects one request for `path` and answers with `body`.
fn serve(path: &str, body: &str) -> Script {
    Script::new()
        .expect_head(format!("GET {path} HTTP/1.1\r\n"))
        .send(ok(body))
}

/// Asks for `path` at `target` and expects `body`.
fn fetch(target: &str, path: &str, body: &str) -> Script {
    Script::new()
        .send(get(target, path))
        .expect_head(" 200 OK\r\n")
        .expect(body)
}

scenarios! {
    /// Two requests to one target share a connection to it.
    fn http_keep_alive(world) {
        proxy(world, &plain())?;
        client(world, HTTP, fetch(ORIGIN, "/1", "one").and(fetch(ORIGIN, "/2", "two")));
        origin(world, |_| serve("/1", "one").and(serve("/2", "two")).then(Step::ExpectEnd));
        run(world, &[Completed])
    }

    /// Requests to two targets on one client connection go to each by itself.
    fn http_keep_alive_over_two_targets(world) {
        proxy(world, &plain())?;
        let all = fetch(ORIGIN, "/1", "one").and(fetch(OTHER, "/2", "two"));
        client(world, HTTP, all.and(fetch(ORIGIN, "/3", "three")));
        origin(world, |n| match n {
            0 => serve("/1", "one").then(Step::ExpectEnd),
            _ => serve("/3", "three").then(Step::ExpectEnd),
        });
        let other = crate::peers::ScriptHost::new()
            .serve(addr(OTHER), |_| serve("/2", "two").then(Step::ExpectEnd));
        world.host("other", &ips(&["10.0.0.5"]), other);
        run(world, &[Completed])
    }

    /// Requests sent at once are answered in order.
    fn http_pipelining(world) {
        proxy(world, &plain())?;
        let paths = ["/1", "/2", "/3"];
        let all: String = paths.iter().map(|path| get(ORIGIN, path)).collect();
        let hear = |script: Script, path: &&str| script.expect_head(" 200 OK").expect(path);
        client(world, HTTP, paths.iter().fold(Script::new().send(all), hear));
        origin(world, move |_| {
            let one = |script: Script, path: &&str| script.and(serve(path, path));
            paths.iter().fold(Script::new(), one).then(Step::ExpectEnd)
        });
        run(world, &[Completed])
    }

    /// An upstream that closes between requests is dialled again for the next.
    fn http_upstream_closes_between(world) {
        proxy(world, &plain())?;
        let pause = Script::new().sleep(Duration::from_secs(5));
        client(world, HTTP, fetch(ORIGIN, "/1", "one").and(pause).and(fetch(ORIGIN, "/2", "two")));
        origin(world, |n| match n {
            0 => serve("/1", "one").sleep(Duration::from_secs(1)).then(Step::Close),
            _ => serve("/2", "two").then(Step::ExpectEnd),
        });
        run(world, &[Completed])
    }

    /// A response that ends with the connection ends the client's connection, too.
    fn http_body_until_close(world) {
        proxy(world, &plain())?;
        let ask = Script::new().send(get(ORIGIN, "/")).expect_head(" 200 OK");
        client(world, HTTP, ask.download("down", 3000).expect_fin("down"));
        origin(world, |_| {
            let hear = Script::new().expect_head("GET / ");
            hear.send("HTTP/1.1 200 OK\r\n\r\n").upload("down", 3000).fin("down")
        });
        run(world, &[Completed])
    }

    /// A response cut short of its length ends in an error, never in an end that looks whole.
    fn http_response_cut_short(world) {
        proxy(world, &plain())?;
        let ask = Script::new().send(get(ORIGIN, "/")).expect_head(" 200 OK");
        client(world, HTTP, ask.then(Step::ExpectEnd));
        origin(world, |_| {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this";
            Script::new().expect_head("GET / ").send(head)
        });
        run_all(world, 1, |closed| closed.reason != Some(Completed))
    }

    /// A response that ends with the connection, cut short by a reset, ends in a reset.
    fn http_body_until_reset(world) {
        proxy(world, &plain())?;
        let ask = Script::new().send(get(ORIGIN, "/")).expect_head(" 200 OK");
        client(world, HTTP, ask.download("down", 3000).then(Step::ExpectReset));
        origin(world, |_| {
            let hear = Script::new().expect_head("GET / ");
            let answer = hear.send("HTTP/1.1 200 OK\r\n\r\n").upload("down", 3000);
            answer.sleep(Duration::from_secs(1)).then(Step::Reset)
        });
        run(world, &[UpstreamReset])
    }

    /// A chunked upload and a chunked answer pass through.
    fn http_chunked_both_ways(world) {
        proxy(world, &plain())?;
        let body = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n";
        let head = format!("POST http://{ORIGIN}/ HTTP/1.1\r\nHost: {ORIGIN}\r\n");
        let ask = Script::new().send(head + "Transfer-Encoding: chunked\r\n\r\n" + body);
        let hear = ask.expect_head(" 200 OK").then(Step::ExpectHead(
            b"0\r\n\r\n".to_vec(),
            b"done".to_vec(),
        ));
        client(world, HTTP, hear);
        origin(world, |_| {
            let end = b"0\r\n\r\n".to_vec();
            let hear = Script::new().expect_head("POST / ");
            let hear = hear.then(Step::ExpectHead(end, b"hello".to_vec()));
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            hear.send(format!("{head}4\r\ndone\r\n0\r\n\r\n")).then(Step::ExpectEnd)
        });
        run(world, &[Completed])
    }

    /// A head beyond the limit is refused with 431 and takes no more memory.
    fn http_oversized_head(world) {
        proxy(world, &plain())?;
        let long = format!("GET http://{ORIGIN}/ HTTP/1.1\r\nX: {}", "x".repeat(100_000));
        let ask = Script::new().send(long).expect_head("HTTP/1.1 431 ");
        client(world, HTTP, ask.then(Step::ExpectEnd).tolerant());
        run(world, &[ClientProtocol])
    }

    /// Requests that could be read in two ways are refused with 400.
    fn http_smuggling_refused(world) {
        proxy(world, &plain())?;
        let head = format!("POST http://{ORIGIN}/ HTTP/1.1\r\nHost: {ORIGIN}\r\n");
        let refused = |fields: &str| {
            let ask = Script::new().send(format!("{head}{fields}\r\n\r\n"));
            ask.expect_head("HTTP/1.1 400 ").then(Step::ExpectEnd)
        };
        clients(world, HTTP, [
            refused("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            refused("Content-Length: 3\r\nContent-Length: 4"),
            refused("X: a\r\n folded: b"),
        ]);
        origin(world, |_| Script::new());
        run(world, &[ClientProtocol; 3])
    }

    /// A client that waits for 100 Continue gets it, and the final answer behind it.
    fn http_expect_continue(world) {
        proxy(world, &plain())?;
        let head = format!("PUT http://{ORIGIN}/ HTTP/1.1\r\nHost: {ORIGIN}\r\n");
        let ask = Script::new().send(head + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        let go = ask.expect_head("HTTP/1.1 100 ").send("hello");
        client(world, HTTP, go.expect_head(" 200 OK").expect("done"));
        origin(world, |_| {
            let hear = Script::new().expect_head("PUT / ").send("HTTP/1.1 100 Continue\r\n\r\n");
            hear.expect("hello").send(ok("done")).then(Step::ExpectEnd)
        });
        run(world, &[Completed])
    }

    /// An upgraded connection carries bytes both ways from then on.
    fn http_upgrade(world) {
        proxy(world, &plain())?;
        let head = format!("GET http://{ORIGIN}/ws HTTP/1.1\r\nHost: {ORIGIN}\r\n");
        let ask = Script::new().send(head + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        client(world, HTTP, ask.expect_head("HTTP/1.1 101 ").and(talk(3000)));
        origin(world, |_| {
            let hear = Script::new().expect_head("Upgrade: websocket\r\n");
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n";
            hear.send(format!("{head}Upgrade: websocket\r\n\r\n")).and(answer(3000))
        });
        run(world, &[Completed])
    }

    /// A client that leaves in the middle of a response takes the upstream with it.
    fn http_client_leaves_response(world) {
        proxy(world, &plain())?;
        let ask = Script::new().send(get(ORIGIN, "/")).expect_head(" 200 OK");
        client(world, HTTP, ask.download_framed("down", 1000).then(Step::Reset));
        origin(world, |_| {
            let hear = Script::new().expect_head("GET / ");
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            hear.send(head).upload("down", 100_000).then(Step::ExpectEnd).tolerant()
        });
        run(world, &[ClientReset])
    }

    /// A server that resets in the middle of a request's body is a 502 for the client.
    fn http_upstream_resets_request(world) {
        proxy(world, &plain())?;
        let head = format!("PUT http://{ORIGIN}/ HTTP/1.1\r\nHost: {ORIGIN}\r\n");
        let ask = Script::new().send(head + "Content-Length: 100000\r\n\r\n");
        let told = ask.upload("up", 5000).expect_head("HTTP/1.1 502 ");
        client(world, HTTP, told.then(Step::ExpectEnd));
        origin(world, |_| {
            let hear = Script::new().expect_head("PUT / ").download_framed("up", 1000);
            hear.sleep(Duration::from_secs(1)).then(Step::Reset)
        });
        run_all(world, 1, |closed| closed.reason != Some(ClientProtocol))
    }
}
