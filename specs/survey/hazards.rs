//! The kernel's hazards that a kernel could do without, and what each variant does about them.
//!
//! Each hazard has a small world in which it would show, and each variant runs there twice: on the
//! kernel as it is, and on one in which that hazard alone is mended. What is violated only on the
//! former is the hazard's doing; a handoff that does not happen on either is refused, whatever the
//! kernel; and where both say the same it is avoided, or of no matter.

use crate::check::{Report, Run, check};
use crate::properties::Property;
use crate::scenario::builder::{Iommufd, ScenarioBuilder};
use crate::scenario::{FaultBudget, Scenario};
use crate::state::system::System;
use handoff_checker::search::Limits;
use handoff_model::variants::Variant;
use handoff_model::vm::launch::LaunchError;
use handoff_sim_kernel::Quirk;

/// What a variant does about a hazard.
#[derive(Clone, Debug)]
pub enum Response {
    /// It violates this for it, by this run.
    Harmed(&'static Property, Run),
    /// It refuses, and says this.
    Refused(String),
    /// It goes through all the same.
    Unharmed,
}

/// What the world of a hazard has besides the smallest VM.
type Change = fn(ScenarioBuilder) -> ScenarioBuilder;

/// Each hazard, and its world.
pub const WORLDS: &[(Quirk, Change)] = &[
    (Quirk::DoubleCharge, |world| world.memlock_pages(1)),
    (Quirk::PinnedDrift, ScenarioBuilder::cap_ipc_lock),
    (Quirk::DeadOwner, |world| world.uid(0).iommufds([Iommufd::charging_processes("iommufd0")])),
];

/// The world of a hazard for a variant, in which nothing goes wrong besides.
pub fn scenario(variant: &Variant, quirk: Quirk) -> Scenario {
    let (_, change) = WORLDS.iter().find(|(of, _)| *of == quirk).expect("each has a world");
    let smallest = ScenarioBuilder::new(variant.mode).name(quirk.code()).variant(variant.id);
    change(smallest.fault_budget(FaultBudget::NOTHING)).build().expect("hazards' worlds are tested")
}

/// What a variant does about a hazard.
///
/// # Errors
/// Those of [`check`].
pub fn respond(variant: &Variant, quirk: Quirk) -> Result<Response, LaunchError> {
    let as_it_is = scenario(variant, quirk);
    let mended = Scenario { kernel: as_it_is.kernel.without(quirk), ..as_it_is.clone() };
    let found = check(&as_it_is, Limits::default())?;
    let mended = check(&mended, Limits::default())?;
    let violates = |report: &Report, id: &str| report.violations().any(|(of, _)| of.id == id);
    let by_hazard = found.violations().find(|(property, _)| !violates(&mended, property.id));
    if let Some((property, run)) = by_hazard {
        return Ok(Response::Harmed(property, run.clone()));
    }
    let refused = found.violations().find(|(property, _)| property.id == "DONE-1");
    Ok(match refused {
        Some((_, run)) => Response::Refused(first_trouble(&as_it_is, run)?),
        None => Response::Unharmed,
    })
}

/// What a role says first against the handoff.
fn first_trouble(scenario: &Scenario, run: &Run) -> Result<String, LaunchError> {
    let system = System::new(scenario)?;
    let followed = crate::counterexample::Followed::of(&system, &run.actions);
    let mut troubles = followed.steps().iter().filter_map(|step| step.happening.error.as_ref());
    Ok(troubles.next().map(ToString::to_string).unwrap_or_default())
}
