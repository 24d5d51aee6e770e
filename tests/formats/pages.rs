//! The generated pages of `docs/` equal what the generators and checks produce now.
//!
//! With `HANDOFF_PAGES` set, the tests write the pages and remove those that no longer exist.

use handoff_checker::search::Limits;
use handoff_specs::survey::compare::compare;
use handoff_specs::survey::docgen::{Page, bugs, properties, variants};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

/// Returns the path of a file below `docs/`.
fn docs(page: &str) -> PathBuf {
    PathBuf::from(format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR")))
}

/// Returns true if the tests shall write the pages.
fn writes() -> bool {
    env::var_os("HANDOFF_PAGES").is_some()
}

/// Asserts that a page below `docs/` has this text.
#[track_caller]
pub(crate) fn is_up_to_date(page: &str, text: &str) {
    let path = docs(page);
    if writes() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be created");
        fs::write(&path, text).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).position(|(old, new)| old != new);
    let first = differs.map_or_else(|| "its length".to_owned(), |at| format!("line {}", at + 1));
    assert!(
        written == text,
        "docs/{page} is out of date from {first} on; HANDOFF_PAGES=1 cargo test writes it"
    );
}

/// Asserts that a folder below `docs/` has exactly these pages, and that the table of contents
/// lists them below the first, which is the index.
#[track_caller]
fn are_up_to_date(folder: &str, pages: &[Page]) {
    let expected: BTreeSet<_> = pages.iter().map(|page| page.path.clone()).collect();
    for entry in fs::read_dir(docs(folder)).into_iter().flatten().filter_map(Result::ok) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if !expected.contains(&path) && writes() {
            fs::remove_file(entry.path()).expect("a stale page can be removed");
        } else {
            assert!(expected.contains(&path), "docs/{path} is stale; HANDOFF_PAGES=1 removes it");
        }
    }
    for page in pages {
        is_up_to_date(&page.path, &page.text);
    }
    is_in_contents(pages);
}

/// Asserts that `docs/SUMMARY.md` lists pages below the first of them.
#[track_caller]
fn is_in_contents(pages: &[Page]) {
    let line = |page: &Page| format!("- [{}]({})\n", page.title, page.path);
    let head = line(&pages[0]);
    let below: Vec<_> = pages[1..].iter().map(|page| format!("  {}", line(page))).collect();
    let below = below.concat();
    let summary = fs::read_to_string(docs("SUMMARY.md")).expect("a table of contents");
    let at = summary.find(&head).unwrap_or_else(|| panic!("docs/SUMMARY.md lacks {head}"));
    let (before, rest) = summary.split_at(at + head.len());
    let is_below = |line: &&str| line.starts_with("  ");
    let rest: String = rest.split_inclusive('\n').skip_while(is_below).collect();
    is_up_to_date("SUMMARY.md", &format!("{before}{below}{rest}"));
}

/// One test, because each set of pages also updates the table of contents.
#[test]
fn pages_of_bugs_and_variants_are_up_to_date() {
    let columns = compare(&handoff_specs::scenario::library::to_compare(), Limits::default());
    are_up_to_date("variants", &variants(&columns.expect("they can be set up")));
    are_up_to_date("bugs", &bugs().expect("the scenarios can be set up"));
}

#[test]
fn the_page_of_properties_is_up_to_date() {
    let page = properties();
    is_up_to_date(&page.path, &page.text);
}
