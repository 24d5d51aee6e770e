//! The book lists every page once, links lead to files, and names of code in pages exist.

use crate::tidy::files;
use std::collections::{BTreeMap, BTreeSet};
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

/// Returns the code between backticks, outside of fences.
fn code(text: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        if !is_fenced && !line.starts_with("```") {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Returns true if a piece of code is the path of a file, perhaps without its first folders.
fn is_path(code: &str) -> bool {
    let is_file = [".rs", ".pml", ".md"].iter().any(|ending| code.ends_with(ending));
    is_file && code.contains('/') && !code.contains(['*', '<', '{', ' '])
}

/// Returns the name of an item if a piece of code is `path::to::item` or `item()`.
fn item(code: &str) -> Option<&str> {
    let name = code.strip_suffix("()").unwrap_or(code);
    let is_item = name.len() < code.len() || name.contains("::");
    let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    (is_item && is_path).then(|| name.rsplit("::").next().unwrap_or(name))
}

/// A page that names a file or an item which was renamed misleads its reader.
#[test]
fn files_and_items_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = files(&[".rs", ".pml", ".md"]);
    let read = |path: &PathBuf| fs::read_to_string(path).expect("text");
    let sources: String =
        all.iter().filter(|it| it.extension().is_some_and(|it| it == "rs")).map(read).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = sources.split(|c: char| !is_word(c)).collect();
    let mut stale = Vec::new();
    // The changelog names former items.
    for page in files(&[".md"]).iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        for code in code(&read(page)) {
            let is_missing = match item(&code) {
                Some(item) => !item.is_empty() && !words.contains(item),
                None => is_path(&code) && !all.iter().any(|file| file.ends_with(&code)),
            };
            if is_missing {
                let page = page.strip_prefix(root).unwrap_or(page);
                stale.push(format!("{}: {code}", page.display()));
            }
        }
    }
    assert!(stale.is_empty(), "these do not exist:\n{}", stale.join("\n"));
}

/// Checks the check: the parts of a page that it is about.
#[test]
fn names_of_code_are_recognised() {
    assert_eq!(code("a `b` c `d`\n```\n`e`\n```"), ["b", "d"]);
    assert_eq!(
        ["moment()", "a::b", "KVM", "a b()"].map(item),
        [Some("moment"), Some("b"), None, None]
    );
    assert!(is_path("specs/lib.rs") && !is_path("lib.rs") && !is_path("role/*/script.rs"));
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
