//! Startup with containers: groups join them, RAM is mapped by address, and devices are opened
//! through their groups.
//!
//! The IOMMU of a container is set as soon as a group has joined, and all memory is mapped before
//! any device is opened, so no device runs with part of its memory.
//!
//! Mirrors: `vfio_legacy_attach_device` and `vfio_container_connect` of QEMU 10.2 without the
//! incoming branches.

use super::{DevicePlan, LaunchError, Plan, Start};
use crate::abi::call::{Call, ContainerCall, FileCall, Rights};
use crate::abi::ids::{Fd, ObjectId};
use crate::abi::kernel::Kernel;
use crate::vm::{
    AddressSpace, ChargedTo, Context, Descriptors, Device, Key, Kind, Mapping, Memory, RamBlock, Vm,
};

/// The id of objects that have none with a container, such as its one address space.
const NO_ID: ObjectId = ObjectId(0);

/// Returns the containers of an inventory.
pub(crate) fn containers<'a>(vm: &'a Vm, from: &'a Descriptors) -> impl Iterator<Item = Fd> + 'a {
    vm.contexts.iter().filter_map(|context| from.get(&Key::new(Kind::Container, &context.name, 0)))
}

impl<K: Kernel> Start<'_, K> {
    pub(super) fn by_type1(&mut self, plan: &Plan, vm: &mut Vm) -> Result<(), LaunchError> {
        for context in &plan.contexts {
            self.for_what(&format!("container {:?}", context.name));
            let container =
                self.fd(Call::File(FileCall::Open { path: "/dev/vfio/vfio".to_owned() }))?;
            self.descriptors.insert(Key::new(Kind::Container, &context.name, 0), container);
            vm.contexts.push(Context { name: context.name.clone(), spaces: Vec::new() });
        }
        let containers: Vec<Fd> = containers(vm, &self.descriptors).collect();
        let place = |device: &DevicePlan| plan.spaces[usize::from(device.space)].context;
        for (at, container) in (0..).zip(&containers) {
            let devices = plan.devices.iter().filter(|device| place(device) == at);
            self.join(*container, devices)?;
            let mappings = self.map_dma(*container, plan, vm)?;
            let space = AddressSpace { ioas: NO_ID, mappings };
            vm.contexts[usize::from(at)].spaces.push(space);
        }
        for device in &plan.devices {
            vm.devices.push(self.group_device(device, place(device))?);
        }
        Ok(())
    }

    /// Adds the group of every device to the container, and sets the IOMMU once the first has
    /// joined.
    fn join<'p>(
        &mut self,
        container: Fd,
        devices: impl Iterator<Item = &'p DevicePlan>,
    ) -> Result<(), LaunchError> {
        for (at, device) in devices.enumerate() {
            self.for_what(&format!("group of device {:?}", device.name));
            let group = self.fd(Call::File(FileCall::Open { path: device.group.0.clone() }))?;
            self.descriptors.insert(Key::new(Kind::Group, &device.name, 0), group);
            self.call(&Call::Container(ContainerCall::SetContainer { group, container }))?;
            if at == 0 {
                self.call(&Call::Container(ContainerCall::SetIommu { container }))?;
            }
        }
        Ok(())
    }

    fn map_dma(
        &mut self,
        container: Fd,
        plan: &Plan,
        vm: &Vm,
    ) -> Result<Vec<Mapping>, LaunchError> {
        let mut mappings = Vec::new();
        for (block, (ram, RamBlock { va, .. })) in (0..).zip(plan.ram.iter().zip(&vm.ram)) {
            self.for_what(&format!("mapping of RAM block {:?}", ram.name));
            let (length_bytes, iova, rights) = (ram.length_bytes, ram.iova, Rights::ReadWrite);
            self.call(&Call::Container(ContainerCall::MapDma {
                container,
                user_va: *va,
                length_bytes,
                iova,
                rights,
            }))?;
            let memory = Memory::RamAddress { block, offset_bytes: 0 };
            let charged_to = ChargedTo::Process;
            mappings.push(Mapping { iova, length_bytes, memory, rights, charged_to });
        }
        Ok(mappings)
    }

    fn group_device(&mut self, plan: &DevicePlan, context: u16) -> Result<Device, LaunchError> {
        self.for_what(&format!("device {:?}", plan.name));
        let key = Key::new(Kind::Group, &plan.name, 0);
        let group = self.descriptors.get(&key).expect("groups join before devices are opened");
        let fd = self.fd(Call::Container(ContainerCall::GroupDevice {
            group,
            address: plan.group.1.clone(),
        }))?;
        self.descriptors.insert(Key::new(Kind::Device, &plan.name, 0), fd);
        let (inode, info) = (self.inode(fd)?, self.info(fd)?);
        let (name, kind, interrupts) = (plan.name.clone(), plan.kind, plan.interrupts.clone());
        let (id, ioas, hwpt, nest_parent) = (NO_ID, NO_ID, None, false);
        let device =
            Device { name, kind, context, id, ioas, hwpt, nest_parent, inode, info, interrupts };
        self.arm(&device, fd)?;
        Ok(device)
    }
}
