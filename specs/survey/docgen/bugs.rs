//! The pages of the known bugs: an index, and a page for each.

use super::{Page, link, sentence, table};
use crate::counterexample::Checked;
use crate::counterexample::mermaid::mermaid;
use crate::properties::{self, Property};
use crate::scenario::Scenario;
use crate::scenario::bugs::{self, KnownBug, Reproduction};
use crate::survey::bugs::mismatch;
use handoff_checker::search::Limits;
use handoff_model::vm::launch::LaunchError;
use std::fmt::Write;

const SOURCE: &str = "specs/scenario/bugs";

/// Instructions for reading the diagram of a run.
const LEGEND: &str = "How to read the diagram: each arrow is a system call, from the process that \
                      makes it to the kernel, to its guest, or, if it sends a message, to the \
                      other process. An arrow with a cross is a call that failed. A line gives \
                      the number of the step, the phase of the protocol, the call, and its \
                      result. A note is a message that was received, a fault that the \
                      environment injected, an error that a process reports, or, at the end, the \
                      violation.";

/// The letters of the catalog, each with a heading.
const ORIGINS: &[(char, &str)] = &[
    ('Z', "Z: bugs of QEMU that were fixed or reported"),
    ('K', "K: bugs of Linux"),
    ('L', "L: bugs that were suspected from reading the code of QEMU and Linux"),
];

/// Generates `docs/bugs/`: the index of the known bugs, and a page for each.
///
/// # Errors
/// Fails as [`check`](crate::check::check) does.
pub fn bugs() -> Result<Vec<Page>, LaunchError> {
    let mut index = Page::new("bugs/README.md", "Known bugs", SOURCE);
    index.add(
        "Known bugs of QEMU and Linux in handing over iommufds, VFIO devices and containers. Each \
         is reproduced in the simulator, except those for which the index gives a reason. If the \
         cause lies inside the VMM (a list, a pointer), its effect on system calls is planted: \
         the process exits at that point, or omits calls.",
    );
    index.add(
        "Faults and steps are those of the shortest run that violates the property. `handoff bugs \
         ID` prints that run. The kernel's hazards, H1 to H9, are not bugs of this catalog; see \
         [variants](../variants/README.md).",
    );
    let mut pages = Vec::new();
    for (letter, heading) in ORIGINS {
        let mut rows = Vec::new();
        for known in bugs::all().filter(|known| known.id.starts_with(*letter)) {
            let (page, row) = page(known)?;
            pages.push(page);
            rows.push(row);
        }
        index.add(&format!("## {heading}"));
        let head = ["bug", "title", "source", "found by", "property", "faults", "steps"];
        index.add(&table(&head, rows));
    }
    pages.insert(0, index);
    Ok(pages)
}

/// The way in which a bug is found, as cells of the index.
struct Found {
    by: String,
    property: String,
    faults: String,
    steps: String,
}

impl Found {
    fn by(by: impl Into<String>) -> Self {
        let none = String::new;
        Self { by: by.into(), property: none(), faults: none(), steps: none() }
    }
}

/// Generates the page of a bug, and its row of the index.
fn page(known: &KnownBug) -> Result<(Page, Vec<String>), LaunchError> {
    let KnownBug { id, title, sentence: what, source, .. } = known;
    let path = format!("bugs/{id}.md");
    let mut page = Page::new(path, format!("{id}: {title}"), SOURCE);
    page.add(&sentence(what));
    page.add(&format!("Source: {source}."));
    let found = match &known.reproduction {
        Reproduction::Checked(property, _) => {
            let property = properties::find(property).expect("the catalog is tested");
            checked(&mut page, known, property)?
        }
        Reproduction::Row(fact, kernel) => {
            let mismatch = mismatch(known).expect("the catalog is tested");
            page.add("## How it is found");
            page.add(&format!(
                "The fact `{fact}` of the conformance suite fails on the simulated Linux {kernel}:"
            ));
            page.add(&format!("```text\n{mismatch}\n```"));
            page.add(&format!("To reproduce it: `handoff bugs {id}`."));
            Found::by(format!("conformance fact `{fact}` on Linux {kernel}"))
        }
        Reproduction::LockModel(test) => {
            page.add("## How it is found");
            page.add(
                "No order of whole calls shows it, only an interleaving within calls. A test of \
                 the simulated kernel explores all interleavings of its locks and finds it:",
            );
            let command = "cargo test -p handoff-sim-kernel --test locking";
            page.add(&format!("```sh\n{command} {test}\n```"));
            Found::by("lock model")
        }
        Reproduction::NotABug(reason) => {
            page.add(&format!("It is not a bug: {}", reason_of(reason)));
            Found::by("not a bug")
        }
        Reproduction::OutOfScope(reason) => {
            page.add(&format!("No scenario shows it: {}", reason_of(reason)));
            Found::by("out of scope")
        }
    };
    let Found { by, property, faults, steps } = found;
    let name = format!("[{id}]({id}.md)");
    let row = [name, (*title).to_owned(), (*source).to_owned(), by, property, faults, steps];
    page.add("[All known bugs](README.md)");
    Ok((page, row.to_vec()))
}

fn reason_of(reason: &str) -> String {
    format!("{}.", reason.trim_end_matches('.'))
}

/// Adds the property that a bug breaks, the command that reproduces it, and the shortest run.
fn checked(page: &mut Page, known: &KnownBug, property: &Property) -> Result<Found, LaunchError> {
    let scenario = known.scenario().expect("a check finds it");
    let checked = Checked::new(&scenario, Limits::default())?;
    let found = checked.counterexample(property.id).expect("the catalog is tested");
    let steps = found.followed.steps();
    let faults = steps.iter().filter(|step| step.action.is_fault()).count();
    page.add("## What it breaks");
    page.add(&format!("{}: {}", link(property), sentence(property.sentence)));
    page.add(&format!("Why that matters: {}", reason_of(property.reason)));
    page.add("## How it is found");
    page.add(&planted(&scenario));
    let length = match (steps.len(), faults) {
        (steps, 0) => format!("{steps} steps without a fault"),
        (steps, 1) => format!("{steps} steps with one fault"),
        (steps, faults) => format!("{steps} steps with {faults} faults"),
    };
    page.add(&format!("A check finds the violation by a run of {length}:"));
    let (id, token) = (known.id, found.token());
    page.add(&format!("```sh\nhandoff check {id} --steps '{token}'\n```"));
    page.add(&format!("`handoff bugs {id}` also prints the scenario."));
    page.add("## The shortest run");
    for violated in &found.violated {
        page.add(&format!("{} is violated {}.", violated.property.id, violated.causes));
        let diagram = mermaid(&found.followed, std::slice::from_ref(&violated.violation));
        page.add(&format!("```mermaid\n{diagram}```"));
    }
    page.add(LEGEND);
    Ok(Found {
        by: "check".to_owned(),
        property: link(property),
        faults: faults.to_string(),
        steps: steps.len().to_string(),
    })
}

/// Describes the scenario of a bug: variant, mode, kernel, and what is planted in it.
fn planted(scenario: &Scenario) -> String {
    let Scenario { variant, mode, kernel, defects, corruption, .. } = scenario;
    let mut text = format!(
        "The scenario runs the variant `{}` by {mode} on Linux {}",
        variant.id,
        kernel.name()
    );
    for defect in defects {
        let _ = write!(text, ", with the defect `{}`: {}", defect.id, defect.sentence);
    }
    if let Some(corruption) = corruption {
        let _ = write!(text, ", with the corruption `{}`: {}", corruption.id, corruption.sentence);
    }
    text + "."
}
