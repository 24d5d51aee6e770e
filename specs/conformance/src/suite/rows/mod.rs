//! The facts, by topic.

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

use super::Fact;

/// The facts of each topic.
const TOPICS: &[&[Fact]] = &[
    access::ROWS,
    accounting::ROWS,
    attach::ROWS,
    change_process::ROWS,
    compat::ROWS,
    death::ROWS,
    device::bind::ROWS,
    device::info::ROWS,
    device::reset::ROWS,
    device::ioeventfd::ROWS,
    device::holders::ROWS,
    dma::ROWS,
    events::ROWS,
    fail_nth::ROWS,
    features::ROWS,
    files::ROWS,
    group::open::ROWS,
    group::device::ROWS,
    group::container::ROWS,
    group::iommufd::ROWS,
    header::ROWS,
    hwpt::alloc::ROWS,
    hwpt::attach::ROWS,
    hwpt::dirty::ROWS,
    hwpt::hardware::ROWS,
    ioas::alloc::ROWS,
    ioas::map::ROWS,
    ioas::copy::ROWS,
    ioas::unmap::ROWS,
    ioas::option::ROWS,
    iova::ROWS,
    irqs::ROWS,
    kvm::ROWS,
    life::ROWS,
    memory::ROWS,
    nested::domain::ROWS,
    nested::viommu::ROWS,
    nested::queues::ROWS,
    pages::ROWS,
    processes::ROWS,
    regions::ROWS,
    type1::map::ROWS,
    type1::vaddr::ROWS,
    type1::join::ROWS,
    type1::dirty::ROWS,
];

/// Returns all facts.
pub fn all() -> impl Iterator<Item = &'static Fact> {
    TOPICS.iter().copied().flatten()
}
