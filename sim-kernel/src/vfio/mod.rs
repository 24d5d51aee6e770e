//! VFIO device files: the ioctls that all of them share, BIND, and the last close.
//!
//! A device file may be opened many times. The open file that binds first owns the device until its
//! last reference is dropped; until then no other open file can bind. All state belongs to the open
//! file description, so any process with a descriptor of it may use the device. Before BIND, every
//! other ioctl fails with `EINVAL`.
//!
//! Binding a device with DMA makes its context the owner of the DMA of the whole IOMMU group: the
//! group's other devices can be bound only to the same context. Binding an emulated device (mdev)
//! creates an access; it has no DMA and takes no DMA ownership.
//!
//! The last close, in order: leave low power, disable bus mastering, free interrupts, restore
//! configuration space, reset the function, drop the notifiers, detach (which destroys an auto HWPT
//! and unpins its pages), remove the object, release the VM and the context.
//!
//! Other folders open and close device files, read, write and mmap devices through them, and wake
//! the waiters of an eventfd; `hardware` raises device interrupts, `view` and `mm` inspect the
//! mappings of type1. The subfolders share the code here. They do not import each other, except
//! that `mdev` uses the region layout of `pci`.
//!
//! Absent: reset recovery, SR-IOV and its tokens, noiommu.
//!
//! Mirrors `drivers/vfio/device_cdev.c`, `vfio_main.c` and `iommufd.c`.

mod attach;
mod container;
mod device;
mod feature;
mod group;
mod irq_set;
mod mdev;
mod migration;
pub(crate) mod pci;
pub(crate) mod type1;

pub(crate) use container::Container;
pub use device::BUS_MASTER;
pub(crate) use device::Device;
pub(crate) use group::{Group, GroupIommu};

