//! The state record: the inventory with the list of its descriptors, and its validation.
//!
//! [`State::check`] rejects hostile or corrupt input. In a state that passes, every reference
//! resolves, every range is page-aligned and non-empty, and every descriptor has exactly one use.

use super::envelope::{self, CorruptFrame, Kind};
use crate::abi::ids::{Fd, IovaRange, PAGE_BYTES};
use crate::protocol::checks::Check;
use crate::protocol::mutation::Mutations;
use crate::vm::{Backing, Descriptors, Key, Mapping, Memory, Vm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The snapshot that the new process receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The inventory.
    pub vm: Vm,
    /// The descriptors by name, with their numbers in the old process. After an `execve` the
    /// numbers are valid; by transfer, the order of the list is the order of arrival.
    pub descriptors: Vec<(Key, Fd)>,
}

/// The reason for which a state is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidState {
    /// The frame is invalid.
    #[error("{0}")]
    CorruptFrame(#[from] CorruptFrame),
    /// A descriptor is listed twice.
    #[error("descriptor {0} is listed twice")]
    Twice(Key),
    /// A descriptor that the inventory needs is not listed.
    #[error("descriptor {0} is missing")]
    Missing(Key),
    /// A listed descriptor is not used by the inventory.
    #[error("descriptor {0} is not used by the inventory")]
    Unclaimed(Key),
    /// The number of descriptors is not the expected one.
    #[error("{arrived} descriptors arrived, {listed} were expected")]
    Count {
        /// Number of descriptors that arrived.
        arrived: usize,
        /// Number of descriptors that were expected.
        listed: usize,
    },
    /// A reference to a block, context or device does not resolve, or does not fit the block.
    #[error("{0} refers to an object that is not in the inventory")]
    Dangling(String),
    /// A range is empty, not page-aligned, or overflows.
    #[error("{0} is not a valid range of pages")]
    Range(String),
    /// Two mappings overlap.
    #[error("mappings overlap at {0}")]
    Overlap(IovaRange),
}

impl State {
    /// Returns the state of a virtual machine; `None` if a descriptor of its inventory is missing.
    pub fn of(vm: &Vm, descriptors: &Descriptors) -> Option<Self> {
        let listed = vm.keys().into_iter().map(|key| descriptors.get(&key).map(|fd| (key, fd)));
        Some(Self { vm: vm.clone(), descriptors: listed.collect::<Option<_>>()? })
    }

