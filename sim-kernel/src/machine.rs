//! The machine: all state of the simulated kernel in one plain value, and its entry points.
//!
//! Invariants:
//! * Two machines in the same situation are equal values. Numbers are the lowest free ones,
//!   unreferenced objects are dropped, lists are sorted. A dead process keeps only its user and
//!   limit, because living objects may still refer to them.
//! * Each call is atomic. There is no second thread, so no object is ever "in transition".
//! * A call that fails changes nothing, except where Linux is not atomic either: UNMAP, `SET_IRQS`,
//!   CHANGE_PROCESS with a dead owner (H3), a message whose descriptors do not fit the descriptor
//!   table.

use crate::fs::Files;
use crate::hardware::DeviceSpec;
use crate::iommufd::Context;
use crate::kvm::Vm;
use crate::mm::{LockedCounters, Memory};
use crate::process::{Process, ProcessSpec};
use crate::profile::Profile;
use crate::syscall::Failure;
use crate::value::{ContainerId, ContextId, MemoryId, Shared, Slots, VmId};
use crate::vfio::type1::DMA_ENTRY_LIMIT;
use crate::vfio::{Container, Device, Group};
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_model::abi::kernel::Kernel;
use std::collections::BTreeMap;

/// A simulated Linux with its processes, iommufd contexts and devices.
///
/// Cheap to clone, compare and hash: see `value::shared`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(crate) profile: Profile,
    /// Indexed by pid - 1. Pids are never reused.
    pub(crate) processes: Vec<Shared<Process>>,
    pub(crate) files: Shared<Files>,
    pub(crate) memories: Slots<MemoryId, Shared<Memory>>,
    pub(crate) contexts: Slots<ContextId, Shared<Context>>,
    pub(crate) devices: Vec<Shared<Device>>,
    pub(crate) vms: Slots<VmId, Vm>,
    pub(crate) containers: Slots<ContainerId, Shared<Container>>,
    /// VFIO groups by number.
    pub(crate) groups: BTreeMap<u32, Group>,
    pub(crate) dma_entry_limit: u32,
    pub(crate) containers_by_iommufd: bool,
    pub(crate) books: Shared<LockedCounters>,
    /// Counts down to the allocation that fails; 0 if none does, as always between calls
    /// (`syscall::fail_nth`).
    pub(crate) failing: u32,
    /// The process whose call is executing (Linux's `current`); `None` between calls.
    pub(crate) current: Option<Pid>,
}

/// Numbers that a recorded kernel gave, to be given again in a replay. A number that is already in
/// use is not forced: the answer then differs from the record, and the replay reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The descriptor that the call creates.
    pub fd: Option<Fd>,
    /// The address of the mapping that the call creates.
    pub va: Option<Va>,
    /// The descriptors that arrive with a message, in order.
    pub fds: Vec<Fd>,
}

impl Machine {
    /// Creates a machine without processes and devices.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            processes: Vec::new(),
            files: Shared::default(),
            memories: Slots::default(),
            contexts: Slots::default(),
            devices: Vec::new(),
            vms: Slots::default(),
            containers: Slots::default(),
            groups: BTreeMap::new(),
            dma_entry_limit: DMA_ENTRY_LIMIT,
            containers_by_iommufd: false,
            books: Shared::default(),
            failing: 0,
            current: None,
        }
    }

    /// Returns the kernel that is simulated.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Sets the maximum number of mappings of a type1 IOMMU from now on: the parameter
    /// `dma_entry_limit` of `vfio_iommu_type1`.
    pub fn set_dma_entry_limit(&mut self, limit: u32) {
        self.dma_entry_limit = limit;
    }

    /// Makes iommufd serve `/dev/vfio/vfio` from now on, as a kernel built with
    /// `CONFIG_IOMMUFD_VFIO_CONTAINER` does. Such a context charges memory maps instead of users.
    pub fn serve_containers_by_iommufd(&mut self) {
        self.containers_by_iommufd = true;
    }

    /// Adds a device, bound to its VFIO driver, reset, with bus mastering off.
    pub fn plug(&mut self, spec: DeviceSpec) {
        self.devices.push(Shared::new(Device::new(spec)));
    }

    /// Starts a process with an empty descriptor table (0, 1 and 2 are in use and not modelled) and
    /// an empty memory map. Returns its pid: 1, 2, 3 and so on.
    pub fn spawn(&mut self, spec: ProcessSpec) -> Pid {
        self.processes.push(Shared::new(Process::new(spec)));
        Pid(u32::try_from(self.processes.len()).expect("processes are few"))
    }

    /// Executes one call of a living process.
    ///
    /// A call that [would block](Self::would_block) fails with `EINTR` instead.
    ///
    /// # Panics
    ///
    /// Panics if the process is dead.
    pub fn call(&mut self, pid: Pid, call: &Call) -> CallResult {
        self.call_placed(pid, call, &Placement::default())
    }

    /// Executes [`Self::call`] with the numbers that `place` requests.
    pub fn call_placed(&mut self, pid: Pid, call: &Call, place: &Placement) -> CallResult {
        self.call_explained(pid, call, place).0
    }

    /// Executes [`Self::call_placed`] and also returns the branch of the simulator that refused the
    /// call, if one did.
    pub fn call_explained(
        &mut self,
        pid: Pid,
        call: &Call,
        place: &Placement,
    ) -> (CallResult, Option<Failure>) {
        assert!(self.alive(pid), "a dead process makes no calls");
        self.current = Some(pid);
        let answered = self.dispatch(pid, call, place);
        self.current = None;
        answered
    }

    /// Returns the [`Kernel`] through which one process makes its calls.
    pub fn handle(&mut self, pid: Pid) -> ProcessHandle<'_> {
        ProcessHandle { machine: self, pid }
    }

    /// Executes `change` and undoes all of it if it fails.
    pub(crate) fn atomically<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let before = self.clone();
        let result = change(self);
        if result.is_err() {
            *self = Self { failing: self.failing, ..before };
        }
        result
    }

    /// Drops unreferenced state: memory without a file, a mapping or a pin, and the counters of
    /// dead memory maps that no page set names. Called whenever a reference is dropped.
    pub(crate) fn reclaim(&mut self) {
        for id in self.memories.ids() {
            if !self.is_memory_used(id) {
                self.memories.remove(id);
            }
        }
        self.drop_dead_mms();
    }
}

/// The [`Kernel`] of one process of a [`Machine`].
#[derive(Debug)]
pub struct ProcessHandle<'a> {
    machine: &'a mut Machine,
    pid: Pid,
}

impl Kernel for ProcessHandle<'_> {
    fn call(&mut self, call: &Call) -> CallResult {
        self.machine.call(self.pid, call)
    }
}
