//! Certificates: the reachable states of a proof, in a file that an independent checker verifies.
//!
//! A certificate is a scenario and a line for each state: the number of its parent and the index of
//! the action among the parent's, or `initial`. [`verify`] recomputes these states, checks that the
//! set is closed under all actions, and evaluates termination and reachability itself. It shares
//! neither the tables nor the packed states of the search that wrote the file; it relies only on
//! the model ([`System`]), the properties' predicates, and std's hash map.
//!
//! Invariant: certificates are written only for exhaustive searches without violations.

#![expect(clippy::mutable_key_type, reason = "a state's cells only cache hashes of its parts")]

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
    /// The text of the scenario.
    scenario: String,
    states: u32,
    transitions: u64,
    /// The properties that are proved.
    proved: Vec<String>,
}

/// The reason why a certificate cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The search does not prove everything.
    #[error("only an exhaustive search in which no property is violated has a certificate")]
    Unproved,
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Writes the certificate of a search. `scenario` is the scenario's text.
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

/// The claims of a verified certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name of the scenario.
    pub scenario: String,
    /// Number of states, all recomputed.
    pub states: u32,
    /// Number of transitions, all executed.
    pub transitions: u64,
    /// The properties that hold in every state, and could have failed in some.
    pub proved: Vec<String>,
}

/// Verifies a certificate.
///
/// # Errors
/// A description of the defect of the file, or of its false claim.
pub fn verify(from: impl BufRead) -> Result<Verified, String> {
    let mut lines = from.lines().map(|line| line.map_err(|error| error.to_string()));
    let first = lines.next().unwrap_or_else(|| Err("it is empty".to_owned()))?;
    let head: Head = serde_json::from_str(&first).map_err(|error| format!("line 1: {error}"))?;
    if head.format != FORMAT {
        return Err(format!("its format is '{}', not '{FORMAT}'", head.format));
    }
    let scenario = Scenario::parse("its scenario", &head.scenario).map_err(|it| it.to_string())?;
    let system = System::new(&scenario).map_err(|error| format!("its scenario: {error}"))?;
    let states = recomputed(&system, lines)?;
    let numbers: HashMap<&State, u32> = states.iter().zip(0..).collect();
    if numbers.len() != states.len() {
        return Err("a state is listed twice".to_owned());
    }
    if system.init_states().iter().any(|initial| !numbers.contains_key(initial)) {
        return Err("the initial state is not listed".to_owned());
    }
    let edges = followed(&system, &states, &numbers)?;
    holds(&system, &states, &edges, &head.proved)?;
    let transitions = edges.iter().map(|edges| edges.len() as u64).sum();
    if (head.states as usize, head.transitions) != (states.len(), transitions) {
        return Err(format!(
            "it claims {} states and {} transitions, but has {} and {transitions}",
            head.states,
            head.transitions,
            states.len()
        ));
    }
    Ok(Verified { scenario: scenario.name, states: head.states, transitions, proved: head.proved })
}

/// Recomputes the states, each from an earlier one.
fn recomputed(
    system: &System,
    lines: impl Iterator<Item = Result<String, String>>,
) -> Result<Vec<State>, String> {
    let mut states: Vec<State> = Vec::new();
    let mut initial = system.init_states().into_iter();
    for (at, line) in (2..).zip(lines) {
        let line = line?;
        let state = if line == "initial" { initial.next() } else { step(system, &states, &line) };
        states.push(state.ok_or_else(|| format!("line {at}: '{line}' is no step of the model"))?);
    }
    Ok(states)
}

/// Executes the step `PARENT ACTION`.
fn step(system: &System, states: &[State], line: &str) -> Option<State> {
    let (parent, action) = line.split_once(' ')?;
    let state = states.get(parent.parse::<usize>().ok()?)?;
    let mut actions = Vec::new();
    system.actions(state, &mut actions);
    let action = actions.into_iter().nth(action.parse().ok()?)?;
    system.next_state(state, action)
}

/// A transition.
struct Edge {
    to: usize,
    is_fault: bool,
}

