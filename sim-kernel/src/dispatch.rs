//! The system call table: the subsystem that answers each call, the calls that wait, and the file
//! kind that handles an ioctl.
//!
//! Each subsystem lists all of its calls, and every kind of file is listed here. A new one does not
//! compile until its author has defined its answer and whether it waits.
//!
//! Every ioctl is handled as bytes, also one that [`Call`] has a variant for: the model's codec
//! encodes it, the table of the file decodes it, and the codec reads the bytes left in the caller's
//! memory. So the simulator answers as a real kernel answers to the same bytes.
//!
//! Mirrors `arch/x86/entry/syscalls/syscall_64.tbl` and `fs/ioctl.c`: a request that a file does
//! not know fails with ENOTTY.

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

/// Returns true if the simulator models the answer of this kind of file to this ioctl. For KVM it
/// models only the ioctls that a handoff uses; for all other files, an ioctl that it does not know
/// is one that Linux does not know either.
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
    /// Answers a call. Also returns the branch that refused it, if one did.
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

    /// Returns true if this call would wait for another process: without O_NONBLOCK, a receive with
    /// `wait` on an empty socket queue that still has a sender, a read of an empty eventfd or a
    /// write to a full one; a wait for a living process; a group that joins a container whose
    /// mappings await addresses.
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

    /// Returns the answer of an ioctl, and the reason if it was refused.
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

    /// Passes an ioctl to its file.
    ///
    /// # Errors
    ///
    /// `EBADF`, `ENOTTY`, and the errnos of the file.
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
