//! KVM, as far as a handoff uses it: virtual machines, and the VFIO files that they know.
//!
//! A VM belongs to the memory map that created it: calls of any other process fail with EIO. It
//! lives as long as one of its files (its own, a vCPU's, its VFIO device's) or a device that was
//! bound while the VM knew its file. Its irqfds ([`crate::kvm::irqfd`]) are removed with its own
//! file; the guest of its process dies with the VM.
//!
//! A VM has at most one VFIO device, so the VM itself lists and keeps the files that were added to
//! it. The file records the VM, and clears that when any VM drops the file; only BIND reads it.
//!
//! Other folders inject interrupts and end irqfds (`fs`, `process`), and drop the VMs that they
//! keep (`vfio`).
//!
//! Absent: running vCPUs, memory slots, interrupt routes (every gsi leads to the guest), split
//! irqchips, and every other request: [`crate::is_modelled`].
//!
//! Mirrors `virt/kvm/kvm_main.c`, `virt/kvm/vfio.c` and `arch/x86/kvm/x86.c`.

mod irqfd;

use crate::fs::{File, Signal};
use crate::kvm::irqfd::Irqfd;
use crate::machine::Machine;
use crate::mm::MmId;
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{FileId, VmId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;
use std::collections::BTreeSet;

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vm {
    /// The memory map of its creator.
    pub(crate) mm: MmId,
    /// True if it has an interrupt controller.
    irqchip: bool,
    /// The numbers of its vCPUs.
    vcpus: BTreeSet<u64>,
    /// The files that were added to its VFIO device. Holds a reference to each; oldest first.
    pub(crate) vfio_files: Vec<FileId>,
    /// Its irqfds, oldest first.
    pub(crate) irqfds: Vec<Irqfd>,
    /// Interrupts that were injected and not yet delivered.
    pub(crate) pending: Vec<Signal>,
}

impl Vm {
    fn has_irqfd(&self, event: FileId) -> bool {
        self.irqfds.iter().any(|irqfd| irqfd.event == event)
    }
}

/// `KVM_API_VERSION`.
const API_VERSION: u32 = 12;

/// `KVM_MAX_VCPU_IDS` of a kernel with at most 1024 CPUs.
const VCPU_IDS: u64 = 4096;

/// `struct kvm_create_device`.
mod create_device {
    pub(super) const TYPE: usize = 0;
    pub(super) const FD: usize = 4;
    pub(super) const FLAGS: usize = 8;
    pub(super) const SIZE: usize = 12;
    /// `KVM_DEV_TYPE_VFIO`.
    pub(super) const VFIO: u32 = 4;
    /// `KVM_CREATE_DEVICE_TEST`.
    pub(super) const TEST: u32 = 1;
}

/// `struct kvm_device_attr`.
mod device_attr {
    pub(super) const GROUP: usize = 4;
    pub(super) const ATTR: usize = 8;
    pub(super) const ADDR: usize = 16;
    pub(super) const SIZE: usize = 24;
    /// `KVM_DEV_VFIO_FILE`, `KVM_DEV_VFIO_FILE_ADD`, `KVM_DEV_VFIO_FILE_DEL`.
    pub(super) const FILE: u32 = 1;
    pub(super) const ADD: u64 = 1;
    pub(super) const DEL: u64 = 2;
}

/// The modelled requests: of `/dev/kvm`, of a VM, of its VFIO device.
pub(crate) const OF_KVM: &[u32] = &[nr::KVM_GET_API_VERSION, nr::KVM_CREATE_VM];
pub(crate) const OF_VM: &[u32] =
    &[nr::KVM_CREATE_VCPU, nr::KVM_CREATE_IRQCHIP, nr::KVM_IRQFD, nr::KVM_CREATE_DEVICE];
pub(crate) const OF_VFIO: &[u32] = &[nr::KVM_SET_DEVICE_ATTR, nr::KVM_HAS_DEVICE_ATTR];

impl Machine {
    /// Handles an ioctl of `/dev/kvm` (`kvm_dev_ioctl`). Fails with `EINVAL` for one that is not
    /// known.
    pub(crate) fn kvm_ioctl(&mut self, request: &mut Request<'_>) -> SyscallResult<u32> {
        let argument = request.user.value;
        match request.number {
            nr::KVM_GET_API_VERSION if argument == 0 => Ok(API_VERSION),
            nr::KVM_CREATE_VM if argument == 0 => self.create_vm(request),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    fn create_vm(&mut self, request: &Request<'_>) -> SyscallResult<u32> {
        let mm = self.mm(request.pid);
        let vm = Vm {
            mm,
            irqchip: false,
            vcpus: BTreeSet::new(),
            vfio_files: Vec::new(),
            irqfds: Vec::new(),
            pending: Vec::new(),
        };
        self.atomically(|machine| {
            let vm = machine.vms.insert(vm);
            machine.install_new(request.pid, File::Vm(vm), request.place.fd).map(number)
        })
    }

    /// Iterates over the VMs that a process has created.
    pub(crate) fn vms_of(&self, pid: Pid) -> impl Iterator<Item = (VmId, &Vm)> {
        let mm = self.mm(pid);
        self.vms.iter().filter(move |(_, vm)| vm.mm == mm)
    }

    /// Fails with `EIO` if another memory map created the VM.
    fn own_vm(&self, pid: Pid, vm: VmId) -> SyscallResult<()> {
        if self.vms.get(vm).mm == self.mm(pid) { Ok(()) } else { Err(fail(Errno::EIO)) }
    }

    /// Handles an ioctl of a VM (`kvm_vm_ioctl`).
    pub(crate) fn vm_ioctl(&mut self, vm: VmId, request: &mut Request<'_>) -> SyscallResult<u32> {
        self.own_vm(request.pid, vm)?;
        match request.number {
            nr::KVM_CREATE_VCPU => self.create_vcpu(vm, request),
            nr::KVM_CREATE_IRQCHIP => self.create_irqchip(vm).map(|()| 0),
            nr::KVM_IRQFD => self.irqfd(vm, request).map(|()| 0),
            nr::KVM_CREATE_DEVICE => self.create_kvm_device(vm, request).map(|()| 0),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// Refuses every ioctl of a vCPU: none is modelled (`kvm_vcpu_ioctl`). Fails with `EIO` for a
    /// caller that did not create the VM, else `EINVAL`.
    pub(crate) fn vcpu_ioctl(&mut self, vm: VmId, request: &Request<'_>) -> SyscallResult<u32> {
        self.own_vm(request.pid, vm)?;
        Err(fail(Errno::EINVAL))
    }

    /// Creates a vCPU (`kvm_vm_ioctl_create_vcpu`). Fails with `EINVAL` if the number is too high,
    /// `EEXIST`, `EMFILE`.
    fn create_vcpu(&mut self, vm: VmId, request: &Request<'_>) -> SyscallResult<u32> {
        let id = request.user.value;
        if id >= VCPU_IDS {
            return Err(fail(Errno::EINVAL));
        }
        self.atomically(|machine| {
            if !machine.vms.get_mut(vm).vcpus.insert(id) {
                return Err(fail(Errno::EEXIST));
            }
            machine.install_new(request.pid, File::Vcpu(vm), request.place.fd).map(number)
        })
    }

    /// Creates an interrupt controller. Fails with `EEXIST`, or with `EINVAL` if the VM has a vCPU.
    fn create_irqchip(&mut self, vm: VmId) -> SyscallResult<()> {
        let vm = self.vms.get_mut(vm);
        if vm.irqchip {
            return Err(fail(Errno::EEXIST));
        }
        if !vm.vcpus.is_empty() {
            return Err(fail(Errno::EINVAL));
        }
        vm.irqchip = true;
        Ok(())
    }

    /// Creates the VFIO device (`kvm_ioctl_create_device`). Fails with `EFAULT`, `ENODEV` for
    /// another type, `EBUSY` for a second one.
    fn create_kvm_device(&mut self, vm: VmId, request: &mut Request<'_>) -> SyscallResult<()> {
        use create_device::{FD, FLAGS, SIZE, TEST, TYPE, VFIO};
        let mut device = request.user.copy(SIZE)?;
        if device.u32(TYPE) != VFIO {
            return Err(fail(Errno::ENODEV));
        }
        if device.u32(FLAGS) & TEST == 0 {
            if self.is_any_open(&[File::KvmVfio(vm)]) {
                return Err(fail(Errno::EBUSY));
            }
            let fd = self.install_new(request.pid, File::KvmVfio(vm), request.place.fd)?;
            device.set_u32(FD, fd.0.cast_unsigned());
        }
        request.user.write(0, &device.0)
    }

    /// Handles an ioctl of a VM's VFIO device (`kvm_device_ioctl`). Fails with `EIO`, `ENOTTY`,
    /// `EFAULT`, `ENXIO` for an attribute that it does not have.
    pub(crate) fn kvm_vfio_ioctl(&mut self, vm: VmId, request: &Request<'_>) -> SyscallResult<u32> {
        use device_attr::{ADD, ADDR, ATTR, DEL, FILE, GROUP, SIZE};
        self.own_vm(request.pid, vm)?;
        if !OF_VFIO.contains(&request.number) {
            return Err(fail(Errno::ENOTTY));
        }
        let attr = request.user.copy(SIZE)?;
        let which = attr.u64(ATTR);
        if attr.u32(GROUP) != FILE || ![ADD, DEL].contains(&which) {
            return Err(fail(Errno::ENXIO));
        }
        if request.number == nr::KVM_SET_DEVICE_ATTR {
            let bytes = request.user.read_through(ADDR, 0, size_of::<i32>())?;
            let fd = Fd(i32::from_ne_bytes(*bytes.first_chunk().expect("as long as asked")));
            match which {
                ADD => self.add_vfio_file(vm, request, fd)?,
                _ => self.drop_vfio_file(vm, request, fd)?,
            }
        }
        Ok(0)
    }

    /// Adds a file (`kvm_vfio_file_add`). Fails with `EBADF`, `EINVAL` for a file that is not of
    /// VFIO, `EEXIST`.
    fn add_vfio_file(&mut self, vm: VmId, request: &Request<'_>, fd: Fd) -> SyscallResult<()> {
        let file = self.usable(request.pid, fd)?;
        if !self.file(file).is_vfio() {
            return Err(fail(Errno::EINVAL));
        }
        let known = &mut self.vms.get_mut(vm).vfio_files;
        if known.contains(&file) {
            return Err(fail(Errno::EEXIST));
        }
        known.push(file);
        self.get_file(file);
        self.set_kvm(file, Some(vm));
        Ok(())
    }

    /// Removes a file (`kvm_vfio_file_del`). Fails with `EBADF`, `ENOENT`.
    fn drop_vfio_file(&mut self, vm: VmId, request: &Request<'_>, fd: Fd) -> SyscallResult<()> {
        let file = self.usable(request.pid, fd)?;
        let known = &mut self.vms.get_mut(vm).vfio_files;
        let at = known.iter().position(|known| *known == file).ok_or(fail(Errno::ENOENT))?;
        known.remove(at);
        self.forget_vfio_file(file);
        Ok(())
    }

    fn forget_vfio_file(&mut self, file: FileId) {
        self.set_kvm(file, None);
        self.put_file(file);
        self.reclaim();
    }

    /// Records the VM of a device file (`vfio_file_set_kvm`).
    fn set_kvm(&mut self, file: FileId, vm: Option<VmId>) {
        if let File::Device(device) = self.file_mut(file) {
            device.kvm = vm;
        }
    }

    /// Releases a VM's own file (`kvm_vm_release`).
    pub(crate) fn release_vm(&mut self, vm: VmId) {
        self.drop_irqfds_of(vm);
        self.put_vm(vm);
    }

    /// Releases the file of a VM's VFIO device (`kvm_vfio_release`).
    pub(crate) fn release_kvm_vfio(&mut self, vm: VmId) {
        for file in std::mem::take(&mut self.vms.get_mut(vm).vfio_files) {
            self.forget_vfio_file(file);
        }
        self.put_vm(vm);
    }

    /// Removes a VM that has no holder left (`kvm_put_kvm`).
    pub(crate) fn put_vm(&mut self, vm: VmId) {
        let bound = self.devices.iter().filter_map(|device| device.binding?.kvm);
        let is_held = self.is_any_open(&[File::Vm(vm), File::Vcpu(vm), File::KvmVfio(vm)])
            || bound.into_iter().any(|kvm| kvm == vm);
        if !is_held {
            let mm = self.vms.get(vm).mm;
            if self.is_mm_alive(mm) {
                self.process_mut(mm.pid).guest = None;
            }
            self.vms.remove(vm);
        }
    }
}

/// Returns a descriptor as the value of an ioctl.
fn number(fd: Fd) -> u32 {
    fd.0.cast_unsigned()
}
