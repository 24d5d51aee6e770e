//! An iommufd as a type1 container: the ioctls of a VFIO container on its *compat IOAS*.
//!
//! A context has at most one compat IOAS. VFIO_IOAS selects it, and attaching a group to a
//! container that is an iommufd creates one if there is none. Without one, container ioctls that
//! need it fail with ENODEV. The selection holds no reference: destroying that IOAS leaves the
//! context without one.
//!
//! A container of type 1 (not v2) can split areas: it uses small pages from then on, so that any
//! part of a mapping can be unmapped.
//!
//! Mirrors `drivers/iommu/iommufd/vfio_compat.c`, and `iopt_cut_iova` and `iopt_area_split` of
//! `io_pagetable.c`.

use crate::iommufd::Object;
use crate::iommufd::access::Access;
use crate::iommufd::ioas::{Area, AreaRights, EVERYTHING, Ioas};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::{IovaRequest, holes, range};
use crate::iommufd::map::Origin;
use crate::machine::Machine;
use crate::syscall::{Request, SyscallResult, User, fail};
use crate::value::ContextId;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};
use handoff_model::abi::request as nr;
use iommufd_bindings as io;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

const INFO_BYTES: usize = size_of::<vfio::vfio_iommu_type1_info>();

impl Machine {
    /// Returns the compat IOAS (`get_compat_ioas`). Fails with `ENODEV`.
    pub(crate) fn compat_ioas(&self, context: ContextId) -> SyscallResult<ObjectId> {
        self.contexts.get(context).compat_ioas.ok_or(fail(Errno::ENODEV))
    }

    /// Creates the compat IOAS if there is none (`iommufd_vfio_compat_ioas_create`).
    pub(crate) fn make_compat_ioas(&mut self, context: ContextId) {
        let table = self.contexts.get_mut(context);
        if table.compat_ioas.is_none() {
            table.compat_ioas = Some(table.insert(Object::Ioas(Ioas::default())));
        }
    }

    /// Gets, sets or clears the compat IOAS (`iommufd_vfio_ioas`). Fails with `EOPNOTSUPP`
    /// (reserved, operation); GET with `ENODEV`, SET with `ENOENT`.
    pub(super) fn vfio_ioas(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const ID: usize = offset_of!(io::iommu_vfio_ioas, ioas_id);
        const GET: u16 = 0;
        const SET: u16 = 1;
        const CLEAR: u16 = 2;
        if ucmd.cmd.u16(offset_of!(io::iommu_vfio_ioas, __reserved)) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        match ucmd.cmd.u16(offset_of!(io::iommu_vfio_ioas, op)) {
            GET => {
                let id = self.compat_ioas(ucmd.context)?;
                ucmd.respond_with(ID, id)?;
            }
            SET => {
                let id = ucmd.cmd.id(ID);
                self.ioas(ucmd.context, id)?;
                self.contexts.get_mut(ucmd.context).compat_ioas = Some(id);
            }
            CLEAR => self.contexts.get_mut(ucmd.context).compat_ioas = None,
            _ => return Err(fail(Errno::EOPNOTSUPP)),
        }
        Ok(())
    }

    /// Handles an ioctl of a container (`iommufd_vfio_ioctl`). Fails with `ENOTTY` for container
    /// ioctls that iommufd does not emulate, and for all others.
    pub(super) fn compat_ioctl(
        &mut self,
        context: ContextId,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        match request.number {
            nr::VFIO_GET_API_VERSION => return Ok(vfio::VFIO_API_VERSION),
            nr::VFIO_CHECK_EXTENSION => return self.check_extension(context, request.user.value),
            nr::VFIO_SET_IOMMU => self.set_iommu(context, request.user.value)?,
            nr::VFIO_IOMMU_GET_INFO => self.container_info(context, request.user)?,
            nr::VFIO_IOMMU_MAP_DMA => self.map_dma(context, request)?,
            nr::VFIO_IOMMU_UNMAP_DMA => self.unmap_dma(context, request.user)?,
            _ => return Err(fail(Errno::ENOTTY)),
        }
        Ok(0)
    }

    /// Returns 1 if an extension is supported (`iommufd_vfio_check_extension`). Cache coherency
    /// (`ENODEV` without a compat IOAS) is enforced unless a domain lacks it, and all domains here
    /// lack it.
    fn check_extension(&self, context: ContextId, extension: u64) -> SyscallResult<u32> {
        const UNMAP_ALL: u32 = vfio::VFIO_UNMAP_ALL;
        Ok(match u32::try_from(extension) {
            Ok(vfio::VFIO_TYPE1_IOMMU | vfio::VFIO_TYPE1v2_IOMMU | UNMAP_ALL) => 1,
            Ok(vfio::VFIO_DMA_CC_IOMMU) => {
                let id = self.compat_ioas(context)?;
                u32::from(!self.contexts.get(context).has_domain(id))
            }
            _ => 0,
        })
    }

