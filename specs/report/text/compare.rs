//! Variants side by side as text: a legend for the columns, the table, and the violating runs.

use crate::report::check::VerdictKind;
use crate::report::compare::{Cell, Compare, Hazard, Response, Variant};
use crate::report::layout::paragraph;
use handoff_sim_kernel::Quirk;

/// Returns the names of the columns.
pub fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// Writes a whole comparison.
pub fn compare(compare: &Compare, width: usize) -> String {
    let wrapped = |line: &String| paragraph(line, width);
    let heads: String = heads(compare).iter().map(wrapped).collect();
    let legend: String = legend(compare).iter().map(wrapped).collect();
    let runs = letters().zip(&compare.variants).flat_map(|(letter, variant)| runs(letter, variant));
    let runs: String = runs.map(|line| wrapped(&line)).collect();
    let table = table(compare);
    format!("{heads}\n{table}\n{legend}\nThe runs by which they do not:\n\n{runs}")
}

/// Returns what each column is of.
pub fn heads(compare: &Compare) -> Vec<String> {
    let head = |(letter, of): (char, &Variant)| {
        let Variant { variant, mode, sentence, scenarios, states, .. } = of;
        format!("{letter}  {variant}, {mode}: {sentence} ({scenarios} scenarios, {states} states)")
    };
    letters().zip(&compare.variants).map(head).collect()
}

/// Returns properties and hazards, and what is said of each.
pub fn table(compare: &Compare) -> String {
    let variants = &compare.variants;
    let head: Vec<_> = letters().take(variants.len()).map(String::from).collect();
    let mut lines = vec![line("", &head)];
    let first = variants.first().map_or(&[][..], |variant| &variant.verdicts);
    lines.extend(first.iter().enumerate().map(|(at, cell)| {
        let said: Vec<_> = variants.iter().map(|variant| describe(&variant.verdicts[at])).collect();
        line(cell.verdict.property, &said)
    }));
    lines.extend(Quirk::ALL.into_iter().map(|quirk| {
        let response = |variant: &Variant| {
            let found = variant.hazards.iter().find(|hazard| hazard.hazard == quirk.code());
            found.map_or("-", response).to_owned()
        };
        line(quirk.code(), &variants.iter().map(response).collect::<Vec<_>>())
    }));
    lines.concat()
}

fn response(hazard: &Hazard) -> &'static str {
    match hazard.response {
        Response::Unharmed => "unharmed",
        Response::Refused => "refuses",
        Response::Violated => hazard.property.unwrap_or_default(),
    }
}

fn line(first: &str, cells: &[String]) -> String {
    const COLUMN: usize = 14;
    let padded = |cell: &String| format!("{cell:COLUMN$}");
    let cells = cells.iter().map(padded).collect::<Vec<_>>().concat();
    format!("{first:9}{}\n", cells.trim_end())
}

fn describe(cell: &Cell) -> String {
    let word = match cell.verdict.verdict {
        VerdictKind::Violated if cell.is_not_promised() => "not promised",
        VerdictKind::Violated => return length(cell),
        VerdictKind::Proved => "proved",
        VerdictKind::HoldsWithin => "holds within",
        VerdictKind::Inconclusive => "inconclusive",
        VerdictKind::Vacuous => "vacuous",
        VerdictKind::NotApplicable => "not asked",
    };
    word.to_owned()
}

fn length(cell: &Cell) -> String {
    let steps = cell.verdict.steps.unwrap_or_default();
    match cell.verdict.faults {
        None | Some(0) => steps.to_string(),
        Some(faults) => format!("{steps} +{faults}"),
    }
}

/// Returns how to read the table.
pub fn legend(compare: &Compare) -> Vec<String> {
    let mut lines =
        vec!["A number: violated, by so many steps; +n: n of them are faults.".to_owned()];
    for quirk in Quirk::ALL {
        lines.push(format!("{}: {}", quirk.code(), quirk.evidence()));
    }
    lines.push(
        "A property in the row of a hazard is violated because of it, in a small world in \
                which nothing else goes wrong."
            .to_owned(),
    );
    for (letter, variant) in letters().zip(&compare.variants) {
        for Hazard { hazard, reason, .. } in &variant.hazards {
            lines.extend(reason.iter().map(|why| format!("{letter} refuses {hazard}: {why}")));
        }
    }
    lines
}

/// How to see each run by which a variant violates something, and what stopped the search.
fn runs(letter: char, variant: &Variant) -> Vec<String> {
    let line = |cell: &Cell| {
        let Cell { verdict, scenario, violation, documented_limit, replay, .. } = cell;
        let said = match (replay, &verdict.stopped_by) {
            (Some(replay), _) => {
                let violation = violation.as_deref().unwrap_or_default();
                format!("{}: {replay}", documented_limit.unwrap_or(violation))
            }
            (None, Some(limit)) => format!("in {scenario} cut by {limit}"),
            (None, None) => return None,
        };
        Some(format!("{letter}  {}  {said}", verdict.property))
    };
    variant.verdicts.iter().filter_map(line).collect()
}
