//! Address spaces (`iommufd/ioas`).

use crate::common::{BAD, BASE, OLD, Rig, Setup, copy, map, map_file, unmap};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Reply, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, PAGE_BYTES, Va};

const NONE: ObjectId = ObjectId(77);
const TOP: u64 = u64::MAX;

/// Returns a context with an empty IOAS without a domain.
fn lazy() -> (Rig, Fd, ObjectId) {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    (rig, iommufd, ioas)
}

/// Returns a MAP with a length in bytes.
fn map_bytes(iommufd: Fd, ioas: ObjectId, va: u64, iova: u64, length_bytes: u64) -> Call {
    let (user_va, iova) = (Va(va), Iova(iova));
    IommufdCall::map(iommufd, ioas, user_va, iova, length_bytes, Rights::ReadWrite)
}

fn map_file_bytes(
    iommufd: Fd,
    ioas: ObjectId,
    fd: Fd,
    offset_bytes: u64,
    iova: u64,
    length_bytes: u64,
) -> Call {
    let (iova, rights) = (Iova(iova), Rights::ReadWrite);
    IommufdCall::map_file(iommufd, ioas, (fd, offset_bytes), iova, length_bytes, rights)
}

#[test]
fn map_without_a_domain_checks_numbers_only() {
    let (mut rig, iommufd, ioas) = lazy();
    rig.ok(OLD, map_bytes(iommufd, ioas, 0x1000, 0x5000, 0x1000));
    let map = |ioas, va, iova, length| map_bytes(iommufd, ioas, va, iova, length);
    let rows = [
        (map(NONE, 0, TOP, 0), Errno::EOVERFLOW),
        (map(NONE, 0, 0, TOP), Errno::EOVERFLOW),
        (map(NONE, TOP, 0, 1), Errno::ENOENT),
        (map(ioas, TOP, 0, 1), Errno::EOVERFLOW),
        (map(ioas, 0, 0, 0), Errno::EINVAL),
        (map(ioas, 0, 0, TOP - 1), Errno::EINVAL),
        (map(ioas, 0, TOP - 1, 3), Errno::EOVERFLOW),
        (map(ioas, 0, 0x5fff, 1), Errno::EEXIST),
        (map(ioas, 0, 0x4000, 0x1001), Errno::EEXIST),
        (map(ioas, 0, 0x4000, 0x9000), Errno::EEXIST),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    rig.ok(OLD, map(ioas, 3, 0x6001, 7));
    assert_eq!(rig.machine.view().page_sets[1].pinned_pages, 0);
}

#[test]
fn map_with_a_domain_checks_the_iommu_and_the_memory() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, .. } = rig.set_up(1);
    let va = rig.mmap(OLD, None, 2).0;
    let short = rig.memfd(OLD, 1);
    let behind = rig.mmap(OLD, Some(short), 2).0 + PAGE_BYTES;
    let map = |va, iova, length| map_bytes(iommufd, ioas, va, iova, length);
    let rows = [
        (map(va, 0x20000, 1), Errno::EINVAL),
        (map(va, 0x20001, 0x1000), Errno::EINVAL),
        (map(va, TOP - 0xfff, 0x2000), Errno::EOVERFLOW),
        (map(va, 0xfee0_0000, 0x1000), Errno::EINVAL),
        (map(va, 0xfedf_f000, 0x2000), Errno::EINVAL),
        (map(va, 0x80_0000_0000, 0x1000), Errno::EINVAL),
        (map(va, BASE.0, 0x1000), Errno::EEXIST),
        (map(va + 1, 0x20000, 0x1000), Errno::EINVAL),
        (map(0x1000, 0x20000, 0x1000), Errno::EFAULT),
        (map(va + PAGE_BYTES, 0x20000, 0x4000), Errno::EFAULT),
        (map(behind, 0x20000, 0x1000), Errno::EFAULT),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    rig.ok(OLD, map(va, 0x20000, 0x2000));
    rig.ok(OLD, map(va, 0x7f_ffff_e000, 0x2000));
}

