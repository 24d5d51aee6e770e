//! Variants side by side: what each of them keeps, over the scenarios that are for it.
//!
//! Of several scenarios the verdict that says the worst counts: a violation, the cheapest of several; then what was cut short; a property
//! is proved where it is proved in some and nothing speaks against it in any other.

use crate::check::{Report, Verdict, check};
use crate::property::{PROPERTIES, Property};
use crate::scenario::Scenario;
use crate::search::Limits;
use handoff_model::launch::LaunchError;
use handoff_model::variant::{VARIANTS, Variant};
use std::cmp::Reverse;
use std::time::Duration;

/// What a variant keeps.
#[derive(Debug)]
pub struct Column {
    /// Which.
    pub variant: &'static Variant,
    /// For each of [`PROPERTIES`], in their order.
    pub cells: Vec<Cell>,
    /// How many scenarios there were of its kind.
    pub scenarios: usize,
    /// The states of all together.
    pub states: u64,
    /// The time that they took.
    pub time: Duration,
}

/// What is said of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The verdict.
    pub verdict: Verdict,
    /// The scenario that says so.
    pub scenario: String,
}

/// How bad a verdict is; of two violations the cheaper one is worse.
fn badness(verdict: &Verdict) -> (u8, Reverse<(u32, usize)>) {
    let (class, cost) = match verdict {
        Verdict::NotAsked(_) => (0, (0, 0)),
        Verdict::Vacuous => (1, (0, 0)),
        Verdict::Proved => (2, (0, 0)),
        Verdict::Inconclusive(_) => (3, (0, 0)),
        Verdict::HoldsWithin(_) => (4, (0, 0)),
        Verdict::Violated(run) => (5, (run.faults, run.actions.len())),
    };
    (class, Reverse(cost))
}

/// What all variants keep over these scenarios, but those that have none of their kind. Whatever variant a scenario asks for, each takes its
/// turn.
///
/// # Errors
/// Those of [`check`].
pub fn compare(
    scenarios: &[(String, Scenario)],
    limits: Limits,
) -> Result<Vec<Column>, LaunchError> {
    let columns = VARIANTS.iter().map(|variant| column(variant, scenarios, limits));
    let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
    Ok(columns.into_iter().filter(|column| column.scenarios > 0).collect())
}

fn column(
    variant: &'static Variant,
    scenarios: &[(String, Scenario)],
    limits: Limits,
) -> Result<Column, LaunchError> {
    let cell = Cell { verdict: Verdict::NotAsked("in no scenario"), scenario: String::new() };
    let cells = vec![cell; PROPERTIES.len()];
    let mut column = Column { variant, cells, scenarios: 0, states: 0, time: Duration::ZERO };
    for (name, scenario) in scenarios.iter().filter(|(_, it)| variant.is_for(it.mode, it.plan.dma))
    {
        let report = check(&Scenario { variant, ..scenario.clone() }, limits)?;
        column.add(name, report);
    }
    Ok(column)
}

impl Column {
    fn add(&mut self, scenario: &str, report: Report) {
        self.scenarios += 1;
        self.states += u64::from(report.states);
        self.time += report.time;
        for (cell, (_, verdict)) in self.cells.iter_mut().zip(report.verdicts) {
            if badness(&verdict) > badness(&cell.verdict) {
                *cell = Cell { verdict, scenario: scenario.to_owned() };
            }
        }
    }

    /// Each property, and what is said of it.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static Property, &Cell)> {
        PROPERTIES.iter().zip(&self.cells)
    }

    /// What its users are told instead of a property.
    pub fn told_instead(&self, property: &Property) -> Option<&'static str> {
        let unpromised = self.variant.unpromised.iter();
        unpromised.clone().find(|(id, _)| *id == property.id).map(|(_, told)| *told)
    }
}
