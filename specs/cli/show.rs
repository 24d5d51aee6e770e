//! `handoff show`: shows one run of a scenario, in one of several formats.

use super::output::{Output, Style};
use super::scenarios::{Named, Scenarios, cannot_start};
use super::{Exit, Failure};
use crate::counterexample::itf::itf;
use crate::counterexample::mermaid::mermaid;
use crate::counterexample::trace::trace;
use crate::counterexample::{Counterexample, token};
use crate::report::check::ScenarioHead;
use crate::report::run::{Run, replay};
use crate::report::show::Show;
use crate::report::{Body, text};
use crate::state::system::System;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Scenario file, the name of a built-in scenario or bug, or a size such as 3x2x4
    scenario: String,

    /// Run, as in the `replay:` line of a counterexample: `0*4.1` takes the first possible action
    /// four times, then the second one; actions are numbered in each state
    run: String,

    /// Use this variant of the protocol instead of the scenario's
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Formats of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// The steps, the changes that each made, and the violations at the end
    #[default]
    #[value(alias = "story")]
    Text,
    /// For `handoff replay`: the calls, one JSON object per line
    Trace,
    /// For viewers of Apalache and Quint traces: the states, as ITF JSON
    Itf,
    /// For Markdown: a Mermaid sequence diagram
    Mermaid,
    /// For scripts: one JSON document, as docs/json.md describes it
    Json,
}

impl Format {
    /// Returns the format for output other than a run; `None` for formats of runs.
    pub(super) fn style(self) -> Option<Style> {
        match self {
            Self::Text => Some(Style::Text),
            Self::Json => Some(Style::Json),
            Self::Trace | Self::Itf | Self::Mermaid => None,
        }
    }
}

/// A run to show.
pub(super) struct Job {
    pub(super) scenario: Named,
    pub(super) run: String,
    pub(super) format: Format,
}

pub(super) fn run(arguments: Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let Arguments { scenario, run, variant, format } = arguments;
    let scenario = Scenarios::of(scenario).read(variant.as_deref())?;
    let scenario = scenario.into_iter().next().expect("one was named");
    show(&Job { scenario, run, format }, out)
}

/// Shows a run. Fails if the run violates a property.
pub(super) fn show(job: &Job, out: &mut impl Write) -> Result<Exit, Failure> {
    let Job { scenario: (name, scenario), run, format } = job;
    let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
    let actions = token::decode(&system, run).map_err(Failure::Usage)?;
    let shown = Counterexample::judge(&system, &actions);
    let followed = &shown.followed;
    match format {
        Format::Text | Format::Json => {}
        Format::Trace => {
            for line in trace(scenario, followed) {
                writeln!(out, "{line}")?;
            }
        }
        Format::Itf => writeln!(out, "{}", itf(followed, &replay(name, run)))?,
        Format::Mermaid => write!(out, "{}", mermaid(followed, &notes(&shown)))?,
    }
    let exit = if shown.violated.is_empty() { Exit::Good } else { Exit::Bad };
    let Some(style) = format.style() else { return Ok(exit) };
    let report = Show { scenario: ScenarioHead::new(name, scenario), run: Run::new(&shown, name) };
    let mut output = Output::new(style, Vec::new(), out);
    output.text(|width| text::run::shown(&report.run, width))?;
    output.end(Body::Show(Box::new(report)), exit)
}

/// Returns the notes at the end of a diagram.
fn notes(shown: &Counterexample<'_>) -> Vec<String> {
    let note = shown.violated.iter();
    note.map(|it| format!("{} is violated: {}", it.property.id, it.violation)).collect()
}
