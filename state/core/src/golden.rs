//! Golden tables of this crate's tests: compared byte for byte, rewritten with `HOLDFAST_BLESS=1`.

extern crate std;
use std::path::Path;

/// Compares `text` with `fixtures/machine/NAME`.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/machine").join(name);
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("fixtures can be written");
        std::fs::write(&path, text).expect("fixtures can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden table exists; HOLDFAST_BLESS=1 writes it");
    assert!(golden == text, "{name} differs from its golden table; review with HOLDFAST_BLESS=1 and git diff");
}
