//! The calls of each phase of the old process.

use super::OutgoingTransport;
use crate::abi::call::{
    Call, ContainerCall, FDS_PER_MESSAGE_MAX, FileCall, GuestCall, IommufdCall, MemoryCall,
    ProcessCall, SocketCall,
};
use crate::abi::ids::{Fd, Uid};
use crate::protocol::phase::OutPhase;
use crate::role::calls::{contexts, send, take_ownership};
use crate::stream::{Message, Offer, State};
use crate::vm::{Descriptors, Key, Kind, Vm, launch};

/// The inputs from which the calls of each phase are computed.
pub(super) struct Script<'a> {
    pub(super) vm: &'a Vm,
    pub(super) descriptors: &'a Descriptors,
    /// The snapshot that the new process receives; `None` if a descriptor is missing.
    pub(super) state: Option<State>,
    pub(super) transport: OutgoingTransport,
}

impl Script<'_> {
    pub(super) fn calls(&self, phase: OutPhase) -> Vec<Call> {
        match phase {
            OutPhase::Preflight => self.preflight(),
            OutPhase::Stop => vec![Call::Guest(GuestCall::Stop)],
            OutPhase::Save => self.save(),
            OutPhase::Snapshot => self.snapshot(),
            OutPhase::ReclaimOwnership => take_ownership(self.vm, self.descriptors),
            OutPhase::Park => self.irqfds(false),
            OutPhase::Unpark => self.irqfds(true),
            OutPhase::Resume => vec![Call::Guest(GuestCall::Start)],
            OutPhase::End => Vec::new(),
            #[cfg(feature = "lab")]
            phase if phase.is_foreign() => self.foreign(phase),
            _ => match self.transport {
                OutgoingTransport::Transfer { socket, pidfd } => {
                    self.transfer(phase, socket, pidfd)
                }
                OutgoingTransport::Exec { new_image, old_image } => {
                    self.exec(phase, new_image, old_image)
                }
            },
        }
    }

    fn transfer(&self, phase: OutPhase, socket: Fd, pidfd: Fd) -> Vec<Call> {
        let say = |message| vec![send(socket, &message, Vec::new())];
        let listen = || vec![Call::Socket(SocketCall::Receive { fd: socket, wait: true })];
        match phase {
            OutPhase::Offer => {
                let blank = Offer { vm: String::new(), uid: Uid(0), user_pages: 0, early: false };
                say(Message::Offer(blank))
            }
            OutPhase::AwaitReady
            | OutPhase::AwaitAdopted
            | OutPhase::AwaitPrepared
            | OutPhase::AwaitCommitted => listen(),
            OutPhase::Confirm => say(Message::Unchanged),
            OutPhase::SendFds => self.send_descriptors(socket),
            OutPhase::Commit => say(Message::Commit),
            OutPhase::Release => self.release(socket, pidfd),
            OutPhase::Revoke => vec![Call::Socket(SocketCall::ShutdownReceive { fd: socket })],
            OutPhase::Drain => vec![Call::Socket(SocketCall::Receive { fd: socket, wait: false })],
            OutPhase::TerminatePeer => {
                let mut calls = say(Message::Abort);
                calls.push(Call::Process(ProcessCall::Kill { pidfd }));
                calls
            }
            OutPhase::AwaitGone => vec![Call::Process(ProcessCall::AwaitExit { pidfd })],
            OutPhase::Disconnect => vec![
                Call::File(FileCall::Close { fd: socket }),
                Call::File(FileCall::Close { fd: pidfd }),
            ],
            _ => Vec::new(),
        }
    }

    fn exec(&self, phase: OutPhase, new_image: Fd, old_image: Fd) -> Vec<Call> {
        match phase {
            OutPhase::OpenWindow => self.window(old_image, false),
            OutPhase::Exec => vec![Call::Process(ProcessCall::Exec { image: new_image })],
            OutPhase::CloseWindow => self.window(old_image, true),
            _ => Vec::new(),
        }
    }

    pub(super) fn get(&self, kind: Kind) -> Option<Fd> {
        self.descriptors.get(&Key::new(kind, "", 0))
    }

    fn preflight(&self) -> Vec<Call> {
        let contexts = contexts(self.vm, self.descriptors);
        let probes = contexts.map(IommufdCall::probe_change_process);
        let containers = launch::containers(self.vm, self.descriptors);
        let questions = containers
            .map(|container| Call::Container(ContainerCall::CanUpdateVaddr { container }));
        probes
            .chain(questions)
            .chain([Call::Process(ProcessCall::GetMemlock), Call::Process(ProcessCall::GetUid)])
            .collect()
    }

    fn save(&self) -> Vec<Call> {
        let calls = |fd| {
            vec![
                Call::Memory(MemoryCall::Truncate { fd, length_bytes: 0 }),
                Call::Guest(GuestCall::Save { fd }),
            ]
        };
        self.get(Kind::Guest).map(calls).unwrap_or_default()
    }

    fn snapshot(&self) -> Vec<Call> {
        let (Some(fd), Some(state)) = (self.get(Kind::Stream), &self.state) else {
            return Vec::new();
        };
        let bytes = state.to_bytes();
        vec![
            Call::Memory(MemoryCall::Truncate { fd, length_bytes: 0 }),
            FileCall::write_at(fd, 0, bytes),
        ]
    }

    fn listed(&self) -> Vec<Fd> {
        self.vm.keys().iter().filter_map(|key| self.descriptors.get(key)).collect()
    }

    /// Returns the descriptors that the new process receives.
    fn passed(&self) -> Vec<Fd> {
        let state = self.state.as_ref().map(|state| state.descriptors.iter().map(|(_, fd)| *fd));
        state.map_or_else(|| self.listed(), Iterator::collect)
    }

    /// Returns the messages that carry the descriptors, at most [`FDS_PER_MESSAGE_MAX`] each.
    fn send_descriptors(&self, socket: Fd) -> Vec<Call> {
        let listed = self.passed();
        let total = u32::try_from(listed.len()).expect("descriptors are few");
        let chunks = listed.chunks(FDS_PER_MESSAGE_MAX);
        (0..total)
            .step_by(FDS_PER_MESSAGE_MAX)
            .zip(chunks)
            .map(|(first, fds)| send(socket, &Message::Descriptors { first, total }, fds.to_vec()))
            .collect()
    }

    fn release(&self, socket: Fd, pidfd: Fd) -> Vec<Call> {
        let ram = self.vm.ram.iter();
        let unmap = ram.map(|block| {
            Call::Memory(MemoryCall::Munmap { va: block.va, length_bytes: block.length_bytes })
        });
        let own = self.get(Kind::Kvm).into_iter().chain([socket, pidfd]);
        let close =
            self.listed().into_iter().chain(own).map(|fd| Call::File(FileCall::Close { fd }));
        unmap.chain(close).chain([Call::Process(ProcessCall::Exit { status: 0 })]).collect()
    }

    fn irqfds(&self, assign: bool) -> Vec<Call> {
        let kvm_vm = self.get(Kind::Kvm);
        kvm_vm.map_or_else(Vec::new, |fd| launch::irqfds(self.vm, self.descriptors, fd, assign))
    }

    fn window(&self, old_image: Fd, on: bool) -> Vec<Call> {
        let inherited = self.passed().into_iter().chain([old_image]);
        inherited.map(|fd| Call::File(FileCall::SetCloexec { fd, on })).collect()
    }
}
