//! The abstract spec and its flawed variants, explored by this project's search and by SPIN.

use handoff_checker::graph::{Cycles, Graph, cycles};
use handoff_checker::search::{Labels, Limits, explore};
use handoff_model::protocol::Mode;
use handoff_specs::spec::{
    AbstractSpec, AbstractState, Decision, EXEC, Guest, INVARIANTS, Life, TRANSFER,
};
use std::num::NonZeroUsize;

/// An abstract action with a wrong guard.
#[derive(Debug)]
pub(crate) struct Flaw {
    /// The macro in `specs/spec/abstract.pml` that selects it.
    pub(crate) name: &'static str,
    row: &'static str,
    may: fn(&AbstractState) -> bool,
}

const RESUME: &str = "the old VMM resumes the guest";

fn is_stopped_and_back(it: &AbstractState) -> bool {
    it.old.life == Life::GivesUp && it.old.guest == Guest::Stopped
}

fn owns(it: &AbstractState) -> bool {
    it.owner.is_some_and(|owner| owner.pid() == handoff_specs::state::action::OLD)
}

/// All flaws.
pub(crate) const FLAWS: &[Flaw] = &[
    Flaw { name: "STAYS_STOPPED", row: RESUME, may: |_| false },
    Flaw {
        name: "RESUMED_UNREVOKED",
        row: RESUME,
        may: |it| it.old.is_here() && it.old.guest == Guest::Stopped && owns(it),
    },
    Flaw { name: "RESUMED_TOO_EARLY", row: RESUME, may: |it| is_stopped_and_back(it) && owns(it) },
    Flaw {
        name: "RESUMED_UNOWNED",
        row: RESUME,
        may: |it| {
            is_stopped_and_back(it) && (it.decision == Decision::Undecided || !it.new.is_here())
        },
    },
    Flaw {
        name: "COMMITTED_UNOWNED",
        row: "the new VMM commits",
        may: |it| {
            let is_told = it.new.is_here() && it.decision == Decision::CommitAllowed;
            is_told && it.old.life != Life::GivesUp && it.new.guest == Guest::Stopped
        },
    },
    Flaw { name: "LINGERS", row: "the new VMM exits", may: |_| false },
    Flaw { name: "ENDS_TOO_EARLY", row: "the old VMM exits", may: |it| it.old.is_here() },
];

/// The abstract spec of a mode, with or without a flaw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) mode: Mode,
    pub(crate) flaw: Option<&'static Flaw>,
}

/// The results of an exploration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) states: u32,
    pub(crate) transitions: u64,
    /// The invariants that some state violates, and `ends` if a run can cycle.
    pub(crate) violated: Vec<&'static str>,
}

impl Variant {
    /// Both modes, without a flaw and with each flaw that applies to the mode.
    pub(crate) fn all() -> Vec<Self> {
        let of_mode = |(mode, rows): (Mode, &'static [_])| {
            let can = move |flaw: &&Flaw| {
                rows.iter().any(|row: &handoff_specs::spec::SpecAction| row.name == flaw.row)
            };
            let flaws = FLAWS.iter().filter(can).map(Some);
            std::iter::once(None).chain(flaws).map(move |flaw| Self { mode, flaw })
        };
        [(Mode::Transfer, TRANSFER), (Mode::Exec, EXEC)].into_iter().flat_map(of_mode).collect()
    }

    /// The name of the variant.
    pub(crate) fn name(self) -> String {
        let flaw = self.flaw.map(|flaw| format!(" {}", flaw.name)).unwrap_or_default();
        format!("{:?}{flaw}", self.mode)
    }

    /// The abstract spec with the flaw.
    pub(crate) fn spec(self) -> AbstractSpec {
        let spec = AbstractSpec::new(self.mode);
        self.flaw.map_or(spec.clone(), |flaw| spec.with(flaw.row, flaw.may))
    }

    /// Explores the variant.
    pub(crate) fn explored(self) -> Found {
        let model = self.spec();
        let ask = |it: &AbstractState| {
            let at_rest = model.is_at_rest(it);
            let bad = (0..).zip(INVARIANTS).filter(|(_, (_, holds))| !holds(it, at_rest));
            Labels { witness: 0, violation: bad.map(|(at, _)| 1u64 << at).sum() }
        };
        let found = explore(&model, &(INVARIANTS.len(), ask), Limits::default());
        assert_eq!(found.cut, None);
        let graph = Graph::of(&model, &found, NonZeroUsize::MIN, |_| 0);
        let goes_round = matches!(cycles(&graph), Cycles::Cyclic(_)).then_some("ends");
        let bad = INVARIANTS.iter().zip(&found.bad).filter(|(_, state)| state.is_some());
        let violated = bad.map(|((name, _), _)| *name).chain(goes_round).collect();
        Found { states: found.states(), transitions: found.transitions, violated }
    }
}
