//! Contexts, objects, options, HWPTs (`iommufd`, `iommufd/hw_pagetable`).

use crate::common::{BAD, BASE, NEW, NIC, OLD, Rig, map, map_file, process, unlimited};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, ObjectId};
use handoff_sim_kernel::{DeviceKind, DeviceSpec};

const NONE: ObjectId = ObjectId(77);

#[test]
fn refusals() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let (iommufd, ioas, hwpt, device) =
        (set_up.iommufd, set_up.ioas, set_up.hwpt, set_up.device_id);
    let destroy = |id| Call::Iommufd(IommufdCall::Destroy { iommufd, id });
    let alloc = |device, ioas| IommufdCall::hwpt_alloc(iommufd, device, ioas);
    let info = |device| Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device });
    let probe = |hwpt| Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt });
    let rows = [
        (Call::Iommufd(IommufdCall::IoasAlloc { iommufd: BAD }), Errno::EBADF),
        (destroy(ObjectId(0)), Errno::ENOENT),
        (destroy(NONE), Errno::ENOENT),
        (destroy(ioas), Errno::EBUSY),
        (destroy(hwpt), Errno::EBUSY),
        (destroy(device), Errno::EBUSY),
        (alloc(NONE, ioas), Errno::ENOENT),
        (alloc(ioas, NONE), Errno::ENOENT),
        (alloc(device, NONE), Errno::EINVAL),
        (alloc(device, device), Errno::EINVAL),
        (alloc(device, hwpt), Errno::EOPNOTSUPP),
        (info(NONE), Errno::ENOENT),
        (info(ioas), Errno::ENOENT),
        (probe(NONE), Errno::ENOENT),
        (probe(ioas), Errno::ENOENT),
        (probe(hwpt), Errno::EINVAL),
        (Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }), Errno::EPERM),
        (IommufdCall::probe_change_process(iommufd), Errno::EOPNOTSUPP),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

/// A nesting parent can be created only on an IOMMU with nesting. It accepts devices behind any
/// IOMMU of the same driver, and is distinguished from other HWPTs.
#[test]
fn nesting_parents_need_an_iommu_with_nesting() {
    const SECOND: &str = "/dev/vfio/devices/vfio3";
    let mut rig = Rig::default();
    let spec = DeviceSpec::new("gpu", SECOND, DeviceKind::Pci { can_reset: false });
    rig.machine.plug(DeviceSpec { nests: true, ..spec });
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let (nic, plain) = rig.bind(OLD, NIC, iommufd);
    let (gpu, nesting) = rig.bind(OLD, SECOND, iommufd);
    let alloc = |device| IommufdCall::hwpt_alloc(iommufd, device, ioas);
    let alloc_parent = |device| IommufdCall::hwpt_alloc_nest_parent(iommufd, device, ioas);
    let probe = |device, hwpt| Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt });
    rig.refuses(OLD, alloc_parent(plain), Errno::EOPNOTSUPP);
    let (parent, own) = (rig.id(OLD, alloc_parent(nesting)), rig.id(OLD, alloc(nesting)));
    for device in [plain, nesting] {
        rig.refuses(OLD, probe(device, parent), Errno::EOPNOTSUPP);
        rig.refuses(OLD, probe(device, own), Errno::EINVAL);
        rig.refuses(OLD, probe(device, ioas), Errno::EOPNOTSUPP);
    }
    assert_eq!([nic, gpu].map(|device| rig.attach(OLD, device, parent)), [parent; 2]);
    rig.refuses(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: parent }), Errno::EBUSY);
}

#[test]
fn the_accounting_mode_is_set_before_there_are_objects() {
    let mut rig = Rig::new("7.3", process(0, false, 8), unlimited());
    let iommufd = rig.iommufd(OLD);
    assert_eq!(
        rig.ok(OLD, Call::Iommufd(IommufdCall::GetRlimitMode { iommufd })),
        Reply::Flag(false)
    );
    rig.ok(OLD, Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }));
    assert_eq!(
        rig.ok(OLD, Call::Iommufd(IommufdCall::GetRlimitMode { iommufd })),
        Reply::Flag(true)
    );
    let id = rig.ioas(OLD, iommufd);
    rig.refuses(
        OLD,
        Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: false }),
        Errno::EBUSY,
    );
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id }));
    rig.ok(OLD, Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: false }));
    let passed = rig.pass(&[iommufd])[0];
    rig.refuses(
        NEW,
        Call::Iommufd(IommufdCall::SetRlimitMode { iommufd: passed, per_process: true }),
        Errno::EPERM,
    );
}

