//! Device information: regions, interrupts, resets.

use super::upsets;
use crate::common::{EDU, NIC, OLD, Rig, Setup, unlimited};
use handoff_model::abi::call::{Call, DeviceCall, Reply};
use handoff_model::abi::errno::Errno;

#[test]
fn devices_report_their_information() {
    let mut rig = Rig::default();
    let Setup { iommufd, device, .. } = rig.set_up(1);
    let (nic, _) = rig.bind(OLD, NIC, iommufd);
    let info = |flags| Reply::DeviceInfo { flags, regions: 9, irqs: 5 };
    assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::Info { device })), info(2));
    assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::Info { device: nic })), info(3));

    let regions = [(0, 7, 0x10_0000), (1, 0, 0), (7, 3, 0x100)];
    for (index, flags, length_bytes) in regions {
        let offset_bytes = u64::from(index) << 40;
        let expected = Reply::RegionInfo { flags, length_bytes, offset_bytes };
        assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::RegionInfo { device, index })), expected);
    }
    for (index, flags, count) in [(0, 7, 1), (1, 9, 4), (2, 9, 0), (4, 9, 1)] {
        let expected = Reply::IrqInfo { flags, count };
        assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::IrqInfo { device, index })), expected);
    }
    let rows = [
        Call::Device(DeviceCall::RegionInfo { device, index: 8 }),
        Call::Device(DeviceCall::RegionInfo { device, index: 9 }),
        Call::Device(DeviceCall::IrqInfo { device, index: 5 }),
        Call::Device(DeviceCall::Reset { device }),
    ];
    for call in rows {
        rig.refuses(OLD, call, Errno::EINVAL);
    }
    rig.machine.settle();
    rig.ok(OLD, Call::Device(DeviceCall::Reset { device: nic }));
    assert_eq!(upsets(&rig, "nic"), 1);
}

/// Only 7.3 reports the error interrupt of a device that is not PCI Express.
#[test]
fn the_error_interrupt_depends_on_the_kernel() {
    for (kernel, has_it) in [("6.12", false), ("7.2", false), ("7.3", true), ("fixed", true)] {
        let mut rig = Rig::new(kernel, unlimited(), unlimited());
        let iommufd = rig.iommufd(OLD);
        let (device, _) = rig.bind(OLD, EDU, iommufd);
        let call = Call::Device(DeviceCall::IrqInfo { device, index: 3 });
        if has_it {
            assert_eq!(rig.ok(OLD, call), Reply::IrqInfo { flags: 9, count: 1 });
        } else {
            rig.refuses(OLD, call, Errno::EINVAL);
        }
    }
}
