//! The calls of each phase of the new process that needs the inventory.

use super::Origin;
use crate::abi::call::{Call, Rights};
use crate::abi::ids::{Fd, Iova};
use crate::protocol::phase::InPhase;
use crate::role::outgoing::{contexts, take_ownership};
use crate::vm::launch;
use crate::vm::{Backing, Descriptors, Device, DeviceKind, Key, Kind, Memory, Vm};

/// The calls of each phase that needs the inventory.
pub(super) struct Script<'a> {
    pub(super) vm: &'a Vm,
    pub(super) descriptors: &'a Descriptors,
    pub(super) origin: Origin,
}

impl Script<'_> {
    pub(super) fn calls(&self, phase: InPhase) -> Vec<Call> {
        match phase {
            InPhase::CloseWindow => self.window(true),
            InPhase::OpenWindow => self.window(false),
            InPhase::Verify => self.verify(),
            InPhase::MapRam => self.map_ram(),
            InPhase::Load => {
                self.of_key(Kind::Guest, "").map(|fd| Call::LoadGuest { fd }).collect()
            }
            InPhase::TakeOver | InPhase::ProbeForReal => take_ownership(self.vm, self.descriptors),
            InPhase::MergeContainers => {
                let others = launch::containers(self.vm, self.descriptors).skip(1);
                others.map(|fd| Call::Close { fd }).collect()
            }
            InPhase::MapAgain => self.map_again(1 << 24),
            InPhase::MapAfresh => self.map_again(0),
            InPhase::Remap => self.remap(),
            InPhase::AttachToFirst => self.attach_to_first(),
            InPhase::ResetDevices => {
                self.devices().map(|(_, device)| Call::Detach { device }).collect()
            }
            InPhase::SetNonblocking => self.set_nonblocking(),
            InPhase::DrainEvents => self.drain_events(),
            InPhase::WipeRam => self.wipe_ram(),
            InPhase::Unwind => self.unwind(),
            _ => Vec::new(),
        }
    }

    fn of_key(&self, kind: Kind, name: &str) -> impl Iterator<Item = Fd> {
        self.descriptors.get(&Key::new(kind, name, 0)).into_iter()
    }

    fn context(&self, context: u16) -> Option<Fd> {
        let name = &self.vm.contexts.get(usize::from(context))?.name;
        self.descriptors.get(&Key::new(Kind::Iommufd, name, 0))
    }

    fn devices(&self) -> impl Iterator<Item = (&Device, Fd)> {
        let fd = |device: &Device| self.descriptors.get(&Key::new(Kind::Device, &device.name, 0));
        self.vm.devices.iter().filter_map(move |device| Some((device, fd(device)?)))
    }

    fn files(&self) -> impl Iterator<Item = (usize, Fd)> {
        let fd = |name: &str| self.descriptors.get(&Key::new(Kind::Ram, name, 0));
        (self.vm.ram.iter().enumerate())
            .filter(|(_, block)| block.backing == Backing::File)
            .filter_map(move |(at, block)| Some((at, fd(&block.name)?)))
    }

    fn window(&self, on: bool) -> Vec<Call> {
        let Origin::Exec { old_image, .. } = self.origin else { return Vec::new() };
        let inherited = self.descriptors.iter().map(|(_, fd)| fd).chain([old_image]);
        inherited.map(|fd| Call::SetCloexec { fd, on }).collect()
    }

    /// Everything that the kernel can tell without being changed.
    fn verify(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for iommufd in contexts(self.vm, self.descriptors) {
            calls.push(Call::ChangeProcess { iommufd, reserved: 1 });
        }
        for (context, space) in self.vm.spaces() {
            let Some(iommufd) = self.context(context) else { continue };
            calls.push(Call::IoasIovaRanges { iommufd, ioas: space.ioas });
            calls.extend(space.mappings.iter().map(|mapping| Call::IoasCopy {
                iommufd,
                source: space.ioas,
                source_iova: mapping.iova,
                destination: space.ioas,
                destination_iova: mapping.iova,
                length_bytes: mapping.length_bytes,
                rights: Rights::Read,
            }));
        }
        calls.extend(self.files().map(|(_, fd)| Call::Stat { fd }));
        calls.extend(self.devices().flat_map(|(device, fd)| self.verify_device(device, fd)));
        calls
    }

    fn verify_device(&self, device: &Device, fd: Fd) -> Vec<Call> {
        let mut calls = vec![Call::Stat { fd }, Call::DeviceInfo { device: fd }];
        if let (Some(iommufd), DeviceKind::Pci) = (self.context(device.context), device.kind) {
            calls.push(Call::GetHwInfo { iommufd, device: device.id });
            calls.extend(device.hwpt.map(|hwpt| Call::ProbeHwpt { iommufd, hwpt }));
            if let Some(hwpt) = device.hwpt.filter(|_| device.nest_parent) {
                calls.push(Call::ProbeNesting { iommufd, device: device.id, hwpt });
            }
        }
        let armed = device.interrupts.iter();
        calls.extend(armed.map(|irq| Call::IrqInfo { device: fd, index: irq.index }));
        calls
    }

    fn map_ram(&self) -> Vec<Call> {
        (self.files())
            .map(|(at, fd)| Call::Mmap {
                fd: Some(fd),
                offset_bytes: 0,
                length_bytes: self.vm.ram[at].length_bytes,
            })
            .collect()
    }

    fn map_again(&self, shift: u64) -> Vec<Call> {
        let mut calls = Vec::new();
        for (context, ioas, mapping) in self.vm.mappings() {
            let Memory::RamFile { block, offset_bytes } = mapping.memory else { continue };
            let name = &self.vm.ram[usize::from(block)].name;
            let fd = self.descriptors.get(&Key::new(Kind::Ram, name, 0));
            let (Some(iommufd), Some(fd)) = (self.context(context), fd) else { continue };
            calls.push(Call::IoasMapFile {
                iommufd,
                ioas,
                fd,
                offset_bytes,
                length_bytes: mapping.length_bytes,
                iova: Iova(mapping.iova.0 + shift),
                rights: mapping.rights,
            });
        }
        calls
    }

    fn remap(&self) -> Vec<Call> {
        let unmap = self.vm.mappings().filter_map(|(context, ioas, mapping)| {
            let length_bytes = mapping.length_bytes;
            let iommufd = self.context(context)?;
            Some(Call::IoasUnmap { iommufd, ioas, iova: mapping.iova, length_bytes })
        });
        unmap.chain(self.map_again(0)).collect()
    }

    fn attach_to_first(&self) -> Vec<Call> {
        let first = self.vm.spaces().next().map(|(_, space)| space.ioas);
        let attach = |(_, device)| Some(Call::Attach { device, page_table: first? });
        self.devices().filter_map(attach).collect()
    }

    fn set_nonblocking(&self) -> Vec<Call> {
        self.descriptors.iter().map(|(_, fd)| Call::SetNonblock { fd, on: true }).collect()
    }

    fn drain_events(&self) -> Vec<Call> {
        let events = self.descriptors.iter().filter(|(key, _)| key.kind == Kind::Interrupt);
        events.map(|(_, fd)| Call::ReadEvent { fd }).collect()
    }

    fn wipe_ram(&self) -> Vec<Call> {
        (self.files())
            .map(|(at, fd)| Call::PunchHole {
                fd,
                offset_bytes: 0,
                length_bytes: self.vm.ram[at].length_bytes,
            })
            .collect()
    }

    fn unwind(&self) -> Vec<Call> {
        let detach = self.devices().map(|(_, device)| Call::Detach { device });
        let destroy = self.vm.spaces().filter_map(|(context, space)| {
            Some(Call::Destroy { iommufd: self.context(context)?, id: space.ioas })
        });
        detach.chain(destroy).collect()
    }
}
