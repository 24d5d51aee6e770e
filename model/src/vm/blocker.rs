//! The preconditions of a handoff, checked before anything is changed.
//!
//! A [`Blocker`] is a precondition that does not hold; its message gives the exact reason and the
//! remedy. The old process checks its side before it sends the first message, the new process
//! checks its side before it reports that it is ready, and the guest stops only after both.
//!
//! Mirrors the uses of `migrate_add_blocker_modes` in QEMU 10.2 (`hw/vfio/cpr-iommufd.c`,
//! `system/physmem.c`), with two differences: the kinds of mappings and the locked-memory limit are
//! checked here too (QEMU meets those after the stop), and each errno keeps its own meaning.

use crate::abi::call::UNLIMITED;
use crate::abi::ids::{Iova, PAGE_BYTES};
use crate::vm::{Backing, ChargedTo, Descriptors, DeviceKind, Dma, Key, Mapping, Memory, Vm};

/// A precondition of a handoff that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Blocker {
    /// The probe of CHANGE_PROCESS failed with ENOTTY.
    #[error(
        "the kernel does not support IOMMU_IOAS_CHANGE_PROCESS on iommufd {0:?}; Linux 6.13 or \
         later is required"
    )]
    KernelTooOld(String),
    /// CHECK_EXTENSION of UPDATE_VADDR returned 0.
    #[error(
        "mappings of container {0:?} cannot change their addresses (VFIO_UPDATE_VADDR): unplug \
         its mediated devices; Linux 5.12 or later is required"
    )]
    NoNewAddresses(String),
    /// Anonymous RAM, which no other process can map.
    #[error("RAM block {0:?} is anonymous memory; back it with a memfd, mapped shared")]
    AnonymousRam(String),
    /// A mapping by address, which CHANGE_PROCESS would reject with EINVAL.
    #[error(
        "the mapping at {0} was made by address (IOMMU_IOAS_MAP) and cannot change its process; \
         map it by file (IOMMU_IOAS_MAP_FILE)"
    )]
    MappedByAddress(Iova),
    /// A mapping of a BAR: a dma-buf area, which CHANGE_PROCESS would reject with EINVAL.
    #[error(
        "region {region} of device {device:?} is mapped for peer-to-peer DMA at {iova} and cannot \
         change its process; unmap it"
    )]
    BarMapped {
        /// The device.
        device: String,
        /// The region.
        region: u32,
        /// The address of the mapping.
        iova: Iova,
    },
    /// A mediated device that is tied to the old process's KVM.
    #[error(
        "mediated device {0:?} is tied to the KVM of the process that opened it and cannot be \
         handed over; unplug it first"
    )]
    MdevTiedToKvm(String),
    /// Per-process accounting: once the old owner has exited, CHANGE_PROCESS moves the pages but
    /// still returns EINVAL and never releases the charge (`iopt_pages` of Linux 6.13 to 7.3).
    #[error(
        "the mapping at {0} is charged to its process (IOMMU_OPTION_RLIMIT_MODE 1), and the \
         kernel never releases that charge if the owner exits before another process takes the \
         ownership; use per-user accounting"
    )]
    ChargedToProcess(Iova),
    /// Uncharged pages: CHANGE_PROCESS leaves their VmPin with the old owner, and unmapping
    /// subtracts it from the new one (Linux 6.13 to 7.3).
    #[error(
        "the mapping at {0} was made with CAP_IPC_LOCK and is not charged to any account, so VmPin \
         of both processes is wrong after a handoff; map without that capability"
    )]
    Uncharged(Iova),
    /// RLIMIT_MEMLOCK is too small: CHANGE_PROCESS charges the new owner before it uncharges the
    /// old one.
    #[error(
        "RLIMIT_MEMLOCK of the {side} process is {limit_bytes} bytes, but taking over \
         {pinned_bytes} pinned bytes requires {needed_bytes}; raise it"
    )]
    MemlockTooSmall {
        /// The process: `old` or `new`.
        side: &'static str,
        /// Bytes that are pinned.
        pinned_bytes: u64,
        /// Bytes that the limit must allow.
        needed_bytes: u64,
        /// Bytes that it allows.
        limit_bytes: u64,
    },
    /// A descriptor of the inventory is not open in the VMM.
    #[error("descriptor {0} of the inventory is not open")]
    NotOpen(Key),
}

/// The kinds of blockers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named as in `Blocker`")]
pub enum BlockerKind {
    KernelTooOld,
    AnonymousRam,
    MappedByAddress,
    BarMapped,
    MdevTiedToKvm,
    ChargedToProcess,
    Uncharged,
    MemlockTooSmall,
    NotOpen,
    NoNewAddresses,
}

