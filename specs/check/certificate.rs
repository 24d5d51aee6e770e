//! A proof that can be checked again: everything that can be reached, written to a file.
//!
//! A certificate is a scenario and a line for each state of its search: the state that it was
//! reached from and the place of the action among that state's, or that it is an initial one.
//! [`verify`] makes those states anew and looks whether they are closed: whether every action of
//! every one leads to one of them. How runs end it finds out by itself. It shares nothing with the
//! search that wrote the file, neither its tables nor packed states; what it trusts is the world
//! ([`System`]), the properties' predicates, and std's hash map.
//!
//! Invariant: a certificate is written of a complete search that found nothing wrong, and of no
//! other.

#![expect(
    clippy::mutable_key_type,
    reason = "a world's cells remember hashes of its parts, and no more"
)]

use crate::check::packed::Packed;
use crate::check::{Report, Verdict};
use crate::properties::{Judgement, Kind, PROPERTIES, Property, Relation};
use crate::scenario::Scenario;
use crate::state::State;
use crate::state::action::Action;
use crate::state::system::System;
use handoff_checker::search::Exploration;
use serde::{Deserialize, Serialize};
use stateright::Model;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

const FORMAT: &str = "handoff certificate 1";

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    /// The scenario's text.
    scenario: String,
    states: u32,
    transitions: u64,
    /// The properties that are proved.
    proved: Vec<String>,
}

/// Why a certificate cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The search does not prove everything.
    #[error("only a complete search in which no property is violated has a certificate")]
    Unproved,
    /// The file.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Writes the certificate of a search of the scenario with this text.
pub fn write(
    report: &Report,
    exploration: &Exploration<Packed>,
    scenario: &str,
    to: &mut impl Write,
) -> Result<(), CertificateError> {
    if report.is_inconclusive() || report.panic.is_some() || report.violations().next().is_some() {
        return Err(CertificateError::Unproved);
    }
    let proved = report.verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Proved);
    let head = Head {
        format: FORMAT.to_owned(),
        scenario: scenario.to_owned(),
        states: report.states,
        transitions: report.transitions,
        proved: proved.map(|(property, _)| property.id.to_owned()).collect(),
    };
    serde_json::to_writer(&mut *to, &head).map_err(io::Error::from)?;
    writeln!(to)?;
    for state in 0..exploration.states() {
        match exploration.parent(state) {
            Some((parent, action)) => writeln!(to, "{parent} {action}")?,
            None => writeln!(to, "initial")?,
        }
    }
    Ok(to.flush()?)
}

/// What a certificate proves.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// Of which scenario.
    pub scenario: String,
    /// So many states, each of which was made anew.
    pub states: u32,
    /// So many transitions, each of which was followed.
    pub transitions: u64,
    /// The properties that hold in every state, and could have failed in some.
    pub proved: Vec<String>,
}

/// Verifies a certificate. What is wrong with it, or with what it says, is told for people.
pub fn verify(from: impl BufRead) -> Result<Verified, String> {
    let mut lines = from.lines().map(|line| line.map_err(|error| error.to_string()));
    let first = lines.next().unwrap_or_else(|| Err("it is empty".to_owned()))?;
    let head: Head = serde_json::from_str(&first).map_err(|error| format!("line 1: {error}"))?;
    if head.format != FORMAT {
        return Err(format!("it is a '{}', not a '{FORMAT}'", head.format));
    }
    let scenario = Scenario::parse("its scenario", &head.scenario).map_err(|it| it.to_string())?;
    let system = System::new(&scenario).map_err(|error| format!("its scenario: {error}"))?;
    let worlds = made(&system, lines)?;
    let numbers: HashMap<&State, u32> = worlds.iter().zip(0..).collect();
    if numbers.len() != worlds.len() {
        return Err("a state is there twice".to_owned());
    }
    if system.init_states().iter().any(|initial| !numbers.contains_key(initial)) {
        return Err("the initial state is missing".to_owned());
    }
    let edges = followed(&system, &worlds, &numbers)?;
    holds(&system, &worlds, &edges, &head.proved)?;
    let transitions = edges.iter().map(|edges| edges.len() as u64).sum();
    if (head.states as usize, head.transitions) != (worlds.len(), transitions) {
        return Err(format!(
            "it counts {} states and {} transitions; there are {} and {transitions}",
            head.states,
            head.transitions,
            worlds.len()
        ));
    }
    Ok(Verified { scenario: scenario.name, states: head.states, transitions, proved: head.proved })
}

/// The states, each made from one before it.
fn made(
    system: &System,
    lines: impl Iterator<Item = Result<String, String>>,
) -> Result<Vec<State>, String> {
    let mut worlds: Vec<State> = Vec::new();
    let mut initial = system.init_states().into_iter();
    for (at, line) in (2..).zip(lines) {
        let line = line?;
        let world = if line == "initial" { initial.next() } else { step(system, &worlds, &line) };
        worlds.push(world.ok_or_else(|| format!("line {at}: '{line}' leads to no state"))?);
    }
    Ok(worlds)
}

/// `PARENT ACTION`.
fn step(system: &System, worlds: &[State], line: &str) -> Option<State> {
    let (parent, action) = line.split_once(' ')?;
    let world = worlds.get(parent.parse::<usize>().ok()?)?;
    let mut actions = Vec::new();
    system.actions(world, &mut actions);
    let action = actions.into_iter().nth(action.parse().ok()?)?;
    system.next_state(world, action)
}

