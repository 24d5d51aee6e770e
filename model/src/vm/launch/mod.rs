//! How a VMM comes to own what it later hands over: the calls of a start, in their order.
//!
//! The rules that make a later handoff possible are kept here: guest RAM is a memfd sealed against
//! resizing and mapped by file; memory that several address spaces of one context see is mapped once
//! and copied (`IOMMU_IOAS_COPY` shares the pins and the charge); a BAR is mapped only where it is asked for, for no such
//! mapping can change its process; every descriptor is CLOEXEC from its first moment.
//!
//! A container has no mapping by file, and no copies: each maps everything by address ([`type1`]).
//!
//! Mirrors: `iommufd_cdev_attach` and `vfio_pci_realize` of QEMU 10.2 without the incoming branches.

mod hotplug;
mod hwpt;
mod type1;

use crate::abi::argument::Outcome;
use crate::abi::call::{Call, Reply, Rights};
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, Iova, ObjectId, Va};
use crate::abi::kernel::Kernel;
use crate::abi::uapi;
use crate::vm::{
    AddressSpace, Backing, ChargedTo, Context, Descriptors, Device, DeviceKind, Dma, Interrupts,
    Key, Kind, Mapping, Memory, RamBlock, Vm,
};
pub use hotplug::{arm, plug, unplug};
pub use hwpt::HwptPlan;
use std::collections::BTreeMap;
pub(crate) use type1::{containers, new_addresses};

/// A virtual machine as its operator describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// Guest memory.
    pub ram: Vec<RamPlan>,
    /// What translates the devices' DMA.
    pub dma: Dma,
    /// The iommufds to open, or containers, which have one address space each.
    pub contexts: Vec<ContextPlan>,
    /// The address spaces to make; each maps all of the RAM.
    pub spaces: Vec<SpacePlan>,
    /// The devices.
    pub devices: Vec<DevicePlan>,
    /// Run the guest in KVM, and have it take interrupts by irqfds.
    pub kvm: bool,
}

/// A block of guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RamPlan {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// Where devices see it.
    pub iova: Iova,
    /// What is behind it.
    pub backing: Backing,
    /// Tell the kernel an address (MAP) even where there is a file (MAP_FILE).
    pub map_by_address: bool,
}

/// An iommufd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextPlan {
    /// Its name.
    pub name: String,
    /// Charge processes instead of users (`IOMMU_OPTION_RLIMIT_MODE` 1).
    pub per_process_accounting: bool,
}

/// An address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpacePlan {
    /// Which of [`Plan::contexts`] it is in.
    pub context: u16,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DevicePlan {
    /// Its name.
    pub name: String,
    /// `/dev/vfio/devices/vfioN`.
    pub path: String,
    /// How it is had otherwise: `/dev/vfio/N`, and what that group calls it.
    pub group: (String, String),
    /// What it is.
    pub kind: DeviceKind,
    /// Which of [`Plan::spaces`] it is attached to.
    pub space: u16,
    /// Over which HWPT of that.
    pub hwpt: HwptPlan,
    /// Where the other devices of its address space reach its BAR 0, if they shall: a mapping that no handoff can move.
    pub bar: Option<Iova>,
    /// The interrupts to arm.
    pub interrupts: Vec<Interrupts>,
    /// Those that its guest's driver arms when it is loaded: [`arm`].
    pub later: Vec<Interrupts>,
}

/// A call of a start that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {call} failed: {errno} ({})", errno.text())]
pub struct LaunchError {
    /// For what.
    pub what: String,
    /// Which call.
    pub call: &'static str,
    /// Why.
    pub errno: Errno,
}

