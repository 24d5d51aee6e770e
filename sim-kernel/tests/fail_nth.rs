//! Calls whose nth allocation fails (`syscall/fail_nth`).

use crate::common::raw::{Raw, word};
use crate::common::{BASE, EDU, MTTY, NEW, NIC, OLD, Rig, copy, map, map_file, process};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;
use handoff_sim_kernel::Placement;

/// Fails the first allocation of a call, then the second, and so on, until the call succeeds.
/// Returns the number of allocations. Each failure must be `ENOMEM` without a change.
#[track_caller]
fn counts(rig: &mut Rig, pid: Pid, call: &Call) -> u32 {
    for nth in 1.. {
        let mut machine = rig.machine.clone();
        let (answer, _, failed) = machine.call_failing(pid, call, &Placement::default(), nth);
        machine.audit().expect("invariants");
        let errno = match &answer {
            Ok(Reply::Ioctl(outcome)) => outcome.errno(),
            Ok(_) => None,
            Err(errno) => Some(*errno),
        };
        if !failed {
            assert_eq!(errno, None, "{call:?}");
            rig.machine = machine;
            return nth - 1;
        }
        assert_eq!(errno, Some(Errno::ENOMEM), "{call:?}, {nth}");
        assert_eq!(machine, rig.machine, "{call:?} left something, {nth}");
    }
    unreachable!("a call ends")
}

/// Returns a context with an IOAS, and a memfd; no device is attached.
fn context() -> (Rig, Fd, ObjectId, Fd) {
    let mut rig = Rig::new("7.3", process(0, false, 1000), process(1000, false, 1000));
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let memfd = rig.memfd(OLD, 4);
    (rig, iommufd, ioas, memfd)
}

#[test]
fn object_creation() {
    let mut rig = Rig::default();
    let open = |path: &str| Call::File(FileCall::Open { path: path.into() });
    assert!(counts(&mut rig, OLD, &open("/dev/iommu")) > 0);
    let (mut rig, iommufd, ioas, memfd) = context();
    assert!(counts(&mut rig, OLD, &Call::Iommufd(IommufdCall::IoasAlloc { iommufd })) > 0);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 4));
    for path in [EDU, MTTY] {
        let device = rig.open(OLD, path);
        assert!(counts(&mut rig, OLD, &Call::Device(DeviceCall::Bind { device, iommufd })) > 0);
        assert!(
            counts(&mut rig, OLD, &Call::Device(DeviceCall::Attach { device, page_table: ioas }))
                > 0
        );
    }
    let (_, other) = rig.bind(OLD, NIC, iommufd);
    assert!(counts(&mut rig, OLD, &IommufdCall::hwpt_alloc(iommufd, other, ioas)) > 0);
}

#[test]
fn maps() {
    for domains in 0..3 {
        let (mut rig, iommufd, ioas, memfd) = context();
        let va = rig.mmap(OLD, None, 4);
        for path in [EDU, NIC].into_iter().take(domains) {
            let (device, id) = rig.bind(OLD, path, iommufd);
            if path == EDU {
                rig.attach(OLD, device, ioas);
            } else {
                rig.ok(OLD, IommufdCall::hwpt_alloc(iommufd, id, ioas));
            }
        }
        let few = counts(&mut rig, OLD, &map_file(iommufd, ioas, memfd, BASE, 4));
        counts(&mut rig, OLD, &map(iommufd, ioas, va, Iova(0x40000), 4));
        counts(&mut rig, OLD, &map(iommufd, ioas, va, Iova(0x44000), 4));
        let across = copy(iommufd, (ioas, Iova(0x42000)), (ioas, Iova(0x80000)), 4);
        assert!(counts(&mut rig, OLD, &across) > few, "two areas and what they are made of");
    }
}

