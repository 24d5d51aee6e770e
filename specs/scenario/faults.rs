//! What the environment may do to a handoff: how often in a run.

use serde::Deserialize;

/// What the environment may do, and how often in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct May {
    /// Calls that fail with an errno of the environment's choice.
    pub fail_calls: u8,
    /// Processes that are killed.
    pub kill: u8,
    /// Somebody calls the handoff off.
    pub cancel: bool,
    /// Interrupts that each device raises.
    pub interrupts: u8,
    /// Steps of progress that the guest makes.
    pub guest_steps: u8,
}

impl Default for May {
    fn default() -> Self {
        Self { fail_calls: 1, kill: 1, cancel: true, interrupts: 1, guest_steps: 1 }
    }
}
