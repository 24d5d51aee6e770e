//! The kernel's hazards that a kernel could do without, and what each variant does about them.
//!
//! Each hazard has a small world in which it would show, and each variant runs there twice: on the kernel as it is, and on one in which
//! that hazard alone is mended. What is violated only on the former is the hazard's doing; a handoff that does not happen on either is
//! refused, whatever the kernel; and where both say the same it is avoided, or of no matter.

use crate::check::{Report, Run, check};
use crate::properties::Property;
use crate::scenario::Scenario;
use crate::state::system::System;
use handoff_checker::search::Limits;
use handoff_model::launch::LaunchError;
use handoff_model::protocol::Mode;
use handoff_model::variant::Variant;
use handoff_sim_kernel::Quirk;

/// What a variant does about a hazard.
#[derive(Clone, Debug)]
pub enum Meeting {
    /// It violates this for it, by this run.
    Harmed(&'static Property, Run),
    /// It refuses, and says this.
    Refused(String),
    /// It goes through all the same.
    Unharmed,
}

/// One guest page and a device.
const BASE: &str =
    "[[ram]]\nname = \"ram0\"\npages = 1\niova = 0x100000\n[[device]]\nname = \"nic0\"\n";

/// Each hazard, and what its world has besides.
pub const WORLDS: &[(Quirk, &str)] = &[
    (Quirk::DoubleCharge, "[process]\nmemlock_pages = 1\n"),
    (Quirk::PinnedDrift, "[process]\ncap_ipc_lock = true\n"),
    (
        Quirk::DeadOwner,
        "[process]\nuid = 0\n[[iommufd]]\nname = \"iommufd0\"\naccounting = \"process\"\n",
    ),
];

/// The world of a hazard for a variant, in which nothing goes wrong besides.
pub fn scenario(variant: &Variant, quirk: Quirk) -> Scenario {
    let (_, tables) = WORLDS.iter().find(|(of, _)| *of == quirk).expect("each has a world");
    let mode = if variant.mode == Mode::Exec { "exec" } else { "transfer" };
    let (id, code) = (variant.id, quirk.code());
    let text = format!(
        "name = \"{code}\"\nmode = \"{mode}\"\nvariant = \"{id}\"\n{BASE}{tables}\
         [may]\nfail_calls = 0\nkill = 0\ncancel = false\ninterrupts = 0\nguest_steps = 0\n"
    );
    Scenario::parse(code, &text).expect("hazards' worlds are tested")
}

/// What a variant does about a hazard.
///
/// # Errors
/// Those of [`check`].
pub fn meet(variant: &Variant, quirk: Quirk) -> Result<Meeting, LaunchError> {
    let as_it_is = scenario(variant, quirk);
    let mended = Scenario { kernel: as_it_is.kernel.without(quirk), ..as_it_is.clone() };
    let found = check(&as_it_is, Limits::default())?;
    let mended = check(&mended, Limits::default())?;
    let violates = |report: &Report, id: &str| report.violations().any(|(of, _)| of.id == id);
    let by_hazard = found.violations().find(|(property, _)| !violates(&mended, property.id));
    if let Some((property, run)) = by_hazard {
        return Ok(Meeting::Harmed(property, run.clone()));
    }
    let refused = found.violations().find(|(property, _)| property.id == "DONE-1");
    Ok(match refused {
        Some((_, run)) => Meeting::Refused(first_trouble(&as_it_is, run)?),
        None => Meeting::Unharmed,
    })
}

/// What a role says first against the handoff.
fn first_trouble(scenario: &Scenario, run: &Run) -> Result<String, LaunchError> {
    let system = System::new(scenario)?;
    let followed = crate::counterexample::Followed::of(&system, &run.actions);
    let mut troubles = followed.steps().iter().filter_map(|step| step.happening.trouble.as_ref());
    Ok(troubles.next().map(ToString::to_string).unwrap_or_default())
}