#[test]
fn ownership_transfer() {
    let (mut rig, iommufd, ioas, memfd) = context();
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 4));
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    rig.attach(OLD, device, ioas);
    rig.ioas(OLD, iommufd);
    let iommufd = rig.pass(&[iommufd])[0];
    let take = IommufdCall::change_process(iommufd);
    assert_eq!(counts(&mut rig, NEW, &take), 2, "one for each address space");
    assert_eq!(rig.machine.vm_pin_pages(NEW), 4);
}

#[test]
fn access_operations() {
    let (mut rig, iommufd, ioas, memfd) = context();
    let ioctl = |rig: &mut Rig, raw: Raw| counts(rig, OLD, &raw.call(iommufd));
    rig.ok(OLD, map_file(iommufd, ioas, memfd, Iova(0x100_0000), 2));
    rig.ok(OLD, map_file(iommufd, ioas, memfd, Iova(0x100_2000), 2));
    assert!(ioctl(&mut rig, Raw::test(2, ioas.0)) > 3);
    let create = Raw::test(5, ioas.0).u32(20, 1);
    assert!(ioctl(&mut rig, create.clone()) > 0);
    let access = word(&rig.raw_ok(OLD, iommufd, create), 16);
    let pages = Raw::test(7, access).u32(16, 1).u64(24, 0x100_1000).u64(32, 2 * PAGE_BYTES);
    assert!(ioctl(&mut rig, pages) > 2);
    let rw = Raw::test(8, access).u64(16, 0x100_0000).u64(24, 1).pointee(32, vec![0]);
    assert!(ioctl(&mut rig, rw) > 0);
    let reserve = Raw::test(1, ioas.0).u64(16, 0x200_0000).u64(24, 1);
    assert!(ioctl(&mut rig, reserve) > 0);
    let allow = Raw::new(nr::IOMMU_IOAS_ALLOW_IOVAS, 24).u32(4, ioas.0).u32(8, 2);
    let ranges = [0x300_0000u64, 0x300_0fff, 0x400_0000, 0x400_0fff];
    let bytes = ranges.iter().flat_map(|value| value.to_ne_bytes()).collect();
    assert_eq!(ioctl(&mut rig, allow.pointee(16, bytes)), 2, "one for each range");
}

#[test]
fn destruction_never_fails() {
    let (mut rig, iommufd, ioas, memfd) = context();
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 4));
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    rig.attach(OLD, device, ioas);
    let unmap = crate::common::unmap(iommufd, ioas, BASE, 4);
    for call in [
        unmap,
        Call::Device(DeviceCall::Detach { device }),
        Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }),
    ] {
        assert_eq!(counts(&mut rig, OLD, &call), 0);
    }
}

/// The compatibility UNMAP_DMA splits areas at both ends of its range. The first split remains if
/// the second runs out of memory.
#[test]
fn a_first_split_remains() {
    let (mut rig, iommufd, ioas, memfd) = context();
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 4));
    rig.raw_ok(OLD, iommufd, Raw::new(nr::IOMMU_VFIO_IOAS, 12).u32(4, ioas.0).u16(8, 1));
    rig.raw_ok(OLD, iommufd, Raw::new(nr::IOMMU_OPTION, 24).u32(4, 1).u32(12, ioas.0));
    let middle = Raw::new(nr::VFIO_IOMMU_UNMAP_DMA, 24).u64(8, BASE.0 + PAGE_BYTES);
    let middle = middle.u64(16, PAGE_BYTES).call(iommufd);
    let areas = |rig: &Rig| rig.machine.view().mappings.len();
    for (nth, expected) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        let mut machine = rig.machine.clone();
        let (_, _, failed) = machine.call_failing(OLD, &middle, &Placement::default(), nth);
        machine.audit().expect("invariants");
        assert!(failed);
        let cut = Rig { machine, ..rig };
        assert_eq!(areas(&cut), expected, "{nth}");
    }
    rig.ok(OLD, middle);
    assert_eq!(areas(&rig), 2);
}
