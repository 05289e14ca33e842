//! `include/sansbox.h` is what the sources say. `SANSBOX_BLESS=1` writes it anew.
use std::{env, fs, path::Path};

/// What the header is made from, in its order.
const SOURCES: [&str; 7] = [
    "src/status.rs",
    "src/types.rs",
    "src/driven.rs",
    "src/door/version.rs",
    "src/door/plan.rs",
    "src/door/machine.rs",
    "src/door/feed.rs",
];
/// Compiled with the feature `runtime` only, and always in the header.
const RUNTIME: [&str; 2] = ["src/door/instance.rs", "src/door/device.rs"];

fn generate(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = SOURCES
        .into_iter()
        .chain(RUNTIME)
        .fold(builder, |builder, path| builder.with_src(root.join(path)));
    let mut text = Vec::new();
    builder.generate().expect("a header").write(&mut text);
    let text = String::from_utf8(text).expect("C in UTF-8");
    // What Rust asks of callers is said once, at the top.
    text.replace("// # Safety\n", "// Pointers:\n")
}

#[test]
fn the_header_is_what_the_sources_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/sansbox.h");
    let made = generate(root);
    if env::var_os("SANSBOX_BLESS").is_some() {
        fs::write(&path, &made).expect("write the header");
    }
    let kept = fs::read_to_string(&path).expect("the header");
    assert!(
        kept == made,
        "{} is not what the sources say; SANSBOX_BLESS=1 writes it anew",
        path.display()
    );
}

#[test]
fn every_function_is_in_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = generate(root);
    let mut functions = 0;
    for path in SOURCES.into_iter().chain(RUNTIME) {
        let text = fs::read_to_string(root.join(path)).expect("a source");
        for rest in text.split("extern \"C\" fn ").skip(1) {
            let name = rest.split('(').next().expect("a name");
            assert!(header.contains(&format!("{name}(")), "{name}");
            functions += 1;
        }
    }
    assert!(functions > 25, "{functions} functions were found");
}
