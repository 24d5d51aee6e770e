//! The rows, by topic.

mod access;
mod accounting;
mod compat;
mod ioas;
mod iova;
mod irqs;
mod mock;
mod process;

use super::Row;

/// Row after row of each topic.
const TOPICS: &[&[Row]] = &[
    access::ROWS,
    accounting::ROWS,
    compat::ROWS,
    ioas::ROWS,
    iova::ROWS,
    irqs::ROWS,
    process::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    TOPICS.iter().copied().flatten()
}
