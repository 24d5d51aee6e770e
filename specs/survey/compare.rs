//! Variants side by side: what each of them keeps, over the scenarios that are for it.
//!
//! Of several scenarios the verdict that says the worst counts: a violation, the cheapest of several; then what was cut short; a property
//! is proved where it is proved in some and nothing speaks against it in any other.

use crate::check::{Report, Verdict, check};
use crate::properties::{PROPERTIES, Property};
use crate::scenario::Scenario;
use crate::survey::hazards::{Meeting, meet};
use handoff_checker::search::Limits;
use handoff_model::variants::{VARIANTS, Variant};
use handoff_model::vm::Dma;
use handoff_model::vm::launch::LaunchError;
use handoff_sim_kernel::Quirk;
use std::cmp::Reverse;
use std::time::Duration;

/// What a variant keeps.
#[derive(Debug)]
pub struct Column {
    /// Which.
    pub variant: &'static Variant,
    /// For each of [`PROPERTIES`], in their order.
    pub cells: Vec<Cell>,
    /// What it does about each hazard of the kernel; nothing where it has no use for CHANGE_PROCESS.
    pub hazards: Vec<Hazard>,
    /// How many scenarios there were of its kind.
    pub scenarios: usize,
    /// The states of all together.
    pub states: u64,
    /// The time that they took.
    pub time: Duration,
}

/// What a variant does about a hazard of the kernel.
pub type Hazard = (Quirk, Meeting);

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

/// What all variants keep over these scenarios, but those that none is for. Whatever variant a scenario asks for, each takes its turn.
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
    let hazards = Vec::new();
    let mut column =
        Column { variant, cells, hazards, scenarios: 0, states: 0, time: Duration::ZERO };
    if variant.kernel.is_none() && variant.dma == Dma::Iommufd {
        let meet = |quirk| Ok((quirk, meet(variant, quirk)?));
        column.hazards = Quirk::ALL.into_iter().map(meet).collect::<Result<_, _>>()?;
    }
    for (name, scenario) in scenarios.iter().filter(|(_, it)| it.is_for(variant)) {
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

/// What the columns are called.
pub fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// What each column is of.
pub fn heads(columns: &[Column]) -> Vec<String> {
    let head = |(letter, column): (char, &Column)| {
        let Column { scenarios, states, .. } = column;
        let Variant { id, mode, sentence, .. } = column.variant;
        let mode = format!("{mode:?}").to_lowercase();
        format!("{letter}  {id}, {mode}: {sentence} ({scenarios} scenarios, {states} states)")
    };
    letters().zip(columns).map(head).collect()
}

/// Properties and hazards, and what is said of each.
pub fn table(columns: &[Column]) -> String {
    let head: Vec<_> = letters().take(columns.len()).map(String::from).collect();
    let mut lines = vec![line("", &head)];
    lines.extend(PROPERTIES.iter().enumerate().map(|(at, property)| {
        let words = columns.iter().map(|column| words(column, property, &column.cells[at]));
        line(property.id, &words.collect::<Vec<_>>())
    }));
    lines.extend(Quirk::ALL.into_iter().enumerate().map(|(at, quirk)| {
        let met = |column: &Column| match column.hazards.get(at) {
            None => "-".to_owned(),
            Some((_, Meeting::Unharmed)) => "unharmed".to_owned(),
            Some((_, Meeting::Refused(_))) => "refuses".to_owned(),
            Some((_, Meeting::Harmed(property, _))) => property.id.to_owned(),
        };
        line(quirk.code(), &columns.iter().map(met).collect::<Vec<_>>())
    }));
    lines.concat()
}

fn line(first: &str, cells: &[String]) -> String {
    const COLUMN: usize = 14;
    let padded = |cell: &String| format!("{cell:COLUMN$}");
    let cells = cells.iter().map(padded).collect::<Vec<_>>().concat();
    format!("{first:9}{}\n", cells.trim_end())
}

fn words(column: &Column, property: &Property, cell: &Cell) -> String {
    match &cell.verdict {
        Verdict::Violated(_) if column.told_instead(property).is_some() => "not promised".into(),
        Verdict::Violated(run) if run.faults == 0 => format!("{}", run.actions.len()),
        Verdict::Violated(run) => format!("{} +{}", run.actions.len(), run.faults),
        Verdict::Proved => "proved".into(),
        Verdict::HoldsWithin(_) => "holds within".into(),
        Verdict::Inconclusive(_) => "inconclusive".into(),
        Verdict::Vacuous => "vacuous".into(),
        Verdict::NotAsked(_) => "not asked".into(),
    }
}

/// How to read the table.
pub fn legend(columns: &[Column]) -> Vec<String> {
    let mut lines =
        vec!["A number: violated, by so many steps; +n: n of them are faults.".to_owned()];
    for quirk in Quirk::ALL {
        lines.push(format!("{}: {}", quirk.code(), quirk.evidence()));
    }
    lines.push("A property in the row of a hazard is violated because of it, in a small world in which nothing else goes wrong.".to_owned());
    for (letter, column) in letters().zip(columns) {
        for (quirk, meeting) in &column.hazards {
            if let Meeting::Refused(why) = meeting {
                lines.push(format!("{letter} refuses {}: {why}", quirk.code()));
            }
        }
    }
    lines
}
