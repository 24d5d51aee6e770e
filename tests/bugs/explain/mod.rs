//! Tests of explained runs: the sentence that gives the cause, the changes of each step, and the
//! run in other tools' formats.

mod formats;
mod why;

use handoff_checker::search::Limits;
use handoff_model::variants::defects::{DEFECTS, Defect};
use handoff_specs::check::{Run, check};
use handoff_specs::counterexample::Followed;
use handoff_specs::properties::Property;
use handoff_specs::scenario::Scenario;
use handoff_specs::state::action::Action;
use handoff_specs::state::system::System;
use stateright::Model;
use std::sync::OnceLock;

/// The smallest scenario in which a planted bug shows, and the run that violates the property.
fn violated(defect: &str, property: &str) -> (Scenario, Run) {
    let defect = handoff_model::variants::defects::find(defect).expect("a known bug");
    let scenario = crate::bugs::defects::scenario(defect);
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let found = report.violations().find(|(found, _)| found.id == property);
    let run = found.unwrap_or_else(|| panic!("{} keeps {property}", defect.id)).1.clone();
    (scenario, run)
}

/// Asserts that the sentence contains these parts, in this order.
#[track_caller]
fn says(sentence: &str, parts: &[&str]) {
    let mut rest = sentence;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} (in order) in: {sentence}"));
        rest = &rest[at + part.len()..];
    }
}

/// Calls `look` with every violation by every planted bug, followed.
fn each_violation(mut look: impl FnMut(&Scenario, &Followed<'_>, &'static Property)) {
    static ALL: OnceLock<Vec<(Scenario, Vec<Violation>)>> = OnceLock::new();
    let all = ALL.get_or_init(|| DEFECTS.iter().map(violations).collect());
    for (scenario, violations) in all {
        let system = System::new(scenario).expect("set up");
        for (property, actions) in violations {
            look(scenario, &Followed::of(&system, actions), property);
        }
    }
}

type Violation = (&'static Property, Vec<Action>);

fn violations(defect: &Defect) -> (Scenario, Vec<Violation>) {
    let scenario = crate::bugs::defects::scenario(defect);
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let found = report.violations().map(|(property, run)| (property, run.actions.clone()));
    let found = found.collect();
    (scenario, found)
}

/// Maximum length of a run in steps, because some runs cycle.
const STEPS_MAX: usize = 200;

/// A pseudo-random run in which the processes step most of the time and other actions are rare.
pub(crate) fn walk(system: &System, seed: u64) -> Vec<Action> {
    let (mut world, mut run, mut state) = (system.init().clone(), Vec::new(), seed);
    loop {
        let mut enabled = Vec::new();
        system.actions(&world, &mut enabled);
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(state >> 40).expect("24 bits");
        if !(pick / 1024).is_multiple_of(30)
            && enabled.iter().any(|action| matches!(action, Action::Step(_)))
        {
            enabled.retain(|action| matches!(action, Action::Step(_)));
        }
        if enabled.is_empty() || run.len() == STEPS_MAX {
            return run;
        }
        let action = enabled.swap_remove(pick % enabled.len());
        world.act(system.constants(), &action);
        run.push(action);
    }
}
