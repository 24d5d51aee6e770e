//! Groups and containers: who may open what, in which order, and what goes with whom.

use crate::suite::bench::{Bench, Done};
use crate::suite::structure::{Fields, sized, value};
use crate::suite::{Row, row};
use crate::target::{Device, Need};
use handoff_model::abi::argument::{Argument, Ioctl, Structure};
use handoff_model::abi::call::{Call, ContainerCall, DeviceCall, FileCall, IommufdCall, Rights};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Va};
use handoff_model::abi::request as nr;

pub(super) const TYPE1: &[Need] = &[Need::Type1, Need::Has(Device::Edu)];
const TWO: &[Need] = &[Need::Type1, Need::Has(Device::Edu), Need::Has(Device::OtherEdu)];
const ALONE: &[Need] = &[Need::Type1, Need::Has(Device::Alone)];

pub(super) const V1: u64 = 1;
pub(super) const V2: u64 = 3;

/// Extensions.
const DMA_CC_IOMMU: u64 = 4;
const UNMAP_ALL: u64 = 9;
pub(super) const UPDATE_VADDR: u64 = 10;

/// A group and a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Legacy {
    pub(super) group: Fd,
    pub(super) container: Fd,
}

pub(super) fn open_container(b: &mut Bench<'_>, pid: Pid) -> Done<Fd> {
    b.fd(pid, &Call::File(FileCall::Open { path: "/dev/vfio/vfio".to_owned() }))
}

fn open_of(b: &mut Bench<'_>, device: Device) -> Call {
    Call::File(FileCall::Open { path: b.arm().group(device).0 })
}

pub(super) fn open_group(b: &mut Bench<'_>, pid: Pid, device: Device) -> Done<Fd> {
    let open = open_of(b, device);
    b.fd(pid, &open)
}

/// SET_CONTAINER.
pub(super) fn join(group: Fd, container: Fd) -> Call {
    Call::Container(ContainerCall::SetContainer { group, container })
}

fn leave(group: Fd) -> Call {
    value(group, nr::VFIO_GROUP_UNSET_CONTAINER, 0)
}

pub(super) fn set_iommu(container: Fd, kind: u64) -> Call {
    value(container, nr::VFIO_SET_IOMMU, kind)
}

/// A container with a group of this device and an IOMMU of this kind.
pub(super) fn ready(b: &mut Bench<'_>, pid: Pid, device: Device, kind: u64) -> Done<Legacy> {
    let container = open_container(b, pid)?;
    let group = open_group(b, pid, device)?;
    b.ok(pid, &join(group, container))?;
    b.ok(pid, &set_iommu(container, kind))?;
    Ok(Legacy { group, container })
}

fn named(group: Fd, name: &str) -> Call {
    Call::Container(ContainerCall::GroupDevice { group, address: name.to_owned() })
}

fn device_call(b: &mut Bench<'_>, group: Fd, device: Device) -> Call {
    let name = b.arm().group(device).1;
    named(group, &name)
}

/// GET_DEVICE_FD.
pub(super) fn device_fd(b: &mut Bench<'_>, pid: Pid, group: Fd, device: Device) -> Done<Fd> {
    let call = device_call(b, group, device);
    b.fd(pid, &call)
}

fn status(b: &mut Bench<'_>, pid: Pid, group: Fd, expected: u32) -> Done {
    let told = b.ioctl(pid, &sized().u32(0).on(group, nr::VFIO_GROUP_GET_STATUS))?;
    b.same("flags", &told.bytes[4..], &expected.to_ne_bytes()[..])
}

pub(super) fn extension(
    b: &mut Bench<'_>,
    pid: Pid,
    container: Fd,
    which: u64,
    expected: u32,
) -> Done {
    let told = b.ioctl(pid, &value(container, nr::VFIO_CHECK_EXTENSION, which))?;
    b.same(&format!("extension {which}"), &told.result, &Ok(expected))
}

fn info(device: Fd) -> Call {
    sized().u32(0).u32(0).u32(0).on(device, nr::VFIO_DEVICE_GET_INFO)
}

pub(super) fn map_dma(container: Fd, user_va: Va, iova: u64, pages: u64) -> Call {
    let (length_bytes, iova, rights) = (pages * PAGE_BYTES, Iova(iova), Rights::ReadWrite);
    Call::Container(ContainerCall::MapDma { container, user_va, length_bytes, iova, rights })
}

