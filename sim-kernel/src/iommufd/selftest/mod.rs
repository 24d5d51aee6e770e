//! `IOMMU_TEST_CMD`: mock devices and their domains, and what the kernel's own tests ask of them.
//!
//! A mock device is made and attached in one call (`MOCK_DOMAIN`), which tells three objects: what holds
//! the device bound (*stdev*), the domain, and the device. It has an IOMMU of its own kind,
//! [`Iommu::MOCK`](crate::Iommu::MOCK), and goes when the stdev is destroyed.
//!
//! The operations are a table; the structure is a union, whose fields stand behind [`UNION`].
//!
//! Mirrors `drivers/iommu/iommufd/selftest.c` and `iommufd_test.h`.

pub(crate) mod access;
pub(crate) mod dma_buf;
pub(crate) mod pasid;

use crate::iommufd::attach::{Change, Seat};
use crate::iommufd::hw_pagetable::Hwpt;
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::range;
use crate::iommufd::pages::Pin;
use crate::iommufd::{Hardware, Object};
use crate::machine::Machine;
use crate::syscall::refusal::{Answered, refuse};
use crate::value::slots::ContextId;
use handoff_model::errno::Errno;
use handoff_model::ids::{Iova, IovaRange, ObjectId, PAGE_BYTES};

/// Offsets in `struct iommu_test_cmd`.
const OP: usize = 4;
pub(crate) const ID: usize = 8;
pub(crate) const UNION: usize = 16;

/// A device of the kernel's own tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MockDevice {
    /// `MOCK_FLAGS_DEVICE_*`.
    flags: u32,
    /// The next domain for the PASID that fails is refused.
    pub(crate) fails_next: bool,
    /// The viommu that it is attached through, and as which of its devices.
    pub(crate) viommu: Option<(ObjectId, u64)>,
    /// What an invalidation through a viommu sets to zero.
    pub(crate) cache: [u32; 4],
}

/// `MOCK_FLAGS_DEVICE_NO_DIRTY` and `_PASID`.
const NO_DIRTY: u32 = 1;
const PASID: u32 = 4;

/// `MOCK_PASID_WIDTH`, `IOMMU_TEST_DEV_CACHE_DEFAULT`.
const PASID_BITS: u8 = 20;
const CACHE_DEFAULT: u32 = 0x00ba_ddad;

impl MockDevice {
    fn new(flags: u32) -> Self {
        Self { flags, fails_next: false, viommu: None, cache: [CACHE_DEFAULT; 4] }
    }

    pub(crate) fn tracks_dirty(self) -> bool {
        self.flags & NO_DIRTY == 0
    }

    pub(crate) fn pasid_bits(self) -> u8 {
        if self.flags & PASID == 0 { 0 } else { PASID_BITS }
    }

    /// The first number that is none of its PASIDs.
    pub(crate) fn pasid_end(self) -> u32 {
        1 << self.pasid_bits()
    }
}

