//! The system call table: which function answers a call, which calls wait, which file takes an
//! ioctl.
//!
//! Every call and every kind of file is named, so a new one does not compile before its author
//! decides how it is answered and whether it waits. The subsystems do not know this table.
//!
//! Every ioctl comes as bytes, also one that [`Call`] has a form for: the codec of the model lays it
//! out, the table of the file finds it, and the codec reads what was left. So the simulator answers
//! what a real kernel answers to the same bytes.
//!
//! Mirrors `arch/x86/entry/syscalls/syscall_64.tbl` and `fs/ioctl.c`: a request that a file does
//! not know is ENOTTY.

use crate::fs::File;
use crate::machine::{Machine, Placement};
use crate::syscall::{Answered, Refusal, Request, User, refuse};
use crate::{iommufd, kvm};
use handoff_model::abi::argument::Ioctl;
use handoff_model::abi::call::{
    Answer, Call, ContainerCall, DeviceCall, FDS_PER_MESSAGE_MAX, FileCall, GuestCall, IommufdCall,
    KvmCall, MemoryCall, ProcessCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::uapi;
use handoff_model::abi::view::FileKind;

/// Whether the simulator knows what a file of this kind answers to this ioctl. Of KVM it knows what a
/// handoff touches; what it does not know of another file, Linux does not know either.
pub fn is_modelled(ioctl: &Ioctl, kind: FileKind) -> bool {
    match kind {
        FileKind::Iommufd => iommufd::is_modelled(ioctl.request),
        FileKind::Kvm => kvm::OF_KVM.contains(&ioctl.request),
        FileKind::Vm => kvm::OF_VM.contains(&ioctl.request),
        FileKind::Vcpu => false,
        FileKind::KvmVfio => kvm::OF_VFIO.contains(&ioctl.request),
        FileKind::Device
        | FileKind::Group
        | FileKind::Container
        | FileKind::Memfd
        | FileKind::Eventfd
        | FileKind::Socket
        | FileKind::Pidfd
        | FileKind::Image
        | FileKind::MigrationData
        | FileKind::Other => true,
    }
}

impl Machine {
    /// Answers a call; → also the branch that refused it.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(crate) fn dispatch(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> (Answer, Option<Refusal>) {
        let answered = match call {
            // fs
            Call::File(FileCall::Open { path }) => self.open(pid, path, place),
            Call::File(FileCall::Close { fd }) => self.close(pid, *fd),
            Call::File(FileCall::Dup { fd }) => self.dup(pid, *fd, place),
            Call::File(FileCall::SetCloexec { fd, on }) => self.set_cloexec(pid, *fd, *on),
            Call::File(FileCall::SetNonblock { fd, on }) => self.set_nonblock(pid, *fd, *on),
            Call::File(FileCall::Stat { fd }) => self.stat(pid, *fd),
            Call::File(FileCall::WriteAt { fd, offset_bytes, bytes }) => {
                self.write_at(pid, *fd, *offset_bytes, bytes)
            }
            Call::File(FileCall::ReadAt { fd, offset_bytes, length_bytes }) => {
                self.read_at(pid, *fd, *offset_bytes, *length_bytes)
            }
            Call::File(FileCall::Eventfd) => self.new_eventfd(pid, place),
            Call::File(FileCall::ReadEvent { fd }) => self.read_event(pid, *fd),
            Call::File(FileCall::WriteEvent { fd, count }) => self.write_event(pid, *fd, *count),
            Call::File(FileCall::Read { fd, length_bytes }) => {
                self.read_queue(pid, *fd, *length_bytes)
            }
            Call::File(FileCall::Write { fd, bytes }) => self.write_queue(pid, *fd, bytes),

            // mm
            Call::Memory(MemoryCall::Memfd { .. }) => self.memfd(pid, place),
            Call::Memory(MemoryCall::Truncate { fd, length_bytes }) => {
                self.truncate(pid, *fd, *length_bytes)
            }
            Call::Memory(MemoryCall::SealSize { fd }) => self.seal_size(pid, *fd),
            Call::Memory(MemoryCall::AddSeals { fd, seals }) => self.add_seals(pid, *fd, *seals),
            Call::Memory(MemoryCall::ReopenReadOnly { fd }) => {
                self.reopen_read_only(pid, *fd, place)
            }
            Call::Memory(MemoryCall::PunchHole { fd, offset_bytes, length_bytes }) => {
                self.punch_hole(pid, *fd, *offset_bytes, *length_bytes)
            }
            Call::Memory(MemoryCall::Mmap { fd, offset_bytes, length_bytes }) => {
                self.mmap(pid, *fd, *offset_bytes, *length_bytes, place)
            }
            Call::Memory(MemoryCall::Munmap { va, length_bytes }) => {
                self.munmap(pid, va.0, *length_bytes)
            }

            // process
            Call::Process(ProcessCall::GetMemlock) => {
                Ok(Reply::Memlock(self.process(pid).memlock_bytes))
            }
            Call::Process(ProcessCall::SetMemlock { limit_bytes }) => {
                self.set_memlock(pid, *limit_bytes)
            }
            Call::Process(ProcessCall::GetUid) => Ok(Reply::Uid(self.process(pid).uid)),
            Call::Process(ProcessCall::SetUid { uid }) => self.set_uid(pid, *uid),
            Call::Process(ProcessCall::GetCapIpcLock) => {
                Ok(Reply::Flag(self.process(pid).cap_ipc_lock))
            }
            Call::Process(ProcessCall::DropCapIpcLock) => Ok(self.drop_cap_ipc_lock(pid)),
            Call::Process(ProcessCall::Exec { image }) => self.exec(pid, *image),
            Call::Process(ProcessCall::Exit { .. }) => Ok(self.exit(pid)),
            Call::Process(ProcessCall::Kill { pidfd }) => self.send_kill(pid, *pidfd),
            Call::Process(ProcessCall::AwaitExit { pidfd }) => self.await_exit(pid, *pidfd),

            // sockets
            Call::Socket(SocketCall::Send { fd, bytes, fds }) => self.send(pid, *fd, bytes, fds),
            Call::Socket(SocketCall::Receive { fd, wait }) => {
                self.receive(pid, *fd, *wait, FDS_PER_MESSAGE_MAX, place)
            }
            Call::Socket(SocketCall::ReceiveFew { fd, fds_max }) => {
                self.receive(pid, *fd, false, *fds_max, place)
            }
            Call::Socket(SocketCall::ShutdownReceive { fd }) => self.shutdown(pid, *fd),

            // guests
            Call::Guest(GuestCall::Stop) => Ok(self.stop_guest(pid)),
            Call::Guest(GuestCall::Save { fd }) => self.save_guest(pid, *fd),
            Call::Guest(GuestCall::Load { fd }) => self.load_guest(pid, *fd),
            Call::Guest(GuestCall::Start) => self.start_guest(pid),

            // ioctls, on whatever file
            Call::Iommufd(
                IommufdCall::Destroy { .. }
                | IommufdCall::IoasAlloc { .. }
                | IommufdCall::IoasIovaRanges { .. }
                | IommufdCall::IoasMap { .. }
                | IommufdCall::IoasMapFile { .. }
                | IommufdCall::IoasCopy { .. }
                | IommufdCall::IoasUnmap { .. }
                | IommufdCall::ChangeProcess { .. }
                | IommufdCall::GetRlimitMode { .. }
                | IommufdCall::SetRlimitMode { .. }
                | IommufdCall::HwptAlloc { .. }
                | IommufdCall::ProbeHwpt { .. }
                | IommufdCall::ProbeNesting { .. }
                | IommufdCall::GetHwInfo { .. },
            )
            | Call::Device(
                DeviceCall::Bind { .. }
                | DeviceCall::Attach { .. }
                | DeviceCall::Detach { .. }
                | DeviceCall::Info { .. }
                | DeviceCall::RegionInfo { .. }
                | DeviceCall::IrqInfo { .. }
                | DeviceCall::SetIrqs { .. }
                | DeviceCall::Reset { .. },
            )
            | Call::Container(
                ContainerCall::SetContainer { .. }
                | ContainerCall::SetIommu { .. }
                | ContainerCall::GroupDevice { .. }
                | ContainerCall::CanUpdateVaddr { .. }
                | ContainerCall::MapDma { .. }
                | ContainerCall::GiveVaddr { .. }
                | ContainerCall::ForgetVaddrs { .. },
            )
            | Call::Kvm(
                KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. } | KvmCall::Irqfd { .. },
            )
            | Call::Ioctl { .. } => return self.ioctl_call(pid, call, place),
        };
        (answered.clone().map_err(Errno::from), answered.err())
    }

    /// Whether this call would wait for another process: a receive with `wait` on an empty queue of a
    /// socket to which somebody may still send, an eventfd that is empty or full, both without O_NONBLOCK; a wait for a process
    /// that lives; a group that joins where addresses are awaited.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn would_block(&self, pid: Pid, call: &Call) -> bool {
        match *call {
            Call::File(FileCall::ReadEvent { fd }) => self.read_event_waits(pid, fd),
            Call::File(FileCall::WriteEvent { fd, count }) => {
                self.write_event_waits(pid, fd, count)
            }
            Call::Process(ProcessCall::AwaitExit { pidfd }) => {
                self.target_of(pid, pidfd).is_ok_and(|target| self.alive(target))
            }
            Call::Socket(SocketCall::Receive { fd, wait }) => wait && self.receive_waits(pid, fd),
            Call::Container(ContainerCall::SetContainer { group, container }) => {
                self.set_container_waits(pid, group, container)
            }
            Call::File(
                FileCall::Open { .. }
                | FileCall::Close { .. }
                | FileCall::Dup { .. }
                | FileCall::SetCloexec { .. }
                | FileCall::SetNonblock { .. }
                | FileCall::Stat { .. }
                | FileCall::WriteAt { .. }
                | FileCall::ReadAt { .. }
                | FileCall::Eventfd
                | FileCall::Read { .. }
                | FileCall::Write { .. },
            )
            | Call::Memory(
                MemoryCall::Memfd { .. }
                | MemoryCall::Truncate { .. }
                | MemoryCall::SealSize { .. }
                | MemoryCall::AddSeals { .. }
                | MemoryCall::ReopenReadOnly { .. }
                | MemoryCall::PunchHole { .. }
                | MemoryCall::Mmap { .. }
                | MemoryCall::Munmap { .. },
            )
            | Call::Process(
                ProcessCall::GetMemlock
                | ProcessCall::SetMemlock { .. }
                | ProcessCall::GetUid
                | ProcessCall::SetUid { .. }
                | ProcessCall::GetCapIpcLock
                | ProcessCall::DropCapIpcLock
                | ProcessCall::Exec { .. }
                | ProcessCall::Exit { .. }
                | ProcessCall::Kill { .. },
            )
            | Call::Socket(
                SocketCall::Send { .. }
                | SocketCall::ReceiveFew { .. }
                | SocketCall::ShutdownReceive { .. },
            )
            | Call::Guest(
                GuestCall::Stop
                | GuestCall::Save { .. }
                | GuestCall::Load { .. }
                | GuestCall::Start,
            )
            | Call::Iommufd(
                IommufdCall::Destroy { .. }
                | IommufdCall::IoasAlloc { .. }
                | IommufdCall::IoasIovaRanges { .. }
                | IommufdCall::IoasMap { .. }
                | IommufdCall::IoasMapFile { .. }
                | IommufdCall::IoasCopy { .. }
                | IommufdCall::IoasUnmap { .. }
                | IommufdCall::ChangeProcess { .. }
                | IommufdCall::GetRlimitMode { .. }
                | IommufdCall::SetRlimitMode { .. }
                | IommufdCall::HwptAlloc { .. }
                | IommufdCall::ProbeHwpt { .. }
                | IommufdCall::ProbeNesting { .. }
                | IommufdCall::GetHwInfo { .. },
            )
            | Call::Device(
                DeviceCall::Bind { .. }
                | DeviceCall::Attach { .. }
                | DeviceCall::Detach { .. }
                | DeviceCall::Info { .. }
                | DeviceCall::RegionInfo { .. }
                | DeviceCall::IrqInfo { .. }
                | DeviceCall::SetIrqs { .. }
                | DeviceCall::Reset { .. },
            )
            | Call::Container(
                ContainerCall::SetIommu { .. }
                | ContainerCall::GroupDevice { .. }
                | ContainerCall::CanUpdateVaddr { .. }
                | ContainerCall::MapDma { .. }
                | ContainerCall::GiveVaddr { .. }
                | ContainerCall::ForgetVaddrs { .. },
            )
            | Call::Kvm(
                KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. } | KvmCall::Irqfd { .. },
            )
            | Call::Ioctl { .. } => false,
        }
    }

    /// The answer of an ioctl, and why it was refused.
    fn ioctl_call(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> (Answer, Option<Refusal>) {
        let (fd, ioctl) = uapi::encode(call).expect("the codec knows every ioctl");
        let mut user = User::new(&ioctl.argument);
        let result = self.ioctl(pid, fd, ioctl.request, &mut user, place);
        let outcome = user.outcome(result.map_err(Errno::from));
        (uapi::answer(call, outcome), result.err())
    }

    /// EBADF, ENOTTY, and what the file says.
    fn ioctl(
        &mut self,
        pid: Pid,
        fd: Fd,
        number: u32,
        user: &mut User,
        place: &Placement,
    ) -> Answered<u32> {
        let file = self.usable(pid, fd)?;
        let mut request = Request { pid, file, number, user, place };
        match *self.file(file) {
            File::Iommufd(context) => self.iommufd_ioctl(context, &mut request),
            File::Device(device) => self.device_ioctl(device, &mut request),
            File::Kvm => self.kvm_ioctl(&mut request),
            File::Vm(vm) => self.vm_ioctl(vm, &mut request),
            File::Vcpu(vm) => self.vcpu_ioctl(vm, &request),
            File::KvmVfio(vm) => self.kvm_vfio_ioctl(vm, &request),
            File::Migration(stream) => self.precopy_ioctl(stream, &mut request),
            File::Group(group) => self.group_ioctl(group, &mut request),
            File::Container(container) => self.container_ioctl(container, &mut request),
            File::Memfd(_)
            | File::ReadOnlyMemfd(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::Image(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_) => Err(refuse(Errno::ENOTTY)),
        }
    }
}