/// Executes every action of every state, and checks that the successor is one of them.
fn followed(
    system: &System,
    states: &[State],
    numbers: &HashMap<&State, u32>,
) -> Result<Vec<Vec<Edge>>, String> {
    let edges_of = |(at, state): (usize, &State)| {
        let mut actions = Vec::new();
        system.actions(state, &mut actions);
        let edge = |action: Action| {
            let is_fault = action.is_fault();
            let next = system.next_state(state, action)?;
            Some(numbers.get(&next).map(|to| Edge { to: *to as usize, is_fault }))
        };
        let edges: Option<Vec<Edge>> = actions.into_iter().filter_map(edge).collect();
        edges.ok_or_else(|| format!("state {at} has a successor that is not listed"))
    };
    states.iter().enumerate().map(edges_of).collect()
}

/// Checks that every property claimed as proved holds everywhere and is not vacuous, and that runs
/// end as claimed.
fn holds(
    system: &System,
    states: &[State],
    edges: &[Vec<Edge>],
    proved: &[String],
) -> Result<(), String> {
    let mut has_held = vec![false; PROPERTIES.len()];
    let mut goals: Vec<Vec<usize>> = vec![Vec::new(); PROPERTIES.len()];
    for (at, state) in states.iter().enumerate() {
        for (index, judgement) in system.judge(state).into_iter().enumerate() {
            match judgement {
                Some(Judgement::Fails(violation)) => {
                    return Err(format!(
                        "{} fails in state {at}: {violation}",
                        PROPERTIES[index].id
                    ));
                }
                Some(Judgement::Holds) => {
                    has_held[index] = true;
                    goals[index].push(at);
                }
                None | Some(Judgement::Vacuous) => {}
            }
        }
    }
    for id in proved {
        let index = PROPERTIES.iter().position(|property| property.id == id);
        if !index.is_some_and(|index| has_held[index]) {
            return Err(format!("{id} is claimed as proved, but is vacuous"));
        }
    }
    let is_proved = |property: &Property| proved.iter().any(|proved| proved == property.id);
    for (property, goals) in PROPERTIES.iter().zip(goals).filter(|(it, _)| is_proved(it)) {
        let violation = match property.kind {
            Kind::Invariant(_) => None,
            Kind::Termination => is_cyclic(edges).then(|| "some run is infinite".to_owned()),
            Kind::Action(relation) => violating_step(system, states, edges, relation),
            Kind::Possibility(_) => trap(edges, goals),
            Kind::Refinement => non_refining_step(system, states, edges),
        };
        if let Some(violation) = violation {
            return Err(format!("{} is claimed as proved, but {violation}", property.id));
        }
    }
    Ok(())
}

/// Returns a step that violates an action property.
fn violating_step(
    system: &System,
    states: &[State],
    edges: &[Vec<Edge>],
    relation: Relation,
) -> Option<String> {
    let snapshots: Vec<_> = states.iter().map(|state| system.snapshot(state)).collect();
    let breaks = |at: usize, to: usize| !(relation.holds)(&snapshots[at], &snapshots[to]);
    let step = |at: usize| edges[at].iter().find(|edge| breaks(at, edge.to)).map(|edge| (at, edge));
    let (at, edge) = (0..states.len()).find_map(step)?;
    let violation = (relation.violation)(&snapshots[at], &snapshots[edge.to]);
    Some(format!("a step from state {at} violates it: {violation}"))
}

/// Returns a step that is not allowed by the abstract spec.
fn non_refining_step(system: &System, states: &[State], edges: &[Vec<Edge>]) -> Option<String> {
    let abstract_states: Vec<_> = states.iter().map(|state| system.abstract_state(state)).collect();
    let spec = system.abstract_spec();
    let is_step = |at: usize, to: usize| spec.allows(abstract_states[at], abstract_states[to]);
    let strays = |at: &usize| edges[*at].iter().any(|edge| !is_step(*at, edge.to));
    let at = (0..states.len()).find(strays)?;
    Some(format!("a step from state {at} is not allowed by the abstract spec"))
}

/// Returns a state from which no fault-free run reaches a good end.
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
    Some(format!("no fault-free run leads from state {at} to a good end"))
}

/// Returns true if the graph has a cycle: removes states without predecessors until none is left.
fn is_cyclic(edges: &[Vec<Edge>]) -> bool {
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
