//! Device files: BIND, ATTACH, what they tell, regions, resets, ioeventfds, the last close.

use crate::suite::bench::{Bench, Setup};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Done, Row, row};
use crate::target::{Device, Need};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, PAGE_BYTES, Pid};
use handoff_model::abi::request as nr;

const EDU: &[Need] = &[Need::Has(Device::Edu)];
const EDU_AND_MTTY: &[Need] = &[Need::Has(Device::Edu), Need::Has(Device::Mtty)];
const MTTY: &[Need] = &[Need::Has(Device::Mtty)];
const ALONE: &[Need] = &[Need::Has(Device::Alone)];
const GROUP: &[Need] = &[Need::Has(Device::Edu), Need::Has(Device::Sibling)];
const MANY: &[Need] = &[Need::Has(Device::Many)];
const OLD_KERNEL: &[Need] = &[Need::Has(Device::Edu), Need::Release("6.13")];
const OF_6_2: &[Need] = &[Need::Has(Device::Edu), Need::Release("6.2")];

const BAD: Fd = Fd(99);
pub(super) const CONFIG: u64 = 7 << 40;

fn bind(flags: u32, iommufd: Fd) -> Fields {
    sized().u32(flags).fd(iommufd).u32(0).u64(0)
}

fn with_token(iommufd: Fd) -> Fields {
    sized().u32(1).fd(iommufd).u32(0).pointer(&[7; 16])
}

pub(super) fn read(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    Call::File(FileCall::ReadAt { fd, offset_bytes, length_bytes })
}

pub(super) fn write(fd: Fd, offset_bytes: u64, bytes: &[u8]) -> Call {
    Call::File(FileCall::WriteAt { fd, offset_bytes, bytes: bytes.to_vec() })
}

pub(super) fn mmap(fd: Fd, offset_bytes: u64, length_bytes: u64) -> Call {
    Call::Memory(MemoryCall::Mmap { fd: Some(fd), offset_bytes, length_bytes })
}

/// A process with a bound device.
pub(super) fn begin(b: &mut Bench<'_>, device: Device) -> Done<(Pid, Fd)> {
    let p = b.process();
    let iommufd = b.iommufd(p)?;
    Ok((p, b.bind(p, device, iommufd)?.0))
}

/// What must be read.
pub(super) fn reads(b: &mut Bench<'_>, p: Pid, fd: Fd, offset_bytes: u64, expected: &[u8]) -> Done {
    let seen = b.ok(p, &read(fd, offset_bytes, expected.len() as u64))?;
    b.same(&format!("bytes at {offset_bytes:#x}"), &seen, &Reply::Bytes(expected.to_vec()))
}

/// An ioctl that tells something must leave these words after the first.
fn tells(b: &mut Bench<'_>, p: Pid, call: &Call, expected: &[u32]) -> Done {
    let outcome = b.ioctl(p, call)?;
    let words = outcome.bytes[4..].chunks_exact(4);
    let seen: Vec<u32> =
        words.map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes"))).collect();
    b.same("what it tells", &seen, &expected.to_vec())
}

fn info(d: Fd, words: usize) -> Call {
    (1..words).fold(sized(), |fields, _| fields.u32(0xaaaa)).on(d, nr::VFIO_DEVICE_GET_INFO)
}

fn irq(d: Fd, index: u32) -> Call {
    sized().u32(0xaaaa).u32(index).u32(0xaaaa).on(d, nr::VFIO_DEVICE_GET_IRQ_INFO)
}

fn region_info(d: Fd, index: u32) -> Call {
    sized().u32(0xaaaa).u32(index).u32(0).u64(0).u64(0).on(d, nr::VFIO_DEVICE_GET_REGION_INFO)
}

fn hot_reset(d: Fd, flags: u32, count: u32) -> Call {
    sized().u32(flags).u32(count).on(d, nr::VFIO_DEVICE_PCI_HOT_RESET)
}

