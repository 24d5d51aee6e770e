//! The book lists every page once, and links between pages lead to files.

use crate::tidy::files;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the targets of the links of a page that lead to files: outside of fences, without
/// fragments.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        if is_fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !file.contains(' ') {
                found.push(file.to_owned());
            }
        }
    }
    found
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for page in files(&[".md"]) {
        let text = fs::read_to_string(&page).expect("text");
        let folder = page.parent().expect("a folder");
        for link in links(&text) {
            if !folder.join(&link).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_lists_every_page_once() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("a summary");
    let mut listed: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for link in links(&summary) {
        *listed.entry(docs.join(link)).or_default() += 1;
    }
    let pages = files(&[".md"]).into_iter().filter(|page| page.starts_with(&docs));
    let pages: BTreeMap<PathBuf, usize> =
        pages.filter(|page| !page.ends_with("SUMMARY.md")).map(|page| (page, 1)).collect();
    assert_eq!(listed, pages);
}
