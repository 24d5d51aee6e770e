//! `ioctl(2)`: by the kind of the file to its table of requests.
//!
//! Every ioctl comes as bytes, also one that [`Call`] has a form for: the codec of the model lays it
//! out, the table of the file finds it, and the codec reads what was left. So the simulator answers
//! what a real kernel answers to the same bytes.
//!
//! Mirrors `fs/ioctl.c`: a request that a file does not know is ENOTTY.

use crate::fs::File;
use crate::kvm;
use crate::machine::{Machine, Placement};
use crate::syscall::refusal::{Answered, Refusal, refuse};
use crate::syscall::user_memory::User;
use crate::value::slots::FileId;
use handoff_model::argument::Ioctl;
use handoff_model::call::{Answer, Call};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Pid};
use handoff_model::uapi;
use handoff_model::view::FileKind;

/// An ioctl under way: who, on which file, with what.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) pid: Pid,
    pub(crate) file: FileId,
    pub(crate) number: u32,
    pub(crate) user: &'a mut User,
    pub(crate) place: &'a Placement,
}

/// Whether the simulator knows what a file of this kind answers to this ioctl. Of KVM it knows what a
/// handoff touches; what it does not know of another file, Linux does not know either.
pub fn is_modelled(ioctl: &Ioctl, kind: FileKind) -> bool {
    match kind {
        FileKind::Iommufd => crate::iommufd::ioctl_table::is_modelled(ioctl.request),
        FileKind::Kvm => kvm::OF_KVM.contains(&ioctl.request),
        FileKind::Vm => kvm::OF_VM.contains(&ioctl.request),
        FileKind::Vcpu => false,
        FileKind::KvmVfio => kvm::OF_VFIO.contains(&ioctl.request),
        _ => true,
    }
}

impl Machine {
    /// The answer of an ioctl, and why it was refused; `None` for a call that is none.
    pub(crate) fn ioctl_call(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> Option<(Answer, Option<Refusal>)> {
        let (fd, ioctl) = uapi::encode(call)?;
        let mut user = User::new(&ioctl.argument);
        let result = self.ioctl(pid, fd, ioctl.request, &mut user, place);
        let outcome = user.outcome(result.map_err(Errno::from));
        Some((uapi::answer(call, outcome), result.err()))
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
            _ => Err(refuse(Errno::ENOTTY)),
        }
    }
}
