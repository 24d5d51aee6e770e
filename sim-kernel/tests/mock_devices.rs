//! Mock devices and their domains (`iommufd/selftest`, `hardware/iommu`).

use crate::common::raw::{Raw, long, word};
use crate::common::{EDU, OLD, Rig, map};
use handoff_model::abi::call::{Call, DeviceCall, IommufdCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES};
use handoff_model::abi::request as nr;

const MOCK_FIRST: u64 = 0x100_0000;

fn rig() -> (Rig, Fd, ObjectId) {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    (rig, iommufd, ioas)
}

/// Makes an IOVA_RANGES with room for four ranges. Returns the ranges and the alignment.
fn ranges(rig: &mut Rig, iommufd: Fd, ioas: ObjectId) -> (Vec<[u64; 2]>, u64) {
    let raw = Raw::new(nr::IOMMU_IOAS_IOVA_RANGES, 32).u32(4, ioas.0).u32(8, 4);
    let outcome = rig.raw_ok(OLD, iommufd, raw.pointee(16, vec![0; 64]));
    let words: Vec<u64> = (outcome.pointees[0].0.chunks_exact(8))
        .map(|bytes| u64::from_ne_bytes(*bytes.first_chunk().expect("eight")))
        .collect();
    let rows = words.chunks_exact(2).map(|row| [row[0], row[1]]);
    (rows.take(word(&outcome, 8) as usize).collect(), long(&outcome, 24))
}

#[test]
fn a_mock_device_is_three_objects_destroyed_with_the_first() {
    let (mut rig, iommufd, ioas) = rig();
    let empty = rig.machine.clone();
    let [stdev, hwpt, idev] = rig.mock_domain(OLD, iommufd, ioas);
    assert_eq!([stdev, idev, hwpt], [2, 3, 4].map(ObjectId));
    let [_, shared, _] = rig.mock_domain(OLD, iommufd, ioas);
    assert_eq!(shared, hwpt);
    for held in [hwpt, idev, ioas] {
        rig.refuses(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: held }), Errno::EBUSY);
    }
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(5) }));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: stdev }));
    assert_eq!(rig.machine, empty);
}

#[test]
fn mock_commands_that_are_refused() {
    let (rig, iommufd, ioas) = rig();
    let flags = Raw::test(12, ioas.0).u32(28, 2);
    let rows = [
        (Raw::test(99, ioas.0), Errno::EOPNOTSUPP),
        (Raw::test(2, 77), Errno::ENOENT),
        (flags, Errno::EINVAL),
        (Raw::test(3, ioas.0), Errno::ENOENT),
    ];
    for (raw, errno) in rows {
        rig.raw_refuses(OLD, iommufd, raw, errno);
    }
}

#[test]
fn mappable_ranges_depend_on_the_domains() {
    let (mut rig, iommufd, ioas) = rig();
    assert_eq!(ranges(&mut rig, iommufd, ioas), (vec![[0, u64::MAX]], 1));
    let [stdev, ..] = rig.mock_domain(OLD, iommufd, ioas);
    let mock = (vec![[MOCK_FIRST, 0x7fff_ffff]], 2048);
    assert_eq!(ranges(&mut rig, iommufd, ioas), mock);
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    let vtd = rig.attach(OLD, device, ioas);
    assert_ne!(vtd, ObjectId(4), "each driver has its own domain");
    assert_eq!(ranges(&mut rig, iommufd, ioas), (vec![[MOCK_FIRST, 0x7fff_ffff]], 4096));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: stdev }));
    let both = vec![[0, 0xfedf_ffff], [0xfef0_0000, 0x7f_ffff_ffff]];
    assert_eq!(ranges(&mut rig, iommufd, ioas), (both, 4096));
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    assert_eq!(ranges(&mut rig, iommufd, ioas), (vec![[0, u64::MAX]], 1));
}

#[test]
fn a_domain_takes_devices_of_its_own_driver_only() {
    let (mut rig, iommufd, ioas) = rig();
    let [_, mock, _] = rig.mock_domain(OLD, iommufd, ioas);
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    rig.refuses(OLD, Call::Device(DeviceCall::Attach { device, page_table: mock }), Errno::EINVAL);
    let vtd = rig.attach(OLD, device, ioas);
    rig.raw_refuses(OLD, iommufd, Raw::test(2, vtd.0), Errno::EINVAL);
    let outcome = rig.check_map(OLD, iommufd, vtd, [0; 3]);
    assert_eq!(outcome.errno(), Some(Errno::EINVAL));
}

#[test]
fn areas_outside_the_aperture_or_unaligned_prevent_a_domain() {
    for (iova, length) in [(0, 0x1000), (0x8000_0000, 0x1000), (MOCK_FIRST, 0x801)] {
        let (mut rig, iommufd, ioas) = rig();
        let raw = Raw::new(nr::IOMMU_IOAS_MAP, 40).u32(4, 7).u32(8, ioas.0);
        rig.raw_ok(OLD, iommufd, raw.u64(24, length).u64(32, iova));
        rig.raw_refuses(OLD, iommufd, Raw::test(2, ioas.0), Errno::EADDRINUSE);
    }
}

#[test]
fn a_domain_maps_the_pages_of_the_caller() {
    let (mut rig, iommufd, ioas) = rig();
    let [_, hwpt, _] = rig.mock_domain(OLD, iommufd, ioas);
    let va = rig.mmap(OLD, None, 4);
    rig.ok(OLD, map(iommufd, ioas, va, Iova(MOCK_FIRST), 4));
    let half = PAGE_BYTES / 2;
    let rows = [
        ([MOCK_FIRST, 4 * PAGE_BYTES, va.0], None),
        ([MOCK_FIRST + half, half, va.0 + half], None),
        ([MOCK_FIRST + half, half, va.0], Some(Errno::EINVAL)),
        ([MOCK_FIRST, half, va.0 + PAGE_BYTES], Some(Errno::EINVAL)),
        ([MOCK_FIRST, 5 * PAGE_BYTES, va.0], Some(Errno::EFAULT)),
        ([MOCK_FIRST - half, half, va.0], Some(Errno::EINVAL)),
        ([MOCK_FIRST + 1, half, va.0], Some(Errno::EINVAL)),
        ([MOCK_FIRST, half, 0u64.wrapping_sub(half)], Some(Errno::EINVAL)),
    ];
    for (row, errno) in rows {
        assert_eq!(rig.check_map(OLD, iommufd, hwpt, row).errno(), errno, "{row:x?}");
    }
}
