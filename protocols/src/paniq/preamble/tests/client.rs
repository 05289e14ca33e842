//! What a client sends, and when.
use super::*;
use crate::paniq::preamble::{ClientError, Heard};
use zeroize::Zeroize as _;

/// Runs a client that nobody answers; what it sent and when, and its events.
fn alone(config: ClientConfig) -> (Vec<(Duration, BytesMut)>, Vec<ClientEvent>, Instant) {
    let mut client = Client::new(Instant::ZERO, config, Seed::from_u64(3)).unwrap();
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    let mut now = Instant::ZERO;
    loop {
        let at = now.saturating_duration_since(Instant::ZERO);
        let mut buf = BytesMut::new();
        while client.poll_transmit(now, wall(at), &mut buf).is_some() {
            sent.push((at, buf.split()));
        }
        while let Some(event) = client.poll_event() {
            events.push(event);
            if event == ClientEvent::NewSourcePort {
                client.source_port_changed(now);
            }
        }
        let Some(next) = client.poll_timeout() else {
            return (sent, events, now);
        };
        assert!(next >= now, "a deadline that has passed");
        now = next;
        client.handle_timeout(now);
    }
}

#[test]
fn the_docs_profile_looks_as_recorded() {
    let (sent, _, _) = alone(client_config(&DOCS));
    let first: Vec<_> = sent.iter().take(6).collect();
    for (_, junk) in &first[..4] {
        assert!((500..=1202).contains(&junk.len()));
    }
    assert_eq!((first[4].1.len(), first[5].1.len()), (4, 444));
    assert_eq!(first[4].1[..], 1_700_000_000_u32.to_be_bytes());
    for pair in first.windows(2) {
        let pause = pair[1].0 - pair[0].0;
        let range = Duration::from_millis(5)..Duration::from_millis(10);
        assert!(range.contains(&pause), "{pause:?}");
    }
}

#[test]
fn nobody_answers_three_attempts() {
    for source_port in [SourcePort::Fresh, SourcePort::Kept] {
        let config = ClientConfig {
            source_port,
            ..client_config(&DOCS)
        };
        let (sent, events, ended) = alone(config);
        assert_eq!(sent.len(), 18);
        assert_eq!(ended, instant(3 * TIMEOUT));
        let failed = ClientEvent::Failed(ClientError::TimedOut);
        let expected = match source_port {
            SourcePort::Fresh => vec![
                ClientEvent::NewSourcePort,
                ClientEvent::NewSourcePort,
                failed,
            ],
            SourcePort::Kept => vec![failed],
        };
        assert_eq!(events, expected);
        let initiations: Vec<_> = sent.iter().skip(5).step_by(6).map(|(_, d)| d).collect();
        let same = initiations.windows(2).all(|pair| pair[0] == pair[1]);
        assert_eq!(same, source_port == SourcePort::Kept);
        let junk: Vec<_> = sent.iter().step_by(6).map(|(_, d)| d).collect();
        assert_ne!(junk[0], junk[1], "junk is made anew");
        assert_eq!(sent[10].1[..], 1_700_000_005_u32.to_be_bytes());
    }
}

#[test]
fn without_pauses_all_goes_out_at_once() {
    let config = ClientConfig {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        ..client_config(&DOCS)
    };
    let (sent, _, _) = alone(config);
    assert!(sent.iter().take(6).all(|(at, _)| at.is_zero()));
}

#[test]
fn only_a_response_to_an_initiation_counts() {
    let config = client_config(&DOCS);
    let framer = config.framer.clone();
    let mut client = Client::new(Instant::ZERO, config, Seed::from_u64(3)).unwrap();
    let mut draws = Draws::new(Seed::from_u64(4));
    let mut frame = |kind, payload: &[u8]| {
        let mut out = BytesMut::new();
        framer.encode(&mut draws, kind, payload, &mut out);
        out
    };
    let response = frame(Kind::Response, b"");
    let early = client.handle_datagram(&response);
    assert_eq!(early, Heard::Unexpected(Kind::Response));
    let mut now = Instant::ZERO;
    while client.poll_timeout().unwrap() < instant(TIMEOUT) {
        now = client.poll_timeout().unwrap();
        let mut buf = BytesMut::new();
        client.poll_transmit(now, wall(Duration::ZERO), &mut buf);
    }
    for kind in [Kind::Initiation, Kind::CookieReply, Kind::Transport] {
        let other = frame(kind, b"anything");
        assert_eq!(client.handle_datagram(&other), Heard::Unexpected(kind));
    }
    let noise = client.handle_datagram(b"noise that is no frame");
    assert!(matches!(noise, Heard::NoFrame(_)));
    assert_eq!(client.poll_event(), None);
    // KCP-era servers put four octets there: what a Response carries means nothing.
    let response = frame(Kind::Response, &[1, 2, 3, 4]);
    assert_eq!(client.handle_datagram(&response), Heard::Response);
    assert_eq!(client.poll_event(), Some(ClientEvent::Ready));
    assert_eq!(client.poll_timeout(), None);
    let second = client.handle_datagram(&response);
    assert_eq!(second, Heard::Unexpected(Kind::Response));
    client.handle_timeout(now + 10 * TIMEOUT);
    assert_eq!(client.poll_event(), None);
}

#[test]
fn what_could_never_succeed_is_refused() {
    let slow = ClientConfig {
        delay: Duration::from_secs(1),
        ..client_config(&DOCS)
    };
    let error = Client::new(Instant::ZERO, slow, Seed::from_u64(1)).unwrap_err();
    assert_eq!(error, ClientError::TooSlow);
    let zero = ClientConfig {
        auth: ClientAuth::EncryptedTimestamp([0; 32]),
        ..client_config(&DOCS)
    };
    let error = Client::new(Instant::ZERO, zero, Seed::from_u64(1)).unwrap_err();
    assert!(matches!(error, ClientError::ServerKey(_)));
}

#[test]
fn one_seed_sends_the_same_and_two_do_not() {
    let auth = ClientAuth::EncryptedTimestamp(key().public());
    let sent = |seed| preamble(&DOCS, auth.clone(), Duration::ZERO, seed);
    assert_eq!(sent(1), sent(1));
    let (one, other) = (sent(1), sent(2));
    assert_ne!(one[5][343..375], other[5][343..375], "the ephemeral key");
}

#[test]
fn what_a_client_knows_of_the_server_is_not_shown() {
    let config = client_config(&DOCS);
    let shown = format!("{:?} {config:?}", ClientAuth::Mac([7; 32]));
    assert!(shown.starts_with("Mac(..) "), "{shown}");
    assert!(shown.contains("EncryptedTimestamp(..)"), "{shown}");
}

#[test]
fn what_a_client_has_of_the_key_is_wiped_and_not_shown() {
    let all = || {
        [
            ClientAuth::Keyless,
            ClientAuth::Mac([7; 32]),
            ClientAuth::Mac([8; 32]),
            ClientAuth::EncryptedTimestamp([7; 32]),
        ]
    };
    for (n, one) in all().iter().enumerate() {
        for (m, other) in all().iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} {m}");
        }
        assert!(!format!("{one:?}").contains(['7', '8']));
        let mut wiped = one.clone();
        wiped.zeroize();
        match wiped {
            ClientAuth::Keyless => assert_eq!(n, 0),
            ClientAuth::Mac(ref key) | ClientAuth::EncryptedTimestamp(ref key) => {
                assert_eq!(*key, [0; 32]);
            }
        }
    }
}
