//! Devices as a trace describes them.
//!
//! What a device is, its driver tells: `GET_INFO` says of what bus it is, whether it can be reset and
//! what it has, `GET_IRQ_INFO` tells of each interrupt index. A trace in which nobody asks
//! leaves the simulator's usual PCI device.

use handoff_model::call::{Call, Reply};
use handoff_model::ids::{Fd, Pid};
use handoff_model::trace::{Event, Record, made_of};
use handoff_sim_kernel::{COMMAND_OFFSET, DeviceKind, DeviceSpec};
use std::collections::BTreeMap;

/// Where VFIO devices are opened.
const DEVICES: &str = "/dev/vfio/devices/";

/// `VFIO_DEVICE_FLAGS_RESET` and `_PCI`.
const FLAG_RESET: u32 = 1;
const FLAG_PCI: u32 = 2;

/// Whether the simulator has a file at this path.
pub(super) fn is_modelled(path: &str) -> bool {
    path == "/dev/iommu" || path.starts_with(DEVICES)
}

/// Every device that a trace opens.
pub(super) fn learn<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<DeviceSpec> {
    let mut specs = BTreeMap::new();
    let mut opened = BTreeMap::new();
    for event in events {
        let Some(path) = device_of(event, &mut opened) else { continue };
        let spec = specs.entry(path.clone()).or_insert_with(|| usual(&path));
        if let Ok(made) = made_of(event)
            && let Ok(reply) = &made.answer
        {
            describe(spec, &made.call, reply);
        }
    }
    specs.into_values().collect()
}

/// The path of the device that an event is about: as the recorder says, else as the process opened it.
fn device_of(event: &Event, opened: &mut BTreeMap<(Pid, Fd), String>) -> Option<String> {
    match &event.record {
        Record::Open { path, .. } if path.starts_with(DEVICES) && event.succeeded() => {
            let fd = Fd(i32::try_from(event.ret?).ok()?);
            opened.insert((event.pid, fd), path.clone());
            Some(path.clone())
        }
        Record::Ioctl { path: Some(path), .. } => path.starts_with(DEVICES).then(|| path.clone()),
        Record::Ioctl { fd, .. } => opened.get(&(event.pid, *fd)).cloned(),
        _ => None,
    }
}

/// An `edu`: 9 regions; one vector each of `INTx`, MSI and request.
fn usual(path: &str) -> DeviceSpec {
    let name = path.rsplit('/').next().unwrap_or(path);
    DeviceSpec::new(name, path, DeviceKind::Pci { can_reset: true })
}

/// What a driver's answer tells of its device.
fn describe(spec: &mut DeviceSpec, call: &Call, reply: &Reply) {
    match (call, reply) {
        (_, Reply::DeviceInfo { flags, regions, irqs }) => {
            spec.kind = if flags & FLAG_PCI == 0 {
                DeviceKind::Mdev { needs_kvm: false }
            } else {
                DeviceKind::Pci { can_reset: flags & FLAG_RESET != 0 }
            };
            spec.regions = *regions;
            spec.irqs.resize(*irqs as usize, 0);
        }
        (Call::IrqInfo { index, .. }, Reply::IrqInfo { count, .. }) => {
            if let Some(vectors) = spec.irqs.get_mut(*index as usize) {
                *vectors = *count;
            }
        }
        _ => {}
    }
}

/// Whether an access to a device file is one of those that the simulator has registers for.
pub(super) fn is_register(offset_bytes: u64, length_bytes: u64) -> bool {
    const COMMAND_BYTES: u64 = 2;
    let at = offset_bytes.checked_sub(COMMAND_OFFSET);
    at.is_some_and(|at| at < COMMAND_BYTES && length_bytes <= COMMAND_BYTES - at)
}
