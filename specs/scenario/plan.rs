//! Turns the tables of a scenario file into the plan that the launch of the VM executes.
//!
//! With `dma = "type1"` each `[[space]]` is a container, with one address space and no iommufd.

use super::file::{Accounting, DeviceEntry, File, KindEntry, MapBy, Ram};
use super::names::{check_names, lookup};
use handoff_model::abi::ids::{Iova, IovaRange, PAGE_BYTES};
use handoff_model::vm::launch::{ContextPlan, DevicePlan, HwptPlan, Plan, RamPlan, SpacePlan};
use handoff_model::vm::{Backing, DeviceKind, Dma, Interrupts};

/// `VFIO_PCI_MSI_IRQ_INDEX`.
const MSI: u32 = 1;

impl File {
    pub(super) fn plan(self) -> Result<Plan, String> {
        check_names("ram", self.ram.iter().map(|ram| &ram.name))?;
        check_names("iommufd", self.iommufd.iter().map(|iommufd| &iommufd.name))?;
        check_names("space", self.space.iter().map(|space| &space.name))?;
        check_names("device", self.device.iter().map(|device| &device.name))?;
        let (contexts, spaces) = match self.dma {
            Dma::Iommufd => {
                let contexts = self.contexts();
                let spaces = self.spaces(&contexts)?;
                (contexts, spaces)
            }
            Dma::Type1 => self.containers()?,
        };
        let space_names: Vec<_> = self.space.iter().map(|space| space.name.as_str()).collect();
        let devices = (self.device.iter().enumerate())
            .map(|(at, device)| device.plan(at, &space_names))
            .collect::<Result<Vec<_>, _>>()?;
        if self.dma == Dma::Type1 {
            check_containers(&contexts, &devices)?;
        }
        check_later(&devices)?;
        let (name, ram, kvm) = (self.name, plan_ram(&self.ram)?, self.kvm);
        Ok(Plan { name, ram, dma: self.dma, contexts, spaces, devices, kvm })
    }

    /// Returns one container for each space.
    fn containers(&self) -> Result<(Vec<ContextPlan>, Vec<SpacePlan>), String> {
        let of_iommufd = self.space.iter().find(|space| space.iommufd.is_some());
        if let Some(what) = (self.iommufd.first().map(|of| format!("iommufd {:?}", of.name)))
            .or_else(|| of_iommufd.map(|of| format!("space {:?}: iommufd", of.name)))
        {
            return Err(format!(
                "{what} has no meaning with dma = \"type1\", where each [[space]] is a container; \
                 remove it"
            ));
        }
        let mut names: Vec<_> = self.space.iter().map(|space| space.name.clone()).collect();
        if names.is_empty() {
            names.push("container0".to_owned());
        }
        let context = |name| ContextPlan { name, per_process_accounting: false };
        let spaces = (0..).zip(&names).map(|(context, _)| SpacePlan { context }).collect();
        Ok((names.into_iter().map(context).collect(), spaces))
    }

    fn contexts(&self) -> Vec<ContextPlan> {
        let named = self.iommufd.iter().map(|iommufd| ContextPlan {
            name: iommufd.name.clone(),
            per_process_accounting: iommufd.accounting == Accounting::Process,
        });
        let mut contexts: Vec<_> = named.collect();
        if contexts.is_empty() {
            contexts
                .push(ContextPlan { name: "iommufd0".to_owned(), per_process_accounting: false });
        }
        contexts
    }

    fn spaces(&self, contexts: &[ContextPlan]) -> Result<Vec<SpacePlan>, String> {
        if self.space.is_empty() {
            return Ok(vec![SpacePlan { context: 0 }]);
        }
        let names: Vec<_> = contexts.iter().map(|context| context.name.as_str()).collect();
        (self.space.iter())
            .map(|space| {
                let what = format!("space {:?}", space.name);
                Ok(SpacePlan {
                    context: lookup(&what, "iommufd", space.iommufd.as_deref(), &names)?,
                })
            })
            .collect()
    }
}

