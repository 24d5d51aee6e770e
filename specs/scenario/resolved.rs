//! A parsed scenario in which all names are resolved.

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

/// A parsed scenario in which all names are resolved.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of the scenario.
    pub name: String,
    /// The purpose of the scenario, in a sentence.
    pub about: String,
    /// The way in which the new program starts: as a new process, or by `execve`.
    pub mode: Mode,
    /// The simulated kernel.
    pub kernel: Profile,
    /// The virtual machine.
    pub plan: Plan,
    /// The credentials of the old process.
    pub old: Credentials,
    /// The credentials of the new process.
    pub new: Credentials,
    /// The faults that may occur.
    pub fault_budget: FaultBudget,
    /// True if the protocol must refuse the handoff before the guest stops.
    pub refused: bool,
    /// The corruption that is injected, if any.
    pub corruption: Option<&'static Corruption>,
    /// The variant of the protocol, before defects are planted.
    pub variant: &'static Variant,
    /// The defects that are planted.
    pub defects: Vec<&'static Defect>,
    /// The step that the protocol omits, if any.
    pub mutant: Option<Mutation>,
}

/// Credentials and limits of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: Uid,
    /// True if the process has CAP_IPC_LOCK.
    pub cap_ipc_lock: bool,
    /// RLIMIT_MEMLOCK, in bytes.
    pub memlock_bytes: u64,
}

impl Scenario {
    /// Returns the outcome that the protocol must reach if no fault occurs.
    pub fn expected(&self) -> Expected {
        match (self.corruption, self.refused) {
            (Some(wrong), _) => wrong.expected_of(self.variant),
            (None, true) => Expected::RefusedBeforeStop,
            (None, false) => Expected::HandedOver,
        }
    }

    /// Returns true if the scenario can run with this variant instead of its own.
    pub fn is_for(&self, variant: &Variant) -> bool {
        variant.is_for(self.mode, self.plan.dma) && self.variant.kernel == variant.kernel
    }

    /// Returns the protocol with defects and mutant applied.
    pub fn protocol(&self) -> Protocol {
        let variant = Protocol::of(self.variant);
        let planted = self.defects.iter().fold(variant, |protocol, defect| defect.plant(protocol));
        self.mutant.into_iter().fold(planted, Protocol::without)
    }
}