/// What answers an operation.
type Run = fn(&mut Machine, &mut Ucmd<'_>) -> Answered<()>;

/// `IOMMU_TEST_OP_*`, and what answers.
const OPS: &[(u32, Run)] = &[
    (1, Machine::add_reserved),
    (2, Machine::mock_domain),
    (3, Machine::check_map),
    (4, Machine::check_refs),
    (5, Machine::create_access),
    (6, Machine::destroy_access_pages),
    (7, Machine::access_pages),
    (8, Machine::access_rw),
    (9, Machine::set_memory_limit),
    (10, Machine::mock_domain_replace),
    (11, Machine::replace_access),
    (12, Machine::mock_domain_flags),
    (13, Machine::mark_dirty),
    (14, Machine::check_iotlb),
    (15, Machine::trigger_iopf),
    (16, Machine::check_device_cache),
    (17, Machine::trigger_vevent),
    (18, Machine::pasid_attach),
    (19, Machine::pasid_replace),
    (20, Machine::pasid_detach),
    (21, Machine::pasid_check_hwpt),
    (22, Machine::dma_buf_get),
    (23, Machine::dma_buf_revoke),
];

impl Machine {
    /// `iommufd_test`. EOPNOTSUPP for an operation that is not known.
    pub(crate) fn test_command(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let op = ucmd.cmd.u32(OP);
        let known = OPS.iter().find(|(number, _)| *number == op);
        let (_, run) = known.ok_or(refuse(Errno::EOPNOTSUPP))?;
        run(self, ucmd)
    }

    fn mock_domain(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        self.make_mock_device(ucmd, 0)
    }

    fn mock_domain_flags(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let flags = ucmd.cmd.u32(UNION + 12);
        self.make_mock_device(ucmd, flags)
    }

    /// `iommufd_test_mock_domain`: EINVAL (flags), ENOENT (itself), then as attaching. The numbers are those of the
    /// stdev, the device, and then of what attaching makes.
    fn make_mock_device(&mut self, ucmd: &mut Ucmd<'_>, flags: u32) -> Answered<()> {
        if flags & !(NO_DIRTY | PASID) != 0 {
            return Err(refuse(Errno::EINVAL));
        }
        for _ in ["stdev", "device", "its object"] {
            self.allocate()?;
        }
        let (context, page_table) = (ucmd.context, ucmd.cmd.id(ID));
        self.atomically(|machine| {
            let table = machine.contexts.get_mut(context);
            let hardware = Hardware::Mock(MockDevice::new(flags));
            let stdev = table.insert(Object::Stdev { idev: ObjectId(0) });
            let idev = table.insert(Object::Device { hardware, hwpt: None });
            table.objects.insert(stdev, Object::Stdev { idev });
            // The stdev's number is taken, and not yet one that can be looked up.
            if page_table == stdev {
                return Err(refuse(Errno::ENOENT));
            }
            let (hwpt, _) = machine.attach_device(context, idev, page_table)?;
            for (at, id) in [stdev, hwpt, idev].into_iter().enumerate() {
                ucmd.cmd.set_u32(UNION + 4 * at, id.0);
            }
            ucmd.respond()
        })
    }

    /// `iommufd_test_mock_domain_replace`: ENOENT, then as attaching; EFAULT, and then it is replaced.
    fn mock_domain_replace(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let objects = &self.contexts.get(ucmd.context).objects;
        let Some(Object::Stdev { idev }) = objects.get(&ucmd.cmd.id(ID)) else {
            return Err(refuse(Errno::ENOENT));
        };
        let seat = Seat::device(ucmd.context, *idev);
        let hwpt = self.change_pt(seat, ucmd.cmd.id(UNION), Change::Replace)?;
        self.reclaim();
        ucmd.respond_with(UNION, hwpt)
    }

    /// `iommufd_test_add_reserved`: EINVAL, EOVERFLOW, ENOENT, EADDRINUSE. It stays until the IOAS goes.
    fn add_reserved(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let [first, length_bytes] = [0, 8].map(|at| ucmd.cmd.u64(UNION + at));
        let range = range(Iova(first), length_bytes)?;
        let (context, id) = (ucmd.context, ucmd.cmd.id(ID));
        self.ioas(context, id)?;
        self.contexts.get(context).check_reservable(id, &range)?;
        self.allocate()?;
        let reserved = &mut self.ioas_mut(context, id).reserved;
        reserved.push(range);
        reserved.sort_unstable();
        Ok(())
    }

    /// `IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT`: how much a call takes at once is not seen from outside.
    /// EINVAL below the size of one element.
    #[allow(clippy::unused_self, reason = "a row of the table")]
    fn set_memory_limit(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        const ELEMENT_BYTES: u32 = 12;
        let limit_bytes = ucmd.cmd.u32(UNION);
        if limit_bytes < ELEMENT_BYTES { Err(refuse(Errno::EINVAL)) } else { Ok(()) }
    }

    /// `iommufd_test_md_check_refs`: how often each page of the caller's memory is pinned. EINVAL
    /// (alignment, overflow), EFAULT, EIO where it is another number.
    fn check_refs(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let [length_bytes, va] = [0, 8].map(|at| ucmd.cmd.u64(UNION + at));
        let expected = ucmd.cmd.u32(UNION + 16) as usize;
        let is_aligned = [length_bytes, va].iter().all(|v| v.is_multiple_of(PAGE_BYTES));
        if !is_aligned || va.checked_add(length_bytes).is_none() {
            return Err(refuse(Errno::EINVAL));
        }
        for at in 0..length_bytes / PAGE_BYTES {
            let page = self.present(ucmd.pid, va + at * PAGE_BYTES)?;
            if self.times_pinned(&page) != expected {
                return Err(refuse(Errno::EIO));
            }
        }
        Ok(())
    }

    /// A domain of the mock driver. ENOENT, EINVAL for a domain of another.
    pub(crate) fn mock_hwpt(&self, ucmd: &Ucmd<'_>) -> Answered<&Hwpt> {
        let hwpt = self.contexts.get(ucmd.context).hwpt(ucmd.cmd.id(ID));
        let hwpt = hwpt.ok_or(refuse(Errno::ENOENT))?;
        let is_mock = hwpt.iommu.driver == crate::hardware::iommu::IommuDriver::Mock;
        if is_mock { Ok(hwpt) } else { Err(refuse(Errno::EINVAL)) }
    }

    /// `iommufd_test_md_check_pa`: EINVAL (alignment, overflow), then page by page of the domain EFAULT
    /// where the caller has no memory, EINVAL where the domain leads elsewhere.
    fn check_map(&mut self, ucmd: &mut Ucmd<'_>) -> Answered<()> {
        let [iova, length_bytes, va] = [0, 8, 16].map(|at| ucmd.cmd.u64(UNION + at));
        let hwpt = self.mock_hwpt(ucmd)?;
        let page_bytes = hwpt.iommu.io_page_bytes;
        let is_aligned = [iova, length_bytes, va].iter().all(|v| v.is_multiple_of(page_bytes));
        if !is_aligned || va.checked_add(length_bytes).is_none() {
            return Err(refuse(Errno::EINVAL));
        }
        let step = usize::try_from(page_bytes).expect("a page size");
        for at in (0..length_bytes).step_by(step) {
            let va = va + at;
            let mut pin = self.present(ucmd.pid, va)?;
            pin.index = va % PAGE_BYTES;
            if self.translate(ucmd.context, hwpt.ioas, Iova(iova.wrapping_add(at))) != Some(pin) {
                return Err(refuse(Errno::EINVAL));
            }
        }
        Ok(())
    }

    /// Where a domain over an address space leads: the page, and in `index` the byte within it.
    fn translate(&self, context: ContextId, ioas: ObjectId, iova: Iova) -> Option<Pin> {
        let here = IovaRange { first: iova, last: iova };
        let ioas = self.contexts.get(context).ioas(ioas)?;
        let area = ioas.areas.iter().find(|area| area.range.overlaps(&here))?;
        let byte = area.start_bytes + (iova.0 - area.range.first.0);
        let index = byte / PAGE_BYTES;
        let pins = &self.set(context, area.set).pins;
        let pin = pins.iter().find_map(|pin| pin.clipped(&(index..index + 1)))?;
        Some(Pin { index: byte % PAGE_BYTES, ..pin })
    }
}
