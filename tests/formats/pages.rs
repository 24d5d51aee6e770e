//! Tests that generated pages match the current results of the checks.

use handoff_checker::search::Limits;
use handoff_specs::survey::compare::compare;
use handoff_specs::survey::docgen::{bugs, properties, variants};
use std::{env, fs};

#[track_caller]
pub(crate) fn is_up_to_date(page: &str, text: &str) {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("HANDOFF_PAGES").is_some() {
        fs::write(&path, text).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).position(|(old, new)| old != new);
    let first = differs.map_or_else(|| "its length".to_owned(), |at| format!("line {}", at + 1));
    assert!(
        written == text,
        "docs/{page} is not as checks find it now, from {first} on; HANDOFF_PAGES=1 cargo test \
         writes it"
    );
}

#[test]
fn the_variants_page_is_up_to_date() {
    let columns = compare(&handoff_specs::scenario::library::to_compare(), Limits::default());
    is_up_to_date("variants.md", &variants(&columns.expect("they can be set up")));
}

#[test]
fn the_properties_page_is_up_to_date() {
    is_up_to_date("properties.md", &properties());
}

#[test]
fn the_zoo_page_is_up_to_date() {
    is_up_to_date("zoo.md", &bugs().expect("its worlds can be set up"));
}
