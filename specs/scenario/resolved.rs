//! A scenario that has been read and resolved: what everything above works with.

use super::corruption::Corruption;
use super::expectation::Expected;
use super::faults::FaultBudget;
use handoff_model::abi::ids::Uid;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::variants::Variant;
use handoff_model::variants::defects::Defect;
use handoff_model::variants::mutants::Mutation;
use handoff_model::vm::launch::Plan;
use handoff_sim_kernel::Profile;

/// A scenario that has been read and resolved.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// How the new program comes to life.
    pub mode: Mode,
    /// The simulated kernel.
    pub kernel: Profile,
    /// The virtual machine.
    pub plan: Plan,
    /// The old process.
    pub old: Credentials,
    /// The new process.
    pub new: Credentials,
    /// What may go wrong.
    pub fault_budget: FaultBudget,
    /// Whether the protocol must refuse it before the guest stops.
    pub refused: bool,
    /// What is told that is not so.
    pub corruption: Option<&'static Corruption>,
    /// The protocol, before a known bug is planted in it.
    pub variant: &'static Variant,
    /// Known bugs that are planted.
    pub defects: Vec<&'static Defect>,
    /// What the protocol leaves out.
    pub mutant: Option<Mutation>,
}

/// A process's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its user.
    pub uid: Uid,
    /// CAP_IPC_LOCK.
    pub cap_ipc_lock: bool,
    /// RLIMIT_MEMLOCK in bytes.
    pub memlock_bytes: u64,
}

impl Scenario {
    /// What the protocol must make of it.
    pub fn expected(&self) -> Expected {
        match (self.corruption, self.refused) {
            (Some(wrong), _) => wrong.expected_of(self.variant),
            (None, true) => Expected::RefusedBeforeStop,
            (None, false) => Expected::HandedOver,
        }
    }

    /// Whether a variant could be in the place of its own.
    pub fn is_for(&self, variant: &Variant) -> bool {
        variant.is_for(self.mode, self.plan.dma) && self.variant.kernel == variant.kernel
    }

    /// The protocol, with the planted bugs in it.
    pub fn protocol(&self) -> Protocol {
        let variant = Protocol::of(self.variant);
        let planted = self.defects.iter().fold(variant, |protocol, defect| defect.plant(protocol));
        self.mutant.into_iter().fold(planted, Protocol::without)
    }
}
