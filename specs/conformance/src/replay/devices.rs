//! Devices as a trace describes them.
//!
//! The driver's answers describe a device: `GET_INFO` its bus, whether it can be reset, and its
//! regions and interrupt indexes; `GET_IRQ_INFO` each interrupt index. If a trace has no such call,
//! the simulator's default PCI device is used. If a nesting parent was created, all IOMMUs of the
//! host support nesting.

use handoff_model::abi::call::{Call, DeviceCall, IommufdCall, Reply};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::request as nr;
use handoff_model::trace::{Event, Record, made_of};
use handoff_sim_kernel::{DeviceKind, DeviceSpec};
use std::collections::BTreeMap;

/// Prefix of the paths of VFIO device files.
const DEVICES: &str = "/dev/vfio/devices/";

/// Prefix of the paths of group files.
const GROUPS: &str = "/dev/vfio/";

/// `VFIO_DEVICE_FLAGS_RESET` and `_PCI`.
const FLAG_RESET: u32 = 1;
const FLAG_PCI: u32 = 2;

/// Returns every device that a trace opens.
pub(super) fn learn<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<DeviceSpec> {
    let mut specs = BTreeMap::new();
    let mut opened = Opened::default();
    let mut nests = false;
    for event in events {
        nests |= makes_parent(event);
        let Some(device) = opened.device_of(event) else { continue };
        let spec = specs.entry(device.clone()).or_insert_with(|| usual(&device));
        if let Ok(made) = made_of(event)
            && let Ok(reply) = &made.answer
        {
            describe(spec, &made.call, reply);
        }
    }
    specs.into_values().map(|spec| DeviceSpec { nests, ..spec }).collect()
}

/// Returns true if the event created a nesting parent.
fn makes_parent(event: &Event) -> bool {
    let Record::Ioctl { req: nr::IOMMU_HWPT_ALLOC, .. } = &event.record else { return false };
    let is_parent = |call: &Call| {
        matches!(call, Call::Iommufd(IommufdCall::HwptAlloc { nest_parent: true, .. }))
    };
    made_of(event).is_ok_and(|made| is_parent(&made.call) && made.answer.is_ok())
}

/// A device of a trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Device {
    /// A device that was opened at its own path.
    AtPath(String),
    /// A device that was opened through this group by name.
    OfGroup(u32, String),
}

/// The devices and groups that processes have opened.
#[derive(Default)]
struct Opened {
    devices: BTreeMap<(Pid, Fd), Device>,
    groups: BTreeMap<(Pid, Fd), u32>,
}

impl Opened {
    /// Returns the device of an event: as recorded, or else as the process opened it.
    fn device_of(&mut self, event: &Event) -> Option<Device> {
        let made = || Some((event.pid, Fd(event.ret?.try_into().ok()?)));
        let at_path =
            |path: &String| path.starts_with(DEVICES).then(|| Device::AtPath(path.clone()));
        let group_at = |path: &String| path.strip_prefix(GROUPS)?.parse().ok();
        match &event.record {
            Record::Open { path, .. } if event.succeeded() => {
                self.groups.extend(made().zip(group_at(path)));
                let device = at_path(path)?;
                self.devices.insert(made()?, device.clone());
                Some(device)
            }
            Record::Ioctl { fd, req: nr::VFIO_GROUP_GET_DEVICE_FD, path, input, .. }
                if event.succeeded() =>
            {
                let told = path.as_ref().and_then(group_at);
                let group = told.or_else(|| self.groups.get(&(event.pid, *fd)).copied())?;
                let end =
                    input.iter().position(|byte| b"\0 ".contains(byte)).unwrap_or(input.len());
                let name = String::from_utf8_lossy(&input[..end]).into_owned();
                let device = Device::OfGroup(group, name);
                self.devices.insert(made()?, device.clone());
                Some(device)
            }
            Record::Ioctl { fd, path, .. } => (path.as_ref().and_then(at_path))
                .or_else(|| self.devices.get(&(event.pid, *fd)).cloned()),
            _ => None,
        }
    }
}

/// Returns an `edu`: 9 regions; one vector each of `INTx`, MSI and request.
fn usual(device: &Device) -> DeviceSpec {
    let kind = DeviceKind::Pci { can_reset: true };
    match device {
        Device::AtPath(path) => {
            DeviceSpec::new(path.rsplit('/').next().unwrap_or(path), path, kind)
        }
        Device::OfGroup(group, name) => {
            let address = name.clone();
            DeviceSpec { group: *group, address, ..DeviceSpec::new(name, name, kind) }
        }
    }
}

/// Updates a device by a driver's answer.
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
        (Call::Device(DeviceCall::IrqInfo { index, .. }), Reply::IrqInfo { count, .. }) => {
            if let Some(vectors) = spec.irqs.get_mut(*index as usize) {
                *vectors = *count;
            }
        }
        _ => {}
    }
}
