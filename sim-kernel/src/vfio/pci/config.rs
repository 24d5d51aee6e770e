//! Configuration space of a PCI device, as vfio-pci presents it.
//!
//! There are four kinds of bytes: read-only bytes of the device; the command register, some bits of
//! which reach the device; base addresses and the MSI capability, whose writes vfio-pci
//! virtualizes; and writable bytes of the device itself. A table has the initial values.
//!
//! The last close restores the header and the MSI capability.
//!
//! Invariant: `Device::config` has no byte with its initial value.
//!
//! Absent: extended configuration space, other capabilities, BARs of 64 bits.
//!
//! Mirrors `drivers/vfio/pci/vfio_pci_config.c`, and QEMU's `hw/misc/edu.c`.

use crate::hardware::DeviceSpec;
use crate::machine::Machine;
use crate::value::DeviceId;
use crate::vfio::device::{COMMAND_AT_BOOT, Device};
use crate::vfio::irq_set::{INTX, MSI};
use crate::vfio::pci::layout::{BAR0_BYTES, CONFIG_REGION, region_offset};

/// Size of configuration space in bytes.
pub(in crate::vfio) const CONFIG_BYTES: u64 = 256;

/// The offset of the PCI command register in a device file.
pub const COMMAND_OFFSET: u64 = region_offset(CONFIG_REGION) + COMMAND as u64;

/// Bits of the command register: BARs are enabled; INTx is disabled.
pub(super) const MEMORY: u16 = 2;
pub(super) const INTX_DISABLE: u16 = 0x400;

/// The writable bits of the command register.
const COMMAND_WRITABLE: u16 = 0x0547;

const COMMAND: u8 = 0x04;
const CACHE_LINE: u8 = 0x0c;
const BAR0: u8 = 0x10;
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;
const MSI_FLAGS: u8 = 0x42;
const MSI_ADDRESS: u8 = 0x44;
/// Offset of the first byte behind the capabilities.
const DEVICE_OWN: u8 = 0x4e;

/// Bits of the MSI flags: `PCI_MSI_FLAGS_ENABLE` and `_QSIZE`.
const MSI_ENABLE: u8 = 0x01;
const MSI_SIZE: u8 = 0x70;

/// Initial configuration space of an `edu`, where it is not zero: ids, status (has capabilities),
/// class, BAR 0 as firmware placed it, subsystem, the first capability, the interrupt line; MSI
/// with addresses of 64 bits.
const AT_BOOT: [(u8, &[u8]); 7] = [
    (0x00, &[0x34, 0x12, 0xe8, 0x11]),
    (0x06, &[0x10, 0x00, 0x10, 0x00, 0xff, 0x00]),
    (BAR0, &[0x00, 0x00, 0x60, 0xfe]),
    (0x2c, &[0xf4, 0x1a, 0x00, 0x11]),
    (0x34, &[0x40]),
    (INTERRUPT_LINE, &[0x0a]),
    (0x40, &[0x05, 0x00]),
];

/// Returns the initial value of a byte.
fn at_boot(spec: &DeviceSpec, at: u8) -> u8 {
    let count = |index: u32| spec.irqs.get(index as usize).copied().unwrap_or(0);
    let table = AT_BOOT.iter().find_map(|(from, bytes)| {
        let within = at.checked_sub(*from)?;
        bytes.get(usize::from(within)).copied()
    });
    match at {
        INTERRUPT_PIN => u8::from(count(INTX) > 0),
        MSI_FLAGS => 0x80 | u8::try_from(count(MSI).max(1).ilog2()).expect("five at most") << 1,
        _ => table.unwrap_or(0),
    }
}

/// Returns true if a byte stores what is written to it.
fn is_writable(at: u8) -> bool {
    matches!(at, CACHE_LINE | 0x10..0x14 | INTERRUPT_LINE | MSI_FLAGS | MSI_ADDRESS..)
}

impl Device {
    /// Returns a byte of configuration space.
    pub(super) fn config_byte(&self, at: u8) -> u8 {
        let [low, high] = self.command.to_le_bytes();
        let stored = || self.config.get(&at).copied().unwrap_or_else(|| at_boot(&self.spec, at));
        let size_mask = u32::try_from(BAR0_BYTES - 1).expect("a BAR of 32 bits").to_le_bytes();
        match at {
            COMMAND => low,
            0x05 => high,
            0x10..0x14 => stored() & !size_mask[usize::from(at - BAR0)],
            _ => stored(),
        }
    }

    fn set_config_byte(&mut self, at: u8, byte: u8) {
        if byte == at_boot(&self.spec, at) {
            self.config.remove(&at);
        } else {
            self.config.insert(at, byte);
        }
    }

    /// Returns the MSI flags after a write (`vfio_msi_config_write`). Only SET_IRQS enables MSI,
    /// and limits the number of vectors to those enabled then.
    fn msi_flags(&self, byte: u8) -> u8 {
        let armed = self.armed.as_ref().filter(|armed| armed.index == MSI);
        let vectors = armed.map_or(1, |armed| armed.triggers.len().next_power_of_two());
        let most = u8::try_from(vectors.ilog2()).expect("five at most");
        let byte = if armed.is_some() { byte } else { byte & !MSI_ENABLE };
        let size = ((byte & MSI_SIZE) >> 4).min(most);
        byte & !MSI_SIZE | size << 4
    }

    /// Restores the initial values at the last close; bytes of the device itself keep theirs.
    pub(in crate::vfio) fn restore_config(&mut self) {
        self.command = COMMAND_AT_BOOT;
        self.config.retain(|at, _| *at >= DEVICE_OWN);
    }
}

impl Machine {
    /// Writes bytes within configuration space (`vfio_pci_config_rw`).
    pub(super) fn write_config(&mut self, id: DeviceId, first: u8, bytes: &[u8]) {
        for (at, byte) in (first..=u8::MAX).zip(bytes) {
            let device = self.device(id);
            match at {
                COMMAND | 0x05 => {
                    let mut command = device.command.to_le_bytes();
                    command[usize::from(at - COMMAND)] = *byte;
                    self.write_command(id, u16::from_le_bytes(command));
                }
                MSI_FLAGS => {
                    let flags = device.msi_flags(*byte);
                    self.device_mut(id).set_config_byte(at, flags);
                }
                _ if is_writable(at) => self.device_mut(id).set_config_byte(at, *byte),
                _ => {}
            }
        }
    }

    /// Writes the command register (`vfio_basic_config_write`). Its INTx disable bit masks INTx.
    fn write_command(&mut self, id: DeviceId, value: u16) {
        let old = self.device(id).command;
        let new = value & COMMAND_WRITABLE | old & !COMMAND_WRITABLE;
        self.device_mut(id).command = new;
        match (old & INTX_DISABLE, new & INTX_DISABLE) {
            (0, INTX_DISABLE) => self.mask_intx(id),
            (INTX_DISABLE, 0) => self.unmask_intx(id),
            _ => {}
        }
    }
}
