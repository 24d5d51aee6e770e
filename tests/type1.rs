//! Containers with a type1 IOMMU: what the variant `type1` keeps in each of its worlds, and every known bug of it by a
//! cheapest run.

use handoff_model::defect::{self, Defect, Edit};
use handoff_model::phase::OutPhase;
use handoff_model::protocol::{Mode, Rule};
use handoff_model::vm::Dma;
use handoff_specs::built_in::{FOR_TYPE1, built_in};
use handoff_specs::check::{Report, Verdict, check};
use handoff_specs::compare::compare;
use handoff_specs::explain::{Followed, Step};
use handoff_specs::scenario::Scenario;
use handoff_specs::search::Limits;
use handoff_specs::system::System;
use std::num::NonZeroUsize;

fn report(scenario: &Scenario) -> Report {
    let limits = Limits { threads: NonZeroUsize::MIN, ..Limits::default() };
    let report = check(scenario, limits).expect("it can be set up");
    let panic = report.panic.as_ref().map(|run| &run.wrong);
    assert!(report.cut.is_none(), "{}: {:?} {panic:?}", scenario.name, report.cut);
    report
}

/// States, what is proved, and what is violated by so many faults and steps.
fn told(report: &Report) -> (u32, String, String) {
    let mut proved = Vec::new();
    let mut violated = Vec::new();
    for (property, verdict) in &report.verdicts {
        match verdict {
            Verdict::Proved => proved.push(property.id.to_owned()),
            Verdict::Violated(run) => {
                violated.push(format!("{} {}+{}", property.id, run.actions.len(), run.faults));
            }
            Verdict::NotAsked(_) => {}
            other => violated.push(format!("{} {other:?}", property.id)),
        }
    }
    (report.states, proved.join(" "), violated.join(", "))
}

const WORLDS: &[(&str, u32, &str, &str)] = &[
    (
        "type1-transfer",
        10260,
        "OWN-2 PIN-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-2 READ-1 BACK-1 DONE-1 END-1 END-2",
        "OWN-1 21+1, CHG-1 21+1, VA-1 18+1, VM-3 18+1, FD-1 23+0, END-3 21+1, REF-1 6+0",
    ),
    (
        "type1-exec",
        3393,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-1 FD-2 DONE-1 END-1 END-2",
        "VA-1 23+1, VM-3 24+1, BACK-1 8+2, END-3 26+1, REF-1 24+1",
    ),
    (
        "type1-two-containers-transfer",
        3792,
        "OWN-2 PIN-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-2 READ-1 BACK-1 DONE-1 END-1 END-2",
        "OWN-1 22+1, CHG-1 22+1, VA-1 18+1, VM-3 19+1, FD-1 24+0, END-3 21+1, REF-1 7+0",
    ),
    (
        "type1-two-containers-exec",
        1089,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-1 FD-2 DONE-1 END-1 END-2",
        "VA-1 12+1, VM-3 25+1, BACK-1 9+2, END-3 26+1, REF-1 13+2",
    ),
    (
        "type1-kvm-transfer",
        4591,
        "OWN-1 OWN-2 PIN-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-2 READ-1 BACK-1 DONE-1 END-1 END-2",
        "CHG-1 27+1, VA-1 22+1, VM-3 11+1, IRQ-2 19+1, FD-1 28+0, END-3 21+1, REF-1 6+0",
    ),
    (
        "type1-kvm-exec",
        929,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 VA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-1 FD-2 DONE-1 END-1 END-2",
        "VM-3 10+1, IRQ-2 9+1, BACK-1 10+2, END-3 11+1, REF-1 11+0",
    ),
    (
        "type1-small-memlock",
        2976,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-2 READ-1 BACK-1 WHY-1 END-1 END-2",
        "VA-1 17+1, VM-3 20+0, FD-1 20+0, PRE-1 12+0, END-3 21+0, REF-1 6+0",
    ),
    (
        "type1-mdev",
        270,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 VA-1 MAP-1 DEV-1 VM-1 VM-2 VM-3 IRQ-1 FD-1 FD-2 READ-1 BACK-1 PRE-1 WHY-1 END-1 END-2 END-3 REF-1",
        "",
    ),
    (
        "type1-untrue-transfer",
        2976,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-2 READ-1 BACK-1 WHY-1 END-1 END-2",
        "VA-1 17+1, VM-3 20+0, FD-1 20+0, TRUE-1 16+0, END-3 21+0, REF-1 6+0",
    ),
    (
        "type1-untrue-exec",
        675,
        "OWN-1 OWN-2 PIN-1 CHG-1 DMA-1 MAP-1 DEV-1 VM-1 VM-2 IRQ-1 FD-1 FD-2 TRUE-1 END-1 END-2",
        "VA-1 19+1, VM-3 31+0, BACK-1 8+2, END-3 32+0, REF-1 31+0",
    ),
];