#[test]
fn map_file_without_a_domain_takes_any_file() {
    let (mut rig, iommufd, ioas) = lazy();
    let memfd = rig.memfd(OLD, 1);
    let map =
        |ioas, fd, offset, iova, length| map_file_bytes(iommufd, ioas, fd, offset, iova, length);
    let rows = [
        (map(NONE, BAD, 0, TOP, 0), Errno::EOVERFLOW),
        (map(NONE, BAD, 0, 0, TOP), Errno::EOVERFLOW),
        (map(NONE, BAD, 0, 0, 0), Errno::ENOENT),
        (map(ioas, BAD, TOP, 0, 0), Errno::EINVAL),
        (map(ioas, BAD, TOP, 0, 2), Errno::EOVERFLOW),
        (map(ioas, BAD, TOP, 0, 1), Errno::EBADF),
        (map(ioas, BAD, 0, 0, 1), Errno::EBADF),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    for (fd, iova) in [(memfd, 0), (event, 0x1000), (iommufd, 0x2000)] {
        rig.ok(OLD, map(ioas, fd, 1 << 40, iova, 0x1000));
    }
}

#[test]
fn map_file_with_a_domain_needs_a_long_enough_memfd() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, memfd, .. } = rig.set_up(2);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let map = |fd, offset| map_file_bytes(iommufd, ioas, fd, offset, 0x40000, 0x1000);
    let rows = [
        (map(event, 0), Errno::EINVAL),
        (map(memfd, 0x2000), Errno::EINVAL),
        (map(memfd, 0x1001), Errno::EINVAL),
        (map(memfd, TOP & !0xfff), Errno::EINVAL),
        (map(memfd, (TOP & !0xfff) - 0x1000), Errno::EINVAL),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    rig.ok(OLD, map(memfd, 0x1000));
}

#[test]
fn copy_refusals() {
    let (mut rig, iommufd, ioas) = lazy();
    let memfd = rig.memfd(OLD, 4);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 2));
    let read_only =
        IommufdCall::map_file(iommufd, ioas, (memfd, 0), Iova(0x20000), PAGE_BYTES, Rights::Read);
    rig.ok(OLD, read_only);
    let other = rig.ioas(OLD, iommufd);
    let copy = |from, to, pages| copy(iommufd, from, to, pages);
    let (from, free) = ((ioas, BASE), (other, Iova(0)));
    let rows = [
        (copy((NONE, Iova(TOP)), free, 1), Errno::EOVERFLOW),
        (copy((NONE, BASE), (other, Iova(TOP)), 1), Errno::EOVERFLOW),
        (copy((NONE, BASE), free, 0), Errno::ENOENT),
        (copy((other, BASE), free, 0), Errno::EINVAL),
        (copy((ioas, Iova(TOP - 1)), free, 1), Errno::EOVERFLOW),
        (copy((ioas, Iova(0)), (NONE, BASE), 1), Errno::ENOENT),
        (copy((ioas, Iova(BASE.0 - 1)), free, 1), Errno::ENOENT),
        (copy(from, free, 3), Errno::ENOENT),
        (copy(from, (NONE, BASE), 1), Errno::ENOENT),
        (copy(from, from, 2), Errno::EEXIST),
        (copy(from, (ioas, Iova(BASE.0 + 0x1000)), 2), Errno::EEXIST),
        (copy((ioas, Iova(0x20000)), from, 1), Errno::EEXIST),
        (copy((ioas, Iova(0x20000)), free, 1), Errno::EPERM),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

#[test]
fn copies_share_pages_slice_by_slice() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, .. } = rig.set_up(4);
    let memfd = rig.memfd(OLD, 1);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, Iova(BASE.0 + 0x4000), 1));
    rig.ok(OLD, copy(iommufd, (ioas, Iova(BASE.0 + 0x2000)), (ioas, Iova(0x40000)), 3));
    let view = rig.machine.view();
    let copied: Vec<_> = view.mappings[2..]
        .iter()
        .map(|mapping| (mapping.range.first.0, mapping.memory.first.index, mapping.memory.pages))
        .collect();
    assert_eq!(copied, [(0x40000, 2, 2), (0x42000, 0, 1)]);
    assert_eq!(view.page_sets.iter().map(|set| set.pinned_pages).sum::<u64>(), 5);
}

