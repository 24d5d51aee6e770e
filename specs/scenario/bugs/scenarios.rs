//! The small worlds in which known bugs are found, and how their rows are made.

use super::KnownBug;
use super::Reproduction::{Checked, NotABug, OutOfScope, Row};
use crate::scenario::FaultBudget;
use crate::scenario::builder::{DeviceEntry, Ram, ScenarioBuilder, Space};
use handoff_model::protocol::Mode;

/// Only a cancellation happens.
pub(super) const CALLED_OFF: FaultBudget =
    FaultBudget { fail_calls: 0, kill: 0, cancel: true, interrupts: 1, guest_steps: 1 };
/// No fault happens.
pub(super) const UNDISTURBED: FaultBudget = FaultBudget { cancel: false, ..CALLED_OFF };

/// QEMU by transfer, with a page of RAM and a device.
pub(super) fn qemu() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Transfer).variant("qemu-10.2")
}

/// The same by exec.
pub(super) fn qemu_exec() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Exec).variant("qemu-10.2")
}

/// QEMU with a container, by transfer.
pub(super) fn type1() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Transfer).variant("type1").type1()
}

/// The same by exec.
pub(super) fn type1_exec() -> ScenarioBuilder {
    ScenarioBuilder::new(Mode::Exec).variant("type1").type1()
}

/// Two devices, each on an address space or in a container of its own.
pub(super) fn apart(world: ScenarioBuilder) -> ScenarioBuilder {
    world
        .spaces([Space::new("left"), Space::new("right")])
        .devices([nic(0).in_space("left"), nic(1).in_space("right")])
}

/// `ram0`, `ram1`: a page each.
pub(super) fn ram(at: u64) -> Ram {
    Ram::new(&format!("ram{at}"), (1 + at) * 0x10_0000)
}

/// `nic0`, `nic1`.
pub(super) fn nic(at: usize) -> DeviceEntry {
    DeviceEntry::new(&format!("nic{at}"))
}

/// A bug that a check finds by the property that it breaks.
pub(super) const fn known(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    property: &'static str,
    world: fn() -> ScenarioBuilder,
) -> KnownBug {
    KnownBug { id, sentence, source, reproduction: Checked(property, world) }
}

pub(super) const fn unsaid(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    why: &'static str,
) -> KnownBug {
    KnownBug { id, sentence, source, reproduction: OutOfScope(why) }
}

/// A bug of a kernel, which answers a row of the conformance suite otherwise.
pub(super) const fn by_row(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    row: &'static str,
    kernel: &'static str,
) -> KnownBug {
    KnownBug { id, sentence, source, reproduction: Row(row, kernel) }
}

/// What was suspected, and is not so.
pub(super) const fn refuted(
    id: &'static str,
    sentence: &'static str,
    source: &'static str,
    why: &'static str,
) -> KnownBug {
    KnownBug { id, sentence, source, reproduction: NotABug(why) }
}