#[test]
fn each_world_is_as_large_as_it_was_and_its_verdicts_are_the_same() {
    let names: Vec<_> = FOR_TYPE1.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, WORLDS.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (name, states, proved, violated) in WORLDS {
        let report = report(&built_in(name).expect("built in"));
        let found = told(&report);
        if found != (*states, (*proved).to_owned(), (*violated).to_owned())
            || !report.never.is_empty()
        {
            wrong.push((name, found, report.never));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const ONE: &str = "[[ram]]\nname = \"ram0\"\npages = 1\niova = 0x100000\n";
const ANOTHER: &str = "[[ram]]\nname = \"ram1\"\npages = 1\niova = 0x200000\n";
const NIC: &str = "[[device]]\nname = \"nic0\"\n";
const MDEV: &str = "[[device]]\nname = \"mdev0\"\nkind = \"mdev\"\ninterrupts = 0\n";
const TWO: &str = "space = \"a\"\n[[device]]\nname = \"nic1\"\nspace = \"b\"\n\
                   [[space]]\nname = \"a\"\n[[space]]\nname = \"b\"\n";

/// The least world in which a bug shows: one that is called off, or one call that fails, or nothing.
fn scenario(defect: &Defect) -> Scenario {
    let (head, tables, may) = match defect.id {
        "dies-restoring" | "dies-restored" => ("", [ONE, NIC, ""], "cancel = true"),
        "sections-restored" => ("", [ONE, ANOTHER, NIC], "cancel = true"),
        "restores-what-is-taken" => ("", [ONE, ANOTHER, NIC], "fail_calls = 1"),
        "mdev-unjudged" => ("refused = true", [ONE, NIC, MDEV], ""),
        _ => ("", [ONE, NIC, TWO], ""),
    };
    let mode = if defect.mode == Mode::Exec { "exec" } else { "transfer" };
    let quiet = ["fail_calls", "kill", "interrupts", "guest_steps"].into_iter();
    let quiet = quiet.filter(|what| !may.starts_with(what)).map(|what| format!("{what} = 0\n"));
    let cancel = if may.starts_with("cancel") { "" } else { "cancel = false\n" };
    let may = format!("[may]\n{}{cancel}{may}\n", quiet.collect::<String>());
    let text = format!(
        "name = \"type1\"\nmode = \"{mode}\"\nvariant = \"type1\"\ndma = \"type1\"\n\
         defects = [\"{}\"]\n{head}\n{}{may}",
        defect.id,
        tables.concat()
    );
    Scenario::parse("type1.toml", &text).expect("a scenario")
}

fn defects() -> impl Iterator<Item = &'static Defect> {
    defect::all().filter(|defect| defect.variant == "type1")
}

/// Faults and steps of the cheapest run by which the property that a bug breaks is violated.
const CHEAPEST: &[(&str, &str, u32, usize)] = &[
    ("dies-restoring", "VM-3", 1, 18),
    ("dies-restored", "VM-3", 1, 19),
    ("sections-restored", "VM-3", 1, 20),
    ("restores-what-is-taken", "OWN-2", 1, 22),
    ("first-container-only", "VA-1", 0, 22),
    ("containers-merged", "FD-1", 0, 39),
    ("mdev-unjudged", "PRE-1", 0, 12),
];

#[test]
fn every_known_bug_is_found_by_the_property_that_it_breaks_and_only_with_it() {
    let found = defects().map(|defect| {
        let mut scenario = scenario(defect);
        let found = report(&scenario);
        let found = found.violations().find(|(property, _)| property.id == defect.breaks);
        let (_, run) = found.unwrap_or_else(|| panic!("{} is not found", defect.id));
        scenario.defects.clear();
        let without = report(&scenario);
        let without: Vec<_> = without.violations().map(|(property, _)| property.id).collect();
        assert!(!without.contains(&defect.breaks), "{}: {without:?}", defect.id);
        (defect.id, defect.breaks, run.faults, run.actions.len())
    });
    assert_eq!(found.collect::<Vec<_>>(), CHEAPEST);
}

/// What the new process took has its address, so that it cannot be given one; and that is taken for a broken machine.
#[test]
fn who_is_answered_between_two_mappings_dies_of_the_first() {
    let defect = defect::find("restores-what-is-taken").expect("a known bug");
    let scenario = scenario(defect);
    let report = report(&scenario);
    let found = report.violations().find(|(property, _)| property.id == "VM-3");
    let (_, run) = found.expect("the guest is lost");
    assert_eq!((run.faults, run.actions.len()), (1, 24));
    let system = System::new(&scenario).expect("set up");
    let told = Followed::of(&system, &run.actions);
    let told: Vec<_> = told.steps().iter().map(Step::told).collect();
    let [.., restores, dies] = &told[..] else { panic!("{told:?}") };
    assert!(restores.starts_with("RestoreVaddr: ") && restores.contains("EINVAL"), "{restores}");
    assert!(dies.starts_with("Abort: exit"), "{dies}");
}

/// Side by side, over worlds of both kinds: those with containers are for no other variant.
#[test]
fn each_variant_is_asked_about_its_own_worlds() {
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

const fn row(phase: OutPhase, next: OutPhase, undo: Option<OutPhase>) -> Edit {
    Edit::Out(Rule { phase, next, undo, tries: 3 })
}

/// The way back in the order that was proposed for it (6f5bc070fd): what is told of a failure comes before the guest runs.
static RESUMES_LAST: Defect = {
    use OutPhase as O;
    const fn rule(phase: OutPhase, next: OutPhase) -> Edit {
        Edit::Out(Rule { phase, next, undo: Some(OutPhase::Unpark), tries: 1 })
    }
    Defect {
        id: "resumes-last",
        sentence: "",
        source: "",
        variant: "type1",
        mode: Mode::Transfer,
        breaks: "",
        edits: &[
            rule(O::Save, O::ReleaseVaddr),
            rule(O::ReleaseVaddr, O::Commit),
            rule(O::Commit, O::CloseVm),
            row(O::Unpark, O::RestoreVaddr, Some(O::Abort)),
            row(O::RestoreVaddr, O::Resume, Some(O::Abort)),
            row(O::Resume, O::Part, None),
        ],
    }
};

#[test]
fn addresses_that_are_given_before_the_guest_runs_are_known_while_it_does() {
    let mut scenario = built_in("type1-two-containers-transfer").expect("built in");
    let violates = |scenario: &Scenario| {
        let report = report(scenario);
        report.violations().any(|(property, _)| property.id == "VA-1")
    };
    assert!(violates(&scenario));
    scenario.defects = vec![&RESUMES_LAST];
    assert!(!violates(&scenario));
}

/// Each is a world with containers, and for the variant that hands those over.
#[test]
fn the_worlds_are_for_this_variant() {
    for (name, _) in FOR_TYPE1 {
        let scenario = built_in(name).expect("built in");
        assert_eq!((scenario.plan.dma, scenario.variant.id), (Dma::Type1, "type1"), "{name}");
    }
}
