//! `handoff bugs`: reproduces every known bug, or shows one with its scenario and counterexample.

use super::output::StyleArgument;
use super::scenarios::cannot_start;
use super::{Exit, Failure};
use crate::check;
use crate::counterexample::{Checked, token};
use crate::report::bugs::{Bug, Bugs, Cheapest, FoundByCheck, ShownBy};
use crate::report::check::ScenarioHead;
use crate::report::run::{Run, replay};
use crate::report::{Body, text};
use crate::scenario::bugs::{self, KnownBug, Reproduction, find};
use crate::survey::bugs::mismatch;
use handoff_checker::search::Limits;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bug to show, such as Z09 [default: a list of all]
    bug: Option<String>,

    #[command(flatten)]
    style: StyleArgument,
}

/// Fails if a bug is not reproduced.
pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut output = arguments.style.to(out);
    let mut bugs = Vec::new();
    if let Some(id) = &arguments.bug {
        let known = find(id).ok_or_else(|| {
            Failure::Usage(format!("{id:?} is not a known bug; `handoff bugs` lists all"))
        })?;
        let bug = bug(known, true)?;
        output.text(|width| text::bugs::bug(&bug, width))?;
        bugs.push(bug);
    } else {
        output.text(|_| text::bugs::head())?;
        for known in bugs::all() {
            let bug = bug(known, false)?;
            output.text(|width| text::bugs::line(&bug, width))?;
            bugs.push(bug);
        }
        output.text(text::bugs::legend)?;
    }
    let are_found = bugs.iter().all(|bug| bug.reproduced);
    let exit = if are_found { Exit::Good } else { Exit::Bad };
    output.end(Body::Bugs(Bugs { bugs }), exit)
}

/// Reproduces a bug.
fn bug(known: &KnownBug, with_steps: bool) -> Result<Bug, Failure> {
    let shown_by = match &known.reproduction {
        Reproduction::LockModel(test) => ShownBy::LockModel { test },
        Reproduction::NotABug(reason) => ShownBy::NotABug { reason },
        Reproduction::OutOfScope(reason) => ShownBy::OutOfScope { reason },
        Reproduction::Row(fact, kernel) => {
            let mismatch = mismatch(known).map(|mismatch| mismatch.to_string());
            ShownBy::Fact { fact, kernel, mismatch }
        }
        Reproduction::Checked(property, _) => {
            ShownBy::Check(Box::new(found_by_check(known, property, with_steps)?))
        }
    };
    let reproduced = match &shown_by {
        ShownBy::Check(check) => check.cheapest.is_some(),
        ShownBy::Fact { mismatch, .. } => mismatch.is_some(),
        _ => true,
    };
    let KnownBug { id, sentence, source, .. } = known;
    Ok(Bug { bug: id, sentence, source, reproduced, shown_by })
}

fn found_by_check(
    known: &KnownBug,
    property: &'static str,
    with_steps: bool,
) -> Result<FoundByCheck, Failure> {
    let scenario = known.scenario().expect("it is found by a check");
    let checked = Checked::new(&scenario, Limits::default())
        .map_err(|error| cannot_start(&scenario, &error))?;
    let found = checked.report.violations().find(|(of, _)| of.id == property);
    let cheapest = |(_, found): (_, &check::Run)| {
        let run = token::encode(&checked.system, &found.actions);
        let (steps, faults) = (found.actions.len(), found.faults);
        Cheapest { steps, faults, replay: replay(known.id, &run), run }
    };
    let counterexample = with_steps.then(|| checked.counterexample(property)).flatten();
    Ok(FoundByCheck {
        property,
        defects: ScenarioHead::new(known.id, &scenario).defects,
        scenario: known.world().map(|world| world.text()).unwrap_or_default(),
        cheapest: found.map(cheapest),
        counterexample: counterexample.map(|found| Run::new(&found, known.id)),
    })
}
