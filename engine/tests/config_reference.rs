//! `docs/config-reference.md` is what the tables say. `BLESS=1` writes it anew.
#[test]
fn the_reference_page_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config-reference.md");
    let page = sansbox_engine::config::reference_markdown();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == page,
        "{path} is out of date: run BLESS=1 cargo test -p sansbox-engine --test config_reference"
    );
}
