//! The small scenarios that reproduce known bugs, and constructors of catalog entries.

use super::KnownBug;
use super::Reproduction::{Checked, NotABug, OutOfScope, Row};
use crate::scenario::FaultBudget;
use crate::scenario::builder::{DeviceEntry, Ram, ScenarioBuilder, Space};
use handoff_model::protocol::Mode;

/// A budget that allows a cancellation and no other fault.
pub(super) const CANCEL_ONLY: FaultBudget =
    FaultBudget { fail_calls: 0, kill: 0, cancel: true, interrupts: 1, guest_steps: 1 };
/// A budget that allows no fault.
pub(super) const NO_FAULTS: FaultBudget = FaultBudget { cancel: false, ..CANCEL_ONLY };

/// QEMU 10.2 by cpr-transfer, with one page of RAM and one device.
pub(super) fn qemu() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Transfer).variant("qemu-10.2")
}

/// QEMU 10.2 by cpr-exec, with one page of RAM and one device.
pub(super) fn qemu_exec() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Exec).variant("qemu-10.2")
}

/// QEMU with a type1 container, by cpr-transfer.
pub(super) fn type1() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Transfer).variant("type1").type1()
}

/// QEMU with a type1 container, by cpr-exec.
pub(super) fn type1_exec() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Exec).variant("type1").type1()
}

/// Gives a scenario two devices, each in an IOAS or container of its own.
pub(super) fn two_spaces(scenario: ScenarioBuilder) -> ScenarioBuilder {
    scenario
        .spaces([Space::new("left"), Space::new("right")])
        .devices([nic(0).in_space("left"), nic(1).in_space("right")])
}

/// A RAM block of one page, `ram0` or `ram1`.
pub(super) fn ram(at: u64) -> Ram {
    Ram::new(&format!("ram{at}"), (1 + at) * 0x10_0000)
}

/// A PCI device, `nic0` or `nic1`.
pub(super) fn nic(at: usize) -> DeviceEntry {
    DeviceEntry::new(&format!("nic{at}"))
}

/// A bug that a check of `scenario` finds, by the property that the bug breaks.
pub(super) const fn known(
    id: &'static str,
    title: &'static str,
    sentence: &'static str,
    source: &'static str,
    property: &'static str,
    scenario: fn() -> ScenarioBuilder,
) -> KnownBug {
    KnownBug { id, title, sentence, source, reproduction: Checked(property, scenario) }
}

/// A bug that no scenario can express, and the reason.
pub(super) const fn out_of_scope(
    id: &'static str,
    title: &'static str,
    sentence: &'static str,
    source: &'static str,
    reason: &'static str,
) -> KnownBug {
    KnownBug { id, title, sentence, source, reproduction: OutOfScope(reason) }
}

/// A kernel bug that makes a fact of the conformance suite fail on a kernel that has it.
pub(super) const fn by_fact(
    id: &'static str,
    title: &'static str,
    sentence: &'static str,
    source: &'static str,
    fact: &'static str,
    kernel: &'static str,
) -> KnownBug {
    KnownBug { id, title, sentence, source, reproduction: Row(fact, kernel) }
}

/// A suspicion that turned out to be no bug, and the reason.
pub(super) const fn not_a_bug(
    id: &'static str,
    title: &'static str,
    sentence: &'static str,
    source: &'static str,
    reason: &'static str,
) -> KnownBug {
    KnownBug { id, title, sentence, source, reproduction: NotABug(reason) }
}
