//! The ioctls of an iommufd: one table, and the steps before and after each command.
//!
//! In this order: the leading size is read; the request must be in the table, with the right type;
//! the structure must not be shorter than its oldest version, and if it is longer than this
//! kernel's, the rest must be zero; the command runs; its results are written back, as far as the
//! caller's structure has room. Numbers outside the table are those of a type1 container.
//!
//! Mirrors `iommufd_fops_ioctl` of `drivers/iommu/iommufd/main.c`.

use crate::machine::{Machine, Placement};
use crate::profile::Release;
use crate::syscall::{Fields, Request, SyscallResult, User, fail};
use crate::value::{ContextId, FileId};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{ObjectId, Pid};
use handoff_model::abi::request as nr;

/// A command in progress (`struct iommufd_ucmd`).
#[derive(Debug)]
pub(super) struct Ucmd<'a> {
    pub(super) pid: Pid,
    pub(super) context: ContextId,
    /// The context's open file.
    pub(super) file: FileId,
    /// The structure, in this kernel's version.
    pub(super) cmd: Fields,
    pub(super) user: &'a mut User,
    pub(super) place: &'a Placement,
    /// The size of the structure as the caller gives it, in bytes.
    size: usize,
    /// The return value of the call if it succeeds.
    pub(super) result: u32,
}

impl Ucmd<'_> {
    /// Writes the structure back (`iommufd_ucmd_respond`). Fails with `EFAULT`.
    pub(super) fn respond(&mut self) -> SyscallResult<()> {
        let length = self.size.min(self.cmd.0.len());
        self.user.write(0, &self.cmd.0[..length])
    }

    /// Returns the number of a new object to the caller. Fails with `EFAULT`; then the caller of
    /// this function destroys the object.
    pub(super) fn respond_with(&mut self, at: usize, id: ObjectId) -> SyscallResult<()> {
        self.cmd.set_u32(at, id.0);
        self.respond()
    }
}

/// An entry of the table.
struct Command {
    number: u32,
    /// Size of this kernel's structure in bytes.
    size: usize,
    /// Size of the structure's oldest version in bytes.
    min: usize,
    since: Release,
    run: fn(&mut Machine, &mut Ucmd<'_>) -> SyscallResult<()>,
}

const fn command(
    number: u32,
    size: usize,
    min: usize,
    since: Release,
    run: fn(&mut Machine, &mut Ucmd<'_>) -> SyscallResult<()>,
) -> Command {
    Command { number, size, min, since, run }
}

/// `iommufd_ioctl_ops`.
const COMMANDS: &[Command] = &[
    command(nr::IOMMU_DESTROY, 8, 8, Release::V6_2, Machine::destroy),
    command(nr::IOMMU_FAULT_QUEUE_ALLOC, 16, 16, Release::V6_12, Machine::fault_alloc),
    command(nr::IOMMU_GET_HW_INFO, 40, 32, Release::V6_12, Machine::get_hw_info),
    command(nr::IOMMU_HW_QUEUE_ALLOC, 40, 40, Release::V7_2, Machine::hw_queue_alloc),
    command(nr::IOMMU_HWPT_ALLOC, 48, 24, Release::V6_12, Machine::hwpt_alloc),
    command(nr::IOMMU_HWPT_GET_DIRTY_BITMAP, 48, 48, Release::V6_12, Machine::get_dirty_bitmap),
    command(nr::IOMMU_HWPT_INVALIDATE, 32, 32, Release::V6_12, Machine::hwpt_invalidate),
    command(nr::IOMMU_HWPT_SET_DIRTY_TRACKING, 16, 16, Release::V6_12, Machine::set_dirty_tracking),
    command(nr::IOMMU_IOAS_ALLOC, 12, 12, Release::V6_2, Machine::ioas_alloc),
    command(nr::IOMMU_IOAS_ALLOW_IOVAS, 24, 24, Release::V6_2, Machine::allow_iovas),
    command(nr::IOMMU_IOAS_CHANGE_PROCESS, 24, 8, Release::Rfc, Machine::change_process),
    command(nr::IOMMU_IOAS_CHANGE_PROCESS, 8, 8, Release::V6_13, Machine::change_process),
    command(nr::IOMMU_IOAS_COPY, 40, 40, Release::V6_2, Machine::ioas_copy),
    command(nr::IOMMU_IOAS_IOVA_RANGES, 32, 32, Release::V6_2, Machine::iova_ranges),
    command(nr::IOMMU_IOAS_MAP, 40, 40, Release::V6_2, Machine::ioas_map),
    command(nr::IOMMU_IOAS_MAP_FILE, 40, 40, Release::V6_13, Machine::ioas_map_file),
    command(nr::IOMMU_IOAS_UNMAP, 24, 24, Release::V6_2, Machine::ioas_unmap),
    command(nr::IOMMU_NOIOMMU_GET_PA, 40, 40, Release::V7_3, Machine::noiommu_get_pa),
    command(nr::IOMMU_OPTION, 24, 24, Release::V6_2, Machine::option),
    command(nr::IOMMU_VFIO_IOAS, 12, 12, Release::V6_2, Machine::vfio_ioas),
    command(nr::IOMMU_VDEVICE_ALLOC, 24, 24, Release::V6_13, Machine::vdevice_alloc),
    command(nr::IOMMU_VEVENTQ_ALLOC, 32, 28, Release::V7_2, Machine::veventq_alloc),
    command(nr::IOMMU_VIOMMU_ALLOC, 40, 24, Release::V6_13, Machine::viommu_alloc),
    command(nr::IOMMU_TEST_CMD, 72, 68, Release::V6_2, Machine::test_command),
];

/// Returns true if a request is in the table, or is not one of iommufd's.
pub(crate) fn is_modelled(request: u32) -> bool {
    let name = handoff_model::abi::request::name(request).unwrap_or_default();
    !name.starts_with("IOMMU_") || COMMANDS.iter().any(|command| command.number == request)
}

/// The bits of a request that number it within its type.
const NUMBER: u32 = 0xff;

impl Machine {
    pub(crate) fn iommufd_ioctl(
        &mut self,
        context: ContextId,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        let last = nr::IOMMU_TEST_CMD & NUMBER;
        if !((nr::IOMMU_DESTROY & NUMBER)..=last).contains(&(request.number & NUMBER)) {
            return self.compat_ioctl(context, request);
        }
        let size = request.user.word(0)? as usize;
        let is_known = |command: &&Command| {
            command.number == request.number && command.since <= self.profile.release()
        };
        let command = COMMANDS.iter().rfind(is_known).ok_or(fail(Errno::ENOTTY))?;
        if size < command.min {
            return Err(fail(Errno::EINVAL));
        }
        let cmd = request.user.copy_structure(command.size, size)?;
        let Request { pid, file, ref mut user, place, .. } = *request;
        let mut ucmd = Ucmd { pid, context, file, cmd, user, place, size, result: 0 };
        (command.run)(self, &mut ucmd)?;
        Ok(ucmd.result)
    }
}
