//! VFIO containers: `/dev/vfio/vfio`, the state that its groups share.
//!
//! Opening the file creates a container, which lives as long as the file is open or a group is in
//! the container. Without a group it can do nothing. With one, `SET_IOMMU` gives it a type1 IOMMU
//! ([`crate::vfio::type1`]), which is removed with the last group, with all its mappings.
//!
//! Mirrors `drivers/vfio/container.c`.

use crate::fs::File;
use crate::machine::{Machine, Placement};
use crate::syscall::{Request, SyscallResult, fail};
use crate::value::{ContainerId, Shared};
use crate::vfio::type1::Type1;
use handoff_model::abi::call::Reply;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Pid;
use handoff_model::abi::request as nr;
use vfio_bindings::bindings::vfio;

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    /// True while its file is open.
    is_open: bool,
    /// Numbers of the groups in it, sorted.
    pub(super) groups: Vec<u32>,
    pub(super) iommu: Option<Type1>,
}

/// `VFIO_API_VERSION`.
const API_VERSION: u32 = 0;

/// True if the IOMMU can ignore the devices' no-snoop requests.
const ENFORCES_COHERENCY: bool = false;

impl Machine {
    /// Opens a new container (`vfio_fops_open`). Fails with `EMFILE`.
    pub(crate) fn open_container(&mut self, pid: Pid, place: &Placement) -> SyscallResult {
        self.atomically(|machine| {
            let container = Container { is_open: true, ..Container::default() };
            let container = machine.containers.insert(Shared::new(container));
            machine.install_new(pid, File::Container(container), place.fd).map(Reply::Fd)
        })
    }

    pub(super) fn type1(&self, id: ContainerId) -> Option<&Type1> {
        self.containers.get(id).iommu.as_ref()
    }

    /// Returns the IOMMU of a container that is known to have one.
    pub(super) fn type1_mut(&mut self, id: ContainerId) -> &mut Type1 {
        self.containers.get_mut(id).iommu.as_mut().expect("a container with an IOMMU")
    }

    /// Returns true if a group of devices with real DMA is in the container, so that there is a
    /// domain.
    pub(super) fn has_real_group(&self, id: ContainerId) -> bool {
        self.containers.get(id).groups.iter().any(|group| !self.is_emulated_group(*group))
    }

    /// Returns true if its mappings can be given new addresses: not while it has an emulated
    /// device, whose accesses need valid addresses. Before 6.3 such accesses waited instead.
    pub(super) fn gives_addresses(&self, id: ContainerId) -> bool {
        let mut groups = self.containers.get(id).groups.iter();
        self.profile.waits_for_addresses() || !groups.any(|group| self.is_emulated_group(*group))
    }

    /// Handles an ioctl on a container (`vfio_fops_unl_ioctl`). Requests for an IOMMU fail with
    /// `EINVAL` if the container has none.
    pub(crate) fn container_ioctl(
        &mut self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        match request.number {
            nr::VFIO_GET_API_VERSION => Ok(API_VERSION),
            nr::VFIO_CHECK_EXTENSION => Ok(self.container_extension(id, request.user.value).into()),
            nr::VFIO_SET_IOMMU => self.set_type1(id, request.user.value).map(|()| 0),
            _ if self.type1(id).is_none() => Err(fail(Errno::EINVAL)),
            _ => self.type1_ioctl(id, request).map(|()| 0),
        }
    }

    /// Handles `VFIO_CHECK_EXTENSION` (`vfio_iommu_type1_check_extension`). A container without an
    /// IOMMU reports the extensions that it could have.
    fn container_extension(&self, id: ContainerId, extension: u64) -> bool {
        let has_iommu = self.type1(id).is_some();
        match u32::try_from(extension) {
            Ok(vfio::VFIO_TYPE1_IOMMU | vfio::VFIO_TYPE1v2_IOMMU | vfio::VFIO_UNMAP_ALL) => true,
            Ok(vfio::VFIO_UPDATE_VADDR) => has_iommu && self.gives_addresses(id),
            Ok(vfio::VFIO_DMA_CC_IOMMU) => {
                has_iommu && (ENFORCES_COHERENCY || !self.has_real_group(id))
            }
            _ => false,
        }
    }

    /// Handles `VFIO_SET_IOMMU` (`vfio_ioctl_set_iommu`). There are no mappings yet, so attaching
    /// the groups cannot fail.
    ///
    /// # Errors
    /// `EINVAL` if there is no group or an IOMMU is already set; `ENODEV` for a type without a
    /// driver.
    fn set_type1(&mut self, id: ContainerId, kind: u64) -> SyscallResult<()> {
        let container = self.containers.get(id);
        if container.groups.is_empty() || container.iommu.is_some() {
            return Err(fail(Errno::EINVAL));
        }
        let is_v2 = match u32::try_from(kind) {
            Ok(vfio::VFIO_TYPE1_IOMMU) => false,
            Ok(vfio::VFIO_TYPE1v2_IOMMU) => true,
            _ => return Err(fail(Errno::ENODEV)),
        };
        let iommu = Type1::new(is_v2, self.dma_entry_limit, self.has_real_group(id));
        self.containers.get_mut(id).iommu = Some(iommu);
        Ok(())
    }

    /// Adds a group (`vfio_container_attach_group`).
    ///
    /// # Errors
    /// `EPERM` if a context owns the DMA of the group; and the errors of the IOMMU.
    pub(super) fn join_container(
        &mut self,
        pid: Pid,
        id: ContainerId,
        group: u32,
    ) -> SyscallResult<()> {
        if self.dma_owner(group).is_some() {
            return Err(fail(Errno::EPERM));
        }
        if self.type1(id).is_some() {
            self.atomically(|machine| machine.attach_type1_group(pid, id, group))?;
        }
        let groups = &mut self.containers.get_mut(id).groups;
        groups.push(group);
        groups.sort_unstable();
        Ok(())
    }

    /// Removes a group (`vfio_group_detach_container`). The last one removes the IOMMU, too.
    pub(super) fn leave_container(&mut self, id: ContainerId, group: u32) {
        let container = self.containers.get_mut(id);
        container.groups.retain(|other| *other != group);
        let is_last = container.groups.is_empty();
        if self.type1(id).is_some() {
            self.detach_type1_group(id, group);
            if is_last {
                self.containers.get_mut(id).iommu = None;
            }
        }
        self.put_container(id);
    }

    /// Releases the file of a container (`vfio_fops_release`).
    pub(crate) fn release_container_file(&mut self, id: ContainerId) {
        self.containers.get_mut(id).is_open = false;
        self.put_container(id);
    }

    fn put_container(&mut self, id: ContainerId) {
        let container = self.containers.get(id);
        if !container.is_open && container.groups.is_empty() {
            self.containers.remove(id);
        }
    }
}
