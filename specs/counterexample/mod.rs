//! Counterexamples: a run that violates properties, its causes, and the run in other formats.
//!
//! A check returns a run as a list of actions. [`Followed`] executes it again from the initial
//! state, and keeps every state and the effects of every action. A [`Counterexample`] is such a run
//! with every property that it violates.
//!
//! | part | produced by |
//! |---|---|
//! | the causes of a violation, in a sentence | [`causes`](fn@causes) |
//! | the states, for viewers of Apalache's and Quint's traces | [`itf`] |
//! | a sequence diagram | [`mermaid`] |
//! | the calls, for `handoff replay` | [`trace`] |
//! | a token from which the run can be reproduced | [`token`] |
//!
//! [`report`](crate::report) writes the text and JSON forms.

mod ablation;
pub mod causes;
mod followed;
mod interventions;
pub mod itf;
pub mod mermaid;
pub mod token;
pub mod trace;

pub use followed::{Followed, Position, Step};

use crate::check::packed::PackedSystem;
use crate::check::{PointOfNoReturn, Report, Run, check_system};
use crate::properties::{Judgement, PROPERTIES, Property};
use crate::scenario::Scenario;
use crate::state::action::Action;
use crate::state::system::System;
use causes::causes;
use handoff_checker::search::{Limits, explore};
use handoff_model::vm::launch::LaunchError;

/// A scenario that was set up, and the result of its check.
#[derive(Debug)]
pub struct Checked {
    /// The scenario, set up.
    pub system: System,
    /// The result.
    pub report: Report,
}

impl Checked {
    /// Sets a scenario up and checks it.
    pub fn new(scenario: &Scenario, limits: Limits) -> Result<Self, LaunchError> {
        let system = System::new(scenario)?;
        let search = |packed: &PackedSystem<'_>| Ok(explore(packed, packed, limits));
        let (report, ()) =
            check_system(&system, &scenario.name, limits.threads, search, |_, _| ())?;
        Ok(Self { system, report })
    }

    /// Returns one counterexample for each violating run, the shortest first.
    pub fn counterexamples(&self) -> Vec<Counterexample<'_>> {
        let mut violations: Vec<_> = self.report.violations().collect();
        violations.sort_by_key(|(_, run)| run.actions.len());
        let mut found: Vec<Counterexample<'_>> = Vec::new();
        for (property, run) in violations {
            let known = found.iter_mut().find(|known| known.is_of(&run.actions));
            match known {
                Some(known) => known.add(property, run),
                None => found.push(Counterexample::new(&self.system, property, run)),
            }
        }
        found
    }

    /// Returns the run that violates a property, with that property alone.
    pub fn counterexample(&self, property: &str) -> Option<Counterexample<'_>> {
        let (property, run) = self.report.violations().find(|(of, _)| of.id == property)?;
        Some(Counterexample::new(&self.system, property, run))
    }
}

/// A run, and each property that it violates: none, for a run that is only shown.
#[derive(Debug)]
pub struct Counterexample<'a> {
    /// The run.
    pub followed: Followed<'a>,
    /// The properties, in the order of [`PROPERTIES`].
    pub violated: Vec<Violation>,
}

/// A property that a run violates.
#[derive(Debug)]
pub struct Violation {
    /// The property.
    pub property: &'static Property,
    /// The violation in the last state or step.
    pub violation: String,
    /// Its causes in the run.
    pub causes: String,
    /// The points of no return, if the check was exhaustive.
    pub point_of_no_return: Option<PointOfNoReturn>,
}

impl<'a> Counterexample<'a> {
    fn new(system: &'a System, property: &'static Property, run: &Run) -> Self {
        let followed = Followed::of(system, &run.actions);
        let mut new = Self { followed, violated: Vec::new() };
        new.add(property, run);
        new
    }

    /// Follows any run, and evaluates its last state and last step.
    pub fn judge(system: &'a System, actions: &[Action]) -> Self {
        let followed = Followed::of(system, actions);
        let violations = violations_at_the_end(&followed).into_iter();
        let violated = |(property, violation)| {
            let causes = causes(&followed, property);
            Violation { property, violation, causes, point_of_no_return: None }
        };
        let violated = violations.map(violated).collect();
        Self { followed, violated }
    }

    fn is_of(&self, actions: &[Action]) -> bool {
        self.followed.steps().iter().map(|step| &step.action).eq(actions)
    }

    fn add(&mut self, property: &'static Property, run: &Run) {
        self.violated.push(Violation {
            property,
            violation: run.violation.clone(),
            causes: causes(&self.followed, property),
            point_of_no_return: run.point_of_no_return,
        });
    }

    /// Returns the run as a token.
    pub fn token(&self) -> String {
        let steps = self.followed.steps().iter();
        let actions: Vec<_> = steps.map(|step| step.action.clone()).collect();
        token::encode(self.followed.system(), &actions)
    }
}

/// Returns the properties that the last state or the last step violates.
fn violations_at_the_end(followed: &Followed<'_>) -> Vec<(&'static Property, String)> {
    let judged = PROPERTIES.iter().zip(followed.system().judge(followed.last()));
    let repeats = followed.repeats_from().map(|from| {
        format!(
            "the last state is the same as after step {from}: the steps since can repeat for ever"
        )
    });
    let violation = |(property, judgement): (&'static Property, Option<Judgement>)| {
        let violation = match judgement {
            Some(Judgement::Fails(violation)) => Some(violation),
            None => None,
            _ => violation_of_the_last_step(property, followed)
                .or_else(|| repeats.clone().filter(|_| property.is_liveness())),
        };
        Some((property, violation?))
    };
    judged.filter_map(violation).collect()
}

fn violation_of_the_last_step(property: &Property, followed: &Followed<'_>) -> Option<String> {
    let [.., before, last] = followed.states() else { return None };
    followed.system().judge_step(property, before, last)
}

#[cfg(test)]
mod tests {
    use crate::check::packed::PackedSystem;
    use crate::check::{Verdict, check_system};
    use crate::counterexample::token;
    use crate::scenario::library::built_in;
    use crate::state::action::{Action, Side};
    use crate::state::system::System;
    use handoff_checker::search::{Limits, StopReason, explore};
    use handoff_model::vm::launch::LaunchError;
    use std::num::NonZeroUsize;

    /// A state space in which the new program has no stream to read: a bug of the model, not of the
    /// protocol.
    #[test]
    fn a_panic_of_the_model_is_reported_with_its_run_and_proves_nothing() {
        let mut system = System::new(&built_in("exec").expect("built in")).expect("set up");
        system.constants_mut().stream = None;
        let search = |packed: &PackedSystem<'_>| {
            Ok::<_, LaunchError>(explore(packed, packed, Limits::default()))
        };
        let threads = NonZeroUsize::MIN;
        let (report, ()) =
            check_system(&system, "broken", threads, search, |_, _| ()).expect("searched");
        let run = report.panic.as_ref().expect("it panics");
        assert!(
            run.violation.starts_with("a panic: a launched VM has a stream"),
            "{}",
            run.violation
        );
        assert!(matches!(run.actions.last(), Some(Action::Step(Side::Old))), "{:?}", run.actions);
        assert_eq!((report.stopped_by, run.faults), (Some(StopReason::Panic), 0));
        assert!(report.is_inconclusive() && report.blackouts.is_none());
        let proved = |verdict: &Verdict| *verdict == Verdict::Proved;
        assert!(!report.verdicts.iter().any(|(_, verdict)| proved(verdict)));
        assert_ne!(token::encode(&system, &run.actions), "");
    }
}
