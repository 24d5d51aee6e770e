//! The state: the inventory and the names of the descriptors, and what must be true of it before
//! anything in it is believed.
//!
//! [`State::check`] is the gate for hostile or confused input. Behind it every reference resolves,
//! every range is whole, and every descriptor has exactly one use.

use super::envelope::{self, CorruptFrame, Kind};
use crate::abi::ids::{Fd, IovaRange, PAGE_BYTES};
use crate::protocol::checks::Check;
use crate::protocol::mutation::Mutations;
use crate::vm::{Backing, Descriptors, Key, Mapping, Memory, Vm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Everything that the new process must know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The inventory.
    pub vm: Vm,
    /// The descriptors by name, with the numbers that the old process had: valid after an `execve`,
    /// and the order of arrival by transfer.
    pub descriptors: Vec<(Key, Fd)>,
}

/// What is wrong with a state whose frame is whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidState {
    /// Its frame.
    #[error("{0}")]
    CorruptFrame(#[from] CorruptFrame),
    /// A descriptor twice.
    #[error("descriptor {0} is listed twice")]
    Twice(Key),
    /// A descriptor that the inventory needs.
    #[error("descriptor {0} is missing")]
    Missing(Key),
    /// A descriptor that nothing in the inventory uses.
    #[error("descriptor {0} belongs to nothing")]
    Unclaimed(Key),
    /// As many descriptors arrived as were listed, or not.
    #[error("{arrived} descriptors arrived, {listed} are listed")]
    Count {
        /// How many came.
        arrived: usize,
        /// How many should have.
        listed: usize,
    },
    /// A reference to a block, context or device that is not there.
    #[error("{0} refers to something that is not in the inventory")]
    Dangling(String),
    /// A length or an address that is no whole number of pages, zero, or over the top.
    #[error("{0} is not a whole range of pages")]
    Range(String),
    /// Two mappings at one address.
    #[error("two mappings at {0}")]
    Overlap(IovaRange),
}

impl State {
    /// The state of a virtual machine: `None` where a descriptor of its inventory is missing.
    pub fn of(vm: &Vm, descriptors: &Descriptors) -> Option<Self> {
        let listed = vm.keys().into_iter().map(|key| descriptors.get(&key).map(|fd| (key, fd)));
        Some(Self { vm: vm.clone(), descriptors: listed.collect::<Option<_>>()? })
    }

    /// As the content of the stream memfd.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::State, self)
    }

    /// From the content of the stream memfd, checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidState> {
        Self::read(bytes, &Mutations::NOTHING)
    }

    /// The same without some of the checks.
    pub(crate) fn read(bytes: &[u8], omitted: &Mutations) -> Result<Self, InvalidState> {
        let state: Self = envelope::open_mutated(omitted, Kind::State, bytes)?;
        state.check_mutated(omitted)?;
        Ok(state)
    }

    /// The descriptors of this process: by transfer those that `arrived`, in order; after an
    /// `execve` the listed numbers.
    pub fn adopt(&self, arrived: Option<&[Fd]>) -> Result<Descriptors, InvalidState> {
        self.adopt_mutated(&Mutations::NOTHING, arrived)
    }

    /// The same without some of the checks.
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

    /// Every reference resolves, every range is whole, every descriptor has exactly one use.
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
        // Names are made only of an inventory that is no longer than its list.
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

    /// What a mapping maps is in the inventory, whole, and of the right backing.
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

/// Whether a stretch begins and ends on page boundaries, is not empty and does not run over the
/// top.
fn whole(first: u64, length_bytes: u64) -> bool {
    length_bytes > 0
        && first.is_multiple_of(PAGE_BYTES)
        && length_bytes.is_multiple_of(PAGE_BYTES)
        && first.checked_add(length_bytes - 1).is_some()
}
