//! Calls that only the new processes of other protocols make: QEMU's, the first proposal's, and
//! those with known bugs.

use super::Incoming;
use super::script::Script;
use crate::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall};
use crate::abi::ids::Iova;
use crate::abi::uapi::rfc_v1::{self, Move};
use crate::protocol::phase::InPhase;
use crate::role::calls::{contexts, take_ownership};
use crate::role::lab::new_addresses;
use crate::vm::launch::containers;
use crate::vm::{Backing, Key, Kind, Memory};

impl Incoming {
    /// Returns the calls of a phase that depend on where this process has mapped guest RAM.
    pub(super) fn foreign(&self, phase: InPhase) -> Vec<Call> {
        match phase {
            InPhase::TakeAddresses => self.take_addresses(),
            InPhase::MapVaddr | InPhase::MapVaddrOfFirst => self.new_addresses(phase),
            _ => Vec::new(),
        }
    }

    fn take_addresses(&self) -> Vec<Call> {
        let Some(adopted) = &self.adopted else { return Vec::new() };
        let files = adopted.vm.ram.iter().filter(|block| block.backing == Backing::File);
        let moved = files.zip(&self.mapped).map(|(block, new)| Move {
            old: block.va,
            new: *new,
            length_bytes: block.length_bytes,
        });
        let ioctl = rfc_v1::change_addresses(&moved.collect::<Vec<_>>());
        let contexts = contexts(&adopted.vm, &adopted.descriptors);
        contexts.map(|fd| Call::Ioctl { fd, ioctl: ioctl.clone() }).collect()
    }

    /// Returns the calls that pass the new addresses of guest RAM, which are known only once it is
    /// mapped.
    fn new_addresses(&self, phase: InPhase) -> Vec<Call> {
        let Some((vm, descriptors)) = self.inventory() else { return Vec::new() };
        let mut containers: Vec<_> = containers(&vm, &descriptors).collect();
        if phase == InPhase::MapVaddrOfFirst {
            containers.truncate(1);
        }
        new_addresses(&vm, |at| containers.get(usize::from(at)).copied())
    }
}

impl Script<'_> {
    /// Returns the calls of a phase that the inventory determines.
    pub(super) fn foreign(&self, phase: InPhase) -> Vec<Call> {
        match phase {
            InPhase::ProbeByChange => take_ownership(self.vm, self.descriptors),
            InPhase::MergeContainers => {
                let others = containers(self.vm, self.descriptors).skip(1);
                others.map(|fd| Call::File(FileCall::Close { fd })).collect()
            }
            InPhase::MapAgain => self.map_again(1 << 24),
            InPhase::MapFresh => self.map_again(0),
            InPhase::Remap => self.remap(),
            InPhase::AttachToFirst => self.attach_to_first(),
            InPhase::ResetDevices => self
                .devices()
                .map(|(_, device)| Call::Device(DeviceCall::Detach { device }))
                .collect(),
            InPhase::SetNonblocking => self.set_nonblocking(),
            InPhase::DrainEvents => self.drain_events(),
            InPhase::WipeRam => self.wipe_ram(),
            InPhase::Unwind => self.unwind(),
            // These depend on where RAM is mapped.
            InPhase::TakeAddresses | InPhase::MapVaddr | InPhase::MapVaddrOfFirst => Vec::new(),
            other => unreachable!("{other:?} has no calls here"),
        }
    }

    fn map_again(&self, shift: u64) -> Vec<Call> {
        let mut calls = Vec::new();
        for (context, ioas, mapping) in self.vm.mappings() {
            let Memory::RamFile { block, offset_bytes } = mapping.memory else { continue };
            let name = &self.vm.ram[usize::from(block)].name;
            let fd = self.descriptors.get(&Key::new(Kind::Ram, name, 0));
            let iova = mapping.iova.0.checked_add(shift).map(Iova);
            let (Some(iommufd), Some(fd), Some(iova)) = (self.context(context), fd, iova) else {
                continue;
            };
            calls.push(IommufdCall::map_file(
                iommufd,
                ioas,
                (fd, offset_bytes),
                iova,
                mapping.length_bytes,
                mapping.rights,
            ));
        }
        calls
    }

    fn remap(&self) -> Vec<Call> {
        let unmap = self.vm.mappings().filter_map(|(context, ioas, mapping)| {
            let length_bytes = mapping.length_bytes;
            let iommufd = self.context(context)?;
            Some(IommufdCall::unmap(iommufd, ioas, mapping.iova, length_bytes))
        });
        unmap.chain(self.map_again(0)).collect()
    }

    fn attach_to_first(&self) -> Vec<Call> {
        let first = self.vm.spaces().next().map(|(_, space)| space.ioas);
        let attach =
            |(_, device)| Some(Call::Device(DeviceCall::Attach { device, page_table: first? }));
        self.devices().filter_map(attach).collect()
    }

    fn set_nonblocking(&self) -> Vec<Call> {
        self.descriptors
            .iter()
            .map(|(_, fd)| Call::File(FileCall::SetNonblock { fd, on: true }))
            .collect()
    }

    fn drain_events(&self) -> Vec<Call> {
        let events = self.descriptors.iter().filter(|(key, _)| key.kind == Kind::Interrupt);
        events.map(|(_, fd)| Call::File(FileCall::ReadEvent { fd })).collect()
    }

    fn wipe_ram(&self) -> Vec<Call> {
        (self.files())
            .map(|(at, fd)| MemoryCall::punch_hole(fd, 0, self.vm.ram[at].length_bytes))
            .collect()
    }

    fn unwind(&self) -> Vec<Call> {
        let detach = self.devices().map(|(_, device)| Call::Device(DeviceCall::Detach { device }));
        let destroy = self.vm.spaces().filter_map(|(context, space)| {
            Some(Call::Iommufd(IommufdCall::Destroy {
                iommufd: self.context(context)?,
                id: space.ioas,
            }))
        });
        detach.chain(destroy).collect()
    }
}
