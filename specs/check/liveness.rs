//! Verdicts from the graph of all states and from its transitions: termination, action properties,
//! and reachability of a good end.
//!
//! Every infinite run violates END-1, under any scheduler. The counterexample says if a weakly fair
//! scheduler can produce it: one that eventually lets each process step, and lets a signal take
//! effect, if that stays enabled. Actions of the environment have no fairness.

use super::{Judged, Run, Verdict, undisturbed};
use crate::properties::Property;
use crate::state::action::{Action, Kind};
use handoff_checker::fairness::{Fairness, Lasso, Step, fair_run, starved};
use handoff_checker::graph::{Cycles, Graph, can_reach};
use handoff_checker::search::{Observer, StateIndex, StopReason};
use stateright::Model;

/// Returns the scheduler's obligation.
fn fairness_of(kind: Kind) -> Fairness {
    match kind {
        Kind::OldCall | Kind::NewCall | Kind::Death => Fairness::Weak,
        _ => Fairness::Free,
    }
}

impl Judged<'_> {
    /// Returns the length of the longest run, if all runs are known to end.
    pub(super) fn longest_run(&self) -> Option<u32> {
        match (self.exploration.cut, &self.cycles) {
            (None, Some(Cycles::Acyclic { longest_run })) => Some(*longest_run),
            _ => None,
        }
    }

    /// Verdict on termination: every run ends, and no process waits at its end.
    pub(super) fn ends(&self, at: usize, property: &Property) -> Verdict {
        match (self.exploration.cut, self.graph, &self.cycles) {
            (_, Some(graph), Some(Cycles::Cyclic(cycle))) => {
                Verdict::Violated(self.infinite_run(graph, cycle))
            }
            (None, _, Some(Cycles::Acyclic { .. })) => self.verdict(at, property),
            (cut, ..) => Verdict::Inconclusive(cut.unwrap_or(StopReason::Panic)),
        }
    }

    /// Verdict on an action property or the refinement, by the canonical run that ends with a bad
    /// step. A state may violate it, too.
    pub(super) fn steps(&self, at: usize, property: &Property) -> Verdict {
        let is_good = |state: &StateIndex| !self.is_bad(at, *state);
        let bad = self.exploration.bad[at].filter(|_| self.is_asked(property.scope));
        let Some(state) = bad.filter(is_good) else { return self.verdict(at, property) };
        let bad_step = |state: StateIndex| {
            let (from, mut enabled) = (self.exploration.state(state), Vec::new());
            self.packed.actions(from, &mut enabled);
            let is_bad = |action: &Action| {
                let next = self.packed.next_state(from, action.clone());
                next.is_some_and(|next| self.packed.edge(from, &next) >> at & 1 == 1)
            };
            enabled.into_iter().find(is_bad)
        };
        let (states, mut actions) = self.first_run(state, |state| bad_step(state).is_some());
        actions.extend(bad_step(states.last().copied().unwrap_or(state)));
        let (_, before) = actions.split_last().expect("the search saw a bad step");
        let (from, to) = (self.system.play(before), self.system.play(&actions));
        let violation = self.system.judge_step(property, &from, &to).expect("it is bad");
        Verdict::Violated(Run::new(actions, None, violation))
    }

    /// Verdict on `AG EF` good end by fault-free transitions. The counterexample is a cheapest run
    /// to a state that cannot reach one, and a continuation.
    pub(super) fn frees(&self, at: usize, property: &Property) -> Verdict {
        let graph = match (self.exploration.cut, self.graph) {
            (None, Some(graph)) => graph,
            (cut, _) => return Verdict::Inconclusive(cut.unwrap_or(StopReason::Panic)),
        };
        let is_good =
            |state| self.packed.state(self.exploration.state(state)).witness >> at & 1 == 1;
        let good = (0..self.exploration.states()).map(is_good).collect();
        let reaches = can_reach(graph, good, undisturbed(graph));
        let is_trapped = |state: StateIndex| !reaches[state as usize];
        let Some(state) = (0..graph.states()).find(|state| is_trapped(*state)) else {
            return self.verdict(at, property);
        };
        let (states, prefix) = self.first_run(state, is_trapped);
        let state = states.last().copied().unwrap_or(state);
        Verdict::Violated(self.trapped(graph, state, &prefix))
    }

    /// Returns the run to a trapped state, continued without faults to a terminal state or through
    /// a cycle.
    fn trapped(&self, graph: &Graph, state: StateIndex, prefix: &[Action]) -> Run {
        let (is_open, mut at) = (undisturbed(graph), state);
        let (mut seen, mut path): (Vec<StateIndex>, Vec<Step>) = (Vec::new(), Vec::new());
        while !seen.contains(&at) {
            seen.push(at);
            let targets = graph.successors(at).iter().enumerate();
            let Some((place, target)) = { targets }.find(|(place, _)| is_open(at, *place)) else {
                break;
            };
            path.push((at, place));
            at = *target;
        }
        let cycle_start =
            seen.iter().position(|seen| *seen == at).filter(|_| seen.len() == path.len());
        let repeats_from = cycle_start.map(|from| prefix.len() + from);
        let so_far = match prefix.len() {
            0 => "from the beginning".to_owned(),
            steps => format!("from step {steps} on"),
        };
        let violation =
            format!("{so_far} no fault-free run reaches a good end; this is one of these runs");
        Run { repeats_from, ..self.lasso(prefix, &path, &violation) }
    }

    /// Returns a lasso; one that a fair scheduler can produce, if there is one.
    fn infinite_run(&self, graph: &Graph, cycle: &[StateIndex]) -> Run {
        let fairness = Kind::ALL.map(fairness_of);
        let cycle = steps(graph, cycle);
        let unfair = starved(graph, &cycle, &fairness);
        let nowhere = vec![false; graph.states() as usize];
        let is_fair = unfair.is_empty();
        let fair = (!is_fair).then(|| fair_run(graph, &[0], &nowhere, &fairness)).flatten();
        let (cycle, unfair) =
            fair.map_or((cycle, unfair), |Lasso { cycle, .. }| (cycle, Vec::new()));
        self.lasso(&self.actions_to(cycle[0].0), &cycle, &repeats(&unfair))
    }

    /// Returns a run to a cycle and once through it.
    fn lasso(&self, prefix: &[Action], cycle: &[Step], violation: &str) -> Run {
        let mut actions = prefix.to_vec();
        for (state, place) in cycle {
            let mut enabled = Vec::new();
            self.packed.actions(self.exploration.state(*state), &mut enabled);
            actions.push(enabled.swap_remove(*place));
        }
        Run::new(actions, Some(prefix.len()), violation.to_owned())
    }
}

