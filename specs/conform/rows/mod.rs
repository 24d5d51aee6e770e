//! The rows, by topic.

mod process;

use super::Row;

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [process::ROWS].into_iter().flatten()
}
