//! Tests of the abstract spec: its invariants, its flawed variants, and that the protocol refines
//! it.

mod variants;

use crate::bugs::defects::scenario;
use handoff_checker::search::{Limits, explore};
use handoff_model::protocol::Mode;
use handoff_model::variants::defects::DEFECTS;
use handoff_specs::check::packed::PackedSystem;
use handoff_specs::check::{Verdict, check};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::builder::ScenarioBuilder;
use handoff_specs::scenario::library::{BUILT_IN, text_of};
use handoff_specs::spec::{AbstractSpec, AbstractState, EXEC, TRANSFER};
use handoff_specs::state::system::System;
use stateright::{Checker, Model};
use std::collections::BTreeSet;
use variants::{Found, Variant};

/// For each variant: states, transitions, and the violated invariants.
const FOUND: &[(&str, u32, u64, &[&str])] = &[
    ("Transfer", 52, 134, &[]),
    ("Transfer STAYS_STOPPED", 50, 126, &["runs"]),
    ("Transfer RESUMED_UNREVOKED", 76, 235, &["one_guest", "owned", "ends"]),
    ("Transfer RESUMED_TOO_EARLY", 57, 149, &["owned"]),
    ("Transfer RESUMED_UNOWNED", 54, 138, &["owned"]),
    ("Transfer COMMITTED_UNOWNED", 66, 180, &["owned"]),
    ("Transfer LINGERS", 41, 99, &["runs", "fenced"]),
    ("Transfer ENDS_TOO_EARLY", 60, 176, &["dma", "runs"]),
    ("Exec", 13, 22, &[]),
    ("Exec STAYS_STOPPED", 13, 21, &["runs"]),
    ("Exec RESUMED_UNREVOKED", 13, 23, &["ends"]),
    ("Exec RESUMED_TOO_EARLY", 13, 22, &[]),
    ("Exec RESUMED_UNOWNED", 14, 24, &["owned"]),
];