#[test]
fn ids_are_the_lowest_free_ones_of_all_kinds() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let [a, b] = [(); 2].map(|()| rig.ioas(OLD, iommufd));
    let (device, device_id) = rig.bind(OLD, NIC, iommufd);
    let hwpt = rig.attach(OLD, device, b);
    assert_eq!([a, b, device_id, hwpt], [1, 2, 3, 4].map(ObjectId));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: a }));
    assert_eq!(rig.id(OLD, IommufdCall::hwpt_alloc(iommufd, device_id, b)), a);
    assert_eq!(rig.ioas(OLD, iommufd), ObjectId(5));
    let other = rig.iommufd(OLD);
    assert_eq!(rig.ioas(OLD, other), ObjectId(1));
}

#[test]
fn an_ioas_with_mappings_is_not_busy() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let before = rig.machine.clone();
    let id = rig.ioas(OLD, iommufd);
    let memfd = rig.memfd(OLD, 1);
    rig.ok(OLD, map_file(iommufd, id, memfd, BASE, 1));
    rig.ok(OLD, Call::File(FileCall::Close { fd: memfd }));
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id }));
    assert_eq!(rig.machine, before);
}

#[test]
fn hw_info_depends_on_the_kernel_release() {
    for (kernel, capabilities) in [("6.12", 0), ("7.2", 8), ("7.3", 8)] {
        let mut rig = Rig::new(kernel, unlimited(), unlimited());
        let iommufd = rig.iommufd(OLD);
        let (_, device) = rig.bind(OLD, NIC, iommufd);
        let expected = Reply::HwInfo { data_type: 1, capabilities };
        assert_eq!(
            rig.ok(OLD, Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device })),
            expected
        );
    }
}

#[test]
fn old_kernels_do_not_know_the_new_ioctls() {
    for (kernel, knows) in [("6.12", false), ("6.13", true), ("fixed", true)] {
        let mut rig = Rig::new(kernel, unlimited(), unlimited());
        let iommufd = rig.iommufd(OLD);
        let ioas = rig.ioas(OLD, iommufd);
        let memfd = rig.memfd(OLD, 1);
        let calls = [map_file(iommufd, ioas, memfd, BASE, 1), IommufdCall::change_process(iommufd)];
        for call in calls {
            if knows {
                rig.ok(OLD, call);
            } else {
                rig.refuses(OLD, call, Errno::ENOTTY);
            }
        }
    }
}

#[test]
fn auto_hwpts_are_shared_until_the_last_device_detaches() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let iommufd = set_up.iommufd;
    let (second, second_id) = rig.bind(OLD, NIC, iommufd);
    let manual = IommufdCall::hwpt_alloc(iommufd, second_id, set_up.ioas);
    let manual = rig.id(OLD, manual);
    assert_eq!(rig.attach(OLD, second, set_up.ioas), set_up.hwpt, "never the manual one");
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device: set_up.device }));
    let probe = |hwpt| Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt });
    rig.refuses(OLD, probe(set_up.hwpt), Errno::EINVAL);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device: second }));
    rig.refuses(OLD, probe(set_up.hwpt), Errno::ENOENT);
    rig.refuses(OLD, probe(manual), Errno::EINVAL);
    assert_eq!(rig.page_set().pinned_pages, 1, "the manual one stays and pins");
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: manual }));
    assert_eq!(rig.page_set().pinned_pages, 0);
}

#[test]
fn a_manual_hwpt_pins_immediately_or_fails() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let (_, device) = rig.bind(OLD, NIC, iommufd);
    let memfd = rig.memfd(OLD, 2);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 2));
    let hwpt = IommufdCall::hwpt_alloc(iommufd, device, ioas);
    let mut pinned = rig.clone();
    pinned.id(OLD, hwpt.clone());
    assert_eq!(pinned.page_set().pinned_pages, 2);

    let va = rig.mmap(OLD, None, 1);
    rig.ok(OLD, map(iommufd, ioas, va, Iova(0x20000), 1));
    rig.ok(OLD, Call::Memory(MemoryCall::Munmap { va, length_bytes: 1 }));
    rig.refuses(OLD, hwpt, Errno::EFAULT);
}