/// What an action leads to.
struct Edge {
    to: usize,
    is_fault: bool,
}

/// Where every action of every state leads: to one of them.
fn followed(
    system: &System,
    worlds: &[State],
    numbers: &HashMap<&State, u32>,
) -> Result<Vec<Vec<Edge>>, String> {
    let of_world = |(at, world): (usize, &State)| {
        let mut actions = Vec::new();
        system.actions(world, &mut actions);
        let edge = |action: Action| {
            let is_fault = action.is_fault();
            let next = system.next_state(world, action)?;
            Some(numbers.get(&next).map(|to| Edge { to: *to as usize, is_fault }))
        };
        let edges: Option<Vec<Edge>> = actions.into_iter().filter_map(edge).collect();
        edges.ok_or_else(|| format!("state {at} leads to one that is missing"))
    };
    worlds.iter().enumerate().map(of_world).collect()
}

/// Every property that is called proved holds everywhere and has something to say somewhere; and
/// runs end as they should.
fn holds(
    system: &System,
    worlds: &[State],
    edges: &[Vec<Edge>],
    proved: &[String],
) -> Result<(), String> {
    let mut has_held = vec![false; PROPERTIES.len()];
    let mut goals: Vec<Vec<usize>> = vec![Vec::new(); PROPERTIES.len()];
    for (at, world) in worlds.iter().enumerate() {
        for (question, judgement) in system.judge(world).into_iter().enumerate() {
            match judgement {
                Some(Judgement::Fails(wrong)) => {
                    return Err(format!(
                        "{} fails in state {at}: {wrong}",
                        PROPERTIES[question].id
                    ));
                }
                Some(Judgement::Holds) => {
                    has_held[question] = true;
                    goals[question].push(at);
                }
                None | Some(Judgement::Vacuous) => {}
            }
        }
    }
    for id in proved {
        let question = PROPERTIES.iter().position(|property| property.id == id);
        if !question.is_some_and(|question| has_held[question]) {
            return Err(format!("{id} is called proved, and has nothing to say in any state"));
        }
    }
    let is_proved = |property: &Property| proved.iter().any(|proved| proved == property.id);
    for (property, goals) in PROPERTIES.iter().zip(goals).filter(|(it, _)| is_proved(it)) {
        let violation = match property.kind {
            Kind::Invariant(_) => None,
            Kind::Termination => {
                goes_round(edges).then(|| "a run can go round for ever".to_owned())
            }
            Kind::Action(relation) => breaks(system, worlds, edges, relation),
            Kind::Possibility(_) => trap(edges, goals),
            Kind::Refinement => strays(system, worlds, edges),
        };
        if let Some(violation) = violation {
            return Err(format!("{} is called proved, and {violation}", property.id));
        }
    }
    Ok(())
}

/// A step that violates an action property.
fn breaks(
    system: &System,
    worlds: &[State],
    edges: &[Vec<Edge>],
    relation: Relation,
) -> Option<String> {
    let snapshots: Vec<_> = worlds.iter().map(|world| system.snapshot(world)).collect();
    let breaks = |at: usize, to: usize| !(relation.holds)(&snapshots[at], &snapshots[to]);
    let step = |at: usize| edges[at].iter().find(|edge| breaks(at, edge.to)).map(|edge| (at, edge));
    let (at, edge) = (0..worlds.len()).find_map(step)?;
    let violation = (relation.violation)(&snapshots[at], &snapshots[edge.to]);
    Some(format!("a step from state {at} violates it: {violation}"))
}

/// A step that is none of the essence.
fn strays(system: &System, worlds: &[State], edges: &[Vec<Edge>]) -> Option<String> {
    let handoffs: Vec<_> = worlds.iter().map(|world| system.abstract_state(world)).collect();
    let spec = system.abstract_spec();
    let is_step = |at: usize, to: usize| spec.allows(handoffs[at], handoffs[to]);
    let strays = |at: &usize| edges[*at].iter().any(|edge| !is_step(*at, edge.to));
    let at = (0..worlds.len()).find(strays)?;
    Some(format!("a step from state {at} is none of a handoff"))
}

/// A state from which no way without a fault leads to a good end.
fn trap(edges: &[Vec<Edge>], mut good_ends: Vec<usize>) -> Option<String> {
    let mut before = vec![Vec::new(); edges.len()];
    for (at, edges) in edges.iter().enumerate() {
        edges.iter().filter(|edge| !edge.is_fault).for_each(|edge| before[edge.to].push(at));
    }
    let mut is_free = vec![false; edges.len()];
    while let Some(at) = good_ends.pop() {
        if !std::mem::replace(&mut is_free[at], true) {
            good_ends.append(&mut before[at]);
        }
    }
    let at = is_free.iter().position(|is_free| !is_free)?;
    Some(format!("no way without a fault leads from state {at} to a good end"))
}

/// Whether there is a cycle: states that nothing leads to are taken away until none is left.
fn goes_round(edges: &[Vec<Edge>]) -> bool {
    let mut incoming = vec![0u32; edges.len()];
    edges.iter().flatten().for_each(|edge| incoming[edge.to] += 1);
    let mut ready: Vec<usize> = (0..edges.len()).filter(|at| incoming[*at] == 0).collect();
    let mut left = edges.len();
    while let Some(at) = ready.pop() {
        left -= 1;
        for target in edges[at].iter().map(|edge| edge.to) {
            incoming[target] -= 1;
            if incoming[target] == 0 {
                ready.push(target);
            }
        }
    }
    left > 0
}
