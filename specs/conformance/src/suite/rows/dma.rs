//! Devices at work: the memory that DMA reaches, and the eventfds that interrupts signal.

use crate::suite::fixture::{BASE, FactResult, Fixture, ORDINARY, Setup, map_file, unmap};
use crate::suite::{Fact, row};
use crate::target::{Capability, Device};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid};
use handoff_sim_kernel::{BUS_MASTER, COMMAND_OFFSET};

const EDU: &[Capability] = &[Capability::Has(Device::Edu)];

/// `VFIO_PCI_MSI_IRQ_INDEX`.
const MSI: u32 = 1;

fn change_process(iommufd: Fd) -> Call {
    IommufdCall::change_process(iommufd)
}

/// Enables bus mastering.
pub(super) fn be_master(b: &mut Fixture<'_>, pid: Pid, device: Fd) -> FactResult {
    let read = FileCall::read_at(device, COMMAND_OFFSET, 2);
    let command = match b.ok(pid, &read)? {
        Reply::Bytes(bytes) => u16::from_le_bytes([bytes[0], bytes[1]]) | BUS_MASTER,
        other => unreachable!("{other:?} is nothing read"),
    };
    let bytes = command.to_le_bytes().to_vec();
    b.ok(pid, &FileCall::write_at(device, COMMAND_OFFSET, bytes)).map(drop)
}

fn reaches(b: &mut Fixture<'_>, pid: Pid, at: &Setup, page: u64, expected: bool) -> FactResult {
    let iova = Iova(BASE.0 + page * PAGE_BYTES);
    let seen = b.arm().reaches(Device::Edu, pid, at.device, iova, (at.memfd, page));
    b.same(&format!("DMA to {iova} reaches page {page}"), &seen, &expected)
}

/// Checks the count of an eventfd.
fn waiting(b: &mut Fixture<'_>, pid: Pid, fd: Fd, expected: u64) -> FactResult {
    if expected == 0 {
        return b.refuses(pid, &Call::File(FileCall::ReadEvent { fd }), Errno::EAGAIN);
    }
    let reply = b.ok(pid, &Call::File(FileCall::ReadEvent { fd }))?;
    b.same("interrupts", &reply, &Reply::Count(expected))
}

pub(super) const ROWS: &[Fact] = &[
    row("dma/reaches-what-is-mapped", "DMA reaches mapped pages of an attached master", EDU, |b| {
        let p = b.process();
        let at = b.set_up(p, 3)?;
        reaches(b, p, &at, 1, false)?;
        be_master(b, p, at.device)?;
        reaches(b, p, &at, 0, true)?;
        reaches(b, p, &at, 2, true)?;
        b.ok(p, &Call::Device(DeviceCall::Detach { device: at.device }))?;
        reaches(b, p, &at, 0, false)?;
        b.attach(p, at.device, at.ioas)?;
        reaches(b, p, &at, 0, true)?;
        b.ok(p, &unmap(at.iommufd, at.ioas, BASE, 3))?;
        reaches(b, p, &at, 0, false)
    }),
    row(
        "dma/loses-a-hole",
        "a punched hole separates the file from the DMA pages (H6)",
        EDU,
        |b| {
            let p = b.process();
            let at = b.set_up(p, 2)?;
            be_master(b, p, at.device)?;
            reaches(b, p, &at, 1, true)?;
            let (fd, offset_bytes, length_bytes) = (at.memfd, PAGE_BYTES, PAGE_BYTES);
            b.ok(p, &MemoryCall::punch_hole(fd, offset_bytes, length_bytes))?;
            reaches(b, p, &at, 1, false)?;
            reaches(b, p, &at, 0, true)?;
            b.ok(p, &unmap(at.iommufd, at.ioas, BASE, 2))?;
            b.ok(p, &map_file(at.iommufd, at.ioas, at.memfd, BASE, 2))?;
            reaches(b, p, &at, 1, true)
        },
    ),
    row("dma/outlives-its-process", "DMA continues after the old process has died", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let at = b.set_up(old, 2)?;
        be_master(b, old, at.device)?;
        let theirs = b.pass(old, new, &[at.iommufd, at.device, at.memfd])?;
        let there = Setup { iommufd: theirs[0], device: theirs[1], memfd: theirs[2], ..at };
        reaches(b, new, &there, 1, true)?;
        b.ok(new, &change_process(there.iommufd))?;
        reaches(b, new, &there, 1, true)?;
        b.kill(old);
        reaches(b, new, &there, 1, true)?;
        b.vm_pin(new, 2)
    }),
    row("dma/ends-with-the-last-holder", "the last close of a device ends its DMA", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let at = b.set_up(old, 1)?;
        be_master(b, old, at.device)?;
        reaches(b, old, &at, 0, true)?;
        let [iommufd, memfd] = b.pass(old, new, &[at.iommufd, at.memfd])?[..] else {
            unreachable!("two were passed")
        };
        b.kill(old);
        let (device, _) = b.bind(new, Device::Edu, iommufd)?;
        let at = Setup { iommufd, memfd, device, ..at };
        reaches(b, new, &at, 0, false)?;
        b.attach(new, device, at.ioas)?;
        reaches(b, new, &at, 0, false)?;
        be_master(b, new, device)?;
        reaches(b, new, &at, 0, true)
    }),
    row("irq/goes-where-it-was-told", "an interrupt signals the eventfd that was set", EDU, |b| {
        let p = b.process();
        let at = b.set_up(p, 1)?;
        let (one, other) =
            (b.fd(p, &Call::File(FileCall::Eventfd))?, b.fd(p, &Call::File(FileCall::Eventfd))?);
        for (set, expected) in [(one, [1, 0]), (other, [0, 1])] {
            b.ok(p, &DeviceCall::set_irqs(at.device, MSI, vec![set]))?;
            b.arm().raise(Device::Edu, p, at.device);
            waiting(b, p, one, expected[0])?;
            waiting(b, p, other, expected[1])?;
        }
        b.ok(p, &DeviceCall::set_irqs(at.device, MSI, vec![]))?;
        b.arm().raise(Device::Edu, p, at.device);
        waiting(b, p, other, 0)
    }),
    row(
        "irq/waits-for-the-next",
        "interrupts accumulate in an eventfd across the death of a holder",
        EDU,
        |b| {
            let (old, new) = (b.process(), b.spawn(ORDINARY));
            let at = b.set_up(old, 1)?;
            let event = b.fd(old, &Call::File(FileCall::Eventfd))?;
            b.ok(old, &DeviceCall::set_irqs(at.device, MSI, vec![event]))?;
            let theirs = b.pass(old, new, &[at.device, event])?;
            b.arm().raise(Device::Edu, old, at.device);
            b.kill(old);
            b.arm().raise(Device::Edu, new, theirs[0]);
            waiting(b, new, theirs[1], 2)
        },
    ),
    row("irq/goes-on", "interrupts continue after a transfer", EDU, |b| {
        let (old, new) = (b.process(), b.process());
        let at = b.set_up(old, 1)?;
        let event = b.fd(old, &Call::File(FileCall::Eventfd))?;
        b.ok(old, &DeviceCall::set_irqs(at.device, MSI, vec![event]))?;
        let theirs = b.pass(old, new, &[at.iommufd, at.device, event])?;
        let [iommufd, device, event] = theirs[..] else { unreachable!("three were sent") };
        b.ok(new, &change_process(iommufd))?;
        b.arm().raise(Device::Edu, new, device);
        b.arm().raise(Device::Edu, old, at.device);
        waiting(b, new, event, 2)
    }),
];