fn map(container: Fd, va: Va, pages: u64) -> Call {
    map_dma(container, va, 0x10000, pages)
}

pub(super) const ROWS: &[Row] = &[
    row("group/one-file", "a group is open once, whoever asks", TYPE1, |b| {
        let (p, q) = (b.process(), b.process());
        let group = open_group(b, p, Device::Edu)?;
        let again = open_of(b, Device::Edu);
        b.refuses(p, &again, Errno::EBUSY)?;
        b.refuses(q, &again, Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
        open_group(b, q, Device::Edu).map(drop)
    }),
    row("group/or-device-file", "a group and a bound device file exclude each other", TYPE1, |b| {
        let p = b.process();
        let iommufd = b.iommufd(p)?;
        let (device, _) = b.bind(p, Device::Edu, iommufd)?;
        let open = open_of(b, Device::Edu);
        b.refuses(p, &open, Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
        let group = b.fd(p, &open)?;
        let device = b.open(p, Device::Edu)?;
        b.refuses(p, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EBUSY)?;
        b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
        b.ok(p, &Call::Device(DeviceCall::Bind { device, iommufd })).map(drop)
    }),
    row("group/status", "a group is viable, and says whether it has a container", TYPE1, |b| {
        let p = b.process();
        let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
        let status_as = |size| sized().u32(0).with_size(size);
        b.all_refused(
            p,
            &[
                (status_as(7).plain(group, nr::VFIO_GROUP_GET_STATUS), Errno::EINVAL),
                (sized().on(group, nr::VFIO_GROUP_GET_STATUS), Errno::EFAULT),
                (value(group, nr::VFIO_IOMMU_DIRTY_PAGES, 0), Errno::ENOTTY),
            ],
        )?;
        status(b, p, group, 1)?;
        b.ok(p, &join(group, container))?;
        status(b, p, group, 3)?;
        b.ok(p, &leave(group))?;
        status(b, p, group, 1)
    }),
    row(
        "group/set-container",
        "a group joins one container or iommufd, and nothing else",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
            let event = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let short = Fields::default().u16(3).plain(group, nr::VFIO_GROUP_SET_CONTAINER);
            b.all_refused(
                p,
                &[
                    (short, Errno::EFAULT),
                    (join(group, Fd(-1)), Errno::EBADF),
                    (join(group, Fd(99)), Errno::EBADF),
                    (join(group, event), Errno::EBADFD),
                    (join(group, group), Errno::EBADFD),
                    (leave(group), Errno::EINVAL),
                ],
            )?;
            b.ok(p, &join(group, container))?;
            b.refuses(p, &join(group, container), Errno::EINVAL)?;
            b.refuses(p, &join(group, event), Errno::EINVAL)?;
            b.ok(p, &leave(group))?;
            b.refuses(p, &leave(group), Errno::EINVAL)
        },
    ),
    row(
        "group/device-by-name",
        "a device is had by its name, once there is an IOMMU",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
            let name = b.arm().group(Device::Edu).1;
            let get = |name: &str| named(group, name);
            let raw = |bytes: &[u8]| {
                Fields::default().bytes(bytes).plain(group, nr::VFIO_GROUP_GET_DEVICE_FD)
            };
            let bytes = vec![b'a'; 8192];
            let structure = Structure { bytes, ..Structure::default() };
            let argument = Argument::Structure(structure);
            let ioctl = Ioctl { request: nr::VFIO_GROUP_GET_DEVICE_FD, argument };
            let table = [
                (raw(b"0000"), Errno::EFAULT),
                (Call::Ioctl { fd: group, ioctl }, Errno::EINVAL),
                (get("nobody"), Errno::ENODEV),
                (get(&format!("{name}x")), Errno::ENODEV),
                (get(&format!("{name} vf_token=1")), Errno::EINVAL),
                (get(&format!("{name} what=ever")), Errno::EINVAL),
            ];
            b.all_refused(p, &table)?;
            b.refuses(p, &get(&name), Errno::EINVAL)?;
            b.ok(p, &join(group, container))?;
            b.refuses(p, &get(&name), Errno::EINVAL)?;
            b.ok(p, &set_iommu(container, V2))?;
            b.ok(p, &get(&format!("{name}  ")))?;
            device_fd(b, p, group, Device::Edu).map(drop)
        },
    ),
    row(
        "group/device-file",
        "a device file of a group has access, and cannot be bound",
        TYPE1,
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Edu, V2)?;
            let device = device_fd(b, p, at.group, Device::Edu)?;
            let iommufd = b.iommufd(p)?;
            b.ok(p, &info(device))?;
            let page_table = handoff_model::abi::ids::ObjectId(1);
            b.refuses(p, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EINVAL)?;
            b.refuses(p, &Call::Device(DeviceCall::Attach { device, page_table }), Errno::ENOTTY)?;
            b.refuses(p, &Call::Device(DeviceCall::Detach { device }), Errno::ENOTTY)?;
            b.refuses(p, &leave(at.group), Errno::EBUSY)?;
            let second = device_fd(b, p, at.group, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
            b.ok(p, &info(second))?;
            b.ok(p, &Call::File(FileCall::Close { fd: at.group }))?;
            let open = open_of(b, Device::Edu);
            b.refuses(p, &open, Errno::EBUSY)?;
            b.ok(p, &Call::File(FileCall::Close { fd: second }))?;
            let group = b.fd(p, &open)?;
            status(b, p, group, 1)
        },
    ),
    row("group/device-file-cloexec", "an exec closes a device file of a group", TYPE1, |b| {
        let p = b.process();
        let Legacy { group, container } = ready(b, p, Device::Edu, V2)?;
        let device = device_fd(b, p, group, Device::Edu)?;
        for fd in [group, container] {
            b.ok(p, &Call::File(FileCall::SetCloexec { fd, on: false }))?;
        }
        b.exec(p);
        b.refuses(p, &info(device), Errno::EBADF)?;
        let again = device_fd(b, p, group, Device::Edu)?;
        b.ok(p, &info(again)).map(drop)
    }),
    row(
        "group/mdev-needs-kvm",
        "an mdev that needs KVM is not had without",
        &[Need::Type1, Need::Has(Device::Tied)],
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Tied, V2)?;
            let get = device_call(b, at.group, Device::Tied);
            b.refuses(p, &get, Errno::ESRCH)
        },
    ),
    row("group/hot-reset", "a hot reset of a group's device names the group", ALONE, |b| {
        let p = b.process();
        let at = ready(b, p, Device::Alone, V2)?;
        let device = device_fd(b, p, at.group, Device::Alone)?;
        let reset = |fds: &[Fd]| {
            let count = u32::try_from(fds.len()).expect("few");
            let all = sized().u32(0).u32(count);
            fds.iter()
                .fold(all, |fields, fd| fields.fd(*fd))
                .on(device, nr::VFIO_DEVICE_PCI_HOT_RESET)
        };
        let without = sized().u32(0).u32(1).on(device, nr::VFIO_DEVICE_PCI_HOT_RESET);
        b.all_refused(
            p,
            &[
                (reset(&[]), Errno::EINVAL),
                (reset(&[at.group, at.group]), Errno::EINVAL),
                (without, Errno::EFAULT),
                (reset(&[Fd(99)]), Errno::EBADF),
                (reset(&[at.container]), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &reset(&[at.group])).map(drop)
    }),
    row("container/extensions", "what a container can do, before and with an IOMMU", TYPE1, |b| {
        let p = b.process();
        let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
        let version = b.ioctl(p, &value(container, nr::VFIO_GET_API_VERSION, 0))?;
        b.same("version", &version.result, &Ok(0))?;
        let always = [(V1, 1), (V2, 1), (UNMAP_ALL, 1), (2, 0), (77, 0), (1 << 32 | V1, 0)];
        for (which, expected) in always.into_iter().chain([(UPDATE_VADDR, 0), (DMA_CC_IOMMU, 0)]) {
            extension(b, p, container, which, expected)?;
        }
        b.ok(p, &join(group, container))?;
        extension(b, p, container, UPDATE_VADDR, 0)?;
        b.ok(p, &set_iommu(container, V2))?;
        for (which, expected) in always.into_iter().chain([(UPDATE_VADDR, 1)]) {
            extension(b, p, container, which, expected)?;
        }
        Ok(())
    }),
    row(
        "container/coherency",
        "without real devices every DMA is coherent",
        &[Need::Type1, Need::Has(Device::Mtty)],
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Mtty, V2)?;
            extension(b, p, at.container, DMA_CC_IOMMU, 1)
        },
    ),
    row("container/set-iommu", "an IOMMU is set once, of a known type, for a group", TYPE1, |b| {
        let p = b.process();
        let (group, container) = (open_group(b, p, Device::Edu)?, open_container(b, p)?);
        let va = b.mmap(p, None, 1)?;
        b.refuses(p, &set_iommu(container, V2), Errno::EINVAL)?;
        b.refuses(p, &map(container, va, 1), Errno::EINVAL)?;
        b.ok(p, &join(group, container))?;
        b.refuses(p, &set_iommu(container, 42), Errno::ENODEV)?;
        b.refuses(p, &map(container, va, 1), Errno::EINVAL)?;
        b.ok(p, &set_iommu(container, V1))?;
        b.refuses(p, &set_iommu(container, V2), Errno::EINVAL)?;
        b.refuses(p, &value(container, nr::VFIO_IOMMU_ENABLE, 0), Errno::ENOTTY)?;
        b.ok(p, &map(container, va, 1)).map(drop)
    }),
    row(
        "container/last-group",
        "with its last group a container loses its IOMMU and its mappings",
        TWO,
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Edu, V2)?;
            let other = open_group(b, p, Device::OtherEdu)?;
            b.ok(p, &join(other, at.container))?;
            let va = b.mmap(p, None, 4)?;
            b.ok(p, &map(at.container, va, 4))?;
            b.vm_lck(p, 4)?;
            b.ok(p, &leave(at.group))?;
            b.vm_lck(p, 4)?;
            b.ok(p, &Call::File(FileCall::Close { fd: other }))?;
            b.vm_lck(p, 0)?;
            b.refuses(p, &map(at.container, va, 4), Errno::EINVAL)?;
            b.ok(p, &join(at.group, at.container))?;
            b.ok(p, &set_iommu(at.container, V1)).map(drop)
        },
    ),
    row("container/outlives-its-file", "a container lives in its groups, too", TYPE1, |b| {
        let p = b.process();
        let at = ready(b, p, Device::Edu, V2)?;
        let va = b.mmap(p, None, 2)?;
        b.ok(p, &map(at.container, va, 2))?;
        b.ok(p, &Call::File(FileCall::Close { fd: at.container }))?;
        b.vm_lck(p, 2)?;
        device_fd(b, p, at.group, Device::Edu)?;
        b.ok(p, &Call::File(FileCall::Close { fd: at.group }))?;
        b.vm_lck(p, 2)?;
        b.kill(p);
        let q = b.process();
        open_group(b, q, Device::Edu).map(drop)
    }),
    row(
        "group/iommufd",
        "a group in an iommufd attaches its devices to one address space",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            b.refuses(p, &join(group, iommufd), Errno::EINVAL)?;
            status(b, p, group, 3)?;
            let va = b.mmap(p, None, 2)?;
            b.ok(p, &set_iommu(iommufd, V2))?;
            b.ok(p, &map(iommufd, va, 2))?;
            b.vm_pin(p, 0)?;
            let device = device_fd(b, p, group, Device::Edu)?;
            b.vm_pin(p, 2)?;
            b.ok(p, &info(device))?;
            let second = device_fd(b, p, group, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: second }))?;
            b.vm_pin(p, 2)?;
            b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
            b.vm_pin(p, 0)
        },
    ),
    row(
        "group/iommufd-left",
        "a group may leave an iommufd, or close, while its devices are open",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            let device = device_fd(b, p, group, Device::Edu)?;
            b.ok(p, &leave(group))?;
            b.ok(p, &info(device))?;
            status(b, p, group, 0)?;
            let container = open_container(b, p)?;
            b.refuses(p, &join(group, container), Errno::EPERM)?;
            b.ok(p, &Call::File(FileCall::Close { fd: group }))?;
            b.ok(p, &info(device))?;
            let group = open_group(b, p, Device::Edu)?;
            b.ok(p, &Call::File(FileCall::Close { fd: device }))?;
            status(b, p, group, 1)?;
            b.ok(p, &join(group, container)).map(drop)
        },
    ),
    row(
        "group/iommufd-without-space",
        "an iommufd that has lost its address space gives no device",
        TYPE1,
        |b| {
            let p = b.process();
            let (group, iommufd) = (open_group(b, p, Device::Edu)?, b.iommufd(p)?);
            b.ok(p, &join(group, iommufd))?;
            b.ok(
                p,
                &Call::Iommufd(IommufdCall::Destroy {
                    iommufd,
                    id: handoff_model::abi::ids::ObjectId(1),
                }),
            )?;
            let get = device_call(b, group, Device::Edu);
            b.refuses(p, &get, Errno::ENODEV)
        },
    ),
];
