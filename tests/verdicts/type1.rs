//! Tests of containers with a type1 IOMMU: the verdicts of the variant `type1`, and that no known
//! bug of it is found unless it is planted or the kernel has it.

use handoff_checker::search::Limits;
use handoff_model::abi::call::{Call, CallResult, ContainerCall};
use handoff_model::variants::Change::{After, New, Undo};
use handoff_model::variants::Edit;
use handoff_model::variants::defects::{self, Defect};

use handoff_model::protocol::{Mode, fallible};
use handoff_model::vm::Dma;
use handoff_sim_kernel::Profile;
use handoff_specs::check::{Report, check};
use handoff_specs::counterexample::{Followed, Step};
use handoff_specs::scenario::bugs::{self, Reproduction};
use handoff_specs::scenario::library::{FOR_TYPE1, built_in};
use handoff_specs::scenario::{FaultBudget, Scenario};
use handoff_specs::state::system::System;
use handoff_specs::survey::compare::compare;
use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;

fn report(scenario: &Scenario) -> Report {
    let limits = Limits { threads: NonZeroUsize::MIN, ..Limits::default() };
    let report = check(scenario, limits).expect("it can be set up");
    let panic = report.panic.as_ref().map(|run| &run.violation);
    assert!(report.stopped_by.is_none(), "{}: {:?} {panic:?}", scenario.name, report.stopped_by);
    report
}

#[test]
fn every_allowed_event_happens() {
    for (name, _) in FOR_TYPE1 {
        let never = report(&built_in(name).expect("built in")).never_happens;
        assert!(never.is_empty(), "{name}: {never:?}");
    }
}

#[test]
fn no_known_bug_is_found_where_neither_the_variant_nor_the_kernel_has_it() {
    let mut planted = BTreeSet::new();
    for known in bugs::all() {
        let Reproduction::Checked(property, _) = known.reproduction else { continue };
        let Some(mut scenario) = known.scenario().filter(|it| it.plan.dma == Dma::Type1) else {
            continue;
        };
        planted.extend(scenario.defects.drain(..).map(|defect| defect.id));
        scenario.kernel = Profile::by_name("7.3").expect("a profile");
        let found = report(&scenario);
        let found: Vec<_> = found.violations().map(|(property, _)| property.id).collect();
        assert!(!found.contains(&property), "{}: {found:?}", known.id);
    }
    let all = defects::all().filter(|defect| defect.variant == "type1").map(|defect| defect.id);
    assert_eq!(planted, all.collect());
}

/// The migration capability return-path: the new process acknowledges, and failures are reported.
static ANSWERED: Defect = {
    use handoff_model::protocol::phase::{InPhase as I, OutPhase as O};
    Defect {
        id: "answered",
        sentence: "",
        source: "",
        variant: "type1",
        mode: Mode::Transfer,
        breaks: "",
        edits: &[
            Edit::Out(After(O::Commit, O::AwaitCommitted)),
            Edit::In(After(I::MapVaddr, I::Committed)),
            Edit::In(Undo(I::Load, I::Refuse)),
            Edit::In(Undo(I::AssignIrqfds, I::Refuse)),
            Edit::In(Undo(I::MapVaddr, I::Refuse)),
            Edit::In(New(fallible(I::Refuse, I::Leave, I::Leave))),
        ],
    }
};

/// A mapping that the new process has taken over already has an address, so it cannot be given one;
/// QEMU treats that as fatal.
#[test]
fn the_old_process_dies_if_the_new_one_fails_between_two_mappings() {
    let mut scenario = built_in("type1-transfer").expect("built in");
    scenario.defects = vec![&ANSWERED];
    scenario.fault_budget = FaultBudget {
        kill: 0,
        cancel: false,
        interrupts: 0,
        guest_steps: 0,
        ..scenario.fault_budget
    };
    let report = report(&scenario);
    let found = report.violations().find(|(property, _)| property.id == "VM-3");
    let (_, run) = found.expect("the guest is lost");
    assert_eq!((run.faults, run.actions.len()), (1, 24));
    let system = System::new(&scenario).expect("set up");
    let told = Followed::of(&system, &run.actions);
    let told: Vec<_> = told.steps().iter().map(Step::describe).collect();
    let [.., restores, dies] = &told[..] else { panic!("{told:?}") };
    assert!(restores.starts_with("RestoreVaddr: ") && restores.contains("EINVAL"), "{restores}");
    assert!(dies.starts_with("Abort: exit"), "{dies}");
}

