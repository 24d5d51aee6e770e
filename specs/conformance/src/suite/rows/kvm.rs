//! KVM: lifetime of VMs, irqfds, VFIO files that are registered with a VM.

use crate::suite::fixture::Fixture;
use crate::suite::structure::{Fields, value};
use crate::suite::{Fact, FactResult, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;

const KVM: &[Capability] = &[Capability::Kvm];
const KVM_AND_EDU: &[Capability] = &[Capability::Kvm, Capability::Has(Device::Edu)];
const KVM_AND_TIED: &[Capability] = &[Capability::Kvm, Capability::Has(Device::Tied)];
const OLD_KERNEL: &[Capability] = &[Capability::Kvm, Capability::Release("6.13")];

const BAD: Fd = Fd(99);

/// `KVM_IRQFD_FLAG_DEASSIGN` and `_RESAMPLE`.
const DEASSIGN: u32 = 1;
const RESAMPLE: u32 = 2;

/// `KVM_DEV_VFIO_FILE`, with `_ADD` and `_DEL`.
const FILE: u32 = 1;
const ADD: u64 = 1;
const DEL: u64 = 2;

fn made(b: &mut Fixture<'_>, p: Pid, call: &Call) -> FactResult<Fd> {
    let fd = b.ioctl(p, call)?.result.unwrap_or_default();
    Ok(Fd(fd.cast_signed()))
}

fn vm(b: &mut Fixture<'_>, p: Pid) -> FactResult<Fd> {
    let kvm = b.fd(p, &Call::File(FileCall::Open { path: "/dev/kvm".to_owned() }))?;
    let vm = made(b, p, &value(kvm, nr::KVM_CREATE_VM, 0))?;
    b.ok(p, &Call::File(FileCall::Close { fd: kvm }))?;
    Ok(vm)
}

/// Creates a VM with an interrupt controller.
fn vm_with_irqchip(b: &mut Fixture<'_>, p: Pid) -> FactResult<Fd> {
    let vm = vm(b, p)?;
    b.ok(p, &value(vm, nr::KVM_CREATE_IRQCHIP, 0))?;
    Ok(vm)
}

fn irqfd(vm: Fd, event: Fd, gsi: u32, flags: u32, resample: Fd) -> Call {
    let cmd = Fields::default().fd(event).u32(gsi).u32(flags).fd(resample).u64(0).u64(0);
    cmd.plain(vm, nr::KVM_IRQFD)
}

fn assign(vm: Fd, event: Fd) -> Call {
    irqfd(vm, event, 1, 0, Fd(0))
}

fn deassign(vm: Fd, event: Fd) -> Call {
    irqfd(vm, event, 1, DEASSIGN, Fd(0))
}

fn create_device(vm: Fd, kind: u32, flags: u32) -> Call {
    Fields::default().u32(kind).u32(0).u32(flags).plain(vm, nr::KVM_CREATE_DEVICE)
}

/// Creates the VFIO device of a VM.
fn vfio(b: &mut Fixture<'_>, p: Pid, vm: Fd) -> FactResult<Fd> {
    let outcome = b.ioctl(p, &create_device(vm, 4, 0))?;
    Ok(Fd(i32::from_ne_bytes(outcome.bytes[4..8].try_into().expect("four bytes"))))
}

fn attr(request: u32, vfio: Fd, group: u32, which: u64, fd: Fd) -> Call {
    let attr = Fields::default().u32(0).u32(group).u64(which).pointer(&fd.0.to_ne_bytes());
    attr.plain(vfio, request)
}

fn set_attribute(vfio: Fd, which: u64, fd: Fd) -> Call {
    attr(nr::KVM_SET_DEVICE_ATTR, vfio, FILE, which, fd)
}

fn count(b: &mut Fixture<'_>, p: Pid, fd: Fd, expected: u64) -> FactResult {
    let call = Call::File(FileCall::ReadEvent { fd });
    if expected == 0 {
        return b.refuses(p, &call, Errno::EAGAIN);
    }
    let seen = b.ok(p, &call)?;
    b.same("the eventfd's count", &seen, &Reply::Count(expected))
}

fn write(fd: Fd, count: u64) -> Call {
    Call::File(FileCall::WriteEvent { fd, count })
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "kvm/vm",
        "KVM_CREATE_VM, _VCPU and _IRQCHIP refuse duplicates and invalid arguments",
        KVM,
        |b| {
            let p = b.process();
            let kvm = b.fd(p, &Call::File(FileCall::Open { path: "/dev/kvm".to_owned() }))?;
            let version = b.ioctl(p, &value(kvm, nr::KVM_GET_API_VERSION, 0))?;
            b.same("the version", &version.result, &Ok(12))?;
            b.refuses(p, &value(kvm, nr::KVM_GET_API_VERSION, 1), Errno::EINVAL)?;
            b.refuses(p, &FileCall::read_at(kvm, 0, 1), Errno::EINVAL)?;
            let vm = made(b, p, &value(kvm, nr::KVM_CREATE_VM, 0))?;
            b.ok(p, &value(vm, nr::KVM_CREATE_IRQCHIP, 0))?;
            b.refuses(p, &value(vm, nr::KVM_CREATE_IRQCHIP, 0), Errno::EEXIST)?;
            let vcpu = made(b, p, &value(vm, nr::KVM_CREATE_VCPU, 0))?;
            b.all_refused(
                p,
                &[
                    (value(vm, nr::KVM_CREATE_VCPU, 0), Errno::EEXIST),
                    (value(vm, nr::KVM_CREATE_VCPU, 1 << 31), Errno::EINVAL),
                    (value(vm, nr::IOMMU_IOAS_ALLOC, 0), Errno::ENOTTY),
                    (value(vcpu, nr::IOMMU_IOAS_ALLOC, 0), Errno::EINVAL),
                ],
            )?;
            let late = made(b, p, &value(kvm, nr::KVM_CREATE_VM, 0))?;
            b.ok(p, &value(late, nr::KVM_CREATE_VCPU, 0))?;
            b.refuses(p, &value(late, nr::KVM_CREATE_IRQCHIP, 0), Errno::EINVAL)
        },
    ),
    row(
        "kvm/owner",
        "ioctls on a VM fail with EIO for processes other than its creator",
        KVM,
        |b| {
            let (p, q) = (b.process(), b.process());
            let vm = vm_with_irqchip(b, p)?;
            let vcpu = made(b, p, &value(vm, nr::KVM_CREATE_VCPU, 0))?;
            let vfio = vfio(b, p, vm)?;
            let theirs = b.pass(p, q, &[vm, vcpu, vfio])?;
            for fd in theirs {
                b.refuses(q, &value(fd, nr::KVM_CREATE_IRQCHIP, 0), Errno::EIO)?;
            }
            let child = b.fork(p);
            b.refuses(child, &value(vm, nr::KVM_CREATE_IRQCHIP, 0), Errno::EIO)
        },
    ),
    row("kvm/irqfd", "KVM_IRQFD checks flags, irqchip and files in order", KVM, |b| {
        let p = b.process();
        let (bare, vm) = (vm(b, p)?, vm_with_irqchip(b, p)?);
        let (e, f) =
            (b.fd(p, &Call::File(FileCall::Eventfd))?, b.fd(p, &Call::File(FileCall::Eventfd))?);
        let memfd = b.memfd(p, 1)?;
        b.all_refused(
            p,
            &[
                (value(vm, nr::KVM_IRQFD, 0), Errno::EFAULT),
                (irqfd(bare, BAD, 1, 4, BAD), Errno::EINVAL),
                (assign(bare, BAD), Errno::EINVAL),
                (deassign(bare, BAD), Errno::EBADF),
                (deassign(vm, memfd), Errno::EINVAL),
                (assign(vm, BAD), Errno::EBADF),
                (assign(vm, memfd), Errno::EINVAL),
                (irqfd(vm, e, 1, RESAMPLE, BAD), Errno::EBADF),
                (irqfd(vm, e, 1, RESAMPLE, memfd), Errno::EINVAL),
            ],
        )?;
        b.ok(p, &deassign(vm, e))?;
        b.ok(p, &irqfd(vm, e, 1, RESAMPLE, f))?;
        b.refuses(p, &irqfd(vm, e, 2, 0, Fd(0)), Errno::EBUSY)?;
        b.ok(p, &assign(vm, f))?;
        b.ok(p, &irqfd(vm, e, 2, DEASSIGN, Fd(0)))?;
        b.refuses(p, &assign(vm, e), Errno::EBUSY)
    }),
    row("kvm/irqfd-exclusive", "an eventfd has at most one irqfd among all VMs", KVM, |b| {
        let p = b.process();
        let (one, two) = (vm_with_irqchip(b, p)?, vm_with_irqchip(b, p)?);
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.ok(p, &assign(one, e))?;
        b.refuses(p, &assign(two, e), Errno::EBUSY)?;
        b.ok(p, &deassign(one, e))?;
        b.ok(p, &assign(two, e)).map(drop)
    }),
    row(
        "kvm/irqfd-in-each",
        "before 6.17 an eventfd can have one irqfd in each VM",
        OLD_KERNEL,
        |b| {
            let p = b.process();
            let (one, two) = (vm_with_irqchip(b, p)?, vm_with_irqchip(b, p)?);
            let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
            b.ok(p, &assign(one, e))?;
            b.ok(p, &assign(two, e))?;
            b.refuses(p, &assign(two, e), Errno::EBUSY)
        },
    ),
    row("kvm/irqfd-consumes", "an irqfd consumes signals; without it they are latched", KVM, |b| {
        let p = b.process();
        let vm = vm_with_irqchip(b, p)?;
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.ok(p, &write(e, 2))?;
        b.ok(p, &assign(vm, e))?;
        count(b, p, e, 2)?;
        b.ok(p, &write(e, 1))?;
        count(b, p, e, 0)?;
        b.ok(p, &deassign(vm, e))?;
        b.ok(p, &write(e, 1))?;
        count(b, p, e, 1)
    }),
    row("kvm/irqfd-takes-along", "removing an irqfd clears the eventfd's count", KVM, |b| {
        let p = b.process();
        let vm = vm_with_irqchip(b, p)?;
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.ok(p, &write(e, 2))?;
        b.ok(p, &assign(vm, e))?;
        b.ok(p, &deassign(vm, e))?;
        count(b, p, e, 0)
    }),
    row(
        "kvm/irqfd-ends",
        "an irqfd ends with its VM's file, even if a vCPU is still open",
        KVM,
        |b| {
            let p = b.process();
            let vm = vm_with_irqchip(b, p)?;
            b.ok(p, &value(vm, nr::KVM_CREATE_VCPU, 0))?;
            let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
            b.ok(p, &assign(vm, e))?;
            b.ok(p, &Call::File(FileCall::Close { fd: vm }))?;
            b.ok(p, &write(e, 1))?;
            count(b, p, e, 1)
        },
    ),
    row(
        "kvm/irqfd-shared",
        "other holders of the eventfd do not see the signals that the VM consumes",
        KVM,
        |b| {
            let (p, q) = (b.process(), b.process());
            let vm = vm_with_irqchip(b, p)?;
            let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
            let [theirs] = b.pass(p, q, &[e])?[..] else { unreachable!("one was sent") };
            b.ok(p, &assign(vm, e))?;
            b.ok(p, &Call::File(FileCall::Close { fd: e }))?;
            b.ok(q, &write(theirs, 1))?;
            count(b, q, theirs, 0)?;
            b.kill(p);
            b.ok(q, &write(theirs, 1))?;
            count(b, q, theirs, 1)
        },
    ),
    row("kvm/irqfd-closed", "the last close of an eventfd removes its irqfd", KVM_AND_EDU, |b| {
        let p = b.process();
        let vm = vm_with_irqchip(b, p)?;
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        let e = b.fd(p, &Call::File(FileCall::Eventfd))?;
        b.ok(p, &DeviceCall::set_irqs(d, 1, vec![e]))?;
        b.ok(p, &assign(vm, e))?;
        b.ok(p, &Call::File(FileCall::Close { fd: e }))?;
        b.ok(p, &DeviceCall::set_irqs(d, 1, vec![])).map(drop)
    }),
    row(
        "kvm/device",
        "KVM_CREATE_DEVICE and its attributes validate their arguments",
        KVM_AND_EDU,
        |b| {
            let p = b.process();
            let vm = vm(b, p)?;
            let d = b.open(p, Device::Edu)?;
            let memfd = b.memfd(p, 1)?;
            b.all_refused(
                p,
                &[
                    (value(vm, nr::KVM_CREATE_DEVICE, 0), Errno::EFAULT),
                    (create_device(vm, 77, 0), Errno::ENODEV),
                ],
            )?;
            b.ok(p, &create_device(vm, 4, 1))?;
            let vfio = vfio(b, p, vm)?;
            let null = Fields::default().u32(0).u32(FILE).u64(ADD).u64(0);
            b.all_refused(
                p,
                &[
                    (create_device(vm, 4, 0), Errno::EBUSY),
                    (value(vfio, nr::KVM_CREATE_VM, 0), Errno::ENOTTY),
                    (value(vfio, nr::KVM_SET_DEVICE_ATTR, 0), Errno::EFAULT),
                    (null.plain(vfio, nr::KVM_SET_DEVICE_ATTR), Errno::EFAULT),
                    (attr(nr::KVM_HAS_DEVICE_ATTR, vfio, 2, ADD, d), Errno::ENXIO),
                    (attr(nr::KVM_HAS_DEVICE_ATTR, vfio, FILE, 9, d), Errno::ENXIO),
                    (set_attribute(vfio, 9, d), Errno::ENXIO),
                    (set_attribute(vfio, ADD, BAD), Errno::EBADF),
                    (set_attribute(vfio, ADD, memfd), Errno::EINVAL),
                    (set_attribute(vfio, DEL, BAD), Errno::EBADF),
                    (set_attribute(vfio, DEL, d), Errno::ENOENT),
                ],
            )?;
            b.ok(p, &attr(nr::KVM_HAS_DEVICE_ATTR, vfio, FILE, ADD, BAD))?;
            b.ok(p, &set_attribute(vfio, ADD, d))?;
            b.refuses(p, &set_attribute(vfio, ADD, d), Errno::EEXIST)?;
            b.ok(p, &set_attribute(vfio, DEL, d))?;
            b.ok(p, &set_attribute(vfio, ADD, d)).map(drop)
        },
    ),
    row("kvm/keeps-device", "a VM keeps its registered device files open", KVM_AND_EDU, |b| {
        let p = b.process();
        let vm = vm(b, p)?;
        let vfio = vfio(b, p, vm)?;
        let iommufd = b.iommufd(p)?;
        let (d, _) = b.bind(p, Device::Edu, iommufd)?;
        b.ok(p, &set_attribute(vfio, ADD, d))?;
        b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
        let again = b.open(p, Device::Edu)?;
        let bind = Call::Device(DeviceCall::Bind { device: again, iommufd });
        b.refuses(p, &bind, Errno::EINVAL)?;
        b.ok(p, &Call::File(FileCall::Close { fd: vfio }))?;
        b.ok(p, &bind).map(drop)
    }),
    row(
        "kvm/kept-by-device",
        "a device that was bound with a VM keeps the VM alive",
        KVM_AND_EDU,
        |b| {
            let p = b.process();
            let vm = vm_with_irqchip(b, p)?;
            let vfio = vfio(b, p, vm)?;
            let iommufd = b.iommufd(p)?;
            let d = b.open(p, Device::Edu)?;
            b.ok(p, &set_attribute(vfio, ADD, d))?;
            b.ok(p, &Call::Device(DeviceCall::Bind { device: d, iommufd }))?;
            b.ok(p, &Call::File(FileCall::Close { fd: vfio }))?;
            b.ok(p, &Call::File(FileCall::Close { fd: vm }))?;
            b.ok(p, &Call::Device(DeviceCall::Info { device: d }))?;
            b.ok(p, &Call::File(FileCall::Close { fd: d })).map(drop)
        },
    ),
    row(
        "kvm/tied",
        "an mdev that needs a KVM can be bound once a VM has its file",
        KVM_AND_TIED,
        |b| {
            let p = b.process();
            let vm = vm(b, p)?;
            let vfio = vfio(b, p, vm)?;
            let iommufd = b.iommufd(p)?;
            let d = b.open(p, Device::Tied)?;
            let bind = Call::Device(DeviceCall::Bind { device: d, iommufd });
            b.refuses(p, &bind, Errno::ESRCH)?;
            b.ok(p, &set_attribute(vfio, ADD, d))?;
            b.ok(p, &bind)?;
            b.ok(p, &set_attribute(vfio, DEL, d))?;
            b.ok(p, &Call::File(FileCall::Close { fd: d }))?;
            let d = b.open(p, Device::Tied)?;
            b.refuses(p, &Call::Device(DeviceCall::Bind { device: d, iommufd }), Errno::ESRCH)
        },
    ),
];
