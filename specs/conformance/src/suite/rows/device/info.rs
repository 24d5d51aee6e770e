//! Device information: GET_INFO, regions, interrupts, capabilities.

use super::{
    CONFIG, EDU, MTTY, OLD_KERNEL, begin, hot_reset, info, mmap, read, reads, reports_info, write,
};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use handoff_model::abi::request as nr;

const MANY: &[Capability] = &[Capability::Has(Device::Many)];

fn irq(d: Fd, index: u32) -> Call {
    sized().u32(0xaaaa).u32(index).u32(0xaaaa).on(d, nr::VFIO_DEVICE_GET_IRQ_INFO)
}

fn region_info(d: Fd, index: u32) -> Call {
    sized().u32(0xaaaa).u32(index).u32(0).u64(0).u64(0).on(d, nr::VFIO_DEVICE_GET_REGION_INFO)
}

pub(crate) const ROWS: &[Fact] = &[
    row("device/info", "an edu reports PCI, 9 regions, 5 interrupt indexes", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        reports_info(b, p, &info(d, 4), &[2, 9, 5])?;
        reports_info(b, p, &info(d, 6), &[2, 9, 5, 0, 0])?;
        reports_info(b, p, &irq(d, 0), &[7, 0, 1])?;
        reports_info(b, p, &irq(d, 1), &[9, 1, 1])?;
        reports_info(b, p, &irq(d, 2), &[9, 2, 0])?;
        reports_info(b, p, &irq(d, 4), &[9, 4, 1])?;
        reports_info(b, p, &region_info(d, 0), &[7, 0, 0, 1 << 20, 0, 0, 0])?;
        reports_info(b, p, &region_info(d, 1), &[0, 1, 0, 0, 0, 0, 1 << 8])?;
        reports_info(b, p, &region_info(d, 7), &[3, 7, 0, 256, 0, 0, 7 << 8])?;
        let (of_info, of_region, of_irq) = (
            nr::VFIO_DEVICE_GET_INFO,
            nr::VFIO_DEVICE_GET_REGION_INFO,
            nr::VFIO_DEVICE_GET_IRQ_INFO,
        );
        b.all_refused(
            p,
            &[
                (value(d, of_info, 0), Errno::EFAULT),
                (sized().u32(0).u64(0).with_size(15).plain(d, of_info), Errno::EINVAL),
                (value(d, of_region, 0), Errno::EFAULT),
                (
                    sized().u32(0).u64(0).u64(0).u64(0).with_size(31).plain(d, of_region),
                    Errno::EINVAL,
                ),
                (region_info(d, 8), Errno::EINVAL),
                (region_info(d, 9), Errno::EINVAL),
                (value(d, of_irq, 0), Errno::EFAULT),
                (sized().u32(0).u64(0).with_size(15).plain(d, of_irq), Errno::EINVAL),
                (irq(d, 5), Errno::EINVAL),
                (value(d, 0x3bff, 0), Errno::ENOTTY),
                (value(d, nr::VFIO_DEVICE_QUERY_GFX_PLANE, 0), Errno::ENOTTY),
                (value(d, nr::VFIO_DEVICE_GET_GFX_DMABUF, 0), Errno::ENOTTY),
            ],
        )
    }),
    row(
        "device/cut-off",
        "GET_INFO writes up to the end of the memory, and then fails with EFAULT",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            let within = Fields::default().u32(24).u64(0).u64(0).u16(0);
            let answer = b.call(p, &within.plain(d, nr::VFIO_DEVICE_GET_INFO));
            let left = match &answer {
                Ok(Reply::Ioctl(outcome)) => (outcome.result, outcome.bytes[..16].to_vec()),
                _ => (Ok(0), Vec::new()),
            };
            let told: Vec<u8> =
                [24u32, 2, 9, 5].iter().flat_map(|word| word.to_ne_bytes()).collect();
            b.same("the output", &left, &(Err(Errno::EFAULT), told))
        },
    ),
    row(
        "device/error-index",
        "before 7.3 only PCI Express devices have the error interrupt",
        OLD_KERNEL,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            b.refuses(p, &irq(d, 3), Errno::EINVAL)
        },
    ),
    row(
        "device/capability",
        "GET_REGION_INFO reports a capability without room only in argsz",
        MANY,
        |b| {
            let (p, d) = begin(b, Device::Many)?;
            let outcome = b.ioctl(p, &region_info(d, 0))?;
            b.same("the required size", &outcome.bytes[..4], &40u32.to_ne_bytes()[..])?;
            b.same("no offset", &outcome.bytes[12..16], &[0; 4][..])?;
            let roomy = sized().u32(0).u32(0).u32(0).u64(0).u64(0).u64(0);
            let outcome = b.ioctl(p, &roomy.on(d, nr::VFIO_DEVICE_GET_REGION_INFO))?;
            b.same("its offset", &outcome.bytes[12..16], &32u32.to_ne_bytes()[..])?;
            b.same("the capability", &outcome.bytes[32..], &[3, 0, 1, 0, 0, 0, 0, 0][..])?;
            reports_info(b, p, &irq(d, 2), &[1, 2, 4])
        },
    ),
    row("device/mtty-info", "mtty reports its interrupts after a first GET_INFO", MTTY, |b| {
        let (p, d) = begin(b, Device::Mtty)?;
        reports_info(b, p, &info(d, 5), &[2, 9, 5, 0xaaaa])?;
        reports_info(b, p, &irq(d, 0), &[7, 0, 1])?;
        reports_info(b, p, &irq(d, 1), &[9, 1, 1])?;
        reports_info(b, p, &region_info(d, 0), &[3, 0, 0, 8, 0, 0, 0])?;
        reports_info(b, p, &region_info(d, 7), &[3, 7, 0, 255, 0, 0, 7 << 8])?;
        reports_info(b, p, &region_info(d, 8), &[3, 8, 0, 0, 0, 0, 8 << 8])?;
        b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0))?;
        b.all_refused(
            p,
            &[
                (irq(d, 2), Errno::EINVAL),
                (irq(d, 5), Errno::EINVAL),
                (region_info(d, 9), Errno::EINVAL),
                (hot_reset(d, 0, 0), Errno::ENOTTY),
                (mmap(d, 0, PAGE_BYTES), Errno::EINVAL),
                (read(d, 6 << 40, 4), Errno::EFAULT),
                (write(d, 8 << 40, &[1]), Errno::EFAULT),
            ],
        )?;
        reads(b, p, d, CONFIG, &[0x48, 0x43, 0x53, 0x32, 1, 0, 0, 2])?;
        b.ok(p, &write(d, CONFIG + 4, &[7, 0]))?;
        reads(b, p, d, CONFIG + 4, &[1, 0])?;
        let other = b.open(p, Device::Mtty)?;
        b.all_refused(
            p,
            &[(read(other, CONFIG, 4), Errno::EINVAL), (write(other, CONFIG, &[1]), Errno::EINVAL)],
        )
    }),
    row(
        "device/mtty-early",
        "before the first GET_INFO, every index of mtty fails with EINVAL",
        &[Capability::Simulated("another fact may have called GET_INFO on the host's device")],
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            b.refuses(p, &irq(d, 0), Errno::EINVAL)
        },
    ),
];