    /// Encodes the state as the content of the stream memfd.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::State, self)
    }

    /// Decodes and checks the content of the stream memfd.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidState> {
        Self::read(bytes, &Mutations::NOTHING)
    }

    /// Like [`Self::from_bytes`], without the checks that a mutant omits.
    pub(crate) fn read(bytes: &[u8], omitted: &Mutations) -> Result<Self, InvalidState> {
        let state: Self = envelope::open_mutated(omitted, Kind::State, bytes)?;
        state.check_mutated(omitted)?;
        Ok(state)
    }

    /// Returns the descriptors of this process by name: those that `arrived` by transfer, in order,
    /// or the listed numbers after an `execve` (`None`).
    ///
    /// # Errors
    /// [`InvalidState::Count`] if the number of descriptors differs from the list.
    pub fn adopt(&self, arrived: Option<&[Fd]>) -> Result<Descriptors, InvalidState> {
        self.adopt_mutated(&Mutations::NOTHING, arrived)
    }

    /// Like [`Self::adopt`], without the checks that a mutant omits.
    pub(crate) fn adopt_mutated(
        &self,
        omitted: &Mutations,
        arrived: Option<&[Fd]>,
    ) -> Result<Descriptors, InvalidState> {
        let Some(fds) = arrived else { return Ok(self.descriptors.iter().cloned().collect()) };
        let (arrived, listed) = (fds.len(), self.descriptors.len());
        let miscounted = || InvalidState::Count { arrived, listed };
        omitted.require(Check::AsListed, arrived == listed, miscounted)?;
        let keys = self.descriptors.iter().map(|(key, _)| key.clone());
        Ok(keys.zip(fds.iter().copied()).collect())
    }

    /// Checks that every reference resolves, every range is valid, and every descriptor has exactly
    /// one use.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(&self) -> Result<(), InvalidState> {
        self.check_mutated(&Mutations::NOTHING)
    }

    fn check_mutated(&self, omitted: &Mutations) -> Result<(), InvalidState> {
        self.check_descriptors(omitted)?;
        self.check_ram(omitted)?;
        self.check_devices(omitted)?;
        self.check_mappings(omitted)
    }

    fn check_descriptors(&self, omitted: &Mutations) -> Result<(), InvalidState> {
        let mut listed = BTreeSet::new();
        for (key, _) in &self.descriptors {
            let is_new = listed.insert(key.clone());
            omitted.require(Check::ListedOnce, is_new, || InvalidState::Twice(key.clone()))?;
        }
        // A bound on the work below: a vector count larger than the list is rejected before it is
        // expanded.
        let interrupts = self.vm.devices.iter().flat_map(|device| &device.interrupts);
        let vectors: usize = interrupts.map(|armed| usize::from(armed.vectors)).sum();
        let arrived = self.descriptors.len();
        let too_many = || InvalidState::Count { arrived, listed: vectors };
        omitted.require(Check::NoneMissing, vectors <= arrived, too_many)?;
        let mut needed = BTreeSet::new();
        for key in self.vm.keys() {
            let is_new = needed.insert(key.clone());
            omitted.require(Check::NamedOnce, is_new, || InvalidState::Twice(key))?;
        }
        for key in &needed {
            let is_listed = listed.contains(key);
            omitted
                .require(Check::NoneMissing, is_listed, || InvalidState::Missing(key.clone()))?;
        }
        for key in &listed {
            let is_needed = needed.contains(key);
            omitted.require(Check::NoneUnclaimed, is_needed, || {
                InvalidState::Unclaimed(key.clone())
            })?;
        }
        Ok(())
    }

    fn check_ram(&self, omitted: &Mutations) -> Result<(), InvalidState> {
        for block in &self.vm.ram {
            let broken = || InvalidState::Range(format!("RAM block {:?}", block.name));
            omitted.require(Check::WholeRam, whole(0, block.length_bytes), broken)?;
        }
        Ok(())
    }

    fn check_devices(&self, omitted: &Mutations) -> Result<(), InvalidState> {
        for device in &self.vm.devices {
            let context = self.vm.contexts.get(usize::from(device.context));
            let mut spaces = context.iter().flat_map(|context| &context.spaces);
            let is_known = spaces.any(|space| space.ioas == device.ioas);
            let dangling = || InvalidState::Dangling(format!("device {:?}", device.name));
            omitted.require(Check::SpaceKnown, is_known, dangling)?;
        }
        Ok(())
    }

    fn check_mappings(&self, omitted: &Mutations) -> Result<(), InvalidState> {
        for (_, space) in self.vm.spaces() {
            let mut ranges = Vec::with_capacity(space.mappings.len());
            for mapping in &space.mappings {
                let what = || format!("mapping at {}", mapping.iova);
                let range = mapping.range();
                let is_whole = range.is_some() && whole(mapping.iova.0, mapping.length_bytes);
                omitted.require(Check::WholeMapping, is_whole, || InvalidState::Range(what()))?;
                self.check_memory(mapping, omitted)?;
                ranges.extend(range);
            }
            ranges.sort_unstable();
            for pair in ranges.windows(2) {
                let apart = !pair[0].overlaps(&pair[1]);
                omitted.require(Check::NoOverlap, apart, || InvalidState::Overlap(pair[1]))?;
            }
        }
        Ok(())
    }

    /// Checks that a mapping's block or device is in the inventory, contains the mapping, and has
    /// the required backing.
    fn check_memory(&self, mapping: &Mapping, omitted: &Mutations) -> Result<(), InvalidState> {
        let dangling = || InvalidState::Dangling(format!("mapping at {}", mapping.iova));
        let (block, offset_bytes, by_file) = match mapping.memory {
            Memory::RamFile { block, offset_bytes } => (block, offset_bytes, true),
            Memory::RamAddress { block, offset_bytes } => (block, offset_bytes, false),
            Memory::Bar { device, .. } => {
                let is_known = usize::from(device) < self.vm.devices.len();
                return omitted.require(Check::BarKnown, is_known, dangling);
            }
        };
        let block = self.vm.ram.get(usize::from(block));
        omitted.require(Check::BlockKnown, block.is_some(), dangling)?;
        let Some(block) = block else { return Ok(()) };
        let is_whole = offset_bytes.is_multiple_of(PAGE_BYTES);
        omitted.require(Check::WholeOffset, is_whole, dangling)?;
        let end = offset_bytes.checked_add(mapping.length_bytes);
        let is_within = end.is_some_and(|end| end <= block.length_bytes);
        omitted.require(Check::WithinBlock, is_within, dangling)?;
        let is_backed = !by_file || block.backing == Backing::File;
        omitted.require(Check::BlockBacking, is_backed, dangling)
    }
}

/// Returns true if a range is non-empty and page-aligned, and does not overflow.
fn whole(first: u64, length_bytes: u64) -> bool {
    length_bytes > 0
        && first.is_multiple_of(PAGE_BYTES)
        && length_bytes.is_multiple_of(PAGE_BYTES)
        && first.checked_add(length_bytes - 1).is_some()
}