    /// Selects the type (`iommufd_vfio_set_iommu`). Fails with `EINVAL`, `ENODEV`; for type 1 also
    /// as disabling huge pages.
    fn set_iommu(&mut self, context: ContextId, kind: u64) -> SyscallResult<()> {
        let is_first = kind == u64::from(vfio::VFIO_TYPE1_IOMMU);
        if !is_first && kind != u64::from(vfio::VFIO_TYPE1v2_IOMMU) {
            return Err(fail(Errno::EINVAL));
        }
        let id = self.compat_ioas(context)?;
        if is_first { self.disable_large_pages(context, id) } else { Ok(()) }
    }

    /// Maps at a fixed address (`iommufd_vfio_map_dma`). Requires neither right. Fails with
    /// `EFAULT`, `EINVAL` (size, flags), `ENODEV`, then as [`Self::map`].
    fn map_dma(&mut self, context: ContextId, request: &mut Request<'_>) -> SyscallResult<()> {
        type Map = vfio::vfio_iommu_type1_dma_map;
        const READ: u32 = vfio::VFIO_DMA_MAP_FLAG_READ;
        const WRITE: u32 = vfio::VFIO_DMA_MAP_FLAG_WRITE;
        let map = request.user.copy(size_of::<Map>())?;
        let flags = map.u32(offset_of!(Map, flags));
        if (map.u32(0) as usize) < size_of::<Map>() || flags & !(READ | WRITE) != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let id = self.compat_ioas(context)?;
        let va = map.u64(offset_of!(Map, vaddr));
        let origin = Origin::of_memory(va, map.u64(offset_of!(Map, size)))?;
        let iova_request = IovaRequest::Fixed(Iova(map.u64(offset_of!(Map, iova))));
        let rights = AreaRights { readable: flags & READ != 0, writable: flags & WRITE != 0 };
        self.map(request.pid, (context, id), &origin, iova_request, rights).map(drop)
    }

    /// Unmaps a range or everything (`iommufd_vfio_unmap_dma`). Once it has begun to unmap, it
    /// returns the number of bytes unmapped also if it fails.
    ///
    /// # Errors
    ///
    /// `EFAULT`, `EINVAL` (size, flags), `ENODEV`, `EINVAL` (a range together with everything),
    /// then those of splitting and unmapping; `EFAULT` if the number cannot be returned. A range
    /// without mappings is no error, except for `ENOENT` on older kernels.
    fn unmap_dma(&mut self, context: ContextId, user: &mut User) -> SyscallResult<()> {
        type Unmap = vfio::vfio_iommu_type1_dma_unmap;
        const SIZE: usize = offset_of!(Unmap, size);
        const BYTES: usize = SIZE + size_of::<u64>();
        const ALL: u32 = vfio::VFIO_DMA_UNMAP_FLAG_ALL;
        let mut unmap = user.copy(BYTES)?;
        let flags = unmap.u32(offset_of!(Unmap, flags));
        if (unmap.u32(0) as usize) < BYTES || flags & !ALL != 0 {
            return Err(fail(Errno::EINVAL));
        }
        let id = self.compat_ioas(context)?;
        let (iova, length_bytes) = (unmap.u64(offset_of!(Unmap, iova)), unmap.u64(SIZE));
        let (unmapped_bytes, done) = if flags & ALL != 0 {
            if (iova, length_bytes) != (0, 0) {
                return Err(fail(Errno::EINVAL));
            }
            self.unmap(context, id, &EVERYTHING)
        } else {
            if self.ioas(context, id)?.small_pages {
                let last = iova.wrapping_add(length_bytes).wrapping_sub(1);
                let before = iova.checked_sub(1);
                for cut in [Some(last), before].into_iter().flatten() {
                    self.cut(context, id, Iova(cut))?;
                }
            }
            match range(Iova(iova), length_bytes) {
                Ok(range) => match self.unmap(context, id, &range) {
                    (0, Ok(())) if self.profile.refuses_empty_unmap() => {
                        (0, Err(fail(Errno::ENOENT)))
                    }
                    done => done,
                },
                Err(refusal) => (0, Err(refusal)),
            }
        };
        unmap.set_u64(SIZE, unmapped_bytes);
        user.write(0, &unmap.0)?;
        done
    }

