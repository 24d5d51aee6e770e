//! `handoff explain`: explains a property, bug, hazard, variant, defect, corruption, phase or
//! errno.
//!
//! The texts come from the registries and tables that the checker uses.

mod page;

use super::{Exit, Failure, width};
use crate::properties::{PROPERTIES, Property};
use crate::scenario::bugs::{self, KnownBug};
use crate::scenario::corruption::{CORRUPTIONS, Corruption};
use crate::scenario::mutants::present_name;
use handoff_model::abi::errno::Errno;
use handoff_model::protocol::phase::{InPhase, OutPhase, RolePhase};
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::{VARIANTS, Variant};
use handoff_sim_kernel::Hazard;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name of a property (OWN-1), known bug (Z17), hazard (H1), variant (safe), defect,
    /// corruption, phase (Commit) or errno (EBUSY), in any case
    name: String,
}

/// The largest number of names that are suggested for an unknown one.
const SUGGESTIONS_MAX: usize = 5;

/// The largest errno that can have a name.
const ERRNO_MAX: i32 = 133;

/// An item with a name.
enum Topic {
    Property(&'static Property),
    Hazard(&'static Hazard),
    Bug(&'static KnownBug),
    Variant(&'static Variant),
    Defect(&'static Defect),
    Corruption(&'static Corruption),
    Phase(RolePhase),
    Errno(Errno),
}

impl Topic {
    /// Returns every item, in the order in which items of the same name are explained.
    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = PROPERTIES.iter().map(Self::Property).collect();
        all.extend(bugs::all().map(Self::Bug));
        all.extend(Hazard::ALL.iter().map(Self::Hazard));
        all.extend(VARIANTS.iter().map(Self::Variant));
        all.extend(defects::all().map(Self::Defect));
        all.extend(CORRUPTIONS.iter().map(Self::Corruption));
        all.extend(OutPhase::ALL.iter().map(|phase| Self::Phase(RolePhase::Old(*phase))));
        all.extend(InPhase::ALL.iter().map(|phase| Self::Phase(RolePhase::New(*phase))));
        let errnos = (1..=ERRNO_MAX).map(Errno::from_number);
        all.extend(errnos.filter(|errno| errno.name().is_some()).map(Self::Errno));
        all
    }

    fn name(&self) -> String {
        match self {
            Self::Property(property) => property.id.to_owned(),
            Self::Hazard(hazard) => hazard.code.to_owned(),
            Self::Bug(bug) => bug.id.to_owned(),
            Self::Variant(variant) => variant.id.to_owned(),
            Self::Defect(defect) => defect.id.to_owned(),
            Self::Corruption(corruption) => corruption.id.to_owned(),
            Self::Phase(RolePhase::Old(phase)) => phase.to_string(),
            Self::Phase(RolePhase::New(phase)) => phase.to_string(),
            Self::Errno(errno) => errno.to_string(),
        }
    }

    fn explain(&self) -> page::Page {
        match self {
            Self::Property(property) => page::property(property),
            Self::Hazard(hazard) => page::hazard(hazard),
            Self::Bug(bug) => page::bug(bug),
            Self::Variant(variant) => page::variant(variant),
            Self::Defect(defect) => page::defect(defect),
            Self::Corruption(corruption) => page::corruption(corruption),
            Self::Phase(place) => page::phase(*place),
            Self::Errno(errno) => page::errno(*errno),
        }
    }
}

/// Explains every item with the name.
pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let name = present_name(&arguments.name);
    let all = Topic::all();
    let named: Vec<_> = all.iter().filter(|it| it.name().eq_ignore_ascii_case(name)).collect();
    if named.is_empty() {
        return Err(unknown(&arguments.name, &all));
    }
    let pages: Vec<_> = named.iter().map(|topic| topic.explain().text(width())).collect();
    write!(out, "{}", pages.join("\n"))?;
    Ok(Exit::Good)
}

/// Returns the failure for an unknown name, with the most similar names.
fn unknown(name: &str, all: &[Topic]) -> Failure {
    let lower = name.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_lowercase());
    let mut names: Vec<_> = all.iter().map(Topic::name).map(|it| (distance(&it), it)).collect();
    names.sort();
    names.dedup();
    names.retain(|(distance, _)| *distance <= 1 + lower.len() / 3);
    let names: Vec<_> = names.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect();
    let nearest = match names.join(", ") {
        names if names.is_empty() => String::new(),
        names => format!("; did you mean {names}?"),
    };
    Failure::Usage(format!("{name:?} is not a known name, see `handoff list`{nearest}"))
}
