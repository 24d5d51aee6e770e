//! Documents as JSON, with an indent of two spaces and the fields in the order of their structures.

use super::Document;

/// Writes a document as JSON.
pub(super) fn write(document: &Document) -> String {
    serde_json::to_string_pretty(document).expect("a document always has a JSON form") + "\n"
}
