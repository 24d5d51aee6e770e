//! Scenarios of any size, generated from a number of devices, address spaces and mappings.
//!
//! `world-3x2x4` has three devices in two IOASes of one iommufd, with four RAM blocks mapped in
//! each; `world-3x2x4-exec` is the same by exec. The fault budget is the default one: one failing
//! call, one kill, a cancellation, one interrupt of each device. Memory bounds how large a scenario
//! can be exhausted; if a limit stops the search, the verdicts report it.

use super::builder::{DeviceEntry, Ram, ScenarioBuilder, Space};
use super::names::{DEVICES_MAX, LIST_MAX};
use handoff_model::protocol::Mode;

/// Prefix of the names of generated scenarios.
const PREFIX: &str = "world-";

/// Returns the name of the scenario of a size such as `3x2x4` or `3x2x4-exec`.
///
/// # Errors
/// Fails with a message if the size is malformed or out of bounds.
pub fn name(size: &str) -> Result<String, String> {
    let name = format!("{PREFIX}{size}");
    world(&name).map(|_| name.clone()).ok_or_else(|| {
        format!(
            "invalid size {size:?}: use DEVICESxSPACESxMAPPINGS, such as 3x2x4 or 3x2x4-exec, with \
             at most {DEVICES_MAX} devices, no more spaces than devices, and at most {LIST_MAX} \
             mappings"
        )
    })
}

/// Returns the generated scenario with this name; `None` if the name is not of that kind.
pub(crate) fn world(name: &str) -> Option<ScenarioBuilder> {
    let size = name.strip_prefix(PREFIX)?;
    let (size, mode) = match size.strip_suffix("-exec") {
        Some(size) => (size, Mode::Exec),
        None => (size, Mode::Transfer),
    };
    let numbers: Vec<usize> = size.split('x').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [devices, spaces, mappings] = numbers[..] else { return None };
    let fits = (1..=DEVICES_MAX).contains(&devices)
        && (1..=devices).contains(&spaces)
        && (1..=LIST_MAX).contains(&mappings);
    if !fits {
        return None;
    }
    let space = |at: usize| format!("space{at}");
    let ram = (0..mappings).zip((0x10_0000..).step_by(0x1000));
    let world = ScenarioBuilder::new(mode)
        .name(name)
        .ram(ram.map(|(at, iova)| Ram::new(&format!("ram{at}"), iova)))
        .spaces((0..spaces).map(|at| Space::new(&space(at))))
        .devices(
            (0..devices)
                .map(|at| DeviceEntry::new(&format!("nic{at}")).in_space(&space(at % spaces))),
        );
    Some(world)
}
