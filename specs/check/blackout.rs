//! How long a guest may stand still: the most kernel calls of a blackout, over every run.
//!
//! A blackout begins when the handoff has stopped the guest and ends when either process has it run
//! again. Runs end, so the graph of all states has no cycle, and the heaviest stretch of dark
//! states is exact: not a bound, but the number that the worst run attains, and that run.

use crate::check::packed::{Packed, PackedSystem};
use crate::state::action::Action;
use handoff_checker::graph::{Graph, LongestPath, in_order, longest_path};
use handoff_checker::search::{Exploration, StateIndex};
use stateright::Model;

/// The worst blackout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// The kernel calls that are made in it, by both processes.
    pub calls: u32,
    /// Everything that happens in that run from the first of these calls to the last.
    pub steps: usize,
    /// A run that attains it, from the first state.
    pub places: Vec<u16>,
}

/// The worst blackouts: where nothing disturbs the handoff, and whatever does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackouts {
    /// Of runs without a fault.
    pub undisturbed: Blackout,
    /// Of all runs.
    pub worst: Blackout,
}

/// Of a complete exploration; `None` where a run can go round for ever.
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

/// A state in which the guest stands still.
struct BlackoutWeights {
    disturbed: bool,
    /// Which of its actions are kernel calls, and which are faults.
    actions: Vec<(bool, bool)>,
}

impl BlackoutWeights {
    fn of(packed: &PackedSystem<'_>, state: &Packed) -> Option<Self> {
        let world = packed.numbered(state);
        let mut actions = Vec::new();
        if !world.is_dark() {
            return None;
        }
        packed.actions(state, &mut actions);
        let is_call = |action: &Action| matches!(action, Action::Step(_) | Action::Fail(..));
        let actions = actions.iter().map(|action| (is_call(action), action.is_fault())).collect();
        Some(Self { disturbed: world.aux.history.faulted, actions })
    }
}
