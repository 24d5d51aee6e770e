//! Devices of a group: GET_DEVICE_FD, device files, hot reset.

use super::{
    Legacy, TYPE1, V2, device_call, device_fd, info, join, leave, named, open_container,
    open_group, open_of, ready, set_iommu, status,
};
use crate::suite::structure::{Fields, sized};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::argument::{Argument, Ioctl, Structure};
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;

const ALONE: &[Capability] = &[Capability::Type1, Capability::Has(Device::Alone)];

pub(crate) const ROWS: &[Fact] = &[
    row(
        "group/device-by-name",
        "GET_DEVICE_FD finds a device by name once there is an IOMMU",
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
        "GET_DEVICE_FD fails with ESRCH for an mdev that needs a KVM",
        &[Capability::Type1, Capability::Has(Device::Tied)],
        |b| {
            let p = b.process();
            let at = ready(b, p, Device::Tied, V2)?;
            let get = device_call(b, at.group, Device::Tied);
            b.refuses(p, &get, Errno::ESRCH)
        },
    ),
    row("group/hot-reset", "a hot reset of a group's device must name the group", ALONE, |b| {
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
];