    /// Splits the area at an address, which becomes the last of the first part (`iopt_area_split`).
    /// Fails with `EOPNOTSUPP` (a dma-buf), `EINVAL` (within a page, or an access has pinned a part
    /// of it).
    fn cut(&mut self, context: ContextId, id: ObjectId, last: Iova) -> SyscallResult<()> {
        let here = IovaRange { first: last, last };
        let table = self.contexts.get(context);
        let Some(area) = self.ioas(context, id)?.met(&here).first().copied() else {
            return Ok(());
        };
        if [area.range.first, area.range.last].contains(&last) {
            return Ok(());
        }
        if self.set(context, area.set).is_dma_buf() {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let right = area.clipped(&IovaRange { first: Iova(last.0 + 1), last: area.range.last });
        let alignment_bytes = table.alignment_bytes(id);
        let begins = [right.range.first.0, right.start_bytes];
        if begins.iter().any(|begin| !begin.is_multiple_of(alignment_bytes)) {
            return Err(fail(Errno::EINVAL));
        }
        self.allocate()?;
        self.allocate()?;
        let table = self.contexts.get(context);
        let has_pinned = |access: &Access| access.pinned().any(|range| range.overlaps(&area.range));
        if table.accesses(id).any(has_pinned) {
            return Err(fail(Errno::EINVAL));
        }
        let left = Area { range: IovaRange { first: area.range.first, last }, ..area };
        let ioas = self.ioas_mut(context, id);
        ioas.areas.retain(|other| other.range != area.range);
        ioas.insert(left);
        ioas.insert(right);
        Ok(())
    }

    /// Returns the page sizes of a container (`iommufd_get_pagesizes`).
    fn container_page_sizes(&self, context: ContextId, id: ObjectId) -> u64 {
        let table = self.contexts.get(context);
        let domains = table.domains(id).map(|hwpt| hwpt.iommu.page_sizes);
        let sizes = domains.fold(u64::MAX, |all, own| all & own);
        let below_page = PAGE_BYTES - 1;
        let reported =
            if sizes & below_page == 0 { sizes } else { sizes & !below_page | PAGE_BYTES };
        reported.max(table.alignment_bytes(id))
    }

    /// Returns information about a container (`iommufd_vfio_iommu_get_info`), with the capabilities
    /// that fit into the caller's structure: the number of mappings left, and the ranges of
    /// addresses. Fails with `EFAULT`, `EINVAL` (size), `ENODEV`.
    fn container_info(&self, context: ContextId, user: &mut User) -> SyscallResult<()> {
        type Info = vfio::vfio_iommu_type1_info;
        const CAP_OFFSET: usize = offset_of!(Info, cap_offset);
        const PGSIZES_AND_CAPS: u32 = vfio::VFIO_IOMMU_INFO_PGSIZES | vfio::VFIO_IOMMU_INFO_CAPS;
        let mut info = user.copy(CAP_OFFSET)?;
        let room = info.u32(0) as usize;
        if room < CAP_OFFSET {
            return Err(fail(Errno::EINVAL));
        }
        let id = self.compat_ioas(context)?;
        info.0.resize(INFO_BYTES, 0);
        info.set_u32(offset_of!(Info, flags), PGSIZES_AND_CAPS);
        info.set_u64(offset_of!(Info, iova_pgsizes), self.container_page_sizes(context, id));
        let ranges = holes(&self.contexts.get(context).reserved(id), EVERYTHING);
        let iova_at = INFO_BYTES + MAPPINGS_LEFT_BYTES;
        let total = iova_at + RANGES_BYTES + ranges.len() * RANGE_BYTES;
        if room >= INFO_BYTES + MAPPINGS_LEFT.len() {
            user.write(INFO_BYTES, &MAPPINGS_LEFT)?;
        }
        write_ranges(user, iova_at, room, &ranges)?;
        if room >= iova_at {
            let next = u32::try_from(iova_at).expect("an offset");
            user.write(INFO_BYTES + HEADER_NEXT, &next.to_ne_bytes())?;
        }
        if room >= total {
            info.set_u32(CAP_OFFSET, u32::try_from(INFO_BYTES).expect("an offset"));
        }
        info.set_u32(0, u32::try_from(total).expect("ranges are few"));
        user.write(0, &info.0[..room.min(INFO_BYTES)])
    }
}

/// Offset in `struct vfio_info_cap_header` of the offset of the next capability.
const HEADER_NEXT: usize = offset_of!(vfio::vfio_info_cap_header, next);

/// `VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL`: an unlimited number of mappings. The next capability is
/// aligned.
const MAPPINGS_LEFT: [u8; 12] = [3, 0, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
const MAPPINGS_LEFT_BYTES: usize = 16;

/// `VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE`: a header, a count, and that many ranges.
const RANGES_BYTES: usize = size_of::<vfio::vfio_iommu_type1_info_cap_iova_range>();
const RANGE_BYTES: usize = size_of::<vfio::vfio_iova_range>();

/// Writes the ranges that fit, then the header of the capability (`iommufd_fill_cap_iova`). Fails
/// with `EFAULT`.
fn write_ranges(
    user: &mut User,
    at: usize,
    room: usize,
    ranges: &[IovaRange],
) -> SyscallResult<()> {
    let fits = |count: usize| room >= at + RANGES_BYTES + count * RANGE_BYTES;
    for (row, range) in ranges.iter().enumerate().filter(|(row, _)| fits(row + 1)) {
        let bytes = [range.first.0.to_ne_bytes(), range.last.0.to_ne_bytes()].concat();
        user.write(at + RANGES_BYTES + row * RANGE_BYTES, &bytes)?;
    }
    if fits(ranges.len()) {
        let count = u32::try_from(ranges.len()).expect("ranges are few");
        let mut head = [0; RANGES_BYTES];
        head[..4].copy_from_slice(&[1, 0, 1, 0]);
        head[8..12].copy_from_slice(&count.to_ne_bytes());
        user.write(at, &head)?;
    }
    Ok(())
}
