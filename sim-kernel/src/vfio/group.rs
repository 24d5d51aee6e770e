//! VFIO groups: `/dev/vfio/N`, the devices that an IOMMU cannot distinguish, and the older
//! interface to them.
//!
//! Only one file of a group can be open at a time, and not while one of its devices is bound
//! through its own file; while it is open, no device of it can be bound. A group is assigned an
//! IOMMU interface once: a container with a type1 IOMMU, or an iommufd, which creates a
//! compatibility IOAS. After that, device files are obtained by name.
//!
//! A device file that was obtained from a group has access immediately, and any number of them
//! share the device. It can be neither bound nor attached. The first one opens the device and the
//! last one closes it; meanwhile a device in a container holds a reference to the group's file, and
//! one in an iommufd is bound there.
//!
//! Invariant: a group is in the table exactly while its file is open.
//!
//! Absent: groups without an IOMMU (`noiommu`), VF tokens.
//!
//! Mirrors `drivers/vfio/group.c`, and `vfio_pci_core_match` of `drivers/vfio/pci/vfio_pci_core.c`.

use crate::fs::{DeviceFile, File};
use crate::hardware::DeviceKind;
use crate::machine::{Machine, Placement};
use crate::syscall::{Request, SyscallResult, User, fail};
use crate::value::{ContainerId, ContextId, DeviceId, FileId, SmallId};
use crate::vfio::device::Binding;
use handoff_model::abi::call::{ContainerCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{self, vfio_group_status};

/// A group whose file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) file: FileId,
    pub(crate) iommu: Option<GroupIommu>,
}

/// The interface that translates the DMA of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GroupIommu {
    Container(ContainerId),
    /// An iommufd: its file, to which this holds a reference, and its context.
    Iommufd(FileId, ContextId),
}

/// Copies a string of at most one page (`strndup_user`).
///
/// # Errors
/// `EFAULT`; `EINVAL` if it is too long.
fn string(user: &User) -> SyscallResult<String> {
    let page = usize::try_from(PAGE_BYTES).expect("a page is small");
    let bytes = user.bytes();
    let end = bytes.iter().take(page).position(|byte| *byte == 0);
    match end {
        Some(end) => Ok(String::from_utf8_lossy(&bytes[..end]).into_owned()),
        None if bytes.len() < page => Err(fail(Errno::EFAULT)),
        None => Err(fail(Errno::EINVAL)),
    }
}

impl Machine {
    /// Returns the devices of a group.
    fn members(&self, group: u32) -> impl Iterator<Item = DeviceId> {
        let all = self.devices.iter().enumerate();
        all.filter(move |(_, device)| device.spec.group == group).map(|(at, _)| DeviceId::of(at))
    }

    /// Returns true if the devices of a group are emulated by the kernel. Either all of them are,
    /// or none.
    pub(super) fn is_emulated_group(&self, group: u32) -> bool {
        self.members(group).any(|id| self.device(id).is_emulated())
    }

    fn group_state(&self, group: u32) -> Group {
        self.groups[&group]
    }

    fn group_mut(&mut self, group: u32) -> &mut Group {
        self.groups.get_mut(&group).expect("an open group")
    }

    /// Returns the container that translates the DMA of an open device.
    pub(crate) fn container_of(&self, id: DeviceId) -> Option<ContainerId> {
        let device = self.device(id);
        if device.group_files == 0 || device.binding.is_some() {
            return None;
        }
        match self.groups.get(&device.spec.group)?.iommu? {
            GroupIommu::Container(container) => Some(container),
            GroupIommu::Iommufd(..) => None,
        }
    }

    /// Opens a group file (`vfio_group_fops_open`). Returns `None` if there is no such group.
    ///
    /// # Errors
    /// `EBUSY` if one of its devices is bound through its own file, or if the group is open;
    /// `EMFILE`.
    pub(crate) fn open_group(
        &mut self,
        pid: Pid,
        path: &str,
        place: &Placement,
    ) -> Option<SyscallResult> {
        let group = path.strip_prefix("/dev/vfio/")?.parse().ok()?;
        self.members(group).next()?;
        let bound = self
            .members(group)
            .any(|id| self.device(id).binding.is_some_and(|binding| binding.file.is_some()));
        if bound {
            return Some(Err(fail(Errno::EBUSY)));
        }
        if self.groups.contains_key(&group) {
            return Some(Err(fail(Errno::EBUSY)));
        }
        Some(self.install_new(pid, File::Group(group), place.fd).map(|fd| {
            let file = self.process(pid).descriptors[&fd].file;
            self.groups.insert(group, Group { file, iommu: None });
            Reply::Fd(fd)
        }))
    }

