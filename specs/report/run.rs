//! Runs in a report: their steps, and the properties that they violate.

use crate::check;
use crate::counterexample::{self, Counterexample, Followed, Position};
use crate::state::action::Kind;
use handoff_model::abi::call::errno_of;
use schemars::JsonSchema;
use serde::Serialize;

/// A run from the first state, and the properties that it violates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Run {
    /// The run, encoded as one word, for `handoff show SCENARIO RUN`.
    pub run: String,
    /// The command that shows this run again.
    pub replay: String,
    /// The number of its steps that are faults: failed calls, kills, a cancel.
    pub faults: usize,
    /// The number of steps after which the run was already in its last state, so that the steps
    /// since then can repeat for ever; null for a run that ends.
    pub repeats_after: Option<usize>,
    /// The steps, from the first one on.
    pub steps: Vec<Step>,
    /// The properties that the run violates. In a counterexample, those for which it is the
    /// cheapest run; for `handoff show`, all.
    pub violated: Vec<Violation>,
}

/// One step of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Step {
    /// The number of the step, counted from 1.
    pub number: usize,
    /// The actor that makes the step.
    pub actor: Actor,
    /// The kind of the step.
    pub action: ActionKind,
    /// True if the step is a fault, counted in `faults`.
    pub fault: bool,
    /// The phase in which the actor makes a call; null if the step is not a call.
    pub phase: Option<String>,
    /// The name of that call, such as `IOMMU_IOAS_MAP_FILE`.
    pub call: Option<&'static str>,
    /// The answer of the kernel: `ok`, or the name of an errno.
    pub answer: Option<String>,
    /// The error that the actor then reports; null if it reports none.
    #[serde(rename = "trouble")]
    pub error: Option<String>,
    /// The step in words.
    pub text: String,
    /// The observable changes that the step made, a line each.
    pub changes: Vec<String>,
}

/// The actor that makes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The old process; in exec mode, the old program.
    Old,
    /// The new process; in exec mode, the new program.
    New,
    /// A device.
    Devices,
}

/// Kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// A process makes a call.
    Call,
    /// A process makes a call, and an injected fault fails it.
    FailedCall,
    /// A process is killed.
    Kill,
    /// The new process dies of a signal from the old one.
    Death,
    /// The handoff is cancelled.
    Cancel,
    /// A device writes to guest memory and raises an interrupt.
    Interrupt,
    /// The guest takes an interrupt.
    TakeInterrupt,
    /// The guest makes progress.
    GuestWork,
    /// The guest arms an interrupt.
    ArmInterrupt,
}

/// A property that a run violates.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Violation {
    /// The identifier of the property, such as `OWN-1`.
    pub property: &'static str,
    /// The requirement, in a sentence.
    pub sentence: &'static str,
    /// The consequence of a violation.
    pub reason: &'static str,
    /// The violation, in the last state of the run or by its last step.
    pub violation: String,
    /// The steps that caused the violation, as a computed sentence.
    pub causes: String,
    /// The point from which on the violation is unavoidable; null if it was not computed.
    pub point_of_no_return: Option<PointOfNoReturn>,
}

/// The number of steps after which every continuation of a run violates the property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PointOfNoReturn {
    /// For continuations with or without further faults.
    pub any_run: usize,
    /// For continuations without a further fault.
    pub fault_free: usize,
}

impl Run {
    /// Returns the report of a counterexample. `scenario` names its scenario on the command line.
    pub fn new(counterexample: &Counterexample<'_>, scenario: &str) -> Self {
        let Counterexample { followed, violated } = counterexample;
        let run = counterexample.token();
        let faults = followed.steps().iter().filter(|step| step.action.is_fault()).count();
        Self {
            replay: replay(scenario, &run),
            run,
            faults,
            repeats_after: followed.repeats_from(),
            steps: (1..=followed.steps().len()).map(|number| Step::new(followed, number)).collect(),
            violated: violated.iter().map(Violation::new).collect(),
        }
    }
}

/// Returns the command that shows a run of a scenario.
pub fn replay(scenario: &str, run: &str) -> String {
    format!("handoff check {scenario} --steps {run}")
}

impl Step {
    fn new(followed: &Followed<'_>, number: usize) -> Self {
        let step = &followed.steps()[number - 1];
        let answer = |answer| errno_of(answer).map_or("ok".to_owned(), |errno| errno.to_string());
        let call = step.happening.call.as_ref();
        Self {
            number,
            actor: step.place.into(),
            action: step.action.kind().into(),
            fault: step.action.is_fault(),
            phase: call.map(|(phase, ..)| phase.clone()),
            call: call.map(|(_, call, _)| call.name()),
            answer: call.map(|(_, _, given)| answer(given)),
            error: step.happening.error.as_ref().map(ToString::to_string),
            text: step.describe(),
            changes: followed.differences(number).iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Position> for Actor {
    fn from(place: Position) -> Self {
        match place {
            Position::Old => Self::Old,
            Position::New => Self::New,
            Position::World => Self::Devices,
        }
    }
}

impl From<Kind> for ActionKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::OldCall | Kind::NewCall => Self::Call,
            Kind::Failure => Self::FailedCall,
            Kind::Kill => Self::Kill,
            Kind::Death => Self::Death,
            Kind::Cancel => Self::Cancel,
            Kind::Interrupt => Self::Interrupt,
            Kind::Taking => Self::TakeInterrupt,
            Kind::Work => Self::GuestWork,
            Kind::Arming => Self::ArmInterrupt,
        }
    }
}

impl Violation {
    fn new(violation: &counterexample::Violation) -> Self {
        let counterexample::Violation {
            property,
            violation: wrong,
            causes: because,
            point_of_no_return: no_return,
        } = violation;
        let point = |check::PointOfNoReturn { any_run, fault_free }| PointOfNoReturn {
            any_run,
            fault_free,
        };
        Self {
            property: property.id,
            sentence: property.sentence,
            reason: property.reason,
            violation: wrong.clone(),
            causes: because.strip_prefix("because ").unwrap_or(because).to_owned(),
            point_of_no_return: no_return.map(point),
        }
    }
}
