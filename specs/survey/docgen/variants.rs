//! The pages of the variants: an index with all verdicts, a page for each variant, and the defects.

use super::{Page, link, list, sentence, table};
use crate::check::Verdict;
use crate::properties::{self, Property};
use crate::report::compare as report;
use crate::report::text::compare::{legend, letters, table as verdicts};
use crate::survey::compare::{Cell, Column, document};
use crate::survey::phase_graph::mermaid;
use crate::survey::tables;
use handoff_model::variants::Variant;
use handoff_model::variants::defects::{self, Defect};

/// Generates `docs/variants/`: the index of the variants, a page for each, and the defects.
pub fn variants(columns: &[Column]) -> Vec<Page> {
    let mut pages = vec![index(columns)];
    pages.extend(columns.iter().map(page));
    pages.push(defects());
    pages
}

/// The name of a variant's page, without its folder.
fn file(variant: &Variant) -> String {
    format!("{}-{}.md", variant.id, variant.mode)
}

fn index(columns: &[Column]) -> Page {
    let source = "`handoff compare` and model/src/variants";
    let mut page = Page::new("variants/README.md", "Variants of the protocol", source);
    page.add(
        "Each variant is checked in every built-in scenario that it supports. The page of \
         [defects](defects.md) lists the bugs that can be planted in a variant.",
    );
    let compared = document(columns);
    let row = |(letter, (variant, column)): (char, (&report::Variant, &Column))| {
        let report::Variant { variant, mode, sentence, scenarios, states, .. } = variant;
        let name = format!("[{variant}, {mode}]({})", file(column.variant));
        let counts = [scenarios.to_string(), states.to_string()];
        let [scenarios, states] = counts;
        vec![letter.to_string(), name, (*sentence).to_owned(), scenarios, states]
    };
    let rows = letters().zip(compared.variants.iter().zip(columns)).map(row);
    page.add(&table(&["column", "variant", "what it does", "scenarios", "states"], rows));
    page.add("## Verdicts");
    page.add(&format!("```text\n{}```", verdicts(&compared)));
    page.add(&list(legend(&compared)));
    page
}

fn page(column: &Column) -> Page {
    let variant = column.variant;
    let Variant { id, mode, source, unpromised, .. } = variant;
    let from = "its tables in model/src/variants and model/src/protocol";
    let mut page = Page::new(format!("variants/{}", file(variant)), format!("{id}, {mode}"), from);
    page.add(&sentence(variant.sentence));
    page.add(&format!("Source: {source}."));
    for (property, limit) in *unpromised {
        let property = properties::find(property).expect("variants name properties");
        page.add(&format!("{} is not promised: {limit}.", link(property)));
    }
    let report::Variant { scenarios, states, .. } = column.document();
    let violations: Vec<_> = column.verdicts().filter_map(|it| violation(column, it)).collect();
    page.add("## Violated properties");
    if violations.is_empty() {
        page.add(&format!("None, in {scenarios} scenarios with {states} states."));
    } else {
        page.add(&format!(
            "In {scenarios} scenarios with {states} states, each by its cheapest run:"
        ));
        page.add(&table(&["property", "scenario", "faults", "steps", "command"], violations));
    }
    page.add("## Phases");
    page.add(
        "A solid edge leads to the next phase, a dashed one to the phase that a failure leads to \
         (rollback), and a thick one to the phase that a certain answer leads to. A grey phase is \
         reachable only after a failure.",
    );
    page.add(&format!("```mermaid\n{}```", mermaid(variant)));
    page.add(
        "In the tables, a call that fails is attempted that often before “on failure” applies; \
         “continue” means that the process goes on to the next call or phase all the same. A \
         call that fails with EINTR, EBUSY or EAGAIN has three attempts.",
    );
    page.add(&tables::of_variant(variant));
    page.add("[All variants](README.md)");
    page
}

fn violation(column: &Column, (property, cell): (&'static Property, &Cell)) -> Option<Vec<String>> {
    let Verdict::Violated(run) = &cell.verdict else { return None };
    let (scenario, variant) = (&cell.scenario, column.variant.id);
    let token = cell.run.as_ref()?;
    let command = format!("`handoff check {scenario} --variant {variant} --steps '{token}'`");
    let (faults, steps) = (run.faults.to_string(), run.actions.len().to_string());
    Some(vec![link(property), format!("`{scenario}`"), faults, steps, command])
}

fn defects() -> Page {
    let source = "model/src/variants/defects";
    let mut page = Page::new("variants/defects.md", "Defects", source);
    page.add(
        "A defect is a bug that a scenario can plant in a variant (`defects = [\"…\"]`), as \
         edits of its protocol. The checker must find each of them.",
    );
    let mut names: Vec<&str> = Vec::new();
    for defect in defects::all() {
        if !names.contains(&defect.variant) {
            names.push(defect.variant);
        }
    }
    for name in names {
        let of = defects::all().filter(|defect| defect.variant == name);
        page.add(&format!("## {name}"));
        let row = |defect: &Defect| {
            let Defect { id, sentence: text, source, mode, breaks, .. } = defect;
            let breaks = link(properties::find(breaks).expect("defects name properties"));
            let edits = tables::of_defect(defect).join("<br>");
            vec![
                format!("`{id}`"),
                mode.to_string(),
                sentence(text),
                (*source).to_owned(),
                breaks,
                edits,
            ]
        };
        let head = ["defect", "mode", "what it does", "source", "breaks", "changes"];
        page.add(&table(&head, of.map(row)));
    }
    page.add("[All variants](README.md)");
    page
}