/// Describes a cycle, by the kinds of actions that it starves.
fn repeats(unfair: &[usize]) -> String {
    let kinds: Vec<_> = unfair.iter().map(|kind| Kind::ALL[*kind].describe()).collect();
    let how = match &kinds[..] {
        [] => ", even under a fair scheduler".to_owned(),
        kinds => {
            format!(", but only under an unfair scheduler, which starves {}", kinds.join(", "))
        }
    };
    format!("the last steps can repeat for ever{how}")
}

/// Returns the transitions of a cycle through these states.
fn steps(graph: &Graph, cycle: &[StateIndex]) -> Vec<Step> {
    let next = cycle.iter().cycle().skip(1);
    let step = |(from, to): (&StateIndex, &StateIndex)| {
        let place = graph.successors(*from).iter().position(|target| target == to);
        (*from, place.expect("a cycle's steps are transitions"))
    };
    cycle.iter().zip(next).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::repeats;
    use crate::state::action::Kind;

    #[test]
    fn kinds_are_numbered_in_their_order() {
        assert!((0..).zip(Kind::ALL).all(|(number, kind)| kind as usize == number));
    }

    #[test]
    fn a_cycle_that_needs_an_unfair_scheduler_is_reported_as_one() {
        let text = repeats(&[Kind::NewCall as usize]);
        assert!(text.ends_with("which starves a call of the new VMM"), "{text}");
        assert!(repeats(&[]).ends_with("even under a fair scheduler"));
    }
}
