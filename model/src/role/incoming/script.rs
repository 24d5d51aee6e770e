//! The calls of each phase of the new process.
//!
//! Those that only the inventory decides are a [`Script`], made once; the others follow from what the
//! process has learned so far.

use super::{Incoming, Origin};
use crate::abi::call::{Call, Rights};
use crate::abi::ids::{Fd, Iova};
use crate::abi::uapi::rfc_v1::{self, Move};
use crate::protocol::phase::InPhase;
use crate::role::calls::{contexts, send, take_ownership};
use crate::stream::{Message, envelope};
use crate::vm::{Backing, Descriptors, Device, DeviceKind, Key, Kind, Memory, Vm, launch};

impl Incoming {
    /// The calls of a phase that needs no inventory, without those that are not made.
    pub(super) fn calls(&self, phase: InPhase) -> Vec<Call> {
        self.plan.omitted.made(phase, self.all_calls(phase))
    }

    fn all_calls(&self, phase: InPhase) -> Vec<Call> {
        match (phase, self.origin) {
            (InPhase::Check, _) => vec![Call::GetMemlock, Call::GetUid],
            (InPhase::ReadStream, Origin::Exec { stream, .. }) => vec![read(stream)],
            (InPhase::ReadStream, Origin::Transfer { .. }) => {
                self.arrived.first().map(|fd| read(*fd)).into_iter().collect()
            }
            (InPhase::MakeVm, _) => self.make_vm(),
            (InPhase::Claim, _) => self.claim(),
            (InPhase::TakeAddresses, _) => self.take_addresses(),
            (InPhase::MapVaddr | InPhase::MapVaddrOfFirst, _) => self.new_addresses(phase),
            (InPhase::Run, _) => vec![Call::StartGuest],
            (InPhase::Leave, _) => vec![Call::Exit { status: 1 }],
            (InPhase::Fallback, Origin::Exec { old_image, .. }) => {
                vec![Call::Exec { image: old_image }]
            }
            (InPhase::Settle, Origin::Exec { old_image, .. }) => {
                vec![Call::Close { fd: old_image }]
            }
            (InPhase::Settle, Origin::Transfer { socket }) => vec![Call::Close { fd: socket }],
            (_, Origin::Transfer { socket }) => self.talk(phase, socket),
            (_, Origin::Exec { .. }) => Vec::new(),
        }
    }

    fn talk(&self, phase: InPhase, socket: Fd) -> Vec<Call> {
        let say = |message| vec![send(socket, &message, Vec::new())];
        match phase {
            InPhase::AwaitOffer
            | InPhase::AwaitDescriptors
            | InPhase::AwaitConfirm
            | InPhase::AwaitCommit => {
                vec![Call::ReceiveMessage { fd: socket, wait: true }]
            }
            InPhase::Adopted => say(Message::Adopted),
            InPhase::AwaitFate => {
                let reason = "the commit could not be told".to_owned();
                let mut calls = say(Message::Refuse { reason });
                calls.push(Call::ReceiveMessage { fd: socket, wait: true });
                calls
            }
            InPhase::Ready => say(Message::Ready { uid: self.uid }),
            InPhase::Prepared => say(Message::Prepared),
            InPhase::Committed => say(Message::Committed),
            InPhase::Refuse => say(Message::Refuse { reason: self.reason.clone() }),
            _ => Vec::new(),
        }
    }

    fn make_vm(&self) -> Vec<Call> {
        if !self.adopted.as_ref().is_some_and(|adopted| adopted.vm.irqfds) {
            return Vec::new();
        }
        let [kvm, vm] = [self.kvm, self.kvm_vm].map(|fd| fd.unwrap_or(Fd(-1)));
        let path = launch::KVM.to_owned();
        vec![
            Call::Open { path },
            Call::CreateVm { kvm },
            Call::CreateIrqchip { vm },
            Call::Close { fd: kvm },
        ]
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

    fn claim(&self) -> Vec<Call> {
        let (Some(adopted), Some(fd)) = (&self.adopted, self.kvm_vm) else { return Vec::new() };
        launch::irqfds(&adopted.vm, &adopted.descriptors, fd, true)
    }

    /// Where guest RAM fell is known only when it is mapped.
    fn new_addresses(&self, phase: InPhase) -> Vec<Call> {
        let Some((vm, descriptors)) = self.inventory() else { return Vec::new() };
        let mut containers: Vec<_> = launch::containers(&vm, &descriptors).collect();
        if phase == InPhase::MapVaddrOfFirst {
            containers.truncate(1);
        }
        launch::new_addresses(&vm, |at| containers.get(usize::from(at)).copied())
    }
}

fn read(stream: Fd) -> Call {
    let length_bytes = envelope::HEADER_BYTES as u64 + envelope::RECORD_BYTES_MAX;
    Call::ReadAt { fd: stream, offset_bytes: 0, length_bytes }
}

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
