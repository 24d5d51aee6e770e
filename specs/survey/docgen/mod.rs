//! Generates the pages of `docs/` about properties, variants and known bugs.
//!
//! Everything in these pages is computed from the registries and from checks. A test compares them
//! with the files, and writes the files if `HANDOFF_PAGES` is set.

mod bugs;
mod properties;
mod variants;

pub use bugs::bugs;
pub use properties::properties;
pub use variants::variants;

use crate::properties::Property;
use std::fmt::Write;

/// A generated page.
#[derive(Debug)]
pub struct Page {
    /// The path below `docs/`.
    pub path: String,
    /// The title, for the table of contents.
    pub title: String,
    /// The Markdown text.
    pub text: String,
}

impl Page {
    /// Begins a page with its title and a note that it is generated from `source`.
    fn new(path: impl Into<String>, title: impl Into<String>, source: &str) -> Self {
        let title = title.into();
        let text = format!(
            "# {title}\n\n<!-- Made from {source}; HANDOFF_PAGES=1 cargo test writes it. -->\n"
        );
        Self { path: path.into(), title, text }
    }

    /// Appends a paragraph or block, separated by an empty line.
    fn add(&mut self, block: &str) {
        let _ = writeln!(self.text, "\n{}", block.trim_end());
    }
}

/// Returns a bulleted list.
fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    format!("* {}", items.join("\n* "))
}

/// Returns a table: its head, and a line for each row.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: String = head.iter().map(|_| "|---").collect();
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    format!("{}{rule}|\n{rows}", line(&head))
}

/// Returns text as a full sentence: a capital letter first, and a full stop last.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let is_ended = text.ends_with(['.', '?', '!']);
    format!("{}{}", capitalized(text), if is_ended { "" } else { "." })
}

/// Returns text with a capital first letter, unless its first word is code or a name such as
/// `type1` or `cpr.ioas_id`.
pub(super) fn capitalized(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.chars().all(|c| c.is_ascii_lowercase());
    match text.chars().next() {
        Some(letter) if is_word => letter.to_uppercase().chain(text.chars().skip(1)).collect(),
        _ => text.to_owned(),
    }
}

/// Returns a link to a property, from a page in a folder below `docs/`.
fn link(property: &Property) -> String {
    let id = property.id;
    format!("[{id}](../properties.md#{})", id.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn sentences_begin_with_a_capital_unless_with_a_name() {
        assert_eq!(sentence("the guest stops"), "The guest stops.");
        assert_eq!(sentence("cpr.ioas_id is lost"), "cpr.ioas_id is lost.");
        assert_eq!(sentence("Is it lost?"), "Is it lost?");
    }
}