use crate::fs::{DeviceFile, File};
use crate::hardware::DeviceKind;
use crate::iommufd::{Access, AccessOwner, Hardware, Object};
use crate::machine::{Machine, Placement};
use crate::syscall::{Failure, Fields, Request, SyscallResult, fail};
use crate::value::{ContextId, DeviceId, FileId, SmallId};
use crate::vfio::device::Binding;
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;
use handoff_model::abi::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_DEVICE_BIND_FLAG_TOKEN`, and the length of a token in bytes.
const TOKEN: u32 = 1;
const TOKEN_BYTES: usize = 16;

/// Layout of `struct vfio_device_bind_iommufd`: the offset of the output `out_devid`, the size of
/// its first version, the offset of the pointer to a token, and the full size.
const OUT_DEVID: usize = offset_of!(vfio::vfio_device_bind_iommufd, out_devid);
const BIND_MIN: usize = OUT_DEVID + size_of::<u32>();
const TOKEN_POINTER: usize = BIND_MIN;
const BIND_SIZE: usize = TOKEN_POINTER + size_of::<u64>();

/// Copies the first `min` bytes of a structure that begins with its size.
///
/// # Errors
/// `EFAULT`; `EINVAL` if the structure says that it is shorter than `min`.
fn sized(request: &Request<'_>, min: usize) -> SyscallResult<Fields> {
    let fields = request.user.copy(min)?;
    if (fields.u32(0) as usize) < min {
        return Err(fail(Errno::EINVAL));
    }
    Ok(fields)
}

impl Machine {
    /// Opens a device file by path (`vfio_device_fops_cdev_open`).
    ///
    /// # Errors
    /// `ENOENT` for an unknown path, and for every path before Linux 6.6; `EMFILE`.
    pub(crate) fn open_device(&mut self, pid: Pid, path: &str, place: &Placement) -> SyscallResult {
        let is_it = |device: &Device| self.profile.has_device_files() && device.spec.path == path;
        let device = self.devices.iter().position(|device| is_it(device));
        let device = DeviceId::of(device.ok_or(fail(Errno::ENOENT))?);
        let file = DeviceFile { device, kvm: None, through_group: false };
        self.install_new(pid, File::Device(file), place.fd).map(Reply::Fd)
    }

    pub(crate) fn is_device_file(&self, device: DeviceId, file: FileId) -> bool {
        matches!(self.file(file), File::Device(of) if of.device == device)
    }

    /// Returns true if an open file has access to the device.
    pub(crate) fn is_bound_file(&self, device: DeviceId, file: FileId) -> bool {
        let binding = self.device(device).binding;
        binding.is_some_and(|binding| binding.file == Some(file))
            || matches!(self.file(file), File::Device(of) if of.through_group)
    }

    /// Handles an ioctl on a device file (`vfio_device_fops_unl_ioctl`). Before BIND, every other
    /// request fails with `EINVAL`.
    pub(crate) fn device_ioctl(
        &mut self,
        of: DeviceFile,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        let device = of.device;
        if request.number == nr::VFIO_DEVICE_BIND_IOMMUFD {
            return self.bind(of, request).map(|()| 0);
        }
        if !self.is_bound_file(device, request.file) {
            return Err(fail(Errno::EINVAL));
        }
        self.wake_device(device);
        let emulated = self.device(device).is_emulated();
        match request.number {
            nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT if !of.through_group => self.attach(device, request),
            nr::VFIO_DEVICE_DETACH_IOMMUFD_PT if !of.through_group => self.detach(device, request),
            nr::VFIO_DEVICE_FEATURE => return self.feature(device, request),
            nr::VFIO_DEVICE_GET_REGION_INFO if emulated => Self::mtty_region_info(request),
            nr::VFIO_DEVICE_GET_REGION_INFO => self.pci_region_info(device, request),
            _ if emulated => self.mtty_ioctl(device, request),
            _ => self.pci_ioctl(device, request),
        }?;
        Ok(0)
    }

    /// Returns the binding of a bound device.
    fn binding(&self, device: DeviceId) -> Binding {
        self.device(device).binding.expect("looked up before")
    }

    /// Handles `VFIO_DEVICE_BIND_IOMMUFD` (`vfio_df_ioctl_bind_iommufd`).
    ///
    /// # Errors
    /// In this order: `EFAULT`; `EINVAL` (size); `E2BIG`; `EINVAL` (unknown flags, negative
    /// descriptor, a file that a group gave); `EBUSY` (the group's file is open); `EINVAL` (already
    /// bound, token); `EBADF`; `EBADFD` (not an iommufd); `EINVAL` (another open file has bound the
    /// device); `EPERM` (another context owns the DMA of its group); and the errors of the driver.
    fn bind(&mut self, of: DeviceFile, request: &mut Request<'_>) -> SyscallResult<()> {
        let id = of.device;
        let cmd = self.copy_bind(request)?;
        let iommufd = cmd.fd(offset_of!(vfio::vfio_device_bind_iommufd, iommufd));
        let flags = cmd.u32(offset_of!(vfio::vfio_device_bind_iommufd, flags));
        let known = if self.profile.has_tokens_and_pasids() { TOKEN } else { 0 };
        if flags & !known != 0 || iommufd.0 < 0 {
            return Err(fail(Errno::EINVAL));
        }
        if of.through_group {
            return Err(fail(Errno::EINVAL));
        }
        if self.groups.contains_key(&self.device(id).spec.group) {
            return Err(fail(Errno::EBUSY));
        }
        if self.is_bound_file(id, request.file) {
            return Err(fail(Errno::EINVAL));
        }
        if flags & TOKEN != 0 {
            return Err(self.refuse_token(id, request));
        }
        let iommufd = self.usable(request.pid, iommufd)?;
        let File::Iommufd(context) = *self.file(iommufd) else {
            return Err(fail(Errno::EBADFD));
        };
        if self.device(id).binding.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        let object = self.check_bind(of, context)?;
        self.allocate()?;
        self.atomically(|machine| {
            let object = machine.contexts.get_mut(context).insert(object);
            let (file, kvm) = (Some(request.file), of.kvm);
            machine.bind_object(id, Binding { file, iommufd, context, object, kvm });
            request.user.write(OUT_DEVID, &object.0.to_ne_bytes())
        })
    }

    /// Records the binding and disables the device's DMA.
    fn bind_object(&mut self, id: DeviceId, binding: Binding) {
        self.get_file(binding.iommufd);
        let device = self.device_mut(id);
        device.binding = Some(binding);
        if !device.is_emulated() {
            device.clear_bus_master();
        }
    }

    fn copy_bind(&self, request: &Request<'_>) -> SyscallResult<Fields> {
        let size = request.user.word(0)? as usize;
        if size < BIND_MIN {
            return Err(fail(Errno::EINVAL));
        }
        if self.profile.has_tokens_and_pasids() {
            request.user.copy_structure(BIND_SIZE, size)
        } else {
            request.user.copy(BIND_MIN)
        }
    }

    /// Returns the error for a token that no driver requested (`vfio_df_check_token`): `EINVAL`, or
    /// `EFAULT` if the driver reads the token and cannot.
    fn refuse_token(&self, id: DeviceId, request: &Request<'_>) -> Failure {
        if !self.device(id).is_emulated()
            && let Err(refusal) = request.user.read_through(TOKEN_POINTER, 0, TOKEN_BYTES)
        {
            return refusal;
        }
        fail(Errno::EINVAL)
    }

    /// Returns the object that binding the device creates (`vfio_df_device_first_open`).
    ///
    /// # Errors
    /// `EPERM` if another context owns the DMA of the group; `ESRCH` for an mdev that needs a KVM
    /// if its file has none.
    fn check_bind(&self, of: DeviceFile, context: ContextId) -> SyscallResult<Object> {
        let device = of.device;
        match self.device(device).spec.kind {
            DeviceKind::Mdev { needs_kvm: true } if of.kvm.is_none() => Err(fail(Errno::ESRCH)),
            DeviceKind::Mdev { .. } => {
                Ok(Object::Access(Access { owner: AccessOwner::Vfio(device), ioas: None }))
            }
            DeviceKind::Pci { .. } => {
                let owner = self.dma_owner(self.device(device).spec.group);
                if owner.is_some_and(|owner| owner != context) {
                    return Err(fail(Errno::EPERM));
                }
                let nests = self.device(device).spec.nests;
                Ok(Object::Device { hardware: Hardware::Vfio { device, nests }, hwpt: None })
            }
        }
    }

    /// Returns the context that owns the DMA of a group.
    fn dma_owner(&self, group: u32) -> Option<ContextId> {
        let members = self.devices.iter();
        let mut bound =
            members.filter(|device| device.spec.group == group && !device.is_emulated());
        bound.find_map(|device| Some(device.binding?.context))
    }

    /// Releases a device file whose last reference was dropped (`vfio_df_close`).
    pub(crate) fn release_device_file(&mut self, of: DeviceFile, file: FileId) {
        if of.through_group {
            self.release_group_device(of.device);
        } else if self.device(of.device).binding.is_some_and(|bound| bound.file == Some(file)) {
            self.close_device(of.device);
        }
    }

    /// Closes the device, in the order of `vfio_df_device_last_close`. Without a binding there is
    /// no context to release.
    fn close_device(&mut self, id: DeviceId) {
        self.leave_low_power(id);
        if !self.device(id).is_emulated() {
            self.device_mut(id).clear_bus_master();
        }
        self.disarm(id);
        self.drop_ioeventfds(id, |_| true);
        self.close_migration(id);
        self.device_mut(id).restore_config();
        self.device_mut(id).disrupt();
        self.drop_notifiers(id);
        self.detach_any(id);
        let Some(binding) = self.device_mut(id).binding.take() else { return };
        self.unbind_device(binding.context, binding.object);
        if let Some(vm) = binding.kvm {
            self.put_vm(vm);
        }
        self.put_file(binding.iommufd);
    }
}
