//! QEMU's `edu` device.
//!
//! It does DMA like a passed-through device, but slowly enough that one is still running during a
//! handoff: a DMA takes 100 ms of the machine's time and may raise an interrupt at its end. The
//! device has a buffer of 4096 bytes; a DMA copies between that and guest RAM.
//!
//! Invariants:
//! * registers are accessed 32 bits at a time, and every value used fits in 32 bits (addresses have
//!   28);
//! * a DMA that would leave the buffer or the device's 28-bit address range is refused here
//!   (EINVAL): on the former some versions of QEMU abort, and all versions wrap the latter.
//!
//! `edu` itself has no reset: its registers survive every reset, so they cannot serve as a mark.
//! Its mark is the marker of [`super::pci`].
//!
//! Mirrors: `docs/specs/edu.rst` of QEMU 7.2 to 11.1.

use super::pci::Pci;
use super::{Direction, Dma, Driver, Kind, Limits, Queue, TestDevice};
use handoff_model::abi::errno::Errno;

/// QEMU's `edu`. The longest DMA is one byte less than the device's buffer, because QEMU 7.2 aborts
/// at the last byte.
pub const EDU: Kind = Kind {
    name: "edu",
    vendor_and_device: (0x1234, 0x11e8),
    limits: Limits { dma_bytes_max: 4095, iova_end: 1 << 28, queue_pages: 0 },
    drive,
};

/// Registers in BAR 0.
mod register {
    pub(super) const ID: u64 = 0x00;
    pub(super) const IRQ_RAISE: u64 = 0x60;
    pub(super) const IRQ_ACK: u64 = 0x64;
    pub(super) const DMA_SOURCE: u64 = 0x80;
    pub(super) const DMA_DESTINATION: u64 = 0x88;
    pub(super) const DMA_COUNT: u64 = 0x90;
    pub(super) const DMA_COMMAND: u64 = 0x98;
}

/// Version 1.0 of the device.
const ID: u32 = 0x0100_00ed;
/// The buffer's address on the device's side.
const BUFFER_ADDRESS: u32 = 0x4_0000;
/// Bits of the DMA command register.
const DMA_RUN: u32 = 1;
const DMA_TO_RAM: u32 = 2;
const DMA_INTERRUPT: u32 = 4;
/// Interrupt causes: bits of the interrupt status register. Only `raise` sets the second.
const IRQ_DMA: u32 = 0x100;
const IRQ_TEST: u32 = 0x1;

#[derive(Debug)]
struct Edu(Pci);

/// Fails with `ENODEV` if the device has another version.
fn drive(mut pci: Pci, _: Option<Queue>) -> Result<Driver, Errno> {
    if pci.read(register::ID)? == ID { Ok(Box::new(Edu(pci))) } else { Err(Errno::ENODEV) }
}

fn command(dma: &Dma) -> u32 {
    let direction = if dma.direction == Direction::ToRam { DMA_TO_RAM } else { 0 };
    let interrupt = if dma.interrupt { DMA_INTERRUPT } else { 0 };
    DMA_RUN | direction | interrupt
}

impl TestDevice for Edu {
    fn limits(&self) -> Limits {
        EDU.limits
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.0.plant_marker()
    }

    fn is_marked(&mut self) -> Result<bool, Errno> {
        self.0.has_marker()
    }

    fn may_do_dma(&mut self) -> Result<bool, Errno> {
        self.0.is_bus_master()
    }

    fn start(&mut self, dma: Dma) -> Result<(), Errno> {
        if !EDU.limits.allow(&dma) {
            return Err(Errno::EINVAL);
        }
        if self.is_running()? {
            return Err(Errno::EBUSY);
        }
        let ram = u32::try_from(dma.iova.0).map_err(|_| Errno::EINVAL)?;
        let (source, destination) = match dma.direction {
            Direction::FromRam => (ram, BUFFER_ADDRESS),
            Direction::ToRam => (BUFFER_ADDRESS, ram),
        };
        self.0.write(register::DMA_SOURCE, source)?;
        self.0.write(register::DMA_DESTINATION, destination)?;
        self.0.write(register::DMA_COUNT, dma.length_bytes)?;
        self.0.write(register::DMA_COMMAND, command(&dma))
    }

    fn is_running(&mut self) -> Result<bool, Errno> {
        Ok(self.0.read(register::DMA_COMMAND)? & DMA_RUN != 0)
    }

