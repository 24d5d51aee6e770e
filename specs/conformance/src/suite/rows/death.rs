//! Deaths of a process at each point of a handoff, and the state that remains.

use crate::suite::fixture::{
    BASE, FactResult, Fixture, ORDINARY, Setup, limited, map, map_file, unmap,
};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Reply, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Pid};
use handoff_sim_kernel::{BUS_MASTER, COMMAND_OFFSET};

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

/// Command register of a bound device, without and with bus mastering.
const BOUND: u16 = 0x0103;
const MASTER: u16 = BOUND | BUS_MASTER;

fn take(iommufd: Fd) -> Call {
    IommufdCall::change_process(iommufd)
}

fn command(b: &mut Fixture<'_>, pid: Pid, device: Fd, expected: u16) -> FactResult {
    let read = FileCall::read_at(device, COMMAND_OFFSET, 2);
    let seen = b.ok(pid, &read)?;
    b.same("the command register", &seen, &Reply::Bytes(expected.to_le_bytes().to_vec()))
}

fn reaches(b: &mut Fixture<'_>, pid: Pid, device: Fd, memfd: Fd) -> FactResult {
    let seen = b.arm().reaches(Device::Edu, pid, device, BASE, (memfd, 0));
    b.same("DMA reaches the mapped page", &seen, &true)
}

/// Creates a process with two mapped pages and a device that masters the bus, and another process.
fn set_up(b: &mut Fixture<'_>) -> FactResult<(Pid, Pid, Setup)> {
    let (old, new) = (b.process(), b.process());
    let at = b.set_up(old, 2)?;
    let bytes = MASTER.to_le_bytes().to_vec();
    b.ok(old, &FileCall::write_at(at.device, COMMAND_OFFSET, bytes))?;
    Ok((old, new, at))
}

/// Checks that the device is free: it can be bound, and is the first object.
fn is_free(b: &mut Fixture<'_>, pid: Pid) -> FactResult {
    let iommufd = b.iommufd(pid)?;
    let (device, id) = b.bind(pid, Device::Edu, iommufd)?;
    b.same("the device's object", &id, &ObjectId(1))?;
    command(b, pid, device, BOUND)
}

/// Checks that another open file of the device cannot bind.
fn is_held(b: &mut Fixture<'_>, pid: Pid) -> FactResult {
    let (device, iommufd) = (b.open(pid, Device::Edu)?, b.iommufd(pid)?);
    b.refuses(pid, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EINVAL)
}

/// Creates a process whose device masters the bus over two pages of a memfd, mapped by address.
fn set_up_by_address(b: &mut Fixture<'_>) -> FactResult<(Pid, Setup)> {
    let (old, _, at) = set_up(b)?;
    b.ok(old, &unmap(at.iommufd, at.ioas, BASE, 2))?;
    let va = b.mmap(old, Some(at.memfd), 2)?;
    b.ok(old, &map(at.iommufd, at.ioas, va, BASE, 2))?;
    Ok((old, at))
}

/// Checks that DMA continues over pages whose addresses no longer exist, and that they can neither
/// be taken over nor pinned again.
fn is_orphaned(b: &mut Fixture<'_>, pid: Pid, at: &Setup) -> FactResult {
    let Setup { iommufd, ioas, memfd, device, .. } = *at;
    reaches(b, pid, device, memfd)?;
    b.refuses(pid, &take(iommufd), Errno::EINVAL)?;
    b.ok(pid, &Call::Device(DeviceCall::Detach { device }))?;
    b.refuses(pid, &Call::Device(DeviceCall::Attach { device, page_table: ioas }), Errno::EFAULT)?;
    b.ok(pid, &unmap(iommufd, ioas, BASE, 2)).map(drop)
}

