//! Sessions on both ends of a tunnel, recorded, replayed and drawn.
use super::*;
use crate::out::jsonl;
use core::net::SocketAddr;
use sansbox_core::Target;

/// The recordings of the scenario's two daemons: the client's and the server's.
fn both(mode: Mode) -> Vec<(Arc<Plan>, Recording)> {
    let all = recorded("carried_relay", 1, mode).into_iter();
    let all: Vec<_> = all
        .map(|(plan, snapshot)| (plan, recording(mode, snapshot)))
        .collect();
    assert_eq!(all.len(), 2, "two daemons");
    all
}

fn kinds(recording: &Recording) -> Vec<MachineKind> {
    let tracks = tracks(recording);
    let begun = tracks.values().filter_map(|track| track.begin.as_ref());
    begun.map(|(_, begin)| begin.kind).collect()
}

#[test]
fn both_ends_of_a_tunnel_are_replayed_and_drawn() {
    let all = both(Mode::Full);
    assert_eq!(kinds(&all[0].1), [MachineKind::Session]);
    assert_eq!(kinds(&all[1].1), [MachineKind::Carried]);
    for (plan, recording) in &all {
        let mut picture = Picture::default();
        for (id, track) in tracks(recording) {
            let mut connection = picture.connection(&track);
            let verdict = replay(plan, &track, &mut |event| connection.event(&event));
            connection.finish(&track, Some(&verdict));
            picture.verdict(id, &track, &verdict);
            let Verdict::Identical(replayed) = verdict else {
                panic!("{verdict:?}");
            };
            assert!(
                replayed.inputs > 3 && replayed.outputs.actions > 3,
                "{replayed:?}"
            );
        }
        let drawn = picture.finish();
        let story = drawn.story("carried", "");
        assert!(jsonl(&story).lines().count() > 10);
    }
}

#[test]
fn a_carried_session_is_promoted() {
    let (plan, whole) = both(Mode::Full).remove(1);
    let id = *tracks(&whole).keys().next().expect("a connection");
    let file = promote(&whole, id).expect("a file");
    let promoted = Recording::read(&file, None).expect("an open recording");
    let tracks = tracks(&promoted);
    let track = tracks.values().next().expect("a connection");
    let (_, begin) = track.begin.as_ref().expect("its beginning");
    let content = begin.content.as_ref().expect("it was recorded in full");
    assert_eq!(begin.kind, MachineKind::Carried);
    assert!(content.target.is_some(), "what the stream is for");
    let verdict = replay(&plan, track, &mut |_| {});
    assert!(matches!(verdict, Verdict::Identical(_)), "{verdict:?}");
}

#[test]
fn another_target_is_another_session() {
    let (plan, whole) = both(Mode::Full).remove(1);
    let mut tracks = tracks(&whole);
    let mut track = tracks.pop_first().expect("a connection").1;
    let (_, begin) = track.begin.as_mut().expect("its beginning");
    let content = begin.content.as_mut().expect("it was recorded in full");
    let other = SocketAddr::from(([10, 0, 0, 77], 1));
    content.target = Some(Target::from(other));
    let verdict = replay(&plan, &track, &mut |_| {});
    assert!(matches!(verdict, Verdict::Diverged(_)), "{verdict:?}");
}