#[test]
fn unmap_takes_whole_areas_and_is_not_atomic() {
    let (mut rig, iommufd, ioas) = lazy();
    let memfd = rig.memfd(OLD, 4);
    for iova in [0x10000, 0x12000] {
        rig.ok(OLD, map_file(iommufd, ioas, memfd, Iova(iova), 2));
    }
    let unmap_bytes =
        |ioas, iova, length_bytes| IommufdCall::unmap(iommufd, ioas, Iova(iova), length_bytes);
    let rows = [
        (unmap_bytes(NONE, 1, TOP), Errno::ENOENT),
        (unmap_bytes(ioas, 1, TOP), Errno::EOVERFLOW),
        (unmap_bytes(ioas, TOP, 1), Errno::EOVERFLOW),
        (unmap_bytes(ioas, 0x10000, 0), Errno::EINVAL),
        (unmap_bytes(ioas, TOP - 1, 3), Errno::EOVERFLOW),
        (unmap_bytes(ioas, 0, 0x10000), Errno::ENOENT),
        (unmap(iommufd, ioas, Iova(0x10000), 1), Errno::ENOENT),
        (unmap(iommufd, ioas, Iova(0x11000), 3), Errno::ENOENT),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    let mut partly = rig.clone();
    partly.fails(OLD, unmap(iommufd, ioas, Iova(0x10000), 3), Errno::ENOENT);
    assert_eq!(partly.machine.view().mappings.len(), 1, "the first area has gone");

    assert_eq!(rig.ok(OLD, unmap(iommufd, ioas, Iova(0xf000), 9)), Reply::Length(0x4000));
    assert_eq!(rig.ok(OLD, unmap_bytes(ioas, 0, TOP)), Reply::Length(0), "everything is nothing");
}

#[track_caller]
fn check_ranges(rig: &mut Rig, iommufd: Fd, ioas: ObjectId, expected: &[(u64, u64)], align: u64) {
    let ranges = (expected.iter())
        .map(|(first, last)| IovaRange { first: Iova(*first), last: Iova(*last) })
        .collect();
    let answer = rig.ok(OLD, Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }));
    assert_eq!(answer, Reply::IovaRanges { ranges, alignment_bytes: align });
}

#[test]
fn ranges_depend_on_the_users_of_the_address_space() {
    let (mut rig, iommufd, ioas) = lazy();
    let attached = [(0, 0xfedf_ffff), (0xfef0_0000, 0x7f_ffff_ffff)];
    let everything = [(0, TOP)];
    check_ranges(&mut rig, iommufd, ioas, &everything, 1);
    let (device, device_id) = rig.bind(OLD, crate::common::EDU, iommufd);
    check_ranges(&mut rig, iommufd, ioas, &everything, 1);
    let hwpt = rig.id(OLD, IommufdCall::hwpt_alloc(iommufd, device_id, ioas));
    check_ranges(&mut rig, iommufd, ioas, &[(0, 0x7f_ffff_ffff)], PAGE_BYTES);
    rig.attach(OLD, device, hwpt);
    check_ranges(&mut rig, iommufd, ioas, &attached, PAGE_BYTES);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: hwpt }));
    check_ranges(&mut rig, iommufd, ioas, &everything, 1);
    let (mtty, _) = rig.bind(OLD, crate::common::MTTY, iommufd);
    rig.attach(OLD, mtty, ioas);
    check_ranges(&mut rig, iommufd, ioas, &everything, PAGE_BYTES);
    rig.refuses(
        OLD,
        Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas: NONE }),
        Errno::ENOENT,
    );
}

#[test]
fn a_partly_mapped_page_counts_as_a_page() {
    let (mut rig, iommufd, ioas) = lazy();
    rig.ok(OLD, map_bytes(iommufd, ioas, 0xfff, 0, 2));
    assert_eq!(rig.machine.view().page_sets[0].memory.pages, 2);
    rig.ok(OLD, map(iommufd, ioas, Va(0), Iova(0x1000), 2));
    assert_eq!(rig.machine.view().page_sets[1].memory.pages, 2);
}
