//! Startup with iommufds: makes address spaces, attaches devices to them, and maps RAM by file.

use super::{ContextPlan, DevicePlan, HwptPlan, LaunchError, Plan, RamPlan, Start};
use crate::abi::argument::IoctlOutcome;
use crate::abi::call::{Call, DeviceCall, FileCall, IommufdCall, ProcessCall, Reply, Rights};
use crate::abi::ids::{Fd, ObjectId, Va};
use crate::abi::kernel::Kernel;
use crate::abi::uapi;
use crate::vm::{
    AddressSpace, Backing, ChargedTo, Context, Device, DeviceKind, Key, Kind, Mapping, Memory, Vm,
};

impl<K: Kernel> Start<'_, K> {
    /// Opens the iommufds, makes their address spaces, attaches the devices, and maps RAM and BARs.
    pub(super) fn by_iommufd(&mut self, plan: &Plan, vm: &mut Vm) -> Result<(), LaunchError> {
        vm.contexts =
            plan.contexts.iter().map(|context| self.context(context)).collect::<Result<_, _>>()?;
        let mut spaces = Vec::new();
        for space in &plan.spaces {
            let iommufd = self.iommufd(plan, space.context);
            let ioas = self.object(Call::Iommufd(IommufdCall::IoasAlloc { iommufd }))?;
            spaces.push(ioas);
            let context = &mut vm.contexts[usize::from(space.context)];
            context.spaces.push(AddressSpace { ioas, mappings: Vec::new() });
        }
        for device in &plan.devices {
            let context = plan.spaces[usize::from(device.space)].context;
            let iommufd = self.iommufd(plan, context);
            let ioas = spaces[usize::from(device.space)];
            vm.devices.push(self.device(device, context, iommufd, ioas)?);
        }
        self.map_all(plan, &spaces, vm)?;
        (0..).zip(&plan.devices).try_for_each(|(at, device)| self.map_bar(at, device, vm))
    }

    fn context(&mut self, plan: &ContextPlan) -> Result<Context, LaunchError> {
        self.for_what(&format!("iommufd {:?}", plan.name));
        let iommufd = self.fd(Call::File(FileCall::Open { path: "/dev/iommu".to_owned() }))?;
        if plan.per_process_accounting {
            self.call(&Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process: true }))?;
        }
        self.descriptors.insert(Key::new(Kind::Iommufd, &plan.name, 0), iommufd);
        Ok(Context { name: plan.name.clone(), spaces: Vec::new() })
    }

    /// Returns the open iommufd of a context of the plan.
    fn iommufd(&self, plan: &Plan, context: u16) -> Fd {
        let key = Key::new(Kind::Iommufd, &plan.contexts[usize::from(context)].name, 0);
        self.descriptors.get(&key).expect("contexts are opened before they are used")
    }

    pub(super) fn device(
        &mut self,
        plan: &DevicePlan,
        context: u16,
        iommufd: Fd,
        ioas: ObjectId,
    ) -> Result<Device, LaunchError> {
        self.for_what(&format!("device {:?}", plan.name));
        let fd = self.fd(Call::File(FileCall::Open { path: plan.path.clone() }))?;
        self.descriptors.insert(Key::new(Kind::Device, &plan.name, 0), fd);
        let inode = self.inode(fd)?;
        let id = self.object(Call::Device(DeviceCall::Bind { device: fd, iommufd }))?;
        let hwpt = self.attach(plan, fd, iommufd, id, ioas)?;
        let info = self.info(fd)?;
        let (name, kind, interrupts) = (plan.name.clone(), plan.kind, plan.interrupts.clone());
        let nest_parent = plan.hwpt == HwptPlan::NestParent;
        let device =
            Device { name, kind, context, id, ioas, hwpt, nest_parent, inode, info, interrupts };
        self.arm(&device, fd)?;
        Ok(device)
    }

    /// Attaches a device and returns its HWPT, if it has one.
    fn attach(
        &mut self,
        plan: &DevicePlan,
        fd: Fd,
        iommufd: Fd,
        id: ObjectId,
        ioas: ObjectId,
    ) -> Result<Option<ObjectId>, LaunchError> {
        let page_table = self.page_table(plan.hwpt, iommufd, id, ioas)?;
        let attached = self.object(Call::Device(DeviceCall::Attach { device: fd, page_table }))?;
        Ok(match plan.kind {
            DeviceKind::Pci => Some(attached),
            DeviceKind::Mdev { .. } => None,
        })
    }

    /// Maps every block into every address space: by MAP or MAP_FILE into the first address space
    /// of a context, by COPY into the others.
    fn map_all(
        &mut self,
        plan: &Plan,
        spaces: &[ObjectId],
        vm: &mut Vm,
    ) -> Result<(), LaunchError> {
        let exempt =
            matches!(self.call(&Call::Process(ProcessCall::GetCapIpcLock))?, Reply::Flag(true));
        for (place, space) in plan.spaces.iter().enumerate() {
            let context = &plan.contexts[usize::from(space.context)];
            let charged_to = match (exempt, context.per_process_accounting) {
                (true, _) => ChargedTo::None,
                (false, true) => ChargedTo::Process,
                (false, false) => ChargedTo::User,
            };
            let earlier = plan.spaces[..place].iter().position(|s| s.context == space.context);
            for (block, ram) in (0u16..).zip(&plan.ram) {
                self.for_what(&format!("mapping of RAM block {:?}", ram.name));
                let iommufd = self.iommufd(plan, space.context);
                let memory = if ram.map_by_address || ram.backing == Backing::Anonymous {
                    Memory::RamAddress { block, offset_bytes: 0 }
                } else {
                    Memory::RamFile { block, offset_bytes: 0 }
                };
                let target = (iommufd, spaces[place]);
                match earlier {
                    Some(first) => self.copy(target, spaces[first], ram)?,
                    None => self.map_block(target, ram, vm.ram[usize::from(block)].va, memory)?,
                }
                let context = &mut vm.contexts[usize::from(space.context)];
                let list = context.spaces.iter_mut().find(|s| s.ioas == spaces[place]);
                // The pages of a copy are charged with the original.
                let charged_to = if earlier.is_some() { ChargedTo::Original } else { charged_to };
                list.expect("every space is listed").mappings.push(Mapping {
                    iova: ram.iova,
                    length_bytes: ram.length_bytes,
                    memory,
                    rights: Rights::ReadWrite,
                    charged_to,
                });
            }
        }
        Ok(())
    }

    /// Exports the BAR as a dma-buf (`VFIO_DEVICE_FEATURE_DMA_BUF`) and maps it by MAP_FILE.
    fn map_bar(&mut self, at: u16, plan: &DevicePlan, vm: &mut Vm) -> Result<(), LaunchError> {
        let Some(iova) = plan.bar else { return Ok(()) };
        self.for_what(&format!("BAR 0 of device {:?}", plan.name));
        let device = &vm.devices[usize::from(at)];
        let (ioas, context) = (device.ioas, &mut vm.contexts[usize::from(device.context)]);
        let open = |key: Key| self.descriptors.get(&key).expect("it was opened before");
        let of_device = open(Key::new(Kind::Device, &plan.name, 0));
        let iommufd = open(Key::new(Kind::Iommufd, &context.name, 0));
        let call = Call::Device(DeviceCall::RegionInfo { device: of_device, index: 0 });
        let Reply::RegionInfo { length_bytes, .. } = self.call(&call)? else {
            return self.odd(&call);
        };
        let call = Call::Ioctl { fd: of_device, ioctl: uapi::export_bar(0, length_bytes) };
        let fd = match self.call(&call)? {
            Reply::Ioctl(IoctlOutcome { result, .. }) => {
                result.map_err(|errno| self.failed(&call, errno))?
            }
            _ => return self.odd(&call),
        };
        let (fd, rights) = (Fd(fd.cast_signed()), Rights::ReadWrite);
        let offset_bytes = 0;
        self.call(&IommufdCall::map_file(
            iommufd,
            ioas,
            (fd, offset_bytes),
            iova,
            length_bytes,
            rights,
        ))?;
        self.call(&Call::File(FileCall::Close { fd }))?;
        let space = context.spaces.iter_mut().find(|space| space.ioas == ioas);
        let mappings = &mut space.expect("every space is listed").mappings;
        let memory = Memory::Bar { device: at, region: 0 };
        let charged_to = ChargedTo::Original;
        mappings.push(Mapping { iova, length_bytes, memory, rights, charged_to });
        mappings.sort_by_key(|mapping| mapping.iova);
        Ok(())
    }

    fn map_block(
        &mut self,
        (iommufd, ioas): (Fd, ObjectId),
        ram: &RamPlan,
        user_va: Va,
        memory: Memory,
    ) -> Result<(), LaunchError> {
        let (length_bytes, iova, rights) = (ram.length_bytes, ram.iova, Rights::ReadWrite);
        let file = self.descriptors.get(&Key::new(Kind::Ram, &ram.name, 0));
        let call = match (memory, file) {
            (Memory::RamFile { offset_bytes, .. }, Some(fd)) => {
                IommufdCall::map_file(iommufd, ioas, (fd, offset_bytes), iova, length_bytes, rights)
            }
            _ => IommufdCall::map(iommufd, ioas, user_va, iova, length_bytes, rights),
        };
        self.call(&call).map(drop)
    }

    fn copy(
        &mut self,
        (iommufd, destination): (Fd, ObjectId),
        source: ObjectId,
        ram: &RamPlan,
    ) -> Result<(), LaunchError> {
        let call = IommufdCall::copy(
            iommufd,
            (source, ram.iova),
            (destination, ram.iova),
            ram.length_bytes,
            Rights::ReadWrite,
        );
        self.call(&call).map(drop)
    }
}
