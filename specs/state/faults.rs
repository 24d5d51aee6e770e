//! The remaining fault budget of the environment.

use crate::scenario::{DEVICES_MAX, Scenario};

/// Number of times that the environment may still act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RemainingFaults {
    pub(crate) fail_calls: u8,
    pub(crate) kill: u8,
    pub(crate) cancel: bool,
    pub(crate) guest_steps: u8,
    /// Interrupts of each device.
    pub(crate) interrupts: [u8; DEVICES_MAX],
    /// True if the guest may still have the last device's interrupt armed.
    pub(crate) arm: bool,
}

impl RemainingFaults {
    /// Returns the sum of all budgets.
    pub(crate) fn remaining(&self) -> u32 {
        let Self { fail_calls, kill, cancel, guest_steps, interrupts, arm } = self;
        let once = [*fail_calls, *kill, u8::from(*cancel), *guest_steps, u8::from(*arm)];
        once.iter().chain(interrupts).map(|left| u32::from(*left)).sum()
    }

    pub(crate) fn of(scenario: &Scenario) -> Self {
        let may = scenario.fault_budget;
        let mut interrupts = [0; DEVICES_MAX];
        for (left, device) in interrupts.iter_mut().zip(&scenario.plan.devices) {
            let has_none = device.interrupts.is_empty() && device.later.is_empty();
            *left = if has_none { 0 } else { may.interrupts };
        }
        Self {
            fail_calls: may.fail_calls,
            kill: may.kill,
            cancel: may.cancel,
            guest_steps: may.guest_steps,
            interrupts,
            arm: scenario.plan.devices.last().is_some_and(|device| !device.later.is_empty()),
        }
    }
}
