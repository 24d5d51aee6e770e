//! VFIO device files: what every one of them says, binding to a context, and the last close.
//!
//! A device file may be opened many times; the one that binds first owns the device until its last
//! reference goes, and every other one cannot bind. All state belongs to that open file, so whoever
//! holds a descriptor of it may use it. Before BIND every ioctl but BIND says EINVAL.
//!
//! Binding a device with DMA makes its context the owner of the DMA of its whole IOMMU group: the
//! other devices of the group can be bound to no other context. An emulated device (mdev) is an
//! access: it has no DMA, and nobody owns any.
//!
//! The last close, in order: awake, bus mastering off, interrupts freed, configuration restored,
//! function reset, notifiers dropped, detached (an auto HWPT goes, its pages are unpinned), the
//! object removed, the VM and the context released.
//!
//! Other folders open and close its files, read, write and map devices through them, and wake what
//! waits for an eventfd; `hardware` raises interrupts of its devices, `view` and `mm` see what
//! type1 maps. The subfolders share the code here. They do not import each other, except that
//! `mdev` uses the region layout of `pci`.
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

/// `VFIO_DEVICE_BIND_FLAG_TOKEN`, and how long a token is.
const TOKEN: u32 = 1;
const TOKEN_BYTES: usize = 16;

/// Where `struct vfio_device_bind_iommufd` tells the device's object, where its oldest form ends,
/// and where the pointer to a token stands.
const OUT_DEVID: usize = offset_of!(vfio::vfio_device_bind_iommufd, out_devid);
const BIND_MIN: usize = OUT_DEVID + size_of::<u32>();
const TOKEN_POINTER: usize = BIND_MIN;
const BIND_SIZE: usize = TOKEN_POINTER + size_of::<u64>();

/// A structure of which at least the first `min` bytes must be there. EFAULT, EINVAL (size).
fn sized(request: &Request<'_>, min: usize) -> SyscallResult<Fields> {
    let fields = request.user.copy(min)?;
    if (fields.u32(0) as usize) < min {
        return Err(fail(Errno::EINVAL));
    }
    Ok(fields)
}

impl Machine {
    /// `vfio_device_fops_cdev_open`. ENOENT, also for every device before 6.6; EMFILE.
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

    /// Whether a file of a device has access to it.
    pub(crate) fn is_bound_file(&self, device: DeviceId, file: FileId) -> bool {
        let binding = self.device(device).binding;
        binding.is_some_and(|binding| binding.file == Some(file))
            || matches!(self.file(file), File::Device(of) if of.through_group)
    }

    /// `vfio_device_fops_unl_ioctl`: BIND; before it, everything else is EINVAL.
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

    /// The binding of a bound device.
    fn binding(&self, device: DeviceId) -> Binding {
        self.device(device).binding.expect("looked up before")
    }

    /// `vfio_df_ioctl_bind_iommufd`: EFAULT, EINVAL (size), E2BIG, EINVAL (flags, no descriptor,
    /// bound already, token), EBADF, EBADFD, EINVAL (another open file has the device), EPERM
    /// (another context has its group), and what the driver says.
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

    /// The device is bound from now on, and its DMA off.
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

    /// `vfio_df_check_token` of one that nobody has asked for. EINVAL; EFAULT before, where a
    /// driver looks.
    fn refuse_token(&self, id: DeviceId, request: &Request<'_>) -> Failure {
        if !self.device(id).is_emulated()
            && let Err(refusal) = request.user.read_through(TOKEN_POINTER, 0, TOKEN_BYTES)
        {
            return refusal;
        }
        fail(Errno::EINVAL)
    }

    /// `vfio_df_device_first_open`. EPERM; ESRCH for an mdev that needs the KVM that its file
    /// lacks.
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

    /// The context that owns the DMA of a group.
    fn dma_owner(&self, group: u32) -> Option<ContextId> {
        let members = self.devices.iter();
        let mut bound =
            members.filter(|device| device.spec.group == group && !device.is_emulated());
        bound.find_map(|device| Some(device.binding?.context))
    }

    /// The last reference to an open device file is gone (`vfio_df_close` and below, in its order).
    pub(crate) fn release_device_file(&mut self, of: DeviceFile, file: FileId) {
        if of.through_group {
            self.release_group_device(of.device);
        } else if self.device(of.device).binding.is_some_and(|bound| bound.file == Some(file)) {
            self.close_device(of.device);
        }
    }

    /// `vfio_df_device_last_close`, in its order. Only a binding has a context to leave.
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
