//! The rows, by topic.

mod access;
mod accounting;
mod attach;
mod change_process;
mod compat;
mod death;
mod device;
mod dma;
mod events;
mod fail_nth;
mod features;
mod files;
mod group;
mod header;
mod hwpt;
mod ioas;
mod iova;
mod irqs;
mod kvm;
mod life;
mod memory;
mod mock;
mod nested;
mod pages;
mod processes;
mod regions;
mod type1;

use super::Row;

/// Row after row of each topic.
const TOPICS: &[&[Row]] = &[
    access::ROWS,
    accounting::ROWS,
    attach::ROWS,
    change_process::ROWS,
    compat::ROWS,
    death::ROWS,
    device::ROWS,
    dma::ROWS,
    events::ROWS,
    fail_nth::ROWS,
    features::ROWS,
    files::ROWS,
    group::ROWS,
    header::ROWS,
    hwpt::ROWS,
    ioas::ROWS,
    iova::ROWS,
    irqs::ROWS,
    kvm::ROWS,
    life::ROWS,
    memory::ROWS,
    nested::ROWS,
    pages::ROWS,
    processes::ROWS,
    regions::ROWS,
    type1::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    TOPICS.iter().copied().flatten()
}