/// Compares variants over scenarios of both kinds; only `type1` is for those with containers.
#[test]
fn each_variant_is_checked_on_its_own_scenarios() {
    let names = ["transfer", "exec"].into_iter().chain(FOR_TYPE1.iter().map(|(name, _)| *name));
    let worlds: Vec<_> =
        names.map(|name| (name.to_owned(), built_in(name).expect("built in"))).collect();
    let columns = compare(&worlds, Limits::default()).expect("they can be set up");
    let (type1, others): (Vec<_>, Vec<_>) =
        columns.iter().partition(|column| column.variant.dma == Dma::Type1);
    let told: Vec<_> =
        type1.iter().map(|of| (of.variant.id, of.variant.mode, of.scenarios)).collect();
    assert_eq!(told, [("type1", Mode::Transfer, 6), ("type1", Mode::Exec, 4)]);
    assert!(!others.is_empty() && others.iter().all(|column| column.scenarios == 1));
}

/// The rollback in the order that was proposed for it (6f5bc070fd): the failure notifiers run
/// before the guest does.
static RESUMES_LAST: Defect = {
    use handoff_model::protocol::phase::OutPhase as O;
    Defect {
        id: "resumes-last",
        sentence: "",
        source: "",
        variant: "type1",
        mode: Mode::Transfer,
        breaks: "",
        edits: &[
            Edit::Out(After(O::RestoreVaddr, O::Resume)),
            Edit::Out(Undo(O::Resume, O::Disconnect)),
        ],
    }
};

#[test]
fn addresses_that_are_given_before_the_guest_runs_are_valid_while_it_runs() {
    let mut scenario = built_in("type1-two-containers-transfer").expect("built in");
    let violates = |scenario: &Scenario| {
        let report = report(scenario);
        report.violations().any(|(property, _)| property.id == "VA-1")
    };
    assert!(violates(&scenario));
    scenario.defects = vec![&RESUMES_LAST];
    assert!(!violates(&scenario));
}

/// Each scenario has containers, and names the variant that hands those over.
#[test]
fn the_type1_scenarios_are_for_this_variant() {
    for (name, _) in FOR_TYPE1 {
        let scenario = built_in(name).expect("built in");
        assert_eq!((scenario.plan.dma, scenario.variant.id), (Dma::Type1, "type1"), "{name}");
    }
}

/// L15: an override that remains after a container could not be loaded has no effect, because no
/// further mapping is made.
#[test]
#[expect(clippy::mutable_key_type, reason = "a part of a world keeps its own hash, and no more")]
fn a_new_process_that_could_not_load_a_container_maps_nothing() {
    for name in ["type1-two-containers-transfer", "type1-two-containers-exec"] {
        let system = System::new(&built_in(name).expect("built in")).expect("set up");
        let mut left = vec![(system.init().clone(), false)];
        let mut seen: HashSet<_> = left.iter().cloned().collect();
        let mut failures = 0;
        while let Some((world, has_failed)) = left.pop() {
            let mut actions = Vec::new();
            world.actions(system.constants(), &mut actions);
            for action in actions {
                let mut next = world.clone();
                let told = next.act(system.constants(), &action).call;
                let gives = told.filter(maps_for_the_new_process);
                assert!(!has_failed || gives.is_none(), "{name}: {gives:?}");
                let fails = gives.is_some_and(|(_, _, answer)| answer.is_err());
                failures += u32::from(fails);
                let state = (next, has_failed || fails);
                if seen.insert(state.clone()) {
                    left.push(state);
                }
            }
        }
        assert!(failures > 0, "{name}");
    }
}

/// The old process restores addresses in a phase of its own.
fn maps_for_the_new_process((phase, call, _): &(String, Call, CallResult)) -> bool {
    phase != "RestoreVaddr"
        && matches!(
            call,
            Call::Container(ContainerCall::GiveVaddr { .. } | ContainerCall::MapDma { .. })
        )
}
