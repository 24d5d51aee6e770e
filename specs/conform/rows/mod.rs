//! The rows, by topic.

mod access;
mod accounting;
mod compat;
mod device;
mod dma;
mod events;
mod features;
mod files;
mod hwpt;
mod ioas;
mod iova;
mod irqs;
mod kvm;
mod life;
mod memory;
mod mock;
mod nested;
mod process;
mod processes;
mod regions;

use super::Row;

/// Row after row of each topic.
const TOPICS: &[&[Row]] = &[
    access::ROWS,
    accounting::ROWS,
    compat::ROWS,
    device::ROWS,
    dma::ROWS,
    events::ROWS,
    features::ROWS,
    files::ROWS,
    hwpt::ROWS,
    ioas::ROWS,
    iova::ROWS,
    irqs::ROWS,
    kvm::ROWS,
    life::ROWS,
    memory::ROWS,
    nested::ROWS,
    process::ROWS,
    processes::ROWS,
    regions::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    TOPICS.iter().copied().flatten()
}
