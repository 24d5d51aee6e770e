//! Large contexts: no call takes more than linear time.

use crate::common::{NEW, NIC, OLD, Rig, copy, map_file};
use handoff_model::abi::call::{Call, FileCall, IommufdCall};
use handoff_model::abi::ids::{Iova, PAGE_BYTES};
use std::time::{Duration, Instant};

const MAPPINGS: u64 = 10_000;

/// Upper bound on the test's run time: far above that of a slow machine, far below that of
/// quadratic calls.
const PATIENCE: Duration = Duration::from_mins(1);

fn at(number: u64) -> Iova {
    Iova(0x10000 + 2 * number * PAGE_BYTES)
}

#[test]
fn ten_thousand_mappings() {
    let begun = Instant::now();
    let mut rig = Rig::default();
    let machine = &mut rig.machine;
    let mut ok = |pid, call: &Call| {
        let answer = machine.call(pid, call);
        answer.unwrap_or_else(|errno| panic!("{call:?}: {errno}"))
    };
    let reply = ok(OLD, &Call::File(FileCall::Open { path: "/dev/iommu".into() }));
    let handoff_model::abi::call::Reply::Fd(iommufd) = reply else { panic!("{reply:?}") };
    let mut ioas = || match ok(OLD, &Call::Iommufd(IommufdCall::IoasAlloc { iommufd })) {
        handoff_model::abi::call::Reply::Object(id) => id,
        other => panic!("{other:?}"),
    };
    let (first, second) = (ioas(), ioas());
    let memfd = rig.memfd(OLD, MAPPINGS);
    let device = rig.bind(OLD, NIC, iommufd).0;
    for number in 0..MAPPINGS {
        let mut call = map_file(iommufd, first, memfd, at(number), 1);
        if let Call::Iommufd(IommufdCall::IoasMapFile { offset_bytes, .. }) = &mut call {
            *offset_bytes = number * PAGE_BYTES;
        }
        assert!(rig.machine.call(OLD, &call).is_ok());
        let shared = copy(iommufd, (first, at(number)), (second, at(number)), 1);
        assert!(rig.machine.call(OLD, &shared).is_ok());
    }
    rig.attach(OLD, device, first);
    assert_eq!(rig.machine.vm_pin_pages(OLD), 10_000);
    let theirs = rig.pass(&[iommufd])[0];
    rig.change_process(NEW, theirs);
    assert_eq!(rig.machine.vm_pin_pages(NEW), 10_000);
    for number in 0..MAPPINGS {
        let call = crate::common::unmap(iommufd, first, at(number), 1);
        assert!(rig.machine.call(OLD, &call).is_ok());
    }
    assert_eq!(rig.machine.vm_pin_pages(NEW), 0);
    rig.ok(OLD, IommufdCall::unmap(iommufd, second, Iova(0), u64::MAX));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
