//! The target that is the simulated kernel.
//!
//! It audits the machine's invariants after every call, and records the branches of the simulator
//! that refused a call.

use super::{Capability, Device, Target};
use handoff_model::abi::call::{Call, CallResult, ProcessCall, Reply};
use handoff_model::abi::ids::{Fd, Iova, Pid, Va};
use handoff_sim_kernel::{
    DeviceKind, DeviceSpec, Failure, Machine, Placement, ProcessSpec, Profile,
};
use std::collections::BTreeSet;

/// A machine with every [`Device`].
#[derive(Clone, Debug)]
pub struct SimulatedTarget {
    empty: Machine,
    machine: Machine,
    /// Branches of the simulator that have refused a call.
    pub refusals: BTreeSet<Failure>,
    /// The calls that were made.
    pub made: BTreeSet<Call>,
}

/// The devices: name in views, path, kind.
const DEVICES: [(Device, &str, &str, DeviceKind); 7] = [
    (Device::Edu, "edu0", "/dev/vfio/devices/vfio0", DeviceKind::Pci { can_reset: false }),
    (Device::OtherEdu, "edu1", "/dev/vfio/devices/vfio1", DeviceKind::Pci { can_reset: false }),
    (Device::Mtty, "mtty", "/dev/vfio/devices/vfio2", DeviceKind::Mdev { needs_kvm: false }),
    (Device::Alone, "alone", "/dev/vfio/devices/vfio3", DeviceKind::Pci { can_reset: true }),
    (Device::Sibling, "sibling", "/dev/vfio/devices/vfio4", DeviceKind::Pci { can_reset: false }),
    (Device::Many, "many", "/dev/vfio/devices/vfio5", DeviceKind::Pci { can_reset: false }),
    (Device::Tied, "tied", "/dev/vfio/devices/vfio6", DeviceKind::Mdev { needs_kvm: true }),
];

/// Maximum number of mappings in a type1 container: small, so that a fact can exhaust it.
pub const DMA_ENTRY_LIMIT: u32 = 16;

impl SimulatedTarget {
    /// Returns a kernel of a profile.
    pub fn new(profile: Profile) -> Self {
        let mut empty = Machine::new(profile);
        empty.set_dma_entry_limit(DMA_ENTRY_LIMIT);
        for (device, name, path, kind) in DEVICES {
            let mut spec = DeviceSpec::new(name, path, kind);
            match device {
                Device::Sibling => spec.group = 0,
                Device::Many => spec.irqs = vec![1, 4, 4, 0, 1],
                _ => {}
            }
            empty.plug(spec);
        }
        Self { machine: empty.clone(), empty, refusals: BTreeSet::new(), made: BTreeSet::new() }
    }

    fn audit(&mut self, call: &Call, refusal: Option<Failure>) {
        self.refusals.extend(refusal);
        self.made.insert(call.clone());
        if let Err(broken) = self.machine.audit() {
            panic!("after {call:?}: {broken}");
        }
    }

    /// Returns the machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Default for SimulatedTarget {
    /// Returns the newest kernel, with its hazards.
    fn default() -> Self {
        Self::new(Profile::by_name("7.3").expect("a profile"))
    }
}

fn named(device: Device) -> &'static str {
    DEVICES.iter().find(|(known, ..)| *known == device).expect("every device is there").1
}

impl Target for SimulatedTarget {
    fn lacks(&self, need: &Capability) -> Option<String> {
        match need {
            Capability::Release(name) if *name != self.machine.profile().name() => {
                Some(format!("a kernel {name}"))
            }
            _ => None,
        }
    }

    fn clear(&mut self) {
        self.machine = self.empty.clone();
    }

    fn spawn(&mut self, spec: ProcessSpec) -> Pid {
        self.machine.spawn(spec)
    }

    fn fork(&mut self, parent: Pid) -> Pid {
        self.machine.fork(parent)
    }

    fn call(&mut self, pid: Pid, call: &Call) -> CallResult {
        self.call_at(pid, call, None)
    }

    fn call_at(&mut self, pid: Pid, call: &Call, place: Option<Va>) -> CallResult {
        let place = Placement { va: place, ..Placement::default() };
        let (answer, refusal) = self.machine.call_explained(pid, call, &place);
        self.audit(call, refusal);
        answer
    }

    fn call_failing(&mut self, pid: Pid, call: &Call, nth: u32) -> (CallResult, bool) {
        let (answer, refusal, came_to_it) =
            self.machine.call_failing(pid, call, &Placement::default(), nth);
        self.audit(call, refusal);
        (answer, came_to_it)
    }

    fn kill(&mut self, pid: Pid) {
        self.machine.kill(pid);
    }

    fn exec(&mut self, pid: Pid) {
        let image = self.machine.image(pid, 0);
        let done = self.machine.call(pid, &Call::Process(ProcessCall::Exec { image }));
        assert_eq!(done, Ok(Reply::Done), "an image can be executed");
    }

    fn socketpair(&mut self, a: Pid, b: Pid) -> (Fd, Fd) {
        self.machine.socketpair(a, b)
    }

    fn pidfd(&mut self, holder: Pid, target: Pid) -> Fd {
        self.machine.pidfd(holder, target)
    }

    fn image(&mut self, holder: Pid) -> Option<Fd> {
        Some(self.machine.image(holder, 0))
    }

    fn path(&self, device: Device) -> String {
        DEVICES.iter().find(|(known, ..)| *known == device).expect("every device is there").2.into()
    }

    fn group(&self, device: Device) -> (String, String) {
        let spec = self.machine.device_spec(named(device));
        (format!("/dev/vfio/{}", spec.group), spec.address.clone())
    }

    fn locked(&mut self, pid: Pid) -> (i64, i64) {
        (self.machine.vm_pin_pages(pid), self.machine.vm_lck_pages(pid))
    }

    fn raise(&mut self, device: Device, _: Pid, _: Fd) {
        self.machine.raise(named(device), 0);
    }

    fn reaches(&mut self, device: Device, pid: Pid, _: Fd, iova: Iova, page: (Fd, u64)) -> bool {
        let there = self.machine.page(pid, page.0, page.1);
        there.is_some() && there == self.machine.dma(named(device), iova).ok()
    }
}