/// Makes the calls of a start: everything is set up, armed and mapped, and the guest does not run yet.
///
/// After an error the process holds whatever was made so far; its end undoes all of it.
pub fn launch(plan: &Plan, kernel: &mut impl Kernel) -> Result<(Vm, Descriptors), LaunchError> {
    let mut start = Start::of(kernel, Descriptors::default());
    let mut vm = Vm { name: plan.name.clone(), dma: plan.dma, ..Vm::default() };
    for kind in [Kind::Stream, Kind::Guest] {
        start.for_what("handoff memfds");
        let fd = start.fd(Call::Memfd { name: "handoff".to_owned() })?;
        start.descriptors.insert(Key::new(kind, "", 0), fd);
    }
    vm.ram = plan.ram.iter().map(|ram| start.ram(ram)).collect::<Result<_, _>>()?;
    match plan.dma {
        Dma::Iommufd => start.by_iommufd(plan, &mut vm)?,
        Dma::Type1 => start.by_type1(plan, &mut vm)?,
    }
    if plan.kvm {
        start.kvm(&mut vm)?;
    }
    Ok((vm, start.descriptors))
}

/// Where KVM is.
pub(crate) const KVM: &str = "/dev/kvm";

/// The calls that give every armed vector an irqfd in a virtual machine of KVM, or take it away.
pub(crate) fn irqfds(vm: &Vm, descriptors: &Descriptors, kvm_vm: Fd, assign: bool) -> Vec<Call> {
    let call =
        |(gsi, key)| Some(Call::Irqfd { vm: kvm_vm, eventfd: descriptors.get(&key)?, gsi, assign });
    vm.irqfds().filter_map(call).collect()
}

/// A start under way.
struct Start<'a, K> {
    kernel: &'a mut K,
    descriptors: Descriptors,
    /// What the present calls are for.
    what: String,
    /// The nesting parents, by iommufd and address space.
    parents: BTreeMap<(Fd, ObjectId), ObjectId>,
}

impl<'a, K: Kernel> Start<'a, K> {
    fn of(kernel: &'a mut K, descriptors: Descriptors) -> Self {
        Self { kernel, descriptors, what: String::new(), parents: BTreeMap::new() }
    }

    fn for_what(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }

    fn call(&mut self, call: &Call) -> Result<Reply, LaunchError> {
        self.kernel.call(call).map_err(|errno| self.failed(call, errno))
    }

    fn failed(&self, call: &Call, errno: Errno) -> LaunchError {
        LaunchError { what: self.what.clone(), call: call.name(), errno }
    }