    fn acknowledge(&mut self) -> Result<(), Errno> {
        self.0.write(register::IRQ_ACK, IRQ_DMA)
    }

    fn raise(&mut self) -> Result<(), Errno> {
        self.0.write(register::IRQ_RAISE, IRQ_TEST)?;
        self.0.write(register::IRQ_ACK, IRQ_TEST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::registers::{CONFIG, Registers, Write};
    use super::*;
    use handoff_model::abi::ids::{Fd, Iova};

    /// The longest DMA in bytes, and the lowest address out of its reach.
    const MAX: u32 = EDU.limits.dma_bytes_max;
    const END: u64 = EDU.limits.iova_end;

    #[test]
    fn a_dma_stays_in_the_buffer_and_below_28_bits() {
        let rows = [
            (0, 1, true),
            (0x10_0000, MAX, true),
            (END - 4095, 4095, true),
            (END - 4094, 4095, false),
            (0, 0, false),
            (0, MAX + 1, false),
            (u64::MAX, 1, false),
        ];
        for (iova, length_bytes, expected) in rows {
            let direction = Direction::ToRam;
            let dma = Dma { direction, iova: Iova(iova), length_bytes, interrupt: false };
            assert_eq!(EDU.limits.allow(&dma), expected, "{dma:?}");
        }
    }

    #[test]
    fn commands_are_those_of_the_device() {
        let command = |direction, interrupt| {
            command(&Dma { direction, iova: Iova(0), length_bytes: 1, interrupt })
        };
        assert_eq!(command(Direction::FromRam, false), 1);
        assert_eq!(command(Direction::ToRam, false), 3);
        assert_eq!(command(Direction::FromRam, true), 5);
        assert_eq!(command(Direction::ToRam, true), 7);
    }

    fn edu() -> (Registers, Pci) {
        let registers = Registers::new();
        registers.set(0, &ID.to_le_bytes());
        let pci = Pci::locate(Box::new(registers.clone()), Fd(9)).expect("it is bound");
        (registers, pci)
    }

    fn word(offset_bytes: u64, value: u32) -> Write {
        (offset_bytes, value.to_le_bytes().to_vec())
    }

    #[test]
    fn creating_a_driver_only_reads() {
        let (registers, pci) = edu();
        let mut device = drive(pci, None).expect("an edu");
        assert_eq!((device.may_do_dma(), device.is_marked()), (Ok(false), Ok(false)));
        assert_eq!(device.is_running(), Ok(false));
        assert_eq!(registers.written(), []);
        registers.set(0, &[0]);
        let pci = Pci::locate(Box::new(registers), Fd(9)).expect("it is bound");
        assert_eq!(drive(pci, None).map(drop), Err(Errno::ENODEV));
    }

    #[test]
    fn each_operation_writes_its_registers() {
        let (registers, mut pci) = edu();
        pci.enable().expect("writable");
        assert_eq!(registers.written(), [(CONFIG + 4, vec![6, 0])]);
        let mut device = drive(pci, None).expect("an edu");
        device.prepare().expect("writable");
        assert_eq!(registers.written(), [(CONFIG + 0x3c, vec![0xa5])]);
        assert_eq!((device.may_do_dma(), device.is_marked()), (Ok(true), Ok(true)));

        let (direction, iova) = (Direction::FromRam, Iova(0x10_0000));
        let dma = Dma { direction, iova, length_bytes: 16, interrupt: true };
        device.start(dma).expect("it is idle");
        let begun =
            [word(0x80, 0x10_0000), word(0x88, 0x4_0000), word(0x90, 16), word(0x98, 0b101)];
        assert_eq!(registers.written(), begun);
        assert_eq!((device.is_running(), device.start(dma)), (Ok(true), Err(Errno::EBUSY)));
        registers.set(0x98, &[4]);
        assert_eq!(device.is_running(), Ok(false));
        device.acknowledge().expect("writable");
        assert_eq!(registers.written(), [word(0x64, 0x100)]);

        device.start(Dma { direction: Direction::ToRam, interrupt: false, ..dma }).expect("idle");
        let back = [word(0x80, 0x4_0000), word(0x88, 0x10_0000), word(0x90, 16), word(0x98, 0b11)];
        assert_eq!(registers.written(), back);
        device.raise().expect("writable");
        assert_eq!(registers.written(), [word(0x60, 1), word(0x64, 1)]);
    }
}
