//! The calls of each phase of the new process.
//!
//! A [`Script`] holds the calls that the inventory alone determines, computed once; the others
//! depend on what the process has received so far.

use super::{Incoming, IncomingTransport};
use crate::abi::call::{
    Call, DeviceCall, FileCall, GuestCall, IommufdCall, KvmCall, MemoryCall, ProcessCall, Rights,
    SocketCall,
};
use crate::abi::ids::Fd;
use crate::protocol::phase::InPhase;
use crate::role::calls::{contexts, send, take_ownership};
use crate::stream::{Message, envelope};
use crate::vm::{Backing, Descriptors, Device, DeviceKind, Key, Kind, Vm, launch};

impl Incoming {
    /// Returns the calls of a phase that needs no inventory, without those that a mutant omits.
    pub(super) fn calls(&self, phase: InPhase) -> Vec<Call> {
        self.plan.omitted.remaining_calls(phase, self.all_calls(phase))
    }

    fn all_calls(&self, phase: InPhase) -> Vec<Call> {
        match (phase, self.transport) {
            (InPhase::Check, _) => {
                vec![Call::Process(ProcessCall::GetMemlock), Call::Process(ProcessCall::GetUid)]
            }
            (InPhase::ReadStream, IncomingTransport::Exec { stream, .. }) => vec![read(stream)],
            (InPhase::ReadStream, IncomingTransport::Transfer { .. }) => {
                self.arrived.first().map(|fd| read(*fd)).into_iter().collect()
            }
            (InPhase::MakeVm, _) => self.make_vm(),
            (InPhase::AssignIrqfds, _) => self.claim(),
            (InPhase::Run, _) => vec![Call::Guest(GuestCall::Start)],
            (InPhase::Leave, _) => vec![Call::Process(ProcessCall::Exit { status: 1 })],
            (InPhase::Fallback, IncomingTransport::Exec { old_image, .. }) => {
                vec![Call::Process(ProcessCall::Exec { image: old_image })]
            }
            (InPhase::Cleanup, IncomingTransport::Exec { old_image, .. }) => {
                vec![Call::File(FileCall::Close { fd: old_image })]
            }
            (InPhase::Cleanup, IncomingTransport::Transfer { socket }) => {
                vec![Call::File(FileCall::Close { fd: socket })]
            }
            #[cfg(feature = "lab")]
            (phase, _) if phase.is_foreign() => self.foreign(phase),
            (_, IncomingTransport::Transfer { socket }) => self.talk(phase, socket),
            (_, IncomingTransport::Exec { .. }) => Vec::new(),
        }
    }

    fn talk(&self, phase: InPhase, socket: Fd) -> Vec<Call> {
        let say = |message| vec![send(socket, &message, Vec::new())];
        match phase {
            InPhase::AwaitOffer
            | InPhase::AwaitDescriptors
            | InPhase::AwaitConfirm
            | InPhase::AwaitCommit => {
                vec![Call::Socket(SocketCall::Receive { fd: socket, wait: true })]
            }
            InPhase::Adopted => say(Message::Adopted),
            InPhase::ResolveInDoubt => {
                let reason = "the commit could not be sent".to_owned();
                let mut calls = say(Message::Refuse { reason });
                calls.push(Call::Socket(SocketCall::Receive { fd: socket, wait: true }));
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
            Call::File(FileCall::Open { path }),
            Call::Kvm(KvmCall::CreateVm { kvm }),
            Call::Kvm(KvmCall::CreateIrqchip { vm }),
            Call::File(FileCall::Close { fd: kvm }),
        ]
    }

    fn claim(&self) -> Vec<Call> {
        let (Some(adopted), Some(fd)) = (&self.adopted, self.kvm_vm) else { return Vec::new() };
        launch::irqfds(&adopted.vm, &adopted.descriptors, fd, true)
    }
}

fn read(stream: Fd) -> Call {
    let length_bytes = envelope::HEADER_BYTES as u64 + envelope::RECORD_BYTES_MAX;
    FileCall::read_at(stream, 0, length_bytes)
}

/// The calls of each phase that needs the inventory.
pub(super) struct Script<'a> {
    pub(super) vm: &'a Vm,
    pub(super) descriptors: &'a Descriptors,
    pub(super) origin: IncomingTransport,
}