pub(super) const ROWS: &[Fact] = &[
    row(
        "death/nothing-passed",
        "with no file passed, a dead process's device is closed and free",
        EDU,
        |b| {
            let (old, new, _) = set_up(b)?;
            is_held(b, new)?;
            b.kill(old);
            is_free(b, new)
        },
    ),
    row(
        "death/everything-passed",
        "with all files passed, the old process's death has no effect",
        EDU,
        |b| {
            let (old, new, at) = set_up(b)?;
            let theirs = b.pass(old, new, &[at.device, at.iommufd, at.memfd])?;
            let [device, iommufd, memfd] = theirs[..] else { unreachable!("three were sent") };
            b.kill(old);
            command(b, new, device, MASTER)?;
            reaches(b, new, device, memfd)?;
            b.ok(new, &take(iommufd))?;
            b.vm_pin(new, 2)?;
            b.ok(new, &unmap(iommufd, at.ioas, BASE, 2))?;
            b.vm_pin(new, 0)
        },
    ),
    row(
        "death/device-only",
        "with only the device passed, DMA continues and mappings can no longer change",
        EDU,
        |b| {
            let (old, new, at) = set_up(b)?;
            let theirs = b.pass(old, new, &[at.device, at.memfd])?;
            let [device, memfd] = theirs[..] else { unreachable!("two were sent") };
            b.kill(old);
            b.ok(new, &Call::Device(DeviceCall::Info { device }))?;
            reaches(b, new, device, memfd)?;
            let iommufd = b.iommufd(new)?;
            b.refuses(new, &Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EINVAL)?;
            b.ok(new, &Call::File(FileCall::Close { fd: device }))?;
            is_free(b, new)
        },
    ),
    row(
        "death/context-only",
        "with only the context passed, mappings remain, and pin again when attached",
        EDU,
        |b| {
            let (old, new, at) = set_up(b)?;
            let theirs = b.pass(old, new, &[at.iommufd, at.memfd])?;
            let [iommufd, memfd] = theirs[..] else { unreachable!("two were sent") };
            b.kill(old);
            b.refuses(
                new,
                &Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt: at.hwpt }),
                Errno::ENOENT,
            )?;
            let (device, id) = b.bind(new, Device::Edu, iommufd)?;
            b.same("the device's id is reused", &id, &at.device_id)?;
            command(b, new, device, BOUND)?;
            b.attach(new, device, at.ioas)?;
            let bytes = MASTER.to_le_bytes().to_vec();
            b.ok(new, &FileCall::write_at(device, COMMAND_OFFSET, bytes))?;
            reaches(b, new, device, memfd)?;
            b.vm_pin(new, 0)
        },
    ),
    row("death/received-late", "files in flight at a death are received unchanged", EDU, |b| {
        let (old, new, at) = set_up(b)?;
        let (ours, theirs) = b.arm().socketpair(old, new);
        let fds = vec![at.device, at.memfd];
        b.ok(old, &SocketCall::send(ours, vec![1], fds))?;
        b.kill(old);
        let reply = b.ok(new, &Call::Socket(SocketCall::Receive { fd: theirs, wait: true }))?;
        let Reply::Message { fds, .. } = reply else { unreachable!("a packet was there") };
        command(b, new, fds[0], MASTER)?;
        reaches(b, new, fds[0], fds[1])
    }),
    row("death/context-closed-first", "a device holds the context of a closed file", EDU, |b| {
        let (old, _, at) = set_up(b)?;
        b.ok(old, &Call::File(FileCall::Close { fd: at.iommufd }))?;
        b.ok(old, &Call::Device(DeviceCall::Info { device: at.device }))?;
        reaches(b, old, at.device, at.memfd)?;
        b.vm_pin(old, 2)?;
        b.ok(old, &Call::File(FileCall::Close { fd: at.device }))?;
        b.vm_pin(old, 0)?;
        is_free(b, old)
    }),
    row("death/exec", "an exec keeps inherited files, and their DMA", EDU, |b| {
        let (old, _, at) = set_up(b)?;
        for fd in [at.device, at.iommufd, at.memfd] {
            b.ok(old, &Call::File(FileCall::SetCloexec { fd, on: false }))?;
        }
        b.exec(old);
        b.vm_pin(old, 0)?;
        command(b, old, at.device, MASTER)?;
        reaches(b, old, at.device, at.memfd)?;
        b.ok(old, &take(at.iommufd))?;
        b.vm_pin(old, 2)
    }),
    row("death/of-a-child", "the exit of a child releases no file", EDU, |b| {
        let (old, _, at) = set_up(b)?;
        let child = b.fork(old);
        b.vm_pin(child, 0)?;
        b.ok(child, &Call::Device(DeviceCall::Info { device: at.device }))?;
        b.kill(child);
        b.vm_pin(old, 2)?;
        command(b, old, at.device, MASTER)?;
        reaches(b, old, at.device, at.memfd)
    }),
    row("death/of-the-parent", "a child continues with inherited files", EDU, |b| {
        let (old, _, at) = set_up(b)?;
        let child = b.fork(old);
        b.kill(old);
        command(b, child, at.device, MASTER)?;
        reaches(b, child, at.device, at.memfd)?;
        b.ok(child, &take(at.iommufd))?;
        b.vm_pin(child, 2)
    }),
    row("death/taken-back", "the old process reclaims pages from a dead new one", EDU, |b| {
        let (old, new) = (b.spawn(limited(1000, 4)), b.spawn(limited(1001, 2)));
        let at = b.set_up(old, 2)?;
        let theirs = b.pass(old, new, &[at.iommufd])?[0];
        b.ok(new, &take(theirs))?;
        b.vm_pin(old, 0)?;
        b.kill(new);
        b.ok(old, &take(at.iommufd))?;
        b.vm_pin(old, 2)
    }),
    row("death/no-fence", "after a transfer the old process can still act", EDU, |b| {
        let (old, new, at) = set_up(b)?;
        let theirs = b.pass(old, new, &[at.iommufd])?[0];
        b.ok(new, &take(theirs))?;
        b.ok(old, &map_file(at.iommufd, at.ioas, at.memfd, Iova(0), 1))?;
        b.vm_pin(old, 1)?;
        b.vm_pin(new, 2)?;
        b.ok(old, &unmap(at.iommufd, at.ioas, BASE, 2))?;
        b.vm_pin(new, 0)
    }),
    row(
        "death/by-address",
        "memory mapped by address survives its owner until it is unpinned",
        EDU,
        |b| {
            let (old, new) = (b.process(), b.spawn(ORDINARY));
            let at = b.set_up(old, 1)?;
            let va = b.mmap(old, None, 1)?;
            b.ok(old, &map(at.iommufd, at.ioas, va, Iova(0), 1))?;
            let theirs = b.pass(old, new, &[at.device, at.iommufd])?;
            let [device, iommufd] = theirs[..] else { unreachable!("two were sent") };
            b.kill(old);
            b.refuses(new, &take(iommufd), Errno::EINVAL)?;
            b.ok(new, &Call::Device(DeviceCall::Detach { device }))?;
            b.refuses(
                new,
                &Call::Device(DeviceCall::Attach { device, page_table: at.ioas }),
                Errno::EFAULT,
            )?;
            b.ok(new, &unmap(iommufd, at.ioas, Iova(0), 1))?;
            b.attach(new, device, at.ioas).map(drop)
        },
    ),
    row("death/by-address-dma", "DMA continues through addresses of the dead", EDU, |b| {
        let ((old, at), new) = (set_up_by_address(b)?, b.process());
        let theirs = b.pass(old, new, &[at.device, at.iommufd, at.memfd])?;
        let [device, iommufd, memfd] = theirs[..] else { unreachable!("three were sent") };
        b.kill(old);
        is_orphaned(b, new, &Setup { iommufd, memfd, device, ..at })
    }),
    row("death/by-address-exec", "DMA continues through addresses from before an exec", EDU, |b| {
        let (old, at) = set_up_by_address(b)?;
        for fd in [at.device, at.iommufd, at.memfd] {
            b.ok(old, &Call::File(FileCall::SetCloexec { fd, on: false }))?;
        }
        b.exec(old);
        is_orphaned(b, old, &at)
    }),
];