impl DeviceEntry {
    fn plan(&self, at: usize, spaces: &[&str]) -> Result<DevicePlan, String> {
        let what = format!("device {:?}", self.name);
        let kind = match (self.kind, self.needs_kvm, self.hwpt) {
            (KindEntry::Pci, false, _) => DeviceKind::Pci,
            (KindEntry::Pci, true, _) => {
                return Err(format!("{what}: needs_kvm requires kind = \"mdev\"; remove it"));
            }
            (KindEntry::Mdev, needs_kvm, HwptPlan::Shared) => DeviceKind::Mdev { needs_kvm },
            (KindEntry::Mdev, _, hwpt) => {
                let name = hwpt.name();
                return Err(format!(
                    "{what}: a mediated device has no HWPT; remove hwpt = {name:?}"
                ));
            }
        };
        if let Some(iova) = self.bar_iova
            && (self.kind != KindEntry::Pci || !iova.is_multiple_of(PAGE_BYTES))
        {
            return Err(format!("{what}: bar_iova requires kind = \"pci\" and a multiple of 4096"));
        }
        let vectors = self.interrupts.unwrap_or(1);
        if self.armed_later && vectors != 1 {
            return Err(format!(
                "{what}: armed_later requires interrupts = 1; set that, or remove it"
            ));
        }
        let wanted = Interrupts { index: MSI, vectors };
        let wanted: Vec<_> = (vectors > 0).then_some(wanted).into_iter().collect();
        let (interrupts, later) =
            if self.armed_later { (Vec::new(), wanted) } else { (wanted, Vec::new()) };
        Ok(DevicePlan {
            name: self.name.clone(),
            path: format!("/dev/vfio/devices/vfio{at}"),
            group: (format!("/dev/vfio/{at}"), self.name.clone()),
            kind,
            space: if spaces.is_empty() && self.space.is_none() {
                0
            } else {
                lookup(&what, "space", self.space.as_deref(), spaces)?
            },
            hwpt: self.hwpt,
            bar: self.bar_iova.map(Iova),
            interrupts,
            later,
        })
    }
}

/// Fails unless `armed_later` is on the last device only: GSIs are numbered in order of devices.
fn check_later(devices: &[DevicePlan]) -> Result<(), String> {
    let last = devices.len().saturating_sub(1);
    let is_odd = |(at, device): &(usize, &DevicePlan)| !device.later.is_empty() && *at != last;
    devices.iter().enumerate().find(is_odd).map_or(Ok(()), |(_, device)| {
        let name = &device.name;
        Err(format!("device {name:?}: armed_later is for the last device only; move it there"))
    })
}

/// Fails if a container has no device, or a device uses a feature of iommufds.
fn check_containers(containers: &[ContextPlan], devices: &[DevicePlan]) -> Result<(), String> {
    for (at, container) in containers.iter().enumerate() {
        if !devices.iter().any(|device| usize::from(device.space) == at) {
            let name = &container.name;
            return Err(format!(
                "space {name:?}: a container without a device cannot map memory; remove it"
            ));
        }
    }
    let only_there = |device: &DevicePlan| match device.hwpt {
        HwptPlan::Shared => device.bar.map(|_| "bar_iova".to_owned()),
        hwpt => Some(format!("hwpt = {:?}", hwpt.name())),
    };
    let found = devices.iter().find_map(|device| Some((&device.name, only_there(device)?)));
    found.map_or(Ok(()), |(name, what)| {
        Err(format!("device {name:?}: {what} has no meaning with dma = \"type1\"; remove it"))
    })
}

fn plan_ram(ram: &[Ram]) -> Result<Vec<RamPlan>, String> {
    let mut taken: Vec<(IovaRange, &str)> = Vec::new();
    let mut plans = Vec::new();
    for entry in ram {
        let what = format!("ram {:?}", entry.name);
        let length_bytes = entry.pages.saturating_mul(PAGE_BYTES);
        let range = IovaRange::of(Iova(entry.iova), length_bytes)
            .filter(|_| entry.iova.is_multiple_of(PAGE_BYTES) && entry.pages < 1 << 40)
            .ok_or(format!(
                "{what}: needs at least one page, and an iova that is a multiple of 4096"
            ))?;
        if let Some((other, name)) = taken.iter().find(|(other, _)| other.overlaps(&range)) {
            return Err(format!(
                "{what} at {range} overlaps ram {name:?} at {other}; move its iova"
            ));
        }
        taken.push((range, &entry.name));
        plans.push(RamPlan {
            name: entry.name.clone(),
            length_bytes,
            iova: Iova(entry.iova),
            backing: entry.backing.unwrap_or(Backing::File),
            map_by_address: entry.map == MapBy::Address,
        });
    }
    Ok(plans)
}
