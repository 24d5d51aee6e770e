//! Worlds of any size: so many devices, address spaces and mappings, made to order.
//!
//! `world-3x2x4` has three devices on two address spaces of one iommufd, with four blocks of RAM in
//! each; `world-3x2x4-exec` is the same by exec. Everything that may go wrong may: a call fails, a
//! process is killed, somebody calls it off, each device interrupts. How far such a world can be
//! exhausted is a matter of memory; where a limit stops the search, the verdicts say so.

use super::builder::{DeviceEntry, Ram, ScenarioBuilder, Space};
use super::names::{DEVICES_MAX, LIST_MAX};
use handoff_model::protocol::Mode;

/// What the names begin with.
const PREFIX: &str = "world-";

/// The name of a world, from its size as the command line has it: `3x2x4`, `3x2x4-exec`.
///
/// # Errors
/// What is wrong with it.
pub fn name(size: &str) -> Result<String, String> {
    let name = format!("{PREFIX}{size}");
    world(&name).map(|_| name.clone()).ok_or_else(|| {
        format!(
            "{size:?} is no size: DEVICESxSPACESxMAPPINGS, like 3x2x4 or 3x2x4-exec, with at most \
             {DEVICES_MAX} devices, \
             no more spaces than devices, and at most {LIST_MAX} mappings"
        )
    })
}

/// The scenario of a name; `None` for a name of something else.
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