    /// A reply of another kind than the call's own is the kernel's mistake, told as EIO.
    fn odd<T>(&self, call: &Call) -> Result<T, LaunchError> {
        Err(LaunchError { what: self.what.clone(), call: call.name(), errno: Errno::EIO })
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are built in place")]
    fn fd(&mut self, call: Call) -> Result<Fd, LaunchError> {
        match self.call(&call)? {
            Reply::Fd(fd) => Ok(fd),
            _ => self.odd(&call),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are built in place")]
    fn object(&mut self, call: Call) -> Result<ObjectId, LaunchError> {
        match self.call(&call)? {
            Reply::Object(id) => Ok(id),
            _ => self.odd(&call),
        }
    }

    fn map(&mut self, fd: Option<Fd>, length_bytes: u64) -> Result<Va, LaunchError> {
        let call = Call::Mmap { fd, offset_bytes: 0, length_bytes };
        match self.call(&call)? {
            Reply::Va(va) => Ok(va),
            _ => self.odd(&call),
        }
    }

    fn inode(&mut self, fd: Fd) -> Result<u64, LaunchError> {
        match self.call(&Call::Stat { fd })? {
            Reply::Stat { inode, .. } => Ok(inode),
            _ => self.odd(&Call::Stat { fd }),
        }
    }

    fn ram(&mut self, plan: &RamPlan) -> Result<RamBlock, LaunchError> {
        self.for_what(&format!("RAM block {:?}", plan.name));
        let RamPlan { backing, length_bytes, .. } = *plan;
        let (mut inode, mut file) = (0, None);
        if backing == Backing::File {
            let fd = self.fd(Call::Memfd { name: plan.name.clone() })?;
            self.call(&Call::Truncate { fd, length_bytes })?;
            self.call(&Call::SealSize { fd })?;
            inode = self.inode(fd)?;
            self.descriptors.insert(Key::new(Kind::Ram, &plan.name, 0), fd);
            file = Some(fd);
        }
        let va = self.map(file, length_bytes)?;
        Ok(RamBlock { name: plan.name.clone(), backing, length_bytes, inode, va })
    }

    /// iommufds with their address spaces, devices attached to them, and mappings.
    fn by_iommufd(&mut self, plan: &Plan, vm: &mut Vm) -> Result<(), LaunchError> {
        vm.contexts =
            plan.contexts.iter().map(|context| self.context(context)).collect::<Result<_, _>>()?;
        let mut spaces = Vec::new();
        for space in &plan.spaces {
            let iommufd = self.iommufd(plan, space.context);
            let ioas = self.object(Call::IoasAlloc { iommufd })?;
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
        let iommufd = self.fd(Call::Open { path: "/dev/iommu".to_owned() })?;
        if plan.per_process_accounting {
            self.call(&Call::SetRlimitMode { iommufd, per_process: true })?;
        }
        self.descriptors.insert(Key::new(Kind::Iommufd, &plan.name, 0), iommufd);
        Ok(Context { name: plan.name.clone(), spaces: Vec::new() })
    }

    /// The open iommufd of a context of the plan.
    fn iommufd(&self, plan: &Plan, context: u16) -> Fd {
        let key = Key::new(Kind::Iommufd, &plan.contexts[usize::from(context)].name, 0);
        self.descriptors.get(&key).expect("contexts are opened before they are used")
    }

    fn device(
        &mut self,
        plan: &DevicePlan,
        context: u16,
        iommufd: Fd,
        ioas: ObjectId,
    ) -> Result<Device, LaunchError> {
        self.for_what(&format!("device {:?}", plan.name));
        let fd = self.fd(Call::Open { path: plan.path.clone() })?;
        self.descriptors.insert(Key::new(Kind::Device, &plan.name, 0), fd);
        let inode = self.inode(fd)?;
        let id = self.object(Call::Bind { device: fd, iommufd })?;
        let hwpt = self.attach(plan, fd, iommufd, id, ioas)?;
        let info = self.info(fd)?;
        let (name, kind, interrupts) = (plan.name.clone(), plan.kind, plan.interrupts.clone());
        let nest_parent = plan.hwpt == HwptPlan::NestParent;
        let device =
            Device { name, kind, context, id, ioas, hwpt, nest_parent, inode, info, interrupts };
        self.arm(&device, fd)?;
        Ok(device)
    }

    fn info(&mut self, device: Fd) -> Result<(u32, u32, u32), LaunchError> {
        let call = Call::DeviceInfo { device };
        match self.call(&call)? {
            Reply::DeviceInfo { flags, regions, irqs } => Ok((flags, regions, irqs)),
            _ => self.odd(&call),
        }
    }

    /// Attaches, and returns the HWPT, where there is one.
    fn attach(
        &mut self,
        plan: &DevicePlan,
        fd: Fd,
        iommufd: Fd,
        id: ObjectId,
        ioas: ObjectId,
    ) -> Result<Option<ObjectId>, LaunchError> {
        let page_table = self.page_table(plan.hwpt, iommufd, id, ioas)?;
        let attached = self.object(Call::Attach { device: fd, page_table })?;
        Ok(match plan.kind {
            DeviceKind::Pci => Some(attached),
            DeviceKind::Mdev { .. } => None,
        })
    }

    fn arm(&mut self, device: &Device, fd: Fd) -> Result<(), LaunchError> {
        for armed in &device.interrupts {
            let mut eventfds = Vec::new();
            let keys = device.interrupt_keys().filter(|(index, _)| *index == armed.index);
            for (_, key) in keys.collect::<Vec<_>>() {
                let eventfd = self.fd(Call::Eventfd)?;
                self.descriptors.insert(key, eventfd);
                eventfds.push(eventfd);
            }
            self.call(&Call::SetIrqs { device: fd, index: armed.index, eventfds })?;
        }
        Ok(())
    }

    /// A virtual machine of KVM, with an irqfd for every armed vector.
    fn kvm(&mut self, vm: &mut Vm) -> Result<(), LaunchError> {
        self.for_what("KVM");
        vm.irqfds = true;
        let kvm = self.fd(Call::Open { path: KVM.to_owned() })?;
        let fd = self.fd(Call::CreateVm { kvm })?;
        self.descriptors.insert(Key::new(Kind::Kvm, "", 0), fd);
        self.call(&Call::CreateIrqchip { vm: fd })?;
        self.call(&Call::Close { fd: kvm })?;
        irqfds(vm, &self.descriptors, fd, true)
            .iter()
            .try_for_each(|call| self.call(call).map(drop))
    }

    /// Maps every block into every address space: the first of a context by MAP or MAP_FILE, the
    /// others by COPY.
    fn map_all(
        &mut self,
        plan: &Plan,
        spaces: &[ObjectId],
        vm: &mut Vm,
    ) -> Result<(), LaunchError> {
        let exempt = matches!(self.call(&Call::GetCapIpcLock)?, Reply::Flag(true));
        for (place, space) in plan.spaces.iter().enumerate() {
            let context = &plan.contexts[usize::from(space.context)];
            let charged_to = match (exempt, context.per_process_accounting) {
                (true, _) => ChargedTo::Nobody,
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
                // What a copy shows is charged with the original.
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

    /// `VFIO_DEVICE_FEATURE_DMA_BUF` of the whole BAR, and MAP_FILE of that.
    fn map_bar(&mut self, at: u16, plan: &DevicePlan, vm: &mut Vm) -> Result<(), LaunchError> {
        let Some(iova) = plan.bar else { return Ok(()) };
        self.for_what(&format!("BAR 0 of device {:?}", plan.name));
        let device = &vm.devices[usize::from(at)];
        let (ioas, context) = (device.ioas, &mut vm.contexts[usize::from(device.context)]);
        let open = |key: Key| self.descriptors.get(&key).expect("it was opened before");
        let of_device = open(Key::new(Kind::Device, &plan.name, 0));
        let iommufd = open(Key::new(Kind::Iommufd, &context.name, 0));
        let call = Call::RegionInfo { device: of_device, index: 0 };
        let Reply::RegionInfo { length_bytes, .. } = self.call(&call)? else {
            return self.odd(&call);
        };
        let call = Call::Ioctl { fd: of_device, ioctl: uapi::export_bar(0, length_bytes) };
        let fd = match self.call(&call)? {
            Reply::Ioctl(Outcome { result, .. }) => {
                result.map_err(|errno| self.failed(&call, errno))?
            }
            _ => return self.odd(&call),
        };
        let (fd, rights) = (Fd(fd.cast_signed()), Rights::ReadWrite);
        let offset_bytes = 0;
        self.call(&Call::IoasMapFile {
            iommufd,
            ioas,
            fd,
            offset_bytes,
            length_bytes,
            iova,
            rights,
        })?;
        self.call(&Call::Close { fd })?;
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
                Call::IoasMapFile { iommufd, ioas, fd, offset_bytes, length_bytes, iova, rights }
            }
            _ => Call::IoasMap { iommufd, ioas, user_va, length_bytes, iova, rights },
        };
        self.call(&call).map(drop)
    }

    fn copy(
        &mut self,
        (iommufd, destination): (Fd, ObjectId),
        source: ObjectId,
        ram: &RamPlan,
    ) -> Result<(), LaunchError> {
        let call = Call::IoasCopy {
            iommufd,
            source,
            source_iova: ram.iova,
            destination,
            destination_iova: ram.iova,
            length_bytes: ram.length_bytes,
            rights: Rights::ReadWrite,
        };
        self.call(&call).map(drop)
    }
}
