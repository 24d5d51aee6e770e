//! `VFIO_IOMMU_GET_INFO` of a type1 IOMMU: page sizes, followed by a chain of capabilities.
//!
//! The structure is truncated to the caller's room; the chain is written completely or not at all,
//! and then `argsz` reports the room that both need.
//!
//! Mirrors `vfio_iommu_type1_get_info` of `drivers/vfio/vfio_iommu_type1.c` and
//! `vfio_info_add_capability` of `drivers/vfio/vfio_main.c`.

use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, fail};
use crate::value::ContainerId;
use crate::vfio::type1::Type1;
use crate::vfio::type1::dirty::BITMAP_BYTES_MAX;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::PAGE_BYTES;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio::{self, vfio_info_cap_header, vfio_iommu_type1_info};

const SIZE: usize = size_of::<vfio_iommu_type1_info>();

/// Page sizes of a domain (4 KiB, 2 MiB, 1 GiB), and without a domain (any size from 4 KiB on).
const DOMAIN_PAGE_SIZES: u64 = 0x4020_1000;
const ANY_PAGE_SIZE: u64 = !(PAGE_BYTES - 1);

/// A chain of capabilities. Each has the offset of the next one, from the start of the structure.
#[derive(Debug, Default)]
struct Chain {
    bytes: Vec<u8>,
    last: Option<usize>,
}

impl Chain {
    /// Appends a capability of version 1, and pads it to 8 bytes.
    fn push(&mut self, id: u32, body: &[u64]) {
        let at = self.bytes.len();
        if let Some(last) = self.last.replace(at) {
            let next = u32::try_from(SIZE + at).expect("a short chain");
            let place = last + offset_of!(vfio_info_cap_header, next);
            self.bytes[place..place + 4].copy_from_slice(&next.to_ne_bytes());
        }
        let id = u16::try_from(id).expect("ids are short");
        self.bytes.extend(id.to_ne_bytes());
        self.bytes.extend(1u16.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
    }
}

impl Type1 {
    /// Returns the capabilities: dirty tracking, the number of available mappings, and the usable
    /// ranges.
    fn capabilities(&self) -> Vec<u8> {
        let mut chain = Chain::default();
        let migration = [0, PAGE_BYTES, BITMAP_BYTES_MAX];
        chain.push(vfio::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, &migration);
        chain.push(vfio::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, &[self.available().into()]);
        if !self.ranges.is_empty() {
            let count = std::iter::once(self.ranges.len() as u64);
            let ends = self.ranges.iter().flat_map(|range| [range.first.0, range.last.0]);
            let body: Vec<u64> = count.chain(ends).collect();
            chain.push(vfio::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, &body);
        }
        chain.bytes
    }
}

impl Machine {
    /// Handles GET_INFO. Fails with `EFAULT`, or `EINVAL` (size).
    pub(super) fn type1_info(
        &self,
        id: ContainerId,
        request: &mut Request<'_>,
    ) -> SyscallResult<()> {
        const ARGSZ: usize = offset_of!(vfio_iommu_type1_info, argsz);
        const CAP_OFFSET: usize = offset_of!(vfio_iommu_type1_info, cap_offset);
        let room = request.user.copy(CAP_OFFSET)?.u32(ARGSZ) as usize;
        if room < CAP_OFFSET {
            return Err(fail(Errno::EINVAL));
        }
        let chain = self.type1(id).expect("looked up before").capabilities();
        let sizes = if self.has_real_group(id) { DOMAIN_PAGE_SIZES } else { ANY_PAGE_SIZE };
        let word = |length: usize| u32::try_from(length).expect("a short structure");
        let mut info = Fields(vec![0; SIZE]);
        let flags = vfio::VFIO_IOMMU_INFO_PGSIZES | vfio::VFIO_IOMMU_INFO_CAPS;
        info.set_u32(offset_of!(vfio_iommu_type1_info, flags), flags);
        info.set_u64(offset_of!(vfio_iommu_type1_info, iova_pgsizes), sizes);
        if room < SIZE + chain.len() {
            info.set_u32(ARGSZ, word(SIZE + chain.len()));
        } else {
            info.set_u32(ARGSZ, word(room));
            request.user.write(SIZE, &chain)?;
            info.set_u32(CAP_OFFSET, word(SIZE));
        }
        request.user.write(0, &info.0[..room.min(SIZE)])
    }
}
