//! A run, followed: every state from the first one on, and what each step did.

use crate::state::action::{Action, NEW, OLD, Side};
use crate::state::system::System;
use crate::state::{State, StepEffect};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::text::{self, Difference, Facts};

/// Where in a story a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// With the old process, or the old program.
    Old,
    /// With the new one.
    New,
    /// With neither: devices.
    World,
}

/// A step of a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// What happened.
    pub action: Action,
    /// With whom.
    pub place: Position,
    /// What came of it.
    pub happening: StepEffect,
    /// In words, without the trouble that it led to.
    pub words: String,
}

impl Step {
    /// In words, with the trouble that it led to.
    pub fn describe(&self) -> String {
        match &self.happening.error {
            Some(error) if !self.words.contains("Refuse") => {
                format!("{} [{error}]", self.words)
            }
            _ => self.words.clone(),
        }
    }
}

/// A run that was followed: so many steps, and one state more.
#[derive(Debug)]
pub struct Followed<'a> {
    system: &'a System,
    states: Vec<State>,
    steps: Vec<Step>,
}

impl<'a> Followed<'a> {
    /// Follows a run from the first state. Each action must be possible where it happens.
    pub fn of(system: &'a System, actions: &[Action]) -> Self {
        let mut states = vec![system.init().clone()];
        let mut steps = Vec::with_capacity(actions.len());
        for action in actions {
            let before = states.last().expect("there is always a first state");
            let mut after = before.clone();
            let happening = after.act(system.constants(), action);
            steps.push(step(system, before, action, happening));
            states.push(after);
        }
        Self { system, states, steps }
    }

    /// Of which system.
    pub fn system(&self) -> &'a System {
        self.system
    }

    /// The first state, and the one after each step.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The last of them.
    pub fn last(&self) -> &State {
        self.states.last().expect("there is always a first state")
    }

    /// The steps; they are counted from 1.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// After how many steps the last state was there already: the steps from there on can repeat
    /// for ever.
    pub fn repeats_from(&self) -> Option<usize> {
        let before = &self.states[..self.steps.len()];
        before.iter().position(|state| state == self.last())
    }

    /// What a step, counted from 1, changed of what can be seen; nothing of a run without steps.
    pub fn differences(&self, step: usize) -> Vec<Difference> {
        match step.checked_sub(1) {
            Some(before) => text::differences(&self.facts(before), &self.facts(step)),
            None => Vec::new(),
        }
    }

    fn facts(&self, at: usize) -> Facts {
        text::facts(&self.states[at].view(), &|pid| self.process(pid))
    }

    /// What a process is called.
    pub(crate) fn process(&self, pid: Pid) -> String {
        match pid {
            OLD if self.system.init().is_exec() => "the VMM".to_owned(),
            OLD => "old VMM".to_owned(),
            NEW => "new VMM".to_owned(),
            other => format!("process {other}"),
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
        Action::Die => (Position::New, "dies of the signal".to_owned()),
        Action::Cancel => (Position::Old, "somebody calls it off".to_owned()),
        Action::Raise(at) => (
            Position::World,
            format!("{} writes to guest memory and raises an interrupt", device(at)),
        ),
        Action::Take(side, at) => {
            (before.place(*side), format!("the guest takes the interrupt of {}", device(at)))
        }
        Action::Work(side) => (before.place(*side), "the guest works on".to_owned()),
        Action::Arm => {
            let device = system.constants().devices.last().cloned().unwrap_or_default();
            (
                Position::Old,
                format!("the guest loads the driver of {device}, and its interrupt is armed"),
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
    /// By exec the new program runs in the old process.
    fn place(&self, side: Side) -> Position {
        match side {
            Side::New => Position::New,
            Side::Old if self.is_exec() && self.outgoing.acting().is_none() => Position::New,
            Side::Old => Position::Old,
        }
    }
}
