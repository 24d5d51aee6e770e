//! A proof that can be checked again: everything that can be reached, written to a file.
//!
//! A certificate is a scenario and a line for each state of its search: the state that it was reached from and the place of the
//! action among that state's, or that it is an initial one. [`verify`] makes those states anew and looks whether they are
//! closed: whether every action of every one leads to one of them. It shares nothing with the search that wrote the file, neither
//! its tables nor packed states; what it trusts is the world ([`System`]), the properties' predicates, and std's hash map.
//!
//! Invariant: a certificate is written of a complete search that found nothing wrong, and of no other.

#![expect(
    clippy::mutable_key_type,
    reason = "a world's cells remember hashes of its parts, and no more"
)]

use crate::check::{Report, Verdict};
use crate::packed::Packed;
use crate::property::{END_1, Judgement, PROPERTIES};
use crate::scenario::Scenario;
use crate::search::Exploration;
use crate::system::System;
use crate::world::World;
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
pub enum Unwritten {
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
) -> Result<(), Unwritten> {
    if report.is_inconclusive() || report.panic.is_some() || report.violations().next().is_some() {
        return Err(Unwritten::Unproved);
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
    let numbers: HashMap<&World, u32> = worlds.iter().zip(0..).collect();
    if numbers.len() != worlds.len() {
        return Err("a state is there twice".to_owned());
    }
    if system.init_states().iter().any(|initial| !numbers.contains_key(initial)) {
        return Err("the initial state is missing".to_owned());
    }
    let edges = followed(&system, &worlds, &numbers)?;
    holds(&system, &worlds, &edges, &head.proved)?;
    let transitions = edges.iter().map(|targets| targets.len() as u64).sum();
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
) -> Result<Vec<World>, String> {
    let mut worlds: Vec<World> = Vec::new();
    let mut initial = system.init_states().into_iter();
    for (at, line) in (2..).zip(lines) {
        let line = line?;
        let world = if line == "initial" { initial.next() } else { step(system, &worlds, &line) };
        worlds.push(world.ok_or_else(|| format!("line {at}: '{line}' leads to no state"))?);
    }
    Ok(worlds)
}

/// `PARENT ACTION`.
fn step(system: &System, worlds: &[World], line: &str) -> Option<World> {
    let (parent, action) = line.split_once(' ')?;
    let world = worlds.get(parent.parse::<usize>().ok()?)?;
    let mut actions = Vec::new();
    system.actions(world, &mut actions);
    let action = actions.into_iter().nth(action.parse().ok()?)?;
    system.next_state(world, action)
}

/// Where every action of every state leads: to one of them.
fn followed(
    system: &System,
    worlds: &[World],
    numbers: &HashMap<&World, u32>,
) -> Result<Vec<Vec<u32>>, String> {
    let of_world = |(at, world): (usize, &World)| {
        let mut actions = Vec::new();
        system.actions(world, &mut actions);
        let next = actions.into_iter().filter_map(|action| system.next_state(world, action));
        let targets: Option<Vec<u32>> = next.map(|next| numbers.get(&next).copied()).collect();
        targets.ok_or_else(|| format!("state {at} leads to one that is missing"))
    };
    worlds.iter().enumerate().map(of_world).collect()
}

/// Every property that is called proved holds everywhere and has something to say somewhere; and runs end.
fn holds(
    system: &System,
    worlds: &[World],
    edges: &[Vec<u32>],
    proved: &[String],
) -> Result<(), String> {
    let mut has_held = vec![false; PROPERTIES.len()];
    for (at, world) in worlds.iter().enumerate() {
        for (question, judgement) in system.judge(world).into_iter().enumerate() {
            match judgement {
                Some(Judgement::Fails(wrong)) => {
                    return Err(format!(
                        "{} fails in state {at}: {wrong}",
                        PROPERTIES[question].id
                    ));
                }
                Some(Judgement::Holds) => has_held[question] = true,
                None | Some(Judgement::Idle) => {}
            }
        }
    }
    for id in proved {
        let question = PROPERTIES.iter().position(|property| property.id == id);
        if !question.is_some_and(|question| has_held[question]) {
            return Err(format!("{id} is called proved, and has nothing to say in any state"));
        }
    }
    if proved.iter().any(|id| id == END_1) && goes_round(edges) {
        return Err(format!("{END_1} is called proved, and a run can go round for ever"));
    }
    Ok(())
}

/// Whether there is a cycle: states that nothing leads to are taken away until none is left.
fn goes_round(edges: &[Vec<u32>]) -> bool {
    let mut incoming = vec![0u32; edges.len()];
    edges.iter().flatten().for_each(|target| incoming[*target as usize] += 1);
    let mut ready: Vec<usize> = (0..edges.len()).filter(|at| incoming[*at] == 0).collect();
    let mut left = edges.len();
    while let Some(at) = ready.pop() {
        left -= 1;
        for target in edges[at].iter().map(|target| *target as usize) {
            incoming[target] -= 1;
            if incoming[target] == 0 {
                ready.push(target);
            }
        }
    }
    left > 0
}
