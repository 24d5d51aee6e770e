//! A run that was executed again: every state, and the effects of each step.

use crate::state::action::{Action, NEW, OLD, Side};
use crate::state::system::System;
use crate::state::{State, StepEffect};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::View;
use handoff_model::text::{self, Difference, Facts};

/// The column of a step in a counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The old VMM, or the old program.
    Old,
    /// The new VMM, or the new program.
    New,
    /// Neither: the devices.
    World,
}

/// A step of a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// The action.
    pub action: Action,
    /// Its column.
    pub place: Position,
    /// Its effects.
    pub happening: StepEffect,
    /// The step in words, without the error that it caused.
    pub words: String,
}

impl Step {
    /// Returns the step in words, with the error that it caused.
    pub fn describe(&self) -> String {
        match &self.happening.error {
            Some(error) if !self.words.contains("Refuse") => {
                format!("{} [{error}]", self.words)
            }
            _ => self.words.clone(),
        }
    }
}

/// A run that was executed again. It has one more state than steps.
#[derive(Debug)]
pub struct Followed<'a> {
    system: &'a System,
    states: Vec<State>,
    steps: Vec<Step>,
}

impl<'a> Followed<'a> {
    /// Executes a run from the initial state. Each action must be enabled.
    pub fn of(system: &'a System, actions: &[Action]) -> Self {
        let mut states = vec![system.init().clone()];
        let mut steps = Vec::with_capacity(actions.len());
        for action in actions {
            let before = states.last().expect("there is always an initial state");
            let mut after = before.clone();
            let happening = after.act(system.constants(), action);
            steps.push(step(system, before, action, happening));
            states.push(after);
        }
        Self { system, states, steps }
    }

    /// Returns the system.
    pub fn system(&self) -> &'a System {
        self.system
    }

    /// Returns the initial state, and the state after each step.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// Returns the last state.
    pub fn last(&self) -> &State {
        self.states.last().expect("there is always an initial state")
    }

    /// Returns the steps; they are numbered from 1.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the number of steps after which the last state was reached before: the steps since
    /// then can repeat for ever.
    pub fn repeats_from(&self) -> Option<usize> {
        let before = &self.states[..self.steps.len()];
        before.iter().position(|state| state == self.last())
    }

    /// Returns the visible changes of a step, counted from 1; none for a run without steps.
    pub fn differences(&self, step: usize) -> Vec<Difference> {
        match step.checked_sub(1) {
            Some(before) => text::differences(&self.facts(before), &self.facts(step)),
            None => Vec::new(),
        }
    }

    fn facts(&self, at: usize) -> Facts {
        self.facts_of(&self.states[at].view())
    }

    /// Returns the facts of a view, with the names of this scenario.
    pub(crate) fn facts_of(&self, view: &View) -> Facts {
        let constants = self.system.constants();
        let namer = text::Namer {
            process: &|pid| self.process(pid),
            memory: &|inode| constants.names.block(inode),
        };
        text::facts(view, namer)
    }

    /// Returns the name of a process.
    pub(crate) fn process(&self, pid: Pid) -> String {
        match pid {
            OLD if self.system.init().is_exec() => "the VMM".to_owned(),
            OLD => "old VMM".to_owned(),
            NEW => "new VMM".to_owned(),
            other => format!("process {other}"),
        }
    }

    /// Returns the name of a process as the subject of a sentence.
    pub(crate) fn actor(&self, pid: Pid) -> String {
        let name = self.process(pid);
        if name.ends_with(" VMM") && !name.starts_with("the ") {
            format!("the {name}")
        } else {
            name
        }
    }
}

fn step(system: &System, before: &State, action: &Action, happening: StepEffect) -> Step {
    let device = |at: &u8| system.constants().devices[usize::from(*at)].clone();
    let (place, words) = match action {
        Action::Step(side) => (before.place(*side), call(system, before, *side, &happening)),
        Action::Fail(side, _) => {
            (before.place(*side), format!("{} (injected)", call(system, before, *side, &happening)))
        }
        Action::Kill(side) => (before.place(*side), "KILLED".to_owned()),
        Action::Die => (Position::New, "dies from the SIGKILL".to_owned()),
        Action::Cancel => (Position::Old, "the handoff is cancelled".to_owned()),
        Action::Raise(at) => (
            Position::World,
            format!("{} writes to guest memory and raises an interrupt", device(at)),
        ),
        Action::Take(side, at) => {
            (before.place(*side), format!("the guest takes the interrupt of {}", device(at)))
        }
        Action::Work(side) => (before.place(*side), "the guest makes progress".to_owned()),
        Action::Arm => {
            let device = system.constants().devices.last().cloned().unwrap_or_default();
            (
                Position::Old,
                format!(
                    "the guest loads the driver of {device}, and the old VMM arms its interrupt"
                ),
            )
        }
    };
    Step { action: action.clone(), place, happening, words }
}

fn call(system: &System, before: &State, side: Side, happening: &StepEffect) -> String {
    let Some((phase, call, answer)) = &happening.call else { return String::new() };
    let view = before.view();
    let name = |fd: Fd| {
        let table = view.processes.get(&side.pid()).map(|process| &process.descriptors);
        let file = table.and_then(|table| table.get(&fd)).map(|descriptor| descriptor.file);
        let known = file.and_then(|file| system.constants().names.files.get(&file).cloned());
        known.unwrap_or_else(|| format!("descriptor {fd}"))
    };
    format!("{phase}: {}", text::call(call, answer, &name))
}

impl State {
    /// Returns the column of a side. In exec mode the new program runs in the old process.
    fn place(&self, side: Side) -> Position {
        match side {
            Side::New => Position::New,
            Side::Old if self.is_exec() && self.outgoing.acting().is_none() => Position::New,
            Side::Old => Position::Old,
        }
    }
}
