//! Resets of a device and of its bus.

use super::{CONFIG, EDU, begin, hot_reset, info, reads, reports_info, write};
use crate::suite::structure::{sized, value};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::Call;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;

const ALONE: &[Capability] = &[Capability::Has(Device::Alone)];

fn hot_reset_info(d: Fd, room: usize) -> Call {
    let info = sized().u32(0).u32(0).bytes(&vec![0; room]);
    info.on(d, nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO)
}

pub(crate) const ROWS: &[Fact] = &[
    row(
        "device/no-reset",
        "RESET and PCI_HOT_RESET fail for a device that cannot be reset",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            b.all_refused(
                p,
                &[
                    (value(d, nr::VFIO_DEVICE_RESET, 0), Errno::EINVAL),
                    (value(d, nr::VFIO_DEVICE_PCI_HOT_RESET, 0), Errno::EFAULT),
                    (hot_reset(d, 1, 0), Errno::EINVAL),
                    (hot_reset(d, 0, 1), Errno::EINVAL),
                    (hot_reset(d, 0, 0), Errno::ENODEV),
                    (hot_reset_info(d, 8), Errno::ENODEV),
                    (
                        sized()
                            .u64(0)
                            .with_size(11)
                            .plain(d, nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
                        Errno::EINVAL,
                    ),
                ],
            )
        },
    ),
    row(
        "device/reset",
        "RESET and PCI_HOT_RESET reset a device that is alone on its bus",
        ALONE,
        |b| {
            let (p, d) = begin(b, Device::Alone)?;
            reports_info(b, p, &info(d, 4), &[3, 9, 5])?;
            b.ok(p, &write(d, CONFIG + 4, &[0x07]))?;
            b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0))?;
            reads(b, p, d, CONFIG + 4, &[0x07])?;
            let outcome = b.ioctl_refused(p, &hot_reset_info(d, 0), Errno::ENOSPC)?;
            b.same("the number of devices", &outcome.bytes[8..12], &1u32.to_ne_bytes()[..])?;
            let outcome = b.ioctl(p, &hot_reset_info(d, 8))?;
            b.same("owned, by object", &outcome.bytes[4..8], &3u32.to_ne_bytes()[..])?;
            b.same("the device's object", &outcome.bytes[12..16], &1u32.to_ne_bytes()[..])?;
            b.ok(p, &hot_reset(d, 0, 0)).map(drop)
        },
    ),
];
