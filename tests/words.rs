//! Checks the English of comments and pages: the project's rules are in CONTRIBUTING.md.

use crate::tidy::files;
use std::fs;
use std::path::Path;

/// Words of the private dialect that this project once had, each with the number of uses that
/// 10,000 words of prose may contain.
const BUDGETS: &[(&[&str], usize)] = &[
    (&["what"], 25),
    (&["told", "tell", "tells", "telling"], 2),
    (&["nobody", "somebody", "nothing", "something"], 15),
    (&["anew"], 0),
    (&["whatever"], 1),
];

/// Words with which no first line of a doc comment begins: a half sentence would follow.
const HALF_SENTENCES: &[&str] =
    &["Of", "By", "What", "Where", "Whether", "It", "Whose", "Whom", "Who", "How", "That", "Which"];

/// Returns the text of a comment line, without its marks.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text))
}

/// Returns the lines of prose: comments of sources, and pages without fenced blocks.
fn prose(path: &Path, text: &str) -> Vec<String> {
    if path.extension().is_some_and(|ending| ending == "rs") {
        return text.lines().filter_map(comment).map(str::to_owned).collect();
    }
    let mut is_fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        if !is_fenced && !line.starts_with("```") {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Returns the words of a line in lower case, without code between backticks.
fn words(line: &str) -> Vec<String> {
    let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let words = plain.split(|c: char| !c.is_ascii_alphabetic() && c != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect()
}

#[test]
fn prose_keeps_within_the_budgets_of_words() {
    let mut all: Vec<String> = Vec::new();
    for path in files(&[".rs", ".md"]) {
        // This file and the rules name the words.
        if path.ends_with("tests/words.rs") || path.ends_with("CONTRIBUTING.md") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        all.extend(prose(&path, &text).iter().flat_map(|line| words(line)));
    }
    assert!(all.len() > 50_000, "{} words of prose", all.len());
    for (banned, budget) in BUDGETS {
        let uses = all.iter().filter(|word| banned.contains(&word.as_str())).count();
        let is_within = uses * 10_000 <= budget * all.len();
        assert!(is_within, "{banned:?}: {uses} uses in {} words, budget {budget}", all.len());
    }
}

#[test]
fn docs_begin_with_a_clause() {
    let mut half = Vec::new();
    for path in files(&[".rs"]) {
        let text = fs::read_to_string(&path).expect("text");
        let mut is_first = true;
        for (number, line) in (1..).zip(text.lines()) {
            let doc = line.trim_start().strip_prefix("///");
            let word = doc.and_then(|doc| doc.split_whitespace().next()).filter(|_| is_first);
            if word.is_some_and(|word| HALF_SENTENCES.contains(&word)) {
                half.push(format!("{}:{number}: {}", path.display(), line.trim_start()));
            }
            is_first = doc.is_none();
        }
    }
    assert!(half.is_empty(), "these docs begin with half a sentence:\n{}", half.join("\n"));
}

/// Checks the checks: each finds what it is for.
#[test]
fn the_checks_of_words_find_what_they_are_for() {
    assert_eq!(words("What `nobody` told: it's"), ["what", "told", "it's"]);
    assert_eq!(comment("    /// By name."), Some(" By name."));
    assert_eq!(comment("let a = b; // c"), None);
    let page = "a\n```sh\nwhat\n```\nb";
    assert_eq!(prose(Path::new("x.md"), page).concat(), "ab");
}