fn hot_reset_info(d: Fd, room: usize) -> Call {
    let info = sized().u32(0).u32(0).bytes(&vec![0; room]);
    info.on(d, nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO)
}

fn ioeventfd(d: Fd, flags: u32, offset: u64, fd: Fd) -> Call {
    let cmd = sized().u32(flags).u64(offset).u64(5).fd(fd).u32(0);
    cmd.on(d, nr::VFIO_DEVICE_IOEVENTFD)
}

pub(super) const ROWS: &[Row] = &[
    row("device/not-yet", "before 6.6 a device has no file of its own", OF_6_2, |b| {
        let p = b.process();
        let path = b.arm().path(Device::Edu);
        b.refuses(p, &Call::File(FileCall::Open { path }), Errno::ENOENT)
    }),
    row("device/before-bind", "before BIND everything else is EINVAL", EDU, |b| {
        let p = b.process();
        let d = b.open(p, Device::Edu)?;
        b.all_refused(
            p,
            &[
                (info(d, 6), Errno::EINVAL),
                (value(d, nr::VFIO_DEVICE_RESET, 0), Errno::EINVAL),
                (value(d, 0x3bff, 0), Errno::EINVAL),
                (read(d, CONFIG, 4), Errno::EINVAL),
                (read(d, CONFIG, 0), Errno::EINVAL),
                (write(d, CONFIG + 4, &[7]), Errno::EINVAL),
                (mmap(d, 0, PAGE_BYTES), Errno::EINVAL),
            ],
        )
    }),
    row("device/bind", "what BIND checks, in its order", EDU, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let (d, other) = (b.open(p, Device::Edu)?, b.open(p, Device::Edu)?);
        let memfd = b.memfd(p, 1)?;
        let long = bind(0, iommufd).u64(1);
        let number = nr::VFIO_DEVICE_BIND_IOMMUFD;
        b.all_refused(
            p,
            &[
                (value(d, number, 0), Errno::EFAULT),
                (bind(0, iommufd).with_size(15).plain(d, number), Errno::EINVAL),
                (long.on(d, number), Errno::E2BIG),
                (bind(2, BAD).on(d, number), Errno::EINVAL),
                (bind(0, Fd(-1)).on(d, number), Errno::EINVAL),
                (bind(1, BAD).on(d, number), Errno::EFAULT),
                (with_token(BAD).on(d, number), Errno::EINVAL),
                (bind(0, BAD).on(d, number), Errno::EBADF),
                (bind(0, memfd).on(d, number), Errno::EBADFD),
                (bind(0, iommufd).read_only().on(d, number), Errno::EFAULT),
                (Call::Device(DeviceCall::Bind { device: memfd, iommufd }), Errno::ENOTTY),
            ],
        )?;
        let short = sized().u32(0).fd(iommufd).u32(0);
        b.ok(p, &short.on(d, number))?;
        b.all_refused(
            p,
            &[
                (bind(0, BAD).on(d, number), Errno::EINVAL),
                (bind(0, iommufd).on(other, number), Errno::EINVAL),
            ],
        )?;
        let context = b.iommufd(p)?;
        b.refuses(p, &bind(0, context).on(other, number), Errno::EINVAL)
    }),
    row(
        "device/bind-old",
        "6.13 knows no flag of BIND and ATTACH, and does not look further",
        OLD_KERNEL,
        |b| {
            let p = b.process();
            let iommufd = b.iommufd(p)?;
            let d = b.open(p, Device::Edu)?;
            let number = nr::VFIO_DEVICE_BIND_IOMMUFD;
            b.refuses(p, &bind(1, iommufd).on(d, number), Errno::EINVAL)?;
            b.ok(p, &bind(0, iommufd).u64(1).on(d, number))?;
            let pasid = sized().u32(1).u32(1).u32(1);
            b.refuses(p, &pasid.on(d, nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT), Errno::EINVAL)
        },
    ),
    row("device/bind-mtty", "a token for a driver that has none is EINVAL", MTTY, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let d = b.open(p, Device::Mtty)?;
        b.refuses(p, &bind(1, iommufd).on(d, nr::VFIO_DEVICE_BIND_IOMMUFD), Errno::EINVAL)
    }),
    row("device/dma-owner", "a group belongs to one context", GROUP, |b| {
        let p = b.process();
        let (one, two) = (b.iommufd(p)?, b.iommufd(p)?);
        let (d, _) = b.bind(p, Device::Edu, one)?;
        let sibling = b.open(p, Device::Sibling)?;
        b.refuses(
            p,
            &Call::Device(DeviceCall::Bind { device: sibling, iommufd: two }),
            Errno::EPERM,
        )?;
        b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
        b.ok(p, &Call::Device(DeviceCall::Bind { device: sibling, iommufd: two }))?;
        b.ok(p, &Call::File(FileCall::Close { fd: sibling }))?;
        let (_, _) = (b.bind(p, Device::Edu, one)?, b.bind(p, Device::Sibling, one)?);
        Ok(())
    }),
    row("device/attach", "sizes, flags and PASIDs of ATTACH and DETACH", EDU_AND_MTTY, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let ioas = b.ioas(p, iommufd)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        let (m, _) = b.bind(p, Device::Mtty, iommufd)?;
        let (attach, detach) =
            (nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT, nr::VFIO_DEVICE_DETACH_IOMMUFD_PT);
        let to = |flags: u32, id: ObjectId| sized().u32(flags).id(id);
        b.all_refused(
            p,
            &[
                (value(d, attach, 0), Errno::EFAULT),
                (to(0, ioas).with_size(11).plain(d, attach), Errno::EINVAL),
                (to(2, ioas).on(d, attach), Errno::EINVAL),
                (to(1, ioas).on(d, attach), Errno::EINVAL),
                (to(1, ioas).with_size(16).plain(d, attach), Errno::EFAULT),
                (to(1, ObjectId(77)).u32(1).on(d, attach), Errno::ENOENT),
                (to(1, ioas).u32(1).on(d, attach), Errno::EINVAL),
                (to(1, ioas).u32(1).on(m, attach), Errno::EOPNOTSUPP),
                (to(0, ioas).read_only().on(d, attach), Errno::EFAULT),
                (value(d, detach, 0), Errno::EFAULT),
                (sized().u32(0).with_size(7).plain(d, detach), Errno::EINVAL),
                (sized().u32(2).on(d, detach), Errno::EINVAL),
                (sized().u32(1).on(d, detach), Errno::EINVAL),
                (sized().u32(1).u32(1).on(m, detach), Errno::EOPNOTSUPP),
            ],
        )?;
        b.ok(p, &sized().u32(1).u32(1).on(d, detach))?;
        b.ok(p, &sized().u32(0).on(d, detach))?;
        b.ok(p, &to(0, ioas).on(d, attach))?;
        b.ok(p, &to(0, ioas).on(m, attach)).map(drop)
    }),
    row("device/info", "an edu tells that it is PCI, 9 regions, 5 interrupt indexes", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        tells(b, p, &info(d, 4), &[2, 9, 5])?;
        tells(b, p, &info(d, 6), &[2, 9, 5, 0, 0])?;
        tells(b, p, &irq(d, 0), &[7, 0, 1])?;
        tells(b, p, &irq(d, 1), &[9, 1, 1])?;
        tells(b, p, &irq(d, 2), &[9, 2, 0])?;
        tells(b, p, &irq(d, 4), &[9, 4, 1])?;
        tells(b, p, &region_info(d, 0), &[7, 0, 0, 1 << 20, 0, 0, 0])?;
        tells(b, p, &region_info(d, 1), &[0, 1, 0, 0, 0, 0, 1 << 8])?;
        tells(b, p, &region_info(d, 7), &[3, 7, 0, 256, 0, 0, 7 << 8])?;
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
        "memory that ends within an answer is written up to there, and EFAULT",
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
            b.same("what it leaves", &left, &(Err(Errno::EFAULT), told))
        },
    ),
    row(
        "device/error-index",
        "before 7.3 only PCI Express has the error interrupt",
        OLD_KERNEL,
        |b| {
            let (p, d) = begin(b, Device::Edu)?;
            b.refuses(p, &irq(d, 3), Errno::EINVAL)
        },
    ),
    row("device/capability", "a capability without room is told by its size", MANY, |b| {
        let (p, d) = begin(b, Device::Many)?;
        let outcome = b.ioctl(p, &region_info(d, 0))?;
        b.same("the size it wants", &outcome.bytes[..4], &40u32.to_ne_bytes()[..])?;
        b.same("no offset", &outcome.bytes[12..16], &[0; 4][..])?;
        let roomy = sized().u32(0).u32(0).u32(0).u64(0).u64(0).u64(0);
        let outcome = b.ioctl(p, &roomy.on(d, nr::VFIO_DEVICE_GET_REGION_INFO))?;
        b.same("its offset", &outcome.bytes[12..16], &32u32.to_ne_bytes()[..])?;
        b.same("the capability", &outcome.bytes[32..], &[3, 0, 1, 0, 0, 0, 0, 0][..])?;
        tells(b, p, &irq(d, 2), &[1, 2, 4])
    }),
    row("device/mtty-info", "mtty knows its interrupts once GET_INFO was asked", MTTY, |b| {
        let (p, d) = begin(b, Device::Mtty)?;
        tells(b, p, &info(d, 5), &[2, 9, 5, 0xaaaa])?;
        tells(b, p, &irq(d, 0), &[7, 0, 1])?;
        tells(b, p, &irq(d, 1), &[9, 1, 1])?;
        tells(b, p, &region_info(d, 0), &[3, 0, 0, 8, 0, 0, 0])?;
        tells(b, p, &region_info(d, 7), &[3, 7, 0, 255, 0, 0, 7 << 8])?;
        tells(b, p, &region_info(d, 8), &[3, 8, 0, 0, 0, 0, 8 << 8])?;
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
        "before that every index of mtty is EINVAL",
        &[Need::Simulated("another row may have asked the host's device")],
        |b| {
            let (p, d) = begin(b, Device::Mtty)?;
            b.refuses(p, &irq(d, 0), Errno::EINVAL)
        },
    ),
    row("device/no-reset", "a device that cannot be reset says so", EDU, |b| {
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
                    sized().u64(0).with_size(11).plain(d, nr::VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
                    Errno::EINVAL,
                ),
            ],
        )
    }),
    row("device/reset", "a device alone on its bus is reset, also by its bus", ALONE, |b| {
        let (p, d) = begin(b, Device::Alone)?;
        tells(b, p, &info(d, 4), &[3, 9, 5])?;
        b.ok(p, &write(d, CONFIG + 4, &[0x07]))?;
        b.ok(p, &value(d, nr::VFIO_DEVICE_RESET, 0))?;
        reads(b, p, d, CONFIG + 4, &[0x07])?;
        let outcome = b.ioctl_refused(p, &hot_reset_info(d, 0), Errno::ENOSPC)?;
        b.same("how many", &outcome.bytes[8..12], &1u32.to_ne_bytes()[..])?;
        let outcome = b.ioctl(p, &hot_reset_info(d, 8))?;
        b.same("owned, by object", &outcome.bytes[4..8], &3u32.to_ne_bytes()[..])?;
        b.same("the device's object", &outcome.bytes[12..16], &1u32.to_ne_bytes()[..])?;
        b.ok(p, &hot_reset(d, 0, 0)).map(drop)
    }),
    row("device/ioeventfd", "ioeventfds: one for each write, into BARs alone", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        let (e, f) =
            (b.fd(p, &Call::File(FileCall::Eventfd))?, b.fd(p, &Call::File(FileCall::Eventfd))?);
        let none = Fd(-1);
        b.all_refused(
            p,
            &[
                (value(d, nr::VFIO_DEVICE_IOEVENTFD, 0), Errno::EFAULT),
                (
                    sized()
                        .u32(4)
                        .u64(0)
                        .u64(0)
                        .u64(0)
                        .with_size(27)
                        .plain(d, nr::VFIO_DEVICE_IOEVENTFD),
                    Errno::EINVAL,
                ),
                (ioeventfd(d, 3, 8, e), Errno::EINVAL),
                (ioeventfd(d, 16, 8, e), Errno::EINVAL),
                (ioeventfd(d, 4, 8, Fd(-2)), Errno::EINVAL),
                (ioeventfd(d, 4, (1 << 20) - 2, e), Errno::EINVAL),
                (ioeventfd(d, 4, 1 << 40, e), Errno::EINVAL),
                (ioeventfd(d, 4, CONFIG, e), Errno::EINVAL),
                (ioeventfd(d, 4, 8, none), Errno::ENODEV),
                (ioeventfd(d, 4, 8, BAD), Errno::EBADF),
                (ioeventfd(d, 4, 8, d), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &ioeventfd(d, 4, 8, e))?;
        b.refuses(p, &ioeventfd(d, 4, 8, f), Errno::EEXIST)?;
        b.ok(p, &Call::File(FileCall::WriteEvent { fd: e, count: 1 }))?;
        b.refuses(p, &Call::File(FileCall::ReadEvent { fd: e }), Errno::EAGAIN)?;
        b.ok(p, &ioeventfd(d, 4, 8, none))?;
        b.ok(p, &Call::File(FileCall::WriteEvent { fd: e, count: 1 }))?;
        b.ok(p, &Call::File(FileCall::ReadEvent { fd: e }))?;
        b.ok(p, &ioeventfd(d, 4, 8, f))?;
        b.ok(p, &Call::File(FileCall::Close { fd: f }))?;
        b.refuses(p, &ioeventfd(d, 4, 8, e), Errno::EEXIST)?;
        b.ok(p, &ioeventfd(d, 4, 8, none))?;
        b.ok(p, &ioeventfd(d, 4, 8, e)).map(drop)
    }),
    row("device/ioeventfds-end", "there are 1000 ioeventfds at most", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        for at in 0..1000 {
            b.ok(p, &ioeventfd(d, 4, 0x100 + 4 * at, e))?;
        }
        b.refuses(p, &ioeventfd(d, 4, 8, e), Errno::ENOSPC)
    }),
    row("device/shared", "who holds the bound file by whatever way can use it", EDU, |b| {
        let p = b.process();
        let Setup { device, .. } = b.set_up(p, 1)?;
        let copy = b.fd(p, &Call::File(FileCall::Dup { fd: device }))?;
        let q = b.process();
        let [passed] = b.pass(p, q, &[device])?[..] else { unreachable!("one was sent") };
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        b.ok(p, &Call::Device(DeviceCall::Info { device: copy }))?;
        b.ok(q, &Call::Device(DeviceCall::Info { device: passed }))?;
        b.kill(p);
        b.ok(q, &Call::Device(DeviceCall::Info { device: passed }))?;
        let context = b.iommufd(q)?;
        let again = b.open(q, Device::Edu)?;
        let bind = Call::Device(DeviceCall::Bind { device: again, iommufd: context });
        b.refuses(q, &bind, Errno::EINVAL)?;
        b.ok(q, &Call::File(FileCall::Close { fd: passed }))?;
        b.ok(q, &bind).map(drop)
    }),
    row("device/exec", "exec closes a CLOEXEC device and keeps an inherited one", EDU, |b| {
        let (p, d) = begin(b, Device::Edu)?;
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: d, on: false }))?;
        b.exec(p);
        b.ok(p, &Call::Device(DeviceCall::Info { device: d }))?;
        b.ok(p, &Call::File(FileCall::SetCloexec { fd: d, on: true }))?;
        b.exec(p);
        b.refuses(p, &Call::Device(DeviceCall::Info { device: d }), Errno::EBADF)?;
        let iommufd = b.iommufd(p)?;
        b.bind(p, Device::Edu, iommufd).map(drop)
    }),
];
