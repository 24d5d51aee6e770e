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
use handoff_model::abi::call::{Answer, Call, FDS_PER_MESSAGE_MAX, Reply};
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
            Call::Open { path } => self.open(pid, path, place),
            Call::Close { fd } => self.close(pid, *fd),
            Call::Dup { fd } => self.dup(pid, *fd, place),
            Call::SetCloexec { fd, on } => self.set_cloexec(pid, *fd, *on),
            Call::SetNonblock { fd, on } => self.set_nonblock(pid, *fd, *on),
            Call::Stat { fd } => self.stat(pid, *fd),
            Call::WriteAt { fd, offset_bytes, bytes } => {
                self.write_at(pid, *fd, *offset_bytes, bytes)
            }
            Call::ReadAt { fd, offset_bytes, length_bytes } => {
                self.read_at(pid, *fd, *offset_bytes, *length_bytes)
            }
            Call::Eventfd => self.new_eventfd(pid, place),
            Call::ReadEvent { fd } => self.read_event(pid, *fd),
            Call::WriteEvent { fd, count } => self.write_event(pid, *fd, *count),
            Call::Read { fd, length_bytes } => self.read_queue(pid, *fd, *length_bytes),
            Call::Write { fd, bytes } => self.write_queue(pid, *fd, bytes),

            // mm
            Call::Memfd { .. } => self.memfd(pid, place),
            Call::Truncate { fd, length_bytes } => self.truncate(pid, *fd, *length_bytes),
            Call::SealSize { fd } => self.seal_size(pid, *fd),
            Call::AddSeals { fd, seals } => self.add_seals(pid, *fd, *seals),
            Call::ReopenReadOnly { fd } => self.reopen_read_only(pid, *fd, place),
            Call::PunchHole { fd, offset_bytes, length_bytes } => {
                self.punch_hole(pid, *fd, *offset_bytes, *length_bytes)
            }
            Call::Mmap { fd, offset_bytes, length_bytes } => {
                self.mmap(pid, *fd, *offset_bytes, *length_bytes, place)
            }
            Call::Munmap { va, length_bytes } => self.munmap(pid, va.0, *length_bytes),

            // process
            Call::GetMemlock => Ok(Reply::Memlock(self.process(pid).memlock_bytes)),
            Call::SetMemlock { limit_bytes } => self.set_memlock(pid, *limit_bytes),
            Call::GetUid => Ok(Reply::Uid(self.process(pid).uid)),
            Call::SetUid { uid } => self.set_uid(pid, *uid),
            Call::GetCapIpcLock => Ok(Reply::Flag(self.process(pid).cap_ipc_lock)),
            Call::DropCapIpcLock => Ok(self.drop_cap_ipc_lock(pid)),
            Call::Exec { image } => self.exec(pid, *image),
            Call::Exit { .. } => Ok(self.exit(pid)),
            Call::Kill { pidfd } => self.send_kill(pid, *pidfd),
            Call::AwaitExit { pidfd } => self.await_exit(pid, *pidfd),

            // sockets
            Call::SendMessage { fd, bytes, fds } => self.send(pid, *fd, bytes, fds),
            Call::ReceiveMessage { fd, wait } => {
                self.receive(pid, *fd, *wait, FDS_PER_MESSAGE_MAX, place)
            }
            Call::ReceiveFew { fd, fds_max } => self.receive(pid, *fd, false, *fds_max, place),
            Call::ShutdownReceive { fd } => self.shutdown(pid, *fd),

            // guests
            Call::StopGuest => Ok(self.stop_guest(pid)),
            Call::SaveGuest { fd } => self.save_guest(pid, *fd),
            Call::LoadGuest { fd } => self.load_guest(pid, *fd),
            Call::StartGuest => self.start_guest(pid),

            // ioctls, on whatever file
            Call::Destroy { .. }
            | Call::IoasAlloc { .. }
            | Call::IoasIovaRanges { .. }
            | Call::IoasMap { .. }
            | Call::IoasMapFile { .. }
            | Call::IoasCopy { .. }
            | Call::IoasUnmap { .. }
            | Call::ChangeProcess { .. }
            | Call::GetRlimitMode { .. }
            | Call::SetRlimitMode { .. }
            | Call::HwptAlloc { .. }
            | Call::ProbeHwpt { .. }
            | Call::ProbeNesting { .. }
            | Call::GetHwInfo { .. }
            | Call::Bind { .. }
            | Call::Attach { .. }
            | Call::Detach { .. }
            | Call::DeviceInfo { .. }
            | Call::RegionInfo { .. }
            | Call::IrqInfo { .. }
            | Call::SetIrqs { .. }
            | Call::Reset { .. }
            | Call::SetContainer { .. }
            | Call::SetIommu { .. }
            | Call::GroupDevice { .. }
            | Call::CanUpdateVaddr { .. }
            | Call::MapDma { .. }
            | Call::GiveVaddr { .. }
            | Call::ForgetVaddrs { .. }
            | Call::CreateVm { .. }
            | Call::CreateIrqchip { .. }
            | Call::Irqfd { .. }
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
            Call::ReadEvent { fd } => self.read_event_waits(pid, fd),
            Call::WriteEvent { fd, count } => self.write_event_waits(pid, fd, count),
            Call::AwaitExit { pidfd } => {
                self.target_of(pid, pidfd).is_ok_and(|target| self.alive(target))
            }
            Call::ReceiveMessage { fd, wait } => wait && self.receive_waits(pid, fd),
            Call::SetContainer { group, container } => {
                self.set_container_waits(pid, group, container)
            }
            Call::Open { .. }
            | Call::Close { .. }
            | Call::Dup { .. }
            | Call::SetCloexec { .. }
            | Call::SetNonblock { .. }
            | Call::Stat { .. }
            | Call::Memfd { .. }
            | Call::Truncate { .. }
            | Call::SealSize { .. }
            | Call::AddSeals { .. }
            | Call::ReopenReadOnly { .. }
            | Call::PunchHole { .. }
            | Call::WriteAt { .. }
            | Call::ReadAt { .. }
            | Call::Mmap { .. }
            | Call::Munmap { .. }
            | Call::Eventfd
            | Call::Read { .. }
            | Call::Write { .. }
            | Call::GetMemlock
            | Call::SetMemlock { .. }
            | Call::GetUid
            | Call::SetUid { .. }
            | Call::GetCapIpcLock
            | Call::DropCapIpcLock
            | Call::Exec { .. }
            | Call::Exit { .. }
            | Call::Kill { .. }
            | Call::SendMessage { .. }
            | Call::ReceiveFew { .. }
            | Call::ShutdownReceive { .. }
            | Call::StopGuest
            | Call::SaveGuest { .. }
            | Call::LoadGuest { .. }
            | Call::StartGuest
            | Call::Destroy { .. }
            | Call::IoasAlloc { .. }
            | Call::IoasIovaRanges { .. }
            | Call::IoasMap { .. }
            | Call::IoasMapFile { .. }
            | Call::IoasCopy { .. }
            | Call::IoasUnmap { .. }
            | Call::ChangeProcess { .. }
            | Call::GetRlimitMode { .. }
            | Call::SetRlimitMode { .. }
            | Call::HwptAlloc { .. }
            | Call::ProbeHwpt { .. }
            | Call::ProbeNesting { .. }
            | Call::GetHwInfo { .. }
            | Call::Bind { .. }
            | Call::Attach { .. }
            | Call::Detach { .. }
            | Call::DeviceInfo { .. }
            | Call::RegionInfo { .. }
            | Call::IrqInfo { .. }
            | Call::SetIrqs { .. }
            | Call::Reset { .. }
            | Call::SetIommu { .. }
            | Call::GroupDevice { .. }
            | Call::CanUpdateVaddr { .. }
            | Call::MapDma { .. }
            | Call::GiveVaddr { .. }
            | Call::ForgetVaddrs { .. }
            | Call::CreateVm { .. }
            | Call::CreateIrqchip { .. }
            | Call::Irqfd { .. }
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
