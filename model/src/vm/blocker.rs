//! Preconditions, as data: what makes a handoff impossible, known before anything is touched.
//!
//! Each blocker is the true reason, with what to do about it. The old process judges its own side
//! before it says a word to a new one, the new process its side before it says that it is ready,
//! and the guest stops only after both.
//!
//! Mirrors QEMU 10.2's `migrate_add_blocker_modes` uses in `hw/vfio/cpr-iommufd.c` and
//! `system/physmem.c`, with the differences that the mapping kinds and the locked-memory limit are
//! judged here too (QEMU meets those after the stop), and that each errno keeps its own meaning.

use crate::abi::call::UNLIMITED;
use crate::abi::ids::{Iova, PAGE_BYTES};
use crate::vm::{Backing, ChargedTo, Descriptors, DeviceKind, Dma, Key, Mapping, Memory, Vm};

/// A reason against a handoff.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Blocker {
    /// CHANGE_PROCESS answered ENOTTY.
    #[error(
        "the kernel has no IOMMU_IOAS_CHANGE_PROCESS for iommufd {0:?}; Linux 6.13 or newer is \
         needed"
    )]
    KernelTooOld(String),
    /// CHECK_EXTENSION of UPDATE_VADDR answered 0.
    #[error(
        "mappings of container {0:?} cannot be given new addresses (VFIO_UPDATE_VADDR): unplug \
         its mediated devices; Linux 5.12 or newer is needed"
    )]
    NoNewAddresses(String),
    /// RAM that no other process can map.
    #[error("RAM block {0:?} is anonymous memory; back it with a memfd, mapped shared")]
    AnonymousRam(String),
    /// A mapping that CHANGE_PROCESS would refuse with EINVAL.
    #[error(
        "the mapping at {0} was made by address (IOMMU_IOAS_MAP), which cannot change its \
         process; map it by file (IOMMU_IOAS_MAP_FILE)"
    )]
    MappedByAddress(Iova),
    /// A mapping of a BAR: a dma-buf area, which CHANGE_PROCESS would refuse with EINVAL.
    #[error(
        "region {region} of device {device:?} is mapped for peer-to-peer DMA at {iova}, and such \
         a mapping cannot change its process; unmap it"
    )]
    BarMapped {
        /// Whose.
        device: String,
        /// Which.
        region: u32,
        /// Where.
        iova: Iova,
    },
    /// A mediated device that is tied to the old process's KVM.
    #[error(
        "mediated device {0:?} keeps the KVM of the process that opened it and cannot follow; \
         unplug it first"
    )]
    MdevTiedToKvm(String),
    /// Per-process accounting: with the old owner dead, CHANGE_PROCESS moves the pages, answers
    /// EINVAL all the same and never gives the charge back (`iopt_pages` of Linux 6.13 to 7.3).
    #[error(
        "the mapping at {0} is charged to its process (IOMMU_OPTION_RLIMIT_MODE 1), and that \
         charge is lost for good when an owner dies before it is taken from; use per-user \
         accounting"
    )]
    ChargedToProcess(Iova),
    /// CHANGE_PROCESS leaves the VmPin of pages that nobody is charged for with their old owner,
    /// and takes from the new one's at unmap (Linux 6.13 to 7.3).
    #[error(
        "the mapping at {0} was made with CAP_IPC_LOCK and is charged to nobody, so that VmPin of \
         either process is wrong after a handoff; map without that capability"
    )]
    Uncharged(Iova),
    /// CHANGE_PROCESS charges the new owner before it gives back the old one's.
    #[error(
        "RLIMIT_MEMLOCK of the {side} process is {limit_bytes} bytes, and taking over \
         {pinned_bytes} pinned bytes needs {needed_bytes}; raise it"
    )]
    MemlockTooSmall {
        /// `old` or `new`.
        side: &'static str,
        /// What is pinned.
        pinned_bytes: u64,
        /// What the limit must be.
        needed_bytes: u64,
        /// What it is.
        limit_bytes: u64,
    },
    /// The VMM does not hold something that its inventory speaks of.
    #[error("descriptor {0} of the inventory is not open")]
    NotOpen(Key),
}

/// Blockers without their particulars.
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
    /// All of them.
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

    /// Whether anything can be so where an iommufd translates the devices' DMA.
    pub fn is_of_iommufd(self) -> bool {
        self != Self::NoNewAddresses
    }
}

impl Blocker {
    /// Which kind.
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

/// What an inventory says against its own handoff. Makes no call.
pub fn of_inventory(vm: &Vm, descriptors: &Descriptors) -> Vec<Blocker> {
    let ram = vm.ram.iter().filter(|block| block.backing == Backing::Anonymous);
    let mut found: Vec<_> = ram.map(|block| Blocker::AnonymousRam(block.name.clone())).collect();
    // Mappings of a container change their process one by one, whatever they are of.
    if vm.dma == Dma::Iommufd {
        vm.mappings().for_each(|(_, _, mapping)| found.extend(of_mapping(vm, mapping)));
    }
    let tied = vm.devices.iter().filter(|d| d.kind == DeviceKind::Mdev { needs_kvm: true });
    found.extend(tied.map(|device| Blocker::MdevTiedToKvm(device.name.clone())));
    let closed = vm.keys().into_iter().filter(|key| descriptors.get(key).is_none());
    found.extend(closed.map(Blocker::NotOpen));
    found
}

/// What speaks against CHANGE_PROCESS of a mapping.
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

/// Whether a process that holds or takes `user_pages` charged pages may lock enough.
///
/// CHANGE_PROCESS charges first and gives back after: where both processes run as one user, that
/// user holds twice the pages for a moment, in either direction (`iopt_pages` accounting, Linux
/// 6.13 to 7.3).
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
