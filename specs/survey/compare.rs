//! Compares the variants: for each, the verdict on every property over all scenarios that it
//! supports.
//!
//! The worst verdict over the scenarios counts: first the cheapest violation, then an incomplete
//! search. A property counts as proved if it is proved in at least one scenario, and has no worse
//! verdict in any other.

use crate::check::Verdict;
use crate::counterexample::{Checked, token};
use crate::properties::{PROPERTIES, Property};
use crate::report::check::milliseconds;
use crate::report::compare as report;
use crate::report::run::replay;
use crate::scenario::Scenario;
use crate::survey::hazards::{Response, respond};
use handoff_checker::search::Limits;
use handoff_model::variants::{VARIANTS, Variant};
use handoff_model::vm::Dma;
use handoff_model::vm::launch::LaunchError;
use handoff_sim_kernel::Quirk;
use std::cmp::Reverse;
use std::time::Duration;

/// The verdicts for a variant.
#[derive(Debug)]
pub struct Column {
    /// The variant.
    pub variant: &'static Variant,
    /// A verdict for each of [`PROPERTIES`], in the same order.
    pub cells: Vec<Cell>,
    /// The response to each hazard of the kernel; empty if the variant does not use CHANGE_PROCESS.
    pub hazards: Vec<Hazard>,
    /// Number of scenarios that the variant supports.
    pub scenarios: usize,
    /// Number of reachable states of all these scenarios.
    pub states: u64,
    /// Duration of all their checks.
    pub time: Duration,
}

/// A hazard of the kernel, and a variant's response to it.
pub type Hazard = (Quirk, Response);

/// The worst verdict on a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The verdict.
    pub verdict: Verdict,
    /// The scenario with this verdict.
    pub scenario: String,
    /// The violating run as one word; `None` for other verdicts.
    pub run: Option<String>,
}

/// Orders verdicts: a greater value is worse; of two violations, the cheaper one is worse.
fn badness(verdict: &Verdict) -> (u8, Reverse<(u32, usize)>) {
    let (class, cost) = match verdict {
        Verdict::NotApplicable(_) => (0, (0, 0)),
        Verdict::Vacuous => (1, (0, 0)),
        Verdict::Proved => (2, (0, 0)),
        Verdict::Inconclusive(_) => (3, (0, 0)),
        Verdict::HoldsWithin(_) => (4, (0, 0)),
        Verdict::Violated(run) => (5, (run.faults, run.actions.len())),
    };
    (class, Reverse(cost))
}

/// Checks every variant in those of the scenarios that it supports, in place of their own variant.
/// Variants without any such scenario are left out.
///
/// # Errors
/// Fails as [`check`](crate::check::check) does.
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
    let cell = Cell {
        verdict: Verdict::NotApplicable("in no scenario"),
        scenario: String::new(),
        run: None,
    };
    let cells = vec![cell; PROPERTIES.len()];
    let hazards = Vec::new();
    let mut column =
        Column { variant, cells, hazards, scenarios: 0, states: 0, time: Duration::ZERO };
    if variant.kernel.is_none() && variant.dma == Dma::Iommufd {
        let respond = |quirk| Ok((quirk, respond(variant, quirk)?));
        column.hazards = Quirk::ALL.into_iter().map(respond).collect::<Result<_, _>>()?;
    }
    for (name, scenario) in scenarios.iter().filter(|(_, it)| it.is_for(variant)) {
        column.add(name, Checked::new(&Scenario { variant, ..scenario.clone() }, limits)?);
    }
    Ok(column)
}

impl Column {
    fn add(&mut self, scenario: &str, Checked { system, report }: Checked) {
        self.scenarios += 1;
        self.states += u64::from(report.states);
        self.time += report.time;
        for (cell, (_, verdict)) in self.cells.iter_mut().zip(report.verdicts) {
            if badness(&verdict) > badness(&cell.verdict) {
                let run = match &verdict {
                    Verdict::Violated(run) => Some(token::encode(&system, &run.actions)),
                    _ => None,
                };
                *cell = Cell { verdict, scenario: scenario.to_owned(), run };
            }
        }
    }

    /// Returns each property with its verdict.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static Property, &Cell)> {
        PROPERTIES.iter().zip(&self.cells)
    }

    /// Returns the documented limit of a property that the variant does not promise.
    pub fn documented_limit(&self, property: &Property) -> Option<&'static str> {
        let unpromised = self.variant.unpromised.iter();
        unpromised.clone().find(|(id, _)| *id == property.id).map(|(_, limit)| *limit)
    }
}

/// Returns the report of a comparison.
pub fn document(columns: &[Column]) -> report::Compare {
    report::Compare { variants: columns.iter().map(Column::document).collect() }
}

impl Column {
    pub(super) fn document(&self) -> report::Variant {
        let Variant { id, mode, sentence, is_ours, .. } = self.variant;
        let hazard = |(quirk, meeting): &Hazard| report::Hazard {
            hazard: quirk.code(),
            evidence: quirk.evidence(),
            response: match meeting {
                Response::Harmed(..) => report::Response::Violated,
                Response::Refused(_) => report::Response::Refused,
                Response::Unharmed => report::Response::Unharmed,
            },
            property: match meeting {
                Response::Harmed(property, _) => Some(property.id),
                _ => None,
            },
            reason: match meeting {
                Response::Refused(why) => Some(why.clone()),
                _ => None,
            },
        };
        report::Variant {
            variant: id,
            mode: mode.name(),
            sentence,
            ours: *is_ours,
            scenarios: self.scenarios,
            states: self.states,
            duration_ms: milliseconds(self.time),
            verdicts: self.verdicts().map(|(of, cell)| self.cell(of, cell)).collect(),
            hazards: self.hazards.iter().map(hazard).collect(),
        }
    }

    fn cell(&self, property: &'static Property, cell: &Cell) -> report::Cell {
        let Cell { verdict, scenario, run } = cell;
        let replay =
            |run: &String| replay(&format!("{scenario} --variant {}", self.variant.id), run);
        report::Cell {
            verdict: crate::report::check::Verdict::new(property, verdict),
            scenario: scenario.clone(),
            violation: match verdict {
                Verdict::Violated(run) => Some(run.violation.clone()),
                _ => None,
            },
            documented_limit: self.documented_limit(property),
            run: run.clone(),
            replay: run.as_ref().map(replay),
        }
    }
}
