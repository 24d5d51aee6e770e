//! Pages of the documentation that are made of what there is and what a check finds: properties,
//! variants, the zoo.
//!
//! Nothing in them is typed in. A test makes them anew and compares; where it differs it says how
//! to write them.

use crate::counterexample::mermaid::mermaid;
use crate::counterexample::{Checked, Counterexample, Violation};
use crate::properties::{PROPERTIES, Property};
use crate::report::text::compare::{heads, legend, letters, table};
use crate::scenario::bugs::{self, KnownBug, Reproduction};
use crate::survey::bugs::mismatch;
use crate::survey::compare::{Column, document};
use crate::survey::phase_graph::dot;
use crate::survey::tables;
use handoff_checker::search::Limits;
use handoff_model::variants::defects;
use handoff_model::variants::{VARIANTS, Variant};
use handoff_model::vm::launch::LaunchError;
use std::fmt::Write;

/// `docs/variants.md`: what each variant keeps, its tables, its phases as a graph, and the rows in
/// which known bugs differ.
pub fn variants(columns: &[Column]) -> String {
    let mut text = String::from(
        "# The variants\n\nMade by `handoff check --all` and from the tables that the roles walk; \
         see `specs/survey/docgen.rs`.\n\n",
    );
    let compared = document(columns);
    for head in heads(&compared) {
        let _ = writeln!(text, "* {head}");
    }
    let _ = writeln!(text, "\n```text\n{}```\n", table(&compared));
    for line in legend(&compared) {
        let _ = writeln!(text, "* {line}");
    }
    text.push_str(
        "\n## Phases\n\nFirst the rows of the tables: of each phase what follows, what undoes it, \
         and how often a call of it is tried. Then the same as a graph: a line is what follows, \
         a dashed one the way back, a dotted one a jump; grey is only come to on a way back.\n",
    );
    for (letter, column) in letters().zip(columns) {
        let mode = column.variant.mode;
        let (id, source) = (column.variant.id, column.variant.source);
        let (rows, picture) = (tables::of_variant(column.variant), dot(column.variant));
        let _ = writeln!(
            text,
            "\n### {letter}: {id}, {mode}\n\nAfter: {source}.\n\n```text\n{rows}```\n\n\
             ```dot\n{picture}```"
        );
    }
    text.push_str("\n## Known bugs as other rows\n\n```text\n");
    text.extend(defects::all().map(tables::of_defect));
    text.push_str("```\n");
    text
}

/// `docs/properties.md`: what must hold, why, who promises it, and which known bugs break it.
pub fn properties() -> String {
    let mut text = String::from(
        "# The properties\n\nMade from the registry (`specs/properties/mod.rs`); see \
         `specs/survey/docgen.rs`. What a variant does not promise, and what a check says \
         of each, is in [variants.md](variants.md).\n",
    );
    for property in PROPERTIES {
        let unpromised =
            |variant: &&Variant| variant.unpromised.iter().any(|(id, _)| *id == property.id);
        let mut not_by: Vec<_> = VARIANTS.iter().filter(unpromised).map(|v| v.id).collect();
        not_by.dedup();
        let breaks = defects::all().filter(|defect| defect.breaks == property.id);
        let breaks: Vec<_> = breaks.map(|defect| format!("`{}`", defect.id)).collect();
        let by = match not_by.as_slice() {
            [] => "every variant".to_owned(),
            some => format!("every variant but {}", some.join(", ")),
        };
        let asked = match property.scope.describe() {
            "" => String::new(),
            otherwise => format!(" Not asked where {otherwise}."),
        };
        let Property { id, sentence, reason, .. } = property;
        let _ = writeln!(text, "\n## {id}\n\n**{sentence}**: {reason}.{asked} Promised by {by}.");
        if !breaks.is_empty() {
            let _ = writeln!(text, "\nBroken by {}.", breaks.join(", "));
        }
    }
    text
}

/// `docs/zoo.md`: every known bug, and the run that shows it.
///
/// # Errors
/// Fails as [`check`](crate::check::check) does.
pub fn bugs() -> Result<String, LaunchError> {
    let mut text = String::from(
        "# The zoo\n\nEvery known bug of QEMU and Linux in handing devices over, found again by a \
         check. Made by `handoff zoo`; see `specs/survey/docgen.rs`. Where the cause is inside of \
         the VMM (a list, a pointer), what came of it is planted: the process dies there, or does \
         not make those calls. The numbers of K are not those of the \
         kernel's hazards in [variants.md](variants.md).\n\n\
         | bug | what goes wrong | source | property | steps | faults \
         |\n|---|---|---|---|---|---|\n",
    );
    let mut stories = String::new();
    for known in bugs::all() {
        let KnownBug { id, sentence, source, .. } = known;
        let found = match &known.reproduction {
            Reproduction::LockModel(by) => format!("in the kernel's locks: `{by}` | | "),
            Reproduction::Row(row, kernel) => {
                let mismatch = mismatch(known).expect("the zoo is tested");
                let fails = format!("as simulated, {kernel} fails the row `{row}`");
                let _ = writeln!(
                    stories,
                    "\n### {id}: {sentence}\n\nLinux {kernel}, as simulated, fails the row \
                     `{row}`.\n\n```text\n{mismatch}\n```"
                );
                format!("{fails} | | ")
            }
            Reproduction::NotABug(why) => format!("refuted: {why} | | "),
            Reproduction::OutOfScope(why) => format!("in no world: {why} | | "),
            Reproduction::Checked(property, _) => {
                let scenario = known.scenario().expect("it is found by a check");
                let checked = Checked::new(&scenario, Limits::default())?;
                let found = checked.counterexample(property).expect("the zoo is tested");
                counterexample_of(&mut stories, known, &found);
                let steps = found.followed.steps();
                let faults = steps.iter().filter(|step| step.action.is_fault()).count();
                format!("{property} | {} | {faults}", steps.len())
            }
        };
        let _ = writeln!(text, "| {id} | {sentence} | {source} | {found} |");
    }
    Ok(text + "\n## As stories\n" + &stories)
}

fn counterexample_of(text: &mut String, known: &KnownBug, found: &Counterexample<'_>) {
    let token = found.token();
    for Violation { property, violation: wrong, causes: because, .. } in &found.violated {
        let diagram = mermaid(&found.followed, std::slice::from_ref(wrong));
        let KnownBug { id, sentence, .. } = known;
        let _ = writeln!(
            text,
            "\n### {id}: {sentence}\n\n{}: {}. It is violated \
             {because}.\n\n```mermaid\n{diagram}```\n\n`handoff check {id} --steps {token}`",
            property.id, property.sentence
        );
    }
}
