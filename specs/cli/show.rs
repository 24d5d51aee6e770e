//! `handoff check SCENARIO --steps RUN`: one run, told in one of several ways.

use super::check::cannot_start;
use super::{Exit, Failure, width};
use crate::counterexample::causes::because;
use crate::counterexample::itf::itf;
use crate::counterexample::mermaid::mermaid;

use crate::counterexample::report;
use crate::counterexample::{Followed, trace};
use crate::properties::{Judgement, PROPERTIES, Property};
use crate::scenario::Scenario;
use crate::state::system::System;
use std::io::Write;

/// How a run is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: the steps, what each changed, and what is wrong in the end
    #[default]
    Story,
    /// For `handoff replay`: the calls, one JSON object a line
    Trace,
    /// For viewers of Apalache's and Quint's traces: the states, as ITF JSON
    Itf,
    /// For Markdown: a Mermaid sequence diagram
    Mermaid,
}

/// Tells one run of one scenario. Bad where something is wrong in its end.
pub(super) fn run(
    scenarios: &[(String, Scenario)],
    token: &str,
    format: Format,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let [(name, scenario)] = scenarios else {
        return Err(Failure::Usage("--steps needs exactly one scenario".to_owned()));
    };
    let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
    let actions = report::from_token(&system, token).map_err(Failure::Usage)?;
    let followed = Followed::of(&system, &actions);
    let wrong = wrong(&followed);
    match format {
        Format::Story => tell(&followed, &wrong, out)?,
        Format::Trace => {
            for line in trace::trace(scenario, &followed) {
                writeln!(out, "{line}")?;
            }
        }
        Format::Itf => {
            let source = format!("handoff check {name} --steps {token}");
            writeln!(out, "{}", itf(&followed, &source))?;
        }
        Format::Mermaid => {
            let wrong: Vec<_> = wrong.iter().map(|(_, words)| words.clone()).collect();
            write!(out, "{}", mermaid(&followed, &wrong))?;
        }
    }
    Ok(if wrong.is_empty() { Exit::Good } else { Exit::Bad })
}

/// What does not hold in the end of a run.
fn wrong(followed: &Followed<'_>) -> Vec<(&'static Property, String)> {
    let system = followed.system();
    let judged = PROPERTIES.iter().zip(system.judge(followed.last()));
    let repeats = followed.repeats_from().map(|from| {
        format!("the state after step {from} is this one: the steps from there can repeat for ever")
    });
    let wrong = |(property, judgement): (&'static Property, Option<Judgement>)| {
        let wrong = match judgement {
            Some(Judgement::Fails(wrong)) => Some(wrong),
            None => None,
            _ => against_last(property, followed)
                .or_else(|| repeats.clone().filter(|_| property.is_liveness())),
        };
        Some((property, format!("{} does not hold: {}", property.id, wrong?)))
    };
    judged.filter_map(wrong).collect()
}

/// What a property has against the last step.
fn against_last(property: &Property, followed: &Followed<'_>) -> Option<String> {
    let [.., before, last] = followed.states() else { return None };
    followed.system().judge_step(property, before, last)
}

fn tell(
    followed: &Followed<'_>,
    wrong: &[(&'static Property, String)],
    out: &mut impl Write,
) -> Result<(), Failure> {
    write!(out, "{}", report::replayed(followed, width()))?;
    for (property, words) in wrong {
        let mut text = String::new();
        report::paragraph(&mut text, &format!("  {words}"), width());
        report::paragraph(&mut text, &format!("    {}", because(followed, property)), width());
        write!(out, "{text}")?;
    }
    Ok(())
}