    /// Handles an ioctl on a group file (`vfio_group_fops_unl_ioctl`).
    pub(crate) fn group_ioctl(
        &mut self,
        group: u32,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        match request.number {
            nr::VFIO_GROUP_GET_DEVICE_FD => self.get_device_fd(group, request),
            nr::VFIO_GROUP_GET_STATUS => self.group_status(group, request).map(|()| 0),
            nr::VFIO_GROUP_SET_CONTAINER => self.set_container(group, request).map(|()| 0),
            nr::VFIO_GROUP_UNSET_CONTAINER => self.unset_container(group).map(|()| 0),
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// Handles `VFIO_GROUP_GET_STATUS` (`vfio_group_ioctl_get_status`). Fails with `EFAULT`, or
    /// `EINVAL` (size).
    fn group_status(&self, group: u32, request: &mut Request<'_>) -> SyscallResult<()> {
        const SIZE: usize = size_of::<vfio_group_status>();
        let mut status = request.user.copy(SIZE)?;
        if (status.u32(offset_of!(vfio_group_status, argsz)) as usize) < SIZE {
            return Err(fail(Errno::EINVAL));
        }
        let flags = match self.group_state(group).iommu {
            Some(_) => vfio::VFIO_GROUP_FLAGS_CONTAINER_SET | vfio::VFIO_GROUP_FLAGS_VIABLE,
            None if self.dma_owner(group).is_some() => 0,
            None => vfio::VFIO_GROUP_FLAGS_VIABLE,
        };
        status.set_u32(offset_of!(vfio_group_status, flags), flags);
        request.user.write(0, &status.0)
    }

    /// Handles `VFIO_GROUP_SET_CONTAINER` (`vfio_group_ioctl_set_container`).
    ///
    /// # Errors
    /// `EFAULT`; `EBADF`; `EINVAL` if the group already has one; `EBADFD` for a file of another
    /// kind; and the errors of the container.
    fn set_container(&mut self, group: u32, request: &mut Request<'_>) -> SyscallResult<()> {
        let fd = request.user.copy(size_of::<i32>())?.fd(0);
        let file = self.usable(request.pid, fd)?;
        if self.group_state(group).iommu.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        let iommu = match *self.file(file) {
            File::Container(id) => {
                self.join_container(request.pid, id, group)?;
                GroupIommu::Container(id)
            }
            File::Iommufd(context) => {
                self.make_compat_ioas(context);
                self.get_file(file);
                GroupIommu::Iommufd(file, context)
            }
            _ => return Err(fail(Errno::EBADFD)),
        };
        self.group_mut(group).iommu = Some(iommu);
        Ok(())
    }

    /// Returns true if the call would wait: its group joins a container whose mappings await
    /// addresses.
    pub(crate) fn container_call_waits(&self, pid: Pid, call: &ContainerCall) -> bool {
        match *call {
            ContainerCall::SetContainer { group, container } => {
                self.set_container_waits(pid, group, container)
            }
            ContainerCall::SetIommu { .. }
            | ContainerCall::GroupDevice { .. }
            | ContainerCall::CanUpdateVaddr { .. }
            | ContainerCall::MapDma { .. }
            | ContainerCall::GiveVaddr { .. }
            | ContainerCall::ForgetVaddrs { .. } => false,
        }
    }

    fn set_container_waits(&self, pid: Pid, group: Fd, container: Fd) -> bool {
        let file = |fd| self.usable(pid, fd).ok().map(|file| self.file(file));
        let (Some(File::Group(group)), Some(File::Container(id))) = (file(group), file(container))
        else {
            return false;
        };
        self.group_state(*group).iommu.is_none() && self.joining_waits(*id, *group)
    }

    /// Handles `VFIO_GROUP_UNSET_CONTAINER` (`vfio_group_ioctl_unset_container`).
    ///
    /// # Errors
    /// `EINVAL` if there is none; `EBUSY` while devices are open in a container.
    fn unset_container(&mut self, group: u32) -> SyscallResult<()> {
        let iommu = self.group_state(group).iommu.ok_or(fail(Errno::EINVAL))?;
        let in_use = self.members(group).any(|id| self.container_of(id).is_some());
        if in_use {
            return Err(fail(Errno::EBUSY));
        }
        self.group_mut(group).iommu = None;
        self.leave_iommu(group, iommu);
        Ok(())
    }

    fn leave_iommu(&mut self, group: u32, iommu: GroupIommu) {
        match iommu {
            GroupIommu::Container(id) => self.leave_container(id, group),
            GroupIommu::Iommufd(file, _) => self.put_file(file),
        }
    }

    /// Releases a group file (`vfio_group_fops_release`); no device of the group is open any more.
    pub(crate) fn release_group_file(&mut self, group: u32) {
        let closed = self.groups.remove(&group).expect("an open group");
        if let Some(iommu) = closed.iommu {
            self.leave_iommu(group, iommu);
        }
    }

    /// Handles `VFIO_GROUP_GET_DEVICE_FD` (`vfio_group_ioctl_get_device_fd`).
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL`; `ENODEV`; `EMFILE`; and the errors of opening the device.
    fn get_device_fd(&mut self, group: u32, request: &mut Request<'_>) -> SyscallResult<u32> {
        let name = string(request.user)?;
        let device = self.named_member(group, &name)?;
        let fd = self.atomically(|machine| {
            let file = DeviceFile { device, kvm: None, through_group: true };
            let fd = machine.install_new(request.pid, File::Device(file), request.place.fd)?;
            machine.open_through_group(group, file)?;
            Ok(fd)
        })?;
        Ok(fd.0.cast_unsigned())
    }

    /// Finds a device by name (`vfio_device_get_from_name`).
    ///
    /// # Errors
    /// `EINVAL` if options follow the address of a PCI device, because it supports none; `ENODEV`.
    fn named_member(&self, group: u32, name: &str) -> SyscallResult<DeviceId> {
        for id in self.members(group) {
            let spec = &self.device(id).spec;
            let Some(rest) = name.strip_prefix(&spec.address) else { continue };
            let is_pci = matches!(spec.kind, DeviceKind::Pci { .. });
            if is_pci && rest.starts_with(' ') && !rest.trim_matches(' ').is_empty() {
                return Err(fail(Errno::EINVAL));
            }
            if rest.is_empty() || is_pci && rest.starts_with(' ') {
                return Ok(id);
            }
        }
        Err(fail(Errno::ENODEV))
    }

    /// Opens a device through its group (`vfio_df_group_open`). In an iommufd, the first open also
    /// binds and attaches it.
    ///
    /// # Errors
    /// `EINVAL` if the group has no IOMMU interface, or a container without an IOMMU; `ESRCH` for
    /// an mdev that needs a KVM; `ENODEV` for an iommufd whose compatibility IOAS was destroyed;
    /// and the errors of attaching.
    fn open_through_group(&mut self, group: u32, of: DeviceFile) -> SyscallResult<()> {
        let id = of.device;
        let iommu = self.group_state(group).iommu.ok_or(fail(Errno::EINVAL))?;
        if self.device(id).group_files == 0 {
            match iommu {
                GroupIommu::Container(container) => {
                    if self.type1(container).is_none() {
                        return Err(fail(Errno::EINVAL));
                    }
                    if self.device(id).spec.kind == (DeviceKind::Mdev { needs_kvm: true }) {
                        return Err(fail(Errno::ESRCH));
                    }
                    self.get_file(self.group_state(group).file);
                    self.device_mut(id).clear_bus_master();
                }
                GroupIommu::Iommufd(iommufd, context) => {
                    let object = self.check_bind(of, context)?;
                    let object = self.contexts.get_mut(context).insert(object);
                    let (file, kvm) = (None, of.kvm);
                    self.bind_object(id, Binding { file, iommufd, context, object, kvm });
                    let ioas = self.compat_ioas(context)?;
                    self.attach_any(id, ioas)?;
                }
            }
        }
        self.device_mut(id).group_files += 1;
        Ok(())
    }

    /// Validates the groups of a hot reset (`vfio_pci_ioctl_pci_hot_reset_groups`) of a device that
    /// is alone on its bus.
    ///
    /// # Errors
    /// `EINVAL` (too many); `EFAULT`; `EBADF`; `EINVAL` for a file that is not the device's group.
    pub(super) fn check_reset_groups(
        &self,
        id: DeviceId,
        groups: u32,
        request: &Request<'_>,
    ) -> SyscallResult<()> {
        const GROUPS: usize = size_of::<vfio::vfio_pci_hot_reset>();
        if groups > 1 {
            return Err(fail(Errno::EINVAL));
        }
        let fd = request.user.copy(GROUPS + size_of::<i32>())?.fd(GROUPS);
        let file = self.usable(request.pid, fd)?;
        match *self.file(file) {
            File::Group(group) if group == self.device(id).spec.group => Ok(()),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    /// Closes one of the device's files (`vfio_df_group_close`). The last one closes the device.
    pub(super) fn release_group_device(&mut self, id: DeviceId) {
        let device = self.device_mut(id);
        device.group_files -= 1;
        if device.group_files > 0 {
            return;
        }
        let group = device.spec.group;
        let is_bound = device.binding.is_some();
        self.close_device(id);
        if !is_bound {
            self.put_file(self.group_state(group).file);
        }
    }
}
