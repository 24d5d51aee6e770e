//! `handoff list`: what there is to check, to plant and to ask.

use super::{Exit, Failure, width};
use crate::properties::PROPERTIES;
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
    /// Only this
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
    // Mutants are so many that they are listed only where they are asked for.
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
    Ok(Exit::Good)
}

fn rows(what: What) -> (&'static str, Vec<(String, String)>) {
    match what {
        What::Scenarios => ("Built-in scenarios", scenarios()),
        What::Variants => ("Variants of the protocol (variant = \"…\", --variant)", variants()),
        What::Properties => ("Properties: what must hold, and why", properties()),
        What::Defects => ("Known bugs that a scenario can plant (defects = [\"…\"])", defects()),
        What::Corruptions => {
            ("What a scenario can tell that is not so (wrong = \"…\")", corruptions())
        }
        What::Mutants => ("What a protocol can leave out (mutant = \"…\")", mutants()),
        What::Kernels => ("Simulated kernels", kernels()),
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
    let text = |p: &crate::properties::Property| format!("{}; for {}", p.sentence, p.reason);
    PROPERTIES.iter().map(|property| (property.id.to_owned(), text(property))).collect()
}

fn defects() -> Vec<(String, String)> {
    let text = |d: &Defect| {
        format!("{} ({}; of {}; breaks {})", d.sentence, d.source, d.variant, d.breaks)
    };
    defects::all().map(|defect| (defect.id.to_owned(), text(defect))).collect()
}

fn corruptions() -> Vec<(String, String)> {
    CORRUPTIONS.iter().map(|wrong| (wrong.id.to_owned(), wrong.sentence.to_owned())).collect()
}

/// Each with the forms that have it.
fn mutants() -> Vec<(String, String)> {
    let mut modes: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for form in ours() {
        let word = form.mode;
        for mutant in of_variant(form) {
            modes.entry(mutant).or_default().push(format!("{}, {word}", form.id));
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