impl BlockerKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::KernelTooOld,
        Self::AnonymousRam,
        Self::MappedByAddress,
        Self::BarMapped,
        Self::MdevTiedToKvm,
        Self::ChargedToProcess,
        Self::Uncharged,
        Self::MemlockTooSmall,
        Self::NotOpen,
        Self::NoNewAddresses,
    ];

    /// Returns true if the blocker can occur when DMA is mapped through an iommufd.
    pub fn is_of_iommufd(self) -> bool {
        self != Self::NoNewAddresses
    }
}

impl Blocker {
    /// Returns the kind of the blocker.
    pub fn kind(&self) -> BlockerKind {
        match self {
            Self::KernelTooOld(_) => BlockerKind::KernelTooOld,
            Self::NoNewAddresses(_) => BlockerKind::NoNewAddresses,
            Self::AnonymousRam(_) => BlockerKind::AnonymousRam,
            Self::MappedByAddress(_) => BlockerKind::MappedByAddress,
            Self::BarMapped { .. } => BlockerKind::BarMapped,
            Self::MdevTiedToKvm(_) => BlockerKind::MdevTiedToKvm,
            Self::ChargedToProcess(_) => BlockerKind::ChargedToProcess,
            Self::Uncharged(_) => BlockerKind::Uncharged,
            Self::MemlockTooSmall { .. } => BlockerKind::MemlockTooSmall,
            Self::NotOpen(_) => BlockerKind::NotOpen,
        }
    }
}

/// Returns the blockers that follow from the inventory alone. Makes no call.
pub fn of_inventory(vm: &Vm, descriptors: &Descriptors) -> Vec<Blocker> {
    let ram = vm.ram.iter().filter(|block| block.backing == Backing::Anonymous);
    let mut found: Vec<_> = ram.map(|block| Blocker::AnonymousRam(block.name.clone())).collect();
    // Mappings of a container change their process one by one, regardless of their memory.
    if vm.dma == Dma::Iommufd {
        vm.mappings().for_each(|(_, _, mapping)| found.extend(of_mapping(vm, mapping)));
    }
    let tied = vm.devices.iter().filter(|d| d.kind == DeviceKind::Mdev { needs_kvm: true });
    found.extend(tied.map(|device| Blocker::MdevTiedToKvm(device.name.clone())));
    let closed = vm.keys().into_iter().filter(|key| descriptors.get(key).is_none());
    found.extend(closed.map(Blocker::NotOpen));
    found
}

/// Returns the reasons for which CHANGE_PROCESS must not be applied to a mapping.
fn of_mapping(vm: &Vm, mapping: &Mapping) -> impl Iterator<Item = Blocker> + use<> {
    let name = |device: u16| vm.devices.get(usize::from(device)).map(|d| d.name.clone());
    let iova = mapping.iova;
    let of_memory = match mapping.memory {
        Memory::RamFile { .. } => None,
        Memory::RamAddress { .. } => Some(Blocker::MappedByAddress(iova)),
        Memory::Bar { device, region } => {
            Some(Blocker::BarMapped { device: name(device).unwrap_or_default(), region, iova })
        }
    };
    let of_charge = match mapping.charged_to {
        ChargedTo::User | ChargedTo::Original => None,
        ChargedTo::Process => Some(Blocker::ChargedToProcess(iova)),
        ChargedTo::None => Some(Blocker::Uncharged(iova)),
    };
    of_memory.into_iter().chain(of_charge)
}

/// Checks that a process that owns or takes over `user_pages` charged pages may lock enough memory;
/// `limit` is its RLIMIT_MEMLOCK in bytes.
///
/// CHANGE_PROCESS charges first and uncharges afterwards. If both processes run as the same user,
/// that user is charged for twice the pages in between, in either direction (`iopt_pages`
/// accounting, Linux 6.13 to 7.3).
pub fn of_memlock(
    side: &'static str,
    user_pages: u64,
    same_user: bool,
    limit: u64,
) -> Option<Blocker> {
    let pinned_bytes = user_pages.saturating_mul(PAGE_BYTES);
    let needed_bytes = pinned_bytes.saturating_mul(if same_user { 2 } else { 1 });
    let enough = limit == UNLIMITED || limit >= needed_bytes;
    (!enough).then_some(Blocker::MemlockTooSmall {
        side,
        pinned_bytes,
        needed_bytes,
        limit_bytes: limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memlock_needs_twice_the_pages_within_one_user() {
        // Pages, same user, limit in pages, enough?
        for (pages, same, limit, enough) in [
            (64, true, 127, false),
            (64, true, 128, true),
            (64, false, 63, false),
            (64, false, 64, true),
            (0, true, 0, true),
            (1 << 51, true, 0, false),
            (u64::MAX, false, 0, false),
        ] {
            let found = of_memlock("new", pages, same, limit * PAGE_BYTES);
            assert_eq!(found.is_none(), enough, "{pages} pages, limit {limit}, same user: {same}");
        }
        assert_eq!(of_memlock("new", u64::from(u32::MAX), true, UNLIMITED), None);
    }
}
