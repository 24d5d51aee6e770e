//! Scenarios as arguments: files, names of built-in ones, sizes, and the variant to run.

use super::Failure;
use crate::report::layout::plain;
use crate::scenario::library::{BUILT_IN, built_in, to_compare};
use crate::scenario::{Scenario, find_variant, generated};
use std::error::Error;

/// A scenario with its name on the command line.
pub(super) type Named = (String, Scenario);

/// The scenarios that a command uses.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Scenarios {
    /// Scenario files, or names of built-in scenarios [default: all built-in scenarios]
    #[arg(value_name = "SCENARIO")]
    names: Vec<String>,

    /// Add a generated scenario: DEVICESxSPACESxMAPPINGS, such as 3x2x4 or 3x2x4-exec
    #[arg(long, value_name = "SIZE", value_parser = generated::name)]
    world: Vec<String>,
}

impl Scenarios {
    /// Selects one scenario.
    pub(super) fn of(name: String) -> Self {
        Self { names: vec![name], world: Vec::new() }
    }

    /// Reads the named scenarios. By default, those that `check` proves; with a variant, those of
    /// `compare` that the variant supports.
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

    /// Reads the named scenarios. By default, those over which variants are compared.
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
        Failure::Usage(format!(
            "{name}: {error}; expected a file, or a name of `handoff list scenarios`"
        ))
    })?;
    Scenario::parse(name, &text).map_err(|refusal| Failure::Usage(refusal.to_string()))
}

/// Replaces the variant of a scenario, and adds the option to its name on the command line. Removes
/// planted bugs of other variants.
fn put(variant: &str, name: &mut String, scenario: &mut Scenario) -> Result<(), Failure> {
    let found = find_variant(variant, scenario.mode, scenario.plan.dma);
    let found = found.map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if !scenario.is_for(found) {
        return Err(Failure::Usage(format!(
            "{name}: variant {variant} needs another kernel than this scenario has"
        )));
    }
    scenario.variant = found;
    scenario.defects.retain(|defect| defect.variant == found.id);
    *name = format!("{name} --variant {variant}");
    Ok(())
}

/// Returns the failure of a scenario whose virtual machine does not start.
pub(super) fn cannot_start(scenario: &Scenario, error: &dyn Error) -> Failure {
    let (name, kernel) = (plain(&scenario.name), scenario.kernel.name());
    Failure::Usage(format!(
        "{name}: the VM cannot be started on the simulated kernel {kernel}: {error}"
    ))
}
