//! The hazards that a kernel could avoid, and how each variant responds to them.
//!
//! Each hazard has a small scenario that triggers it. Each variant is checked there twice: on the
//! kernel as it is, and on one in which that hazard alone is fixed. A property that is violated
//! only on the former is violated because of the hazard. If the handoff does not happen on either
//! kernel, the variant refuses it. Otherwise the hazard does no harm.

use crate::check::{Report, Run, check};
use crate::properties::Property;
use crate::scenario::builder::{Iommufd, ScenarioBuilder};
use crate::scenario::{FaultBudget, Scenario};
use crate::state::system::System;
use handoff_checker::search::Limits;
use handoff_model::variants::Variant;
use handoff_model::vm::launch::LaunchError;
use handoff_sim_kernel::Quirk;

/// Response of a variant to a hazard.
#[derive(Clone, Debug)]
pub enum Response {
    /// The hazard makes this property fail, by this run.
    Harmed(&'static Property, Run),
    /// The variant refuses the handoff, with this reason.
    Refused(String),
    /// The hazard does no harm.
    Unharmed,
}

/// A change of the smallest VM that triggers a hazard.
type Change = fn(ScenarioBuilder) -> ScenarioBuilder;

/// The change of the smallest VM that triggers each hazard.
pub const WORLDS: &[(Quirk, Change)] = &[
    (Quirk::DoubleCharge, |world| world.memlock_pages(1)),
    (Quirk::PinnedDrift, ScenarioBuilder::cap_ipc_lock),
    (Quirk::DeadOwner, |world| world.uid(0).iommufds([Iommufd::charging_processes("iommufd0")])),
];

/// Returns the scenario that triggers a hazard with a variant, without any fault.
pub fn scenario(variant: &Variant, quirk: Quirk) -> Scenario {
    let (_, change) =
        WORLDS.iter().find(|(of, _)| *of == quirk).expect("each hazard has a scenario");
    let smallest = ScenarioBuilder::new(variant.mode).name(quirk.code()).variant(variant.id);
    change(smallest.fault_budget(FaultBudget::NOTHING))
        .build()
        .expect("the scenarios of hazards are tested")
}

/// Checks how a variant responds to a hazard.
///
/// # Errors
/// Fails as [`check`] does.
pub fn respond(variant: &Variant, quirk: Quirk) -> Result<Response, LaunchError> {
    let as_it_is = scenario(variant, quirk);
    let fixed = Scenario { kernel: as_it_is.kernel.without(quirk), ..as_it_is.clone() };
    let found = check(&as_it_is, Limits::default())?;
    let fixed = check(&fixed, Limits::default())?;
    let violates = |report: &Report, id: &str| report.violations().any(|(of, _)| of.id == id);
    let by_hazard = found.violations().find(|(property, _)| !violates(&fixed, property.id));
    if let Some((property, run)) = by_hazard {
        return Ok(Response::Harmed(property, run.clone()));
    }
    let refused = found.violations().find(|(property, _)| property.id == "DONE-1");
    Ok(match refused {
        Some((_, run)) => Response::Refused(first_error(&as_it_is, run)?),
        None => Response::Unharmed,
    })
}

/// Returns the first error that a role reports in a run.
fn first_error(scenario: &Scenario, run: &Run) -> Result<String, LaunchError> {
    let system = System::new(scenario)?;
    let followed = crate::counterexample::Followed::of(&system, &run.actions);
    let mut errors = followed.steps().iter().filter_map(|step| step.happening.error.as_ref());
    Ok(errors.next().map(ToString::to_string).unwrap_or_default())
}
