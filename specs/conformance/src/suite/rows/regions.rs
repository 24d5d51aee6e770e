//! Regions of a device file: configuration space, BARs, mappings of them.

use crate::suite::fixture::{Setup, map};
use crate::suite::rows::device::{CONFIG, begin, mmap, read, reads, write};
use crate::suite::structure::sized;
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, PAGE_BYTES, Va};
use handoff_model::abi::request as nr;

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

pub(super) const ROWS: &[Fact] = &[
    row(
        "region/config",
        "configuration space has the device's ids, and fixed and writable bytes",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            reads(b, p, d, CONFIG, &[0x34, 0x12, 0xe8, 0x11, 0x03, 0x01, 0x10, 0x00])?;
            reads(b, p, d, CONFIG + 8, &[0x10, 0x00, 0xff, 0x00, 0x00, 0x00])?;
            reads(b, p, d, CONFIG + 0x34, &[0x40])?;
            reads(b, p, d, CONFIG + 0x3d, &[1])?;
            reads(b, p, d, CONFIG + 0x40, &[5, 0, 0x80, 0])?;
            b.ok(p, &write(d, CONFIG + 4, &[0x07, 0x05]))?;
            reads(b, p, d, CONFIG + 4, &[0x07, 0x05])?;
            b.ok(p, &write(d, CONFIG, &[0xff; 4]))?;
            reads(b, p, d, CONFIG, &[0x34, 0x12, 0xe8, 0x11])?;
            b.ok(p, &write(d, CONFIG + 0x10, &[0xff; 4]))?;
            reads(b, p, d, CONFIG + 0x10, &[0, 0, 0xf0, 0xff])?;
            b.ok(p, &write(d, CONFIG + 0x14, &[0xff; 4]))?;
            reads(b, p, d, CONFIG + 0x14, &[0; 4])?;
            b.ok(p, &write(d, CONFIG + 0x3c, &[9]))?;
            reads(b, p, d, CONFIG + 0x3c, &[9, 1])?;
            b.ok(p, &write(d, CONFIG + 0x44, &[0, 0, 0xe0, 0xfe]))?;
            reads(b, p, d, CONFIG + 0x44, &[0, 0, 0xe0, 0xfe])?;
            b.ok(p, &write(d, CONFIG + 0x42, &[0x81, 0]))?;
            reads(b, p, d, CONFIG + 0x42, &[0x80, 0])?;
            b.all_refused(
                p,
                &[
                    (read(d, CONFIG + 255, 2), Errno::EFAULT),
                    (write(d, CONFIG + 256, &[1]), Errno::EFAULT),
                    (read(d, 9 << 40, 1), Errno::EINVAL),
                ],
            )
        },
    ),
    row("region/config-msi", "MSI is enabled only while SET_IRQS enables it", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.ok(p, &DeviceCall::set_irqs(d, 1, vec![event]))?;
        b.ok(p, &write(d, CONFIG + 0x42, &[0xf1, 0]))?;
        reads(b, p, d, CONFIG + 0x42, &[0x81, 0])
    }),
    row("region/config-restored", "the last close restores configuration space", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        b.ok(p, &write(d, CONFIG + 4, &[0x07, 0x05]))?;
        b.ok(p, &write(d, CONFIG + 0x44, &[0, 0, 0xe0, 0xfe]))?;
        b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        reads(b, p, d, CONFIG + 4, &[0x03, 0x01])?;
        reads(b, p, d, CONFIG + 0x44, &[0; 4])
    }),
    row(
        "region/intx-disable",
        "the INTx disable bit of the command register masks INTx",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            b.ok(p, &DeviceCall::set_irqs(d, 0, vec![event]))?;
            let fire = sized().u32(33).u32(0).u32(0).u32(1).on(d, nr::VFIO_DEVICE_SET_IRQS);
            b.ok(p, &write(d, CONFIG + 5, &[0x05]))?;
            b.ok(p, &fire)?;
            b.refuses(p, &Call::File(FileCall::ReadEvent { fd: event }), Errno::EAGAIN)?;
            b.ok(p, &write(d, CONFIG + 5, &[0x01]))?;
            b.ok(p, &fire)?;
            b.ok(p, &Call::File(FileCall::ReadEvent { fd: event })).map(drop)
        },
    ),
    row(
        "region/bars",
        "BAR 0 responds while memory decoding is enabled; no other BAR exists",
        EDU,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            b.ok(p, &read(d, 0, 4))?;
            b.ok(p, &write(d, 0, &[]))?;
            b.ok(p, &write(d, 4, &[1, 0, 0, 0]))?;
            b.all_refused(
                p,
                &[
                    (read(d, 1 << 20, 4), Errno::EINVAL),
                    (read(d, 1 << 40, 4), Errno::EINVAL),
                    (read(d, 6 << 40, 4), Errno::EINVAL),
                    (write(d, 6 << 40, &[1]), Errno::EINVAL),
                    (read(d, 8 << 40, 4), Errno::EINVAL),
                    (mmap(d, 0, (1 << 20) + 1), Errno::EINVAL),
                    (mmap(d, 1 << 40, PAGE_BYTES), Errno::EINVAL),
                    (mmap(d, CONFIG, PAGE_BYTES), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &write(d, CONFIG + 4, &[1]))?;
            b.refuses(p, &read(d, 0, 4), Errno::EIO)
        },
    ),
    row("region/mapped", "a mapping of a BAR keeps the device open", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        let Reply::Va(va) = b.ok(p, &mmap(d, 0, 2 * PAGE_BYTES))? else {
            unreachable!("a mapping returns its address")
        };
        b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
        let iommufd = b.iommufd(p)?;
        let again = b.open(p, Device::Edu)?;
        let bind = Call::Device(DeviceCall::Bind { device: again, iommufd });
        b.refuses(p, &bind, Errno::EINVAL)?;
        b.ok(p, &Call::Memory(MemoryCall::Munmap { va, length_bytes: PAGE_BYTES }))?;
        b.refuses(p, &bind, Errno::EINVAL)?;
        let child = b.fork(p);
        let rest = Va(va.0 + PAGE_BYTES);
        b.ok(p, &Call::Memory(MemoryCall::Munmap { va: rest, length_bytes: PAGE_BYTES }))?;
        b.refuses(p, &bind, Errno::EINVAL)?;
        b.kill(child);
        b.ok(p, &bind).map(drop)
    }),
    row("region/mapped-dma", "MAP fails with EFAULT for a mapped BAR", EDU, |b| {
        let p = b.process();
        let Setup { iommufd, ioas, device, .. } = b.set_up(p, 1)?;
        let Reply::Va(va) = b.ok(p, &mmap(device, 0, PAGE_BYTES))? else {
            unreachable!("a mapping returns its address")
        };
        let map = map(iommufd, ioas, va, Iova(0), 1);
        b.refuses(p, &map, Errno::EFAULT)
    }),
];
