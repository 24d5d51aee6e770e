//! Attached devices: shared domains, replacements, and the pages behind them.

use super::mock::{Mock, word};
use crate::suite::fixture::{BASE, FactResult, Fixture, Setup, copy, map, map_file, unmap};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];
const EDUS: &[Capability] = &[Capability::Has(Device::Edu), Capability::Has(Device::OtherEdu)];
const MTTY: &[Capability] = &[Capability::Has(Device::Mtty)];
const MOCK: &[Capability] = &[Capability::Mock];
const EDU_7_3: &[Capability] = &[Capability::Has(Device::Edu), Capability::Release("7.3")];
const NONE: ObjectId = ObjectId(77);

/// The first IOVA of the MSI window.
const MSI_WINDOW: Iova = Iova(0xfee0_0000);

const fn attach(device: Fd, page_table: ObjectId) -> Call {
    Call::Device(DeviceCall::Attach { device, page_table })
}

/// Checks the ranges of an IOAS and their alignment.
fn ranges(
    b: &mut Fixture<'_>,
    pid: Pid,
    (iommufd, ioas): (Fd, ObjectId),
    expected: &[[u64; 2]],
    alignment_bytes: u64,
) -> FactResult {
    let reply = b.ok(pid, &Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }))?;
    let range = |[first, last]: &[u64; 2]| IovaRange { first: Iova(*first), last: Iova(*last) };
    let ranges = expected.iter().map(range).collect();
    b.same("the ranges", &reply, &Reply::IovaRanges { ranges, alignment_bytes })
}

