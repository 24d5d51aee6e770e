//! The worst-case blackout, in kernel calls, over all runs.
//!
//! A blackout begins when the handoff stops the guest and ends when either process runs it again.
//! All runs end, so the graph of all states is acyclic, and the heaviest path through blackout
//! states is exact: not a bound, but the number that the worst run attains, together with that run.

use crate::check::packed::{Packed, PackedSystem};
use crate::state::action::Action;
use handoff_checker::graph::{Graph, LongestPath, in_order, longest_path};
use handoff_checker::search::{Exploration, StateIndex};
use stateright::Model;

/// The worst-case blackout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// Number of kernel calls in it, by both processes.
    pub calls: u32,
    /// Number of steps in it, from the first of these calls to the last.
    pub steps: usize,
    /// A run that attains it, from the initial state.
    pub places: Vec<u16>,
}

/// The worst-case blackouts of fault-free runs and of all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackouts {
    /// The worst case of fault-free runs.
    pub undisturbed: Blackout,
    /// The worst case of all runs.
    pub worst: Blackout,
}

/// Computes the blackouts of an exhaustive exploration; `None` if some run is infinite.
pub fn blackouts(
    packed: &PackedSystem<'_>,
    exploration: &Exploration<Packed>,
    graph: &Graph,
) -> Option<Blackouts> {
    let order = in_order(graph).ok()?;
    let dark: Vec<Option<BlackoutWeights>> = (0..graph.states())
        .map(|state| BlackoutWeights::of(packed, exploration.state(state)))
        .collect();
    let worst = |only_undisturbed: bool| {
        let weight = |state: StateIndex, place: usize| {
            let dark = dark[state as usize].as_ref()?;
            let (call, fault) = dark.actions[place];
            let is_out = only_undisturbed && (fault || dark.disturbed);
            (!is_out).then_some(u32::from(call))
        };
        let LongestPath { weight: calls, first, places } = longest_path(graph, &order, weight);
        let steps = places.len();
        Blackout { calls, steps, places: [exploration.run_to(first).1, places].concat() }
    };
    Some(Blackouts { undisturbed: worst(true), worst: worst(false) })
}

/// A state in which the guest is stopped.
struct BlackoutWeights {
    disturbed: bool,
    /// For each action: true if it is a kernel call, and if it is a fault.
    actions: Vec<(bool, bool)>,
}

impl BlackoutWeights {
    fn of(packed: &PackedSystem<'_>, state: &Packed) -> Option<Self> {
        let interned = packed.interned(state);
        let mut actions = Vec::new();
        if !interned.is_dark() {
            return None;
        }
        packed.actions(state, &mut actions);
        let is_call = |action: &Action| matches!(action, Action::Step(_) | Action::Fail(..));
        let actions = actions.iter().map(|action| (is_call(action), action.is_fault())).collect();
        Some(Self { disturbed: interned.aux.history.faulted, actions })
    }
}
