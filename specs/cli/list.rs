//! `handoff list`: the names that scenarios and options accept, with descriptions.

use super::{Exit, Failure, width};
use crate::properties::{PROPERTIES, Property};
use crate::report::layout::labelled;
use crate::scenario::corruption::CORRUPTIONS;
use crate::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in};
use crate::scenario::mutants::{of_variant, ours};
use handoff_model::variants::defects::{self, Defect};
use handoff_model::variants::{VARIANTS, Variant};
use handoff_sim_kernel::{Profile, Quirk};
use std::collections::BTreeMap;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// List only these
    #[arg(value_enum)]
    what: Option<What>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Scenarios,
    Variants,
    Properties,
    Defects,
    #[value(alias = "wrongs")]
    Corruptions,
    Mutants,
    Kernels,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    // Mutants are numerous, so they are listed only on request.
    let all = [
        What::Scenarios,
        What::Variants,
        What::Properties,
        What::Defects,
        What::Corruptions,
        What::Kernels,
    ];
    let wanted = arguments.what.map_or(all.to_vec(), |only| vec![only]);
    for what in wanted {
        let (title, rows) = rows(what);
        writeln!(out, "{title}")?;
        let column = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in rows {
            write!(out, "{}", labelled(&format!("  {name:column$}  "), &text, width()))?;
        }
        writeln!(out)?;
    }
    if arguments.what.is_none() {
        writeln!(
            out,
            "`handoff list mutants` lists mutants; `handoff explain NAME` explains a name."
        )?;
    }
    Ok(Exit::Good)
}

fn rows(what: What) -> (&'static str, Vec<(String, String)>) {
    match what {
        What::Scenarios => ("Built-in scenarios", scenarios()),
        What::Variants => ("Variants of the protocol (variant = \"…\", --variant)", variants()),
        What::Properties => {
            ("Properties: id, severity, title; the requirement and the reason", properties())
        }
        What::Defects => {
            ("Defects: known bugs that a scenario can plant (defects = [\"…\"])", defects())
        }
        What::Corruptions => {
            ("Corruptions that a scenario can inject (wrong = \"…\")", corruptions())
        }
        What::Mutants => {
            ("Mutants: parts of a protocol that can be left out (mutant = \"…\")", mutants())
        }
        What::Kernels => ("Simulated kernels (kernel = \"…\")", kernels()),
    }
}

fn scenarios() -> Vec<(String, String)> {
    let about = |name: &str| built_in(name).map(|scenario| scenario.about).unwrap_or_default();
    let all = BUILT_IN.iter().chain(FOR_RFC).chain(FOR_TYPE1);
    all.map(|(name, _)| ((*name).to_owned(), about(name))).collect()
}

fn variants() -> Vec<(String, String)> {
    let name = |v: &Variant| format!("{}, {}", v.id, v.mode);
    VARIANTS.iter().map(|v| (name(v), format!("{} ({})", v.sentence, v.source))).collect()
}

fn properties() -> Vec<(String, String)> {
    let head = |p: &Property| format!("{:<6}  {}", p.id, p.severity);
    let text = |p: &Property| format!("{}: {}; because {}", p.title, p.sentence, p.reason);
    PROPERTIES.iter().map(|property| (head(property), text(property))).collect()
}

fn defects() -> Vec<(String, String)> {
    let text = |d: &Defect| {
        format!("{} ({}; variant {}; violates {})", d.sentence, d.source, d.variant, d.breaks)
    };
    defects::all().map(|defect| (defect.id.to_owned(), text(defect))).collect()
}

fn corruptions() -> Vec<(String, String)> {
    CORRUPTIONS.iter().map(|wrong| (wrong.id.to_owned(), wrong.sentence.to_owned())).collect()
}

/// Returns each mutant with the variants that have it.
fn mutants() -> Vec<(String, String)> {
    let mut modes: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for variant in ours() {
        for mutant in of_variant(variant) {
            modes.entry(mutant).or_default().push(format!("{} {}", variant.id, variant.mode));
        }
    }
    modes.into_iter().map(|(mutant, words)| (mutant.to_string(), words.join(", "))).collect()
}

fn kernels() -> Vec<(String, String)> {
    let row = |profile: Profile| {
        let quirks: Vec<_> = profile.quirks().map(Quirk::code).collect();
        let quirks = if quirks.is_empty() { "none".to_owned() } else { quirks.join(", ") };
        (profile.name().to_owned(), format!("known hazards: {quirks}"))
    };
    Profile::all().map(row).collect()
}