impl Script<'_> {
    pub(super) fn calls(&self, phase: InPhase) -> Vec<Call> {
        match phase {
            InPhase::CloseWindow => self.window(true),
            InPhase::OpenWindow => self.window(false),
            InPhase::Verify => self.verify(),
            InPhase::MapRam => self.map_ram(),
            InPhase::Load => {
                self.of_key(Kind::Guest, "").map(|fd| Call::Guest(GuestCall::Load { fd })).collect()
            }
            InPhase::ChangeOwner => take_ownership(self.vm, self.descriptors),
            #[cfg(feature = "lab")]
            phase if phase.is_foreign() => self.foreign(phase),
            _ => Vec::new(),
        }
    }

    fn of_key(&self, kind: Kind, name: &str) -> impl Iterator<Item = Fd> {
        self.descriptors.get(&Key::new(kind, name, 0)).into_iter()
    }

    pub(super) fn context(&self, context: u16) -> Option<Fd> {
        let name = &self.vm.contexts.get(usize::from(context))?.name;
        self.descriptors.get(&Key::new(Kind::Iommufd, name, 0))
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = (&Device, Fd)> {
        let fd = |device: &Device| self.descriptors.get(&Key::new(Kind::Device, &device.name, 0));
        self.vm.devices.iter().filter_map(move |device| Some((device, fd(device)?)))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (usize, Fd)> {
        let fd = |name: &str| self.descriptors.get(&Key::new(Kind::Ram, name, 0));
        (self.vm.ram.iter().enumerate())
            .filter(|(_, block)| block.backing == Backing::File)
            .filter_map(move |(at, block)| Some((at, fd(&block.name)?)))
    }

    fn window(&self, on: bool) -> Vec<Call> {
        let IncomingTransport::Exec { old_image, .. } = self.origin else { return Vec::new() };
        let inherited = self.descriptors.iter().map(|(_, fd)| fd).chain([old_image]);
        inherited.map(|fd| Call::File(FileCall::SetCloexec { fd, on })).collect()
    }

    /// Returns the calls that compare the kernel's state with the inventory; none of them changes
    /// anything.
    fn verify(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for iommufd in contexts(self.vm, self.descriptors) {
            calls.push(IommufdCall::probe_change_process(iommufd));
        }
        for (context, space) in self.vm.spaces() {
            let Some(iommufd) = self.context(context) else { continue };
            calls.push(Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas: space.ioas }));
            calls.extend(space.mappings.iter().map(|mapping| {
                IommufdCall::copy(
                    iommufd,
                    (space.ioas, mapping.iova),
                    (space.ioas, mapping.iova),
                    mapping.length_bytes,
                    Rights::Read,
                )
            }));
        }
        calls.extend(self.files().map(|(_, fd)| Call::File(FileCall::Stat { fd })));
        calls.extend(self.devices().flat_map(|(device, fd)| self.verify_device(device, fd)));
        calls
    }

    fn verify_device(&self, device: &Device, fd: Fd) -> Vec<Call> {
        let mut calls =
            vec![Call::File(FileCall::Stat { fd }), Call::Device(DeviceCall::Info { device: fd })];
        if let (Some(iommufd), DeviceKind::Pci) = (self.context(device.context), device.kind) {
            calls.push(Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device: device.id }));
            calls.extend(
                device.hwpt.map(|hwpt| Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt })),
            );
            if let Some(hwpt) = device.hwpt.filter(|_| device.nest_parent) {
                calls.push(Call::Iommufd(IommufdCall::ProbeNesting {
                    iommufd,
                    device: device.id,
                    hwpt,
                }));
            }
        }
        let armed = device.interrupts.iter();
        calls.extend(
            armed.map(|irq| Call::Device(DeviceCall::IrqInfo { device: fd, index: irq.index })),
        );
        calls
    }

    fn map_ram(&self) -> Vec<Call> {
        (self.files())
            .map(|(at, fd)| MemoryCall::mmap(Some(fd), 0, self.vm.ram[at].length_bytes))
            .collect()
    }
}
