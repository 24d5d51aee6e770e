//! The rows, by topic.

mod access;
mod accounting;
mod compat;
mod ioas;
mod iova;
mod mock;
mod process;

use super::Row;

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [access::ROWS, accounting::ROWS, compat::ROWS, ioas::ROWS, iova::ROWS, process::ROWS]
        .into_iter()
        .flatten()
}