#[test]
fn every_invariant_holds_and_each_flaw_violates_the_listed_ones() {
    let found = Variant::all().into_iter().map(|variant| {
        let Found { states, transitions, violated } = variant.explored();
        (variant.name(), states, transitions, violated)
    });
    let expected = FOUND.iter().map(|(name, states, transitions, violated)| {
        ((*name).to_owned(), *states, *transitions, violated.to_vec())
    });
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn every_built_in_scenario_starts_in_the_initial_abstract_state() {
    for (name, text) in BUILT_IN {
        let scenario = Scenario::parse(name, text).expect("a scenario");
        let system = System::new(&scenario).expect("set up");
        assert_eq!(
            system.abstract_state(system.init()),
            AbstractState::begin(scenario.mode),
            "{name}"
        );
    }
}

/// Without memory or devices there are no owned pages and no reach.
#[test]
fn without_devices_or_memory_refinement_is_not_applicable() {
    let smallest = || ScenarioBuilder::new(Mode::Transfer);
    for (empty, world) in [("ram", smallest().ram([])), ("device", smallest().devices([]))] {
        let scenario = world.build().expect("a scenario");
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let verdict = report.verdicts.iter().find(|(property, _)| property.id == "REF-1");
        let expected = Verdict::NotApplicable("no device reaches memory");
        assert_eq!(verdict.expect("registered").1, expected, "no {empty}");
    }
}

#[test]
fn stateright_counts_the_same_states_and_finds_no_violation() {
    for (mode, states) in [(Mode::Transfer, 52), (Mode::Exec, 13)] {
        let checker = AbstractSpec::new(mode).checker().spawn_bfs().join();
        assert_eq!(checker.unique_state_count(), states, "{mode:?}");
        checker.assert_properties();
    }
}

/// Faults and steps of the minimal trace, and the violation.
type Leaves = (u32, usize, &'static str);

const COMMITS: &str = "the new VMM commits, which it may do only when the commit is allowed, it \
                       owns the pages, and the old VMM is not rolling back (the guest in the old \
                       VMM: stopped → absent; the decision: commit allowed → committed)";
const RESUMES: &str = "the old VMM resumes the guest, which it may do only when it is rolling back \
                       and owns the pages, and the new VMM has exited if the commit was allowed \
                       (the guest in the old VMM: stopped → runs)";
const UPSETS: &str =
    "no action of the abstract spec allows this change (the devices reach the guest: yes → no)";
const BLIND: &str =
    "no action of the abstract spec allows this change (the decision: undecided → commit allowed)";

/// For each known bug, whether it violates the refinement: the faults and steps of the minimal
/// trace, and the violation. The other bugs violate properties outside the abstract spec:
/// accounting, inheritance, waiting, and refusals.
const LEAVE: &[(&str, Option<Leaves>)] = &[
    ("ownership-not-taken", Some((0, 33, COMMITS))),
    ("runs-unowned", Some((0, 33, COMMITS))),
    ("resumed-before-unparked", None),
    ("no-take-back", Some((1, 41, RESUMES))),
    ("taken-back-too-early", Some((1, 38, RESUMES))),
    ("mapped-twice", Some((0, 34, UPSETS))),
    (
        "charged-to-the-dead",
        Some((
            0,
            36,
            "no action of the abstract spec allows this change (the owner of the pages: none → \
             new VMM)",
        )),
    ),
    ("charged-to-nobody", None),
    ("kvm-left-open", None),
    ("ram-initialised", Some((0, 28, UPSETS))),
    (
        "remapped",
        Some((
            0,
            33,
            "no action of the abstract spec allows this change (the owner of the pages: old VMM → \
             none; the devices reach the guest: yes → no)",
        )),
    ),
    ("unwound", Some((1, 20, UPSETS))),
    ("reset-on-realize", Some((0, 27, UPSETS))),
    ("resumed-unrevoked", Some((1, 33, RESUMES))),
    ("cut-while-running", Some((0, 32, BLIND))),
    ("events-drained", Some((0, 30, UPSETS))),
    (
        "not-fenced",
        Some((
            0,
            37,
            "the handoff has terminated, and this step is still pending: the old VMM closes the \
             devices",
        )),
    ),
    (
        "lingering",
        Some((
            1,
            11,
            "the handoff has terminated, and this step is still pending: the new VMM exits",
        )),
    ),
    ("window-left-open", None),
    (
        "probe-takes-ownership",
        Some((
            0,
            27,
            "the new VMM takes ownership of the pages, which it may do only when the commit is \
             allowed (the owner of the pages: old VMM → new VMM)",
        )),
    ),
    (
        "stays-stopped",
        Some((
            1,
            16,
            "the handoff has terminated, and this step is still pending: the old VMM resumes the \
             guest",
        )),
    ),
    ("checked-late", None),
    ("limit-unjudged", None),
    ("taken-on-trust", None),
    ("refuses-silently", None),
    ("ends-too-early", Some((0, 16, UPSETS))),
    ("overcautious", None),
    ("waits-for-each-other", None),
    ("waits-for-the-dead", None),
    ("begins-anew", None),
    ("not-told-to-leave", None),
    ("word-given-blind", Some((0, 16, BLIND))),
];

#[test]
fn only_the_listed_bugs_violate_the_refinement() {
    let found: Vec<_> = DEFECTS
        .iter()
        .map(|defect| {
            let report = check(&scenario(defect), Limits::default()).expect("it can be set up");
            let run = report.violations().find(|(property, _)| property.id == "REF-1");
            (defect.id, run.map(|(_, run)| (run.faults, run.actions.len(), run.violation.clone())))
        })
        .collect();
    let told = |(id, run): &(&'static str, Option<Leaves>)| {
        (*id, run.map(|(faults, steps, wrong)| (faults, steps, wrong.to_owned())))
    };
    let expected: Vec<_> = LEAVE.iter().map(told).collect();
    assert_eq!(found, expected, "{found:#?}");
}

/// The abstract states that a scenario reaches, and the abstract actions that its transitions map
/// to.
fn reached(name: &str, may: &str) -> (Vec<AbstractState>, BTreeSet<&'static str>) {
    let text = text_of(name).expect("built in") + may;
    let system = System::new(&Scenario::parse(name, &text).expect("a scenario")).expect("set up");
    let packed = PackedSystem::new(&system);
    let found = explore(&packed, &packed, Limits::default());
    let mut handoffs: Vec<AbstractState> = Vec::new();
    let mut steps: Vec<(AbstractState, AbstractState)> = Vec::new();
    let abstract_state = |state| system.abstract_state(&packed.unpack(state));
    for at in 0..found.states() {
        let state = found.state(at);
        let from = abstract_state(state);
        if !handoffs.contains(&from) {
            handoffs.push(from);
        }
        let parent = found.parent(at).map(|(parent, _)| abstract_state(found.state(parent)));
        let step = parent.map(|parent| (parent, from)).filter(|(parent, it)| parent != it);
        steps.extend(step.filter(|step| !steps.contains(step)));
    }
    let spec = system.abstract_spec();
    // The step after which the old process gives up maps to two actions.
    let row = |(from, to): &(AbstractState, AbstractState)| {
        spec.between(*from, *to).find(|action| (action.enabled)(from)).map(|action| action.name)
    };
    (handoffs, steps.iter().filter_map(row).collect())
}

/// The protocol reaches every abstract state in some scenario, and takes every abstract action.
#[test]
fn the_protocol_reaches_every_abstract_state_and_takes_every_action() {
    let kills = "\n[may]\nkill = 2\n";
    let of_mode: [(&[&str], _, _); 2] =
        [(&["two-iommufds", "early"], TRANSFER, 52), (&["exec"], EXEC, 13)];
    for (names, rows, states) in of_mode {
        let all: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        let mut handoffs: Vec<AbstractState> = Vec::new();
        let mut taken = BTreeSet::new();
        for name in names {
            let (there, rows) = reached(name, kills);
            handoffs
                .extend(there.into_iter().filter(|it| !handoffs.contains(it)).collect::<Vec<_>>());
            taken.extend(rows);
        }
        assert_eq!((handoffs.len(), taken), (states, all), "{names:?}");
    }
}
