//! The system call table: which subsystem answers a call, which of them have calls that wait, and
//! which file takes an ioctl.
//!
//! Each subsystem names all of its calls, and every kind of file is named here, so a new one does
//! not compile before its author decides how it is answered and whether it waits.
//!
//! Every ioctl comes as bytes, also one that [`Call`] has a form for: the codec of the model lays
//! it out, the table of the file finds it, and the codec reads what was left. So the simulator
//! answers what a real kernel answers to the same bytes.
//!
//! Mirrors `arch/x86/entry/syscalls/syscall_64.tbl` and `fs/ioctl.c`: a request that a file does
//! not know is ENOTTY.

use crate::fs::File;
use crate::machine::{Machine, Placement};
use crate::syscall::{Failure, Request, SyscallResult, User, fail};
use crate::{iommufd, kvm};
use handoff_model::abi::argument::Ioctl;
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::uapi;
use handoff_model::abi::view::FileKind;

/// Whether the simulator knows what a file of this kind answers to this ioctl. Of KVM it knows what
/// a handoff touches; what it does not know of another file, Linux does not know either.
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
    pub(crate) fn dispatch(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> (CallResult, Option<Failure>) {
        let answered = match call {
            Call::File(call) => self.file_call(pid, call, place),
            Call::Memory(call) => self.memory_call(pid, call, place),
            Call::Process(call) => self.process_call(pid, call),
            Call::Socket(call) => self.socket_call(pid, call, place),
            Call::Guest(call) => self.guest_call(pid, call),
            Call::Iommufd(_)
            | Call::Device(_)
            | Call::Container(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => return self.ioctl_call(pid, call, place),
        };
        (answered.clone().map_err(Errno::from), answered.err())
    }

    /// Whether this call would wait for another process: a receive with `wait` on an empty queue of
    /// a socket to which somebody may still send, an eventfd that is empty or full, both without
    /// O_NONBLOCK; a wait for a process that lives; a group that joins where addresses are awaited.
    pub fn would_block(&self, pid: Pid, call: &Call) -> bool {
        match call {
            Call::File(call) => self.file_call_waits(pid, call),
            Call::Process(call) => self.process_call_waits(pid, call),
            Call::Socket(call) => self.socket_call_waits(pid, call),
            Call::Container(call) => self.container_call_waits(pid, call),
            // No call of these subsystems waits for another process.
            Call::Memory(_)
            | Call::Guest(_)
            | Call::Iommufd(_)
            | Call::Device(_)
            | Call::Kvm(_)
            | Call::Ioctl { .. } => false,
        }
    }

    /// The answer of an ioctl, and why it was refused.
    fn ioctl_call(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> (CallResult, Option<Failure>) {
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
    ) -> SyscallResult<u32> {
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
            | File::Queue(_) => Err(fail(Errno::ENOTTY)),
        }
    }
}
