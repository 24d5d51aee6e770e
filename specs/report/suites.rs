//! Reports as test suites: cases that passed, failed or were skipped, for formats of test results.

use super::Body;
use super::check::{Check, CheckedScenario, Verdict, VerdictKind};
use super::compare::{Cell, Compare, Variant};
use super::conform::{Conform, Fact, Kernel};
use super::text::run::{Detail, counterexample, length};

/// The width of texts in a file, in columns.
const WIDTH: usize = 110;

/// A test suite.
#[derive(Debug)]
pub(super) struct Suite {
    /// The name of the suite.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
    /// The duration in milliseconds, if known.
    pub duration_ms: Option<u64>,
}

/// A test case.
#[derive(Debug)]
pub(super) struct Case {
    /// The name of the case, unique in its suite.
    pub name: String,
    /// The outcome of the case.
    pub outcome: Outcome,
}

/// Outcomes of a case. A command with a failed or an undecided case does not exit with 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The case passed.
    Passed,
    /// The case failed.
    Failed {
        /// A summary in one line.
        message: String,
        /// The details.
        text: String,
    },
    /// The case could not be decided, so nothing is proved.
    Undecided {
        /// The reason.
        message: String,
    },
    /// The case does not count, or does not apply.
    Skipped {
        /// The reason.
        message: String,
    },
}

/// Returns a report as test suites; empty for commands without verdicts.
pub(super) fn suites(body: &Body) -> Vec<Suite> {
    match body {
        Body::Check(Check { scenarios }) => scenarios.iter().map(of_scenario).collect(),
        Body::Compare(Compare { variants }) => variants.iter().map(of_variant).collect(),
        Body::Conform(conform) => of_conform(conform),
        _ => Vec::new(),
    }
}

fn of_scenario(checked: &CheckedScenario) -> Suite {
    let case = |verdict: &Verdict| Case {
        name: verdict.property.to_owned(),
        outcome: outcome(verdict, || match checked.counterexample(verdict.property) {
            Some(run) => counterexample(run, WIDTH, Detail::FULL),
            None => String::new(),
        }),
    };
    let mut cases: Vec<_> = checked.verdicts.iter().map(case).collect();
    cases.push(Case { name: "state space".to_owned(), outcome: searched(checked) });
    let name = checked.scenario.argument.clone();
    Suite { name, cases, duration_ms: Some(checked.duration_ms) }
}

/// Returns the outcome of the search itself: it passed if it was exhaustive and every allowed kind
/// of step happened.
fn searched(checked: &CheckedScenario) -> Outcome {
    if let Some(panic) = &checked.panic {
        let length = length(panic.steps, panic.faults as usize);
        let message = format!("{} after {length}", panic.message);
        return Outcome::Failed { message, text: panic.replay.clone() };
    }
    match (&checked.stopped_by, checked.never.is_empty()) {
        (Some(limit), _) => {
            Outcome::Undecided { message: format!("not exhaustive: stopped by {limit}") }
        }
        (None, false) => {
            Outcome::Undecided { message: format!("never happens: {}", checked.never.join(", ")) }
        }
        (None, true) => Outcome::Passed,
    }
}

fn outcome(verdict: &Verdict, text: impl FnOnce() -> String) -> Outcome {
    let limit = verdict.stopped_by.as_deref().unwrap_or_default();
    let undecided = |message| Outcome::Undecided { message };
    match verdict.verdict {
        VerdictKind::Proved => Outcome::Passed,
        VerdictKind::Violated => {
            let faults = verdict.faults.unwrap_or_default() as usize;
            let length = length(verdict.steps.unwrap_or_default(), faults);
            let message = format!("{} violated in {length}", verdict.property);
            Outcome::Failed { message, text: text() }
        }
        VerdictKind::HoldsWithin => undecided(format!("holds within {limit}: not proved")),
        VerdictKind::Inconclusive => undecided(format!("inconclusive, stopped by {limit}")),
        VerdictKind::Vacuous => undecided("vacuous: nothing is proved".to_owned()),
        VerdictKind::NotApplicable => {
            Outcome::Skipped { message: verdict.reason.unwrap_or_default().to_owned() }
        }
    }
}

/// Returns the suite of a variant. A violation by a variant that is not ours is a result, not a
/// failure.
fn of_variant(variant: &Variant) -> Suite {
    let case = |cell: &Cell| {
        let Cell { verdict, violation, replay, scenario, .. } = cell;
        let lines = violation.iter().chain(replay).map(|line| format!("{line}\n"));
        let outcome = match outcome(verdict, || lines.collect()) {
            Outcome::Failed { message, .. } | Outcome::Undecided { message } if !variant.ours => {
                Outcome::Skipped {
                    message: format!("not a variant of this project: in {scenario} {message}"),
                }
            }
            judged => judged,
        };
        Case { name: verdict.property.to_owned(), outcome }
    };
    Suite {
        name: format!("{}, {}", variant.variant, variant.mode),
        cases: variant.verdicts.iter().map(case).collect(),
        duration_ms: Some(variant.duration_ms),
    }
}

fn of_conform(conform: &Conform) -> Vec<Suite> {
    let case = |fact: &Fact| Case {
        name: fact.name.to_owned(),
        outcome: match (&fact.mismatch, &fact.missing) {
            (Some(mismatch), _) => {
                Outcome::Failed { message: fact.sentence.to_owned(), text: mismatch.clone() }
            }
            (None, Some(missing)) => Outcome::Skipped { message: format!("needs {missing}") },
            (None, None) => Outcome::Passed,
        },
    };
    let suite = |kernel: &Kernel| Suite {
        name: kernel.kernel.to_owned(),
        cases: kernel.facts.iter().map(case).collect(),
        duration_ms: None,
    };
    let missing = conform.missing.iter().map(|missing| Suite {
        name: "kernel of this host".to_owned(),
        cases: vec![Case {
            name: "host".to_owned(),
            outcome: Outcome::Skipped { message: format!("needs {missing}") },
        }],
        duration_ms: None,
    });
    conform.kernels.iter().map(suite).chain(missing).collect()
}