pub(super) const ROWS: &[Fact] = &[
    row("attach/refused", "a failed ATTACH keeps the old attachment", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, device, device_id, hwpt, ioas, memfd } = b.set_up(p, 2)?;
        let (reserved, nothing) = (b.ioas(p, iommufd)?, b.ioas(p, iommufd)?);
        b.ok(p, &map_file(iommufd, reserved, memfd, MSI_WINDOW, 1))?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(iommufd, nothing, va, BASE, 1))?;
        b.ok(p, &Call::Memory(MemoryCall::Munmap { va, length_bytes: PAGE_BYTES }))?;
        b.all_refused(
            p,
            &[
                (attach(device, NONE), Errno::ENOENT),
                (attach(device, device_id), Errno::EINVAL),
                (attach(device, reserved), Errno::EADDRINUSE),
                (attach(device, nothing), Errno::EFAULT),
            ],
        )?;
        b.vm_pin(p, 2)?;
        let again = b.attach(p, device, ioas)?;
        b.same("the HWPT", &again, &hwpt)?;
        b.ok(p, &Call::Device(DeviceCall::Info { device })).map(drop)
    }),
    row("attach/replaces", "a second ATTACH replaces, and destroys the first HWPT", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, device, hwpt, ioas, .. } = b.set_up(p, 2)?;
        let empty = b.ioas(p, iommufd)?;
        let other = b.attach(p, device, empty)?;
        b.vm_pin(p, 0)?;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }), Errno::ENOENT)?;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: other }), Errno::EBUSY)?;
        b.attach(p, device, ioas)?;
        b.vm_pin(p, 2)?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        b.vm_pin(p, 0)
    }),
    row("attach/shared", "devices on one IOAS share its automatic HWPT", EDUS, |b| {
        let p = b.process();
        let Setup { iommufd, device, hwpt, ioas, .. } = b.set_up(p, 1)?;
        let (second, second_id) = b.bind(p, Device::OtherEdu, iommufd)?;
        let manual = b.id(p, &IommufdCall::hwpt_alloc(iommufd, second_id, ioas))?;
        let shared = b.attach(p, second, ioas)?;
        b.same("the automatic one, not the manual one", &shared, &hwpt)?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }), Errno::EBUSY)?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device: second }))?;
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }), Errno::ENOENT)?;
        b.vm_pin(p, 1)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual }))?;
        b.vm_pin(p, 0)
    }),
    row(
        "attach/mdev",
        "an emulated device attaches to an IOAS, and to no other object",
        MTTY,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let (ioas, other) = (b.ioas(p, iommufd)?, b.ioas(p, iommufd)?);
            let (device, access) = b.bind(p, Device::Mtty, iommufd)?;
            for wrong in [NONE, access] {
                b.refuses(p, &attach(device, wrong), Errno::ENOENT)?;
            }
            for space in [ioas, other] {
                let told = b.attach(p, device, space)?;
                b.same("the returned id", &told, &space)?;
            }
            b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }))?;
            b.refuses(
                p,
                &Call::Iommufd(IommufdCall::Destroy { iommufd, id: other }),
                Errno::EBUSY,
            )?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
            b.ok(p, &Call::Device(DeviceCall::Detach { device })).map(drop)
        },
    ),
    row("attach/ranges", "QEMU's VT-d has 39-bit IOVAs, split by the MSI window", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, device, .. } = b.set_up(p, 1)?;
        let attached = [[0, 0xfedf_ffff], [0xfef0_0000, 0x7f_ffff_ffff]];
        ranges(b, p, (iommufd, ioas), &attached, PAGE_BYTES)?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device }))?;
        ranges(b, p, (iommufd, ioas), &[[0, u64::MAX]], 1)
    }),
    row("attach/mock-ranges", "a mock domain has its own aperture and 2 KiB pages", MOCK, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        Mock::on(b, p, iommufd, ioas)?;
        ranges(b, p, (iommufd, ioas), &[[0x100_0000, 0x7fff_ffff]], 0x800)
    }),
    row("attach/hw-info", "GET_HW_INFO reports QEMU's VT-d and its capabilities", EDU_7_3, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let (_, device) = b.bind(p, Device::Edu, iommufd)?;
        let told = b.ok(p, &Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device }))?;
        b.same("type and capabilities", &told, &Reply::HwInfo { data_type: 1, capabilities: 8 })?;
        let room = sized().u32(0).id(device).u32(32).pointer(&[9; 32]).padded(40);
        let outcome = b.ioctl(p, &room.on(iommufd, nr::IOMMU_GET_HW_INFO))?;
        b.same("the length of its data", &word(&outcome, 12), &24)?;
        b.same("the padding behind it", &outcome.pointees[0].0[24..], &[0; 8][..])
    }),
    row("attach/second-domain", "a second domain uses the pages of the first", EDUS, |b| {
        let (p, q) = (b.process(), b.process());
        let Setup { iommufd, ioas, device, .. } = b.set_up(p, 1)?;
        let va = b.mmap(p, None, 1)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0x50000), 1))?;
        let (other, third) = (b.ioas(p, iommufd)?, b.ioas(p, iommufd)?);
        b.ok(p, &copy(iommufd, (ioas, Iova(0x50000)), (other, BASE), 1))?;
        b.ok(p, &copy(iommufd, (ioas, Iova(0x50000)), (third, BASE), 1))?;
        let (second, second_id) = b.bind(p, Device::OtherEdu, iommufd)?;
        b.ok(p, &Call::Memory(MemoryCall::Munmap { va, length_bytes: PAGE_BYTES }))?;
        b.attach(p, second, other)?;
        b.vm_pin(p, 2)?;
        let theirs = b.pass(p, q, &[iommufd, device, second])?;
        b.kill(p);
        // The memory is unmapped, and its owner is dead.
        let alloc = IommufdCall::hwpt_alloc(theirs[0], second_id, third);
        b.id(q, &alloc).map(drop)
    }),
    row("attach/twice", "memory mapped by address and by file is pinned twice", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 4)?;
        let va = b.mmap(p, Some(memfd), 4)?;
        b.ok(p, &map(iommufd, ioas, va, Iova(0x80000), 4))?;
        b.vm_pin(p, 8)?;
        b.ok(p, &unmap(iommufd, ioas, BASE, 4))?;
        b.vm_pin(p, 4)
    }),
    row(
        "attach/behind-the-end",
        "memory mapped beyond the end of its file fails with EFAULT",
        EDU,
        |b| {
            let p = b.process();
            let Setup { iommufd, ioas, memfd, .. } = b.set_up(p, 1)?;
            let va = b.mmap(p, Some(memfd), 2)?;
            let behind = Va(va.0 + PAGE_BYTES);
            b.refuses(p, &map(iommufd, ioas, behind, Iova(0), 1), Errno::EFAULT)?;
            b.ok(p, &map(iommufd, ioas, va, Iova(0), 1)).map(drop)
        },
    ),
    row("attach/fault-file", "the file of a fault queue is CLOEXEC", &[], |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: iommufd, on: false }))?;
        let alloc = sized().u32(0).u32(0).u32(0).on(iommufd, nr::IOMMU_FAULT_QUEUE_ALLOC);
        let outcome = b.ioctl(p, &alloc)?;
        let (id, fd) = (ObjectId(word(&outcome, 8)), Fd(word(&outcome, 12).cast_signed()));
        b.refuses(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id }), Errno::EBUSY)?;
        b.exec(p);
        b.refuses(p, &Call::File(FileCall::Close { fd }), Errno::EBADF)?;
        b.ok(p, &Call::Iommufd(IommufdCall::Destroy { iommufd, id })).map(drop)
    }),
];
