//! Scenarios as arguments: files, names of built-in ones, sizes, and the variant that runs them.

use super::Failure;
use crate::report::layout::plain;
use crate::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in, to_compare};
use crate::scenario::{Scenario, find_variant, generated};
use std::error::Error;

/// What a command calls a scenario, and the scenario.
pub(super) type Named = (String, Scenario);

/// The scenarios that a command is asked about.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Scenarios {
    /// Scenario files, or names of built-in ones; without any: all built-in ones
    #[arg(value_name = "SCENARIO")]
    names: Vec<String>,

    /// Also a world of this size: DEVICESxSPACESxMAPPINGS, like 3x2x4, or 3x2x4-exec
    #[arg(long, value_name = "SIZE", value_parser = generated::name)]
    world: Vec<String>,
}

impl Scenarios {
    /// One scenario.
    pub(super) fn of(name: String) -> Self {
        Self { names: vec![name], world: Vec::new() }
    }

    /// Reads those that are named; without any: those that `check` proves, or with a variant those
    /// over which variants are compared and that are for this one.
    pub(super) fn read(&self, variant: Option<&str>) -> Result<Vec<Named>, Failure> {
        let named = self.named()?;
        let Some(variant) = variant else {
            return Ok(if named.is_empty() { all_built_in() } else { named });
        };
        let fits = |it: &Scenario| {
            find_variant(variant, it.mode, it.plan.dma).is_ok_and(|variant| it.is_for(variant))
        };
        let mut scenarios = named;
        if scenarios.is_empty() {
            scenarios = to_compare();
            scenarios.retain(|(_, scenario)| fits(scenario));
        }
        scenarios.iter_mut().try_for_each(|(name, scenario)| put(variant, name, scenario))?;
        Ok(scenarios)
    }

    /// Reads those that are named; without any: those over which variants are compared.
    pub(super) fn to_compare(&self) -> Result<Vec<Named>, Failure> {
        let named = self.named()?;
        Ok(if named.is_empty() { to_compare() } else { named })
    }

    fn named(&self) -> Result<Vec<Named>, Failure> {
        let names = self.names.iter().chain(&self.world);
        names.map(|name| Ok((name.clone(), read(name)?))).collect()
    }
}

fn all_built_in() -> Vec<Named> {
    let all = BUILT_IN.iter().filter_map(|(name, _)| Some(((*name).to_owned(), built_in(name)?)));
    all.collect()
}

/// Reads a built-in scenario, or a file.
pub(super) fn read(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = built_in(name) {
        return Ok(scenario);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        let known = BUILT_IN.iter().chain(FOR_RFC).chain(FOR_TYPE1).map(|(name, _)| *name);
        let known = known.collect::<Vec<_>>().join(", ");
        Failure::Usage(format!("{name}: {error}; a file, or one of {known}"))
    })?;
    Scenario::parse(name, &text).map_err(|refusal| Failure::Usage(refusal.to_string()))
}

/// Puts a variant in the place of the one that a scenario asks for, and into its name, as one gives
/// it to the command. Known bugs of other variants are not planted then.
fn put(variant: &str, name: &mut String, scenario: &mut Scenario) -> Result<(), Failure> {
    let found = find_variant(variant, scenario.mode, scenario.plan.dma);
    let found = found.map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if !scenario.is_for(found) {
        return Err(Failure::Usage(format!("{name} is for another kernel than variant {variant}")));
    }
    scenario.variant = found;
    scenario.defects.retain(|defect| defect.variant == found.id);
    *name = format!("{name} --variant {variant}");
    Ok(())
}

/// The failure of a scenario whose virtual machine does not start.
pub(super) fn cannot_start(scenario: &Scenario, error: &dyn Error) -> Failure {
    let (name, kernel) = (plain(&scenario.name), scenario.kernel.name());
    Failure::Usage(format!(
        "{name}: the VM cannot be started on the simulated kernel {kernel}: {error}"
    ))
}
