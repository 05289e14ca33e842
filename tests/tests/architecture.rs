//! Which crate may know what. The first test reads this workspace; the others plant one
//! violation each, because a checker that finds nothing proves nothing.
use sansbox_tests::architecture::{
    Package, Source, Violation, Workspace, check, code_only, read, without_tests,
};

#[test]
fn the_workspace_follows_the_picture() {
    let workspace = read();
    let names: Vec<_> = workspace
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for must in ["sansbox-core", "sansbox-protocols", "sansbox-engine"] {
        assert!(names.contains(&must), "{must} was read: {names:?}");
    }
    let sources: usize = workspace.packages.iter().map(|p| p.sources.len()).sum();
    assert!(sources > 20, "sources were read: {sources}");
    assert!(workspace.locked.len() > 5, "the lock file was read");
    let (wrong, near) = check(&workspace);
    for warning in near {
        eprintln!("long: {warning}");
    }
    assert!(wrong.is_empty(), "{}", lines(&wrong));
}

fn lines(violations: &[Violation]) -> String {
    let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A package with one source file.
fn package(name: &str, dependencies: &[&str], text: &str) -> Package {
    Package {
        name: name.to_owned(),
        dependencies: dependencies.iter().map(|&d| d.to_owned()).collect(),
        forbids_unsafe: true,
        sources: vec![Source {
            path: "src/lib.rs".to_owned(),
            text: text.to_owned(),
        }],
    }
}

fn violations(package: Package) -> Vec<Violation> {
    violations_with(package, &[])
}

fn violations_with(package: Package, locked: &[(&str, &[&str])]) -> Vec<Violation> {
    let workspace = Workspace {
        packages: vec![package],
        locked: locked
            .iter()
            .map(|(name, list)| {
                let list = list.iter().map(|&item| item.to_owned()).collect();
                ((*name).to_owned(), list)
            })
            .collect(),
    };
    check(&workspace).0
}

#[track_caller]
fn assert_one(violations: &[Violation], part: &str) {
    assert_eq!(violations.len(), 1, "{}", lines(violations));
    let text = violations[0].to_string();
    assert!(text.contains(part), "{text:?} does not say {part:?}");
}

#[test]
fn what_is_allowed_is_not_found() {
    for (name, dependencies, text) in [
        ("sansbox-core", &["bytes"][..], "use core::time::Duration;"),
        (
            "sansbox-engine",
            &["sansbox-core", "sansbox-protocols", "bytes"],
            "use sansbox_protocols::socks5;\nuse std::net::{IpAddr, SocketAddr};",
        ),
        (
            "sansbox-tokio",
            &["sansbox-runtime", "tokio"],
            "// speaks to a server\nuse tokio::net::TcpStream;\nfn sockshop() {}",
        ),
        (
            "sansbox",
            &["sansbox-tokio", "sansbox-engine"],
            "fn main() { std::fs::read(\"x\"); unsafe {} }",
        ),
    ] {
        let found = violations(package(name, dependencies, text));
        assert!(found.is_empty(), "{name}: {}", lines(&found));
    }
}

#[test]
fn arrows_that_are_not_in_the_picture_are_found() {
    for (from, to) in [
        ("sansbox-core", "sansbox-protocols"),
        ("sansbox-protocols", "sansbox-engine"),
        ("sansbox-protocols", "sansbox-stack"),
        ("sansbox-stack", "sansbox-protocols"),
        ("sansbox-engine", "sansbox-tokio"),
        ("sansbox-runtime", "sansbox-protocols"),
        ("sansbox-runtime", "sansbox-tokio"),
        ("sansbox-tokio", "sansbox-engine"),
        ("sansbox-tokio", "sansbox-smol"),
        ("sansbox-tokio", "sansbox"),
        ("sansbox-simulator", "sansbox-tokio"),
        ("sansbox-tests", "sansbox-engine"),
    ] {
        assert_one(&violations(package(from, &[to], "")), to);
        let word = to.replace('-', "_");
        if word != "sansbox" {
            let text = format!("\nuse {word}::Anything;");
            let found = violations(package(from, &[], &text));
            assert_one(&found, "src/lib.rs:2");
        }
    }
}

#[test]
fn a_crate_outside_the_picture_is_found() {
    let found = violations(package("sansbox-extra", &[], ""));
    assert_one(&found, "not in the picture");
}

#[test]
fn crates_that_must_be_given_entropy_are_for_the_simulator_alone() {
    let locked: &[(&str, &[&str])] = &[("ring", &["getrandom"])];
    let found = violations_with(package("sansbox-engine", &["ring"], ""), locked);
    assert_one(&found, "ring -> getrandom");
    let found = violations_with(package("sansbox-simulator", &["ring"], ""), locked);
    assert!(found.is_empty(), "{}", lines(&found));
}

#[test]
fn ways_out_of_a_pure_crate_are_found() {
    for name in ["tokio", "mio", "async-io", "socket2", "rustix", "getrandom"] {
        assert_one(&violations(package("sansbox-engine", &[name], "")), name);
        assert_one(&violations(package("sansbox-simulator", &[name], "")), name);
        let locked: &[(&str, &[&str])] = &[("inner", &["deep"]), ("deep", &[name])];
        let found = violations_with(package("sansbox-core", &["inner"], ""), locked);
        assert_one(&found, &format!("inner -> deep -> {name}"));
    }
    for text in [
        "use std::net::TcpStream;",
        "use std::net::{IpAddr, UdpSocket};",
        "use std::{fmt, net::{self, TcpListener}};",
        "fn f() { std::thread::sleep(d) }",
        "fn f() -> u8 { let t = std::time::Instant::now(); 0 }",
        "use std::{\n    collections::BTreeMap,\n    time::{Duration, SystemTime},\n};",
        "use std::fs;",
        "fn f() { unsafe { g() } }",
    ] {
        let found = violations(package("sansbox-protocols", &[], text));
        assert_one(&found, "a pure crate");
    }
}

#[test]
fn a_build_script_may_look_around_and_a_module_of_that_name_may_not() {
    for (path, expected) in [("flight/build.rs", 0), ("flight/src/build.rs", 1)] {
        let mut package = package("sansbox-flight", &[], "use std::fs;");
        package.sources[0].path = path.to_owned();
        assert_eq!(violations(package).len(), expected, "{path}");
    }
}

#[test]
fn the_search_stops_at_crates_that_are_known_to_be_harmless() {
    let locked: &[(&str, &[&str])] = &[("sha2", &["cpufeatures"]), ("cpufeatures", &["libc"])];
    let found = violations_with(package("sansbox-simulator", &["sha2"], ""), locked);
    assert!(found.is_empty(), "{}", lines(&found));
    let found = violations_with(package("sansbox-simulator", &["sha2", "libc"], ""), locked);
    assert_one(&found, "through libc");
}

#[test]
fn hooked_crates_alone_may_use_what_wants_hooks() {
    let locked: &[(&str, &[&str])] = &[
        ("sansbox-quic", &["quinn-proto"]),
        ("quinn-proto", &["getrandom"]),
    ];
    let with = |name, dependencies: &[&str]| {
        violations_with(
            package(name, dependencies, "use std::time::Instant;"),
            locked,
        )
    };
    let found = with("sansbox-quic", &["quinn-proto"]);
    assert!(found.is_empty(), "{}", lines(&found));
    let found = with("sansbox-quic", &["getrandom"]);
    assert_one(&found, "through getrandom");
    let found = violations_with(package("sansbox-engine", &["sansbox-quic"], ""), locked);
    assert_one(&found, "no arrow");
    let found = violations_with(package("sansbox-protocols", &["quinn-proto"], ""), locked);
    assert_one(&found, "through quinn-proto -> getrandom");
    let found = violations(package("sansbox-quic", &[], "use std::fs;"));
    assert_one(&found, "a pure crate uses std::fs");
}

#[test]
fn a_pure_crate_that_allows_unsafe_is_found() {
    let mut package = package("sansbox-core", &[], "");
    package.forbids_unsafe = false;
    assert_one(&violations(package), "forbid");
}

#[test]
fn names_of_protocols_in_a_runtime_are_found() {
    for text in [
        "fn relay_socks() {}",
        "struct Socks5Server;",
        "const HTTP_PORT: u16 = 80;",
        "match kind { Kind::Vless => {} }",
        "log(\"vmess handshake\");",
        "use x::shadowsocks::Y;",
        "fn f() { TLSStream::new() }",
    ] {
        // The last one shows that capitals are no way around.
        let text = text.replace("TLSStream", "TlsStream");
        let found = violations(package("sansbox-tokio", &[], &text));
        assert_one(&found, "names a protocol");
    }
    for runtime in ["sansbox-runtime", "sansbox-smol"] {
        let found = violations(package(runtime, &[], "// As HTTP wants it."));
        assert_one(&found, "names a protocol: HTTP");
    }
    let hidden = "#[cfg(test)]\nmod tests { fn socks() { \"}\" } }\nfn a() {}";
    let found = violations(package("sansbox-tokio", &[], hidden));
    assert!(found.is_empty(), "{}", lines(&found));
}

/// Two runtimes, each with the root and the file given.
fn two_runtimes(root: [&str; 2], file: [&str; 2]) -> Vec<Violation> {
    let of = |n: usize, name: &str| {
        let mut package = package(name, &["sansbox-runtime"], root[n]);
        package.sources.push(Source {
            path: "src/reactor.rs".to_owned(),
            text: file[n].to_owned(),
        });
        package
    };
    let workspace = Workspace {
        packages: vec![of(0, "sansbox-tokio"), of(1, "sansbox-smol")],
        ..Workspace::default()
    };
    check(&workspace).0
}

#[test]
fn runtimes_have_the_same_names_and_say_nothing_twice() {
    let root = "// One.\npub use a::B;\n";
    let same = [root, "// Another.\n\npub use a::B;"];
    let head = "fn a() {\n  b();\n}\n".repeat(2);
    let (one, other) = (format!("{head}c();"), format!("d();\n{head}"));
    let found = two_runtimes(same, [&one, &other]);
    assert!(found.is_empty(), "{}", lines(&found));
    let found = two_runtimes([root, "pub use a::{B, C};"], [&one, &other]);
    assert_one(&found, "other public names");
    let long = "fn a() {\n  b();\n}\n".repeat(3);
    let found = two_runtimes(same, [&long, &format!("  d();\n// e\n{long}")]);
    assert_one(&found, "9 lines are also in");
    let mut extra = package("sansbox-smol", &["sansbox-runtime"], root);
    extra.sources[0].path = "src/reactor.rs".to_owned();
    let workspace = Workspace {
        packages: vec![package("sansbox-tokio", &["sansbox-runtime"], ""), extra],
        ..Workspace::default()
    };
    let (found, _) = check(&workspace);
    assert!(lines(&found).contains("other files"), "{}", lines(&found));
}

#[test]
fn files_that_are_too_long_are_found_without_their_tests() {
    let long = "fn f() {}\n".repeat(800);
    assert_one(
        &violations(package("sansbox-core", &[], &long)),
        "800 lines",
    );
    let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(violations(package("sansbox-core", &[], &tests)).is_empty());
    let workspace = Workspace {
        packages: vec![package("sansbox-core", &[], &"fn f() {}\n".repeat(501))],
        ..Workspace::default()
    };
    let (wrong, near) = check(&workspace);
    assert!(wrong.is_empty());
    assert_one(&near, "501 lines");
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let text =
        "a /* b /* c */ d */ e // f\n\"g \\\" h\" i r#\"j \" k\"# l 'm' 'n: '\\'' '\\u{1}' p";
    let code = code_only(text, false);
    let words: Vec<_> = code
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(words, ["a", "e", "i", "l", "n", "p"], "{code}");
    let with_strings = code_only(text, true);
    assert!(with_strings.contains("j \" k") && !with_strings.contains('f'));
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn test_modules_end_where_their_brace_closes() {
    let text = "a();\n#[cfg(test)]\nmod tests {\n  fn f() { \"}\"; '}' }\n}\nb();\n\
                #[cfg(test)]\nmod more;\nc();\n";
    let rest = without_tests(text);
    let words: Vec<_> = rest.split_whitespace().collect();
    assert_eq!(words, ["a();", "b();", "c();"], "{rest}");
}
