//! Tests that every known bug is found again, by the property and the run listed here; that the
//! catalog is complete; and that the recommended protocol violates no property in any of those
//! scenarios.

use handoff_checker::search::Limits;
use handoff_conformance::suite::{self, rows, run, simulated_for};
use handoff_model::protocol::Mode;
use handoff_model::vm::Dma;
use handoff_sim_kernel::Profile;
use handoff_specs::check::{Verdict, check};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::bugs::{self, KnownBug, Reproduction};
use handoff_specs::scenario::mutants::ours;
use handoff_specs::survey::bugs::mismatch;
use std::collections::BTreeSet;

/// For each bug that a check finds: the violated property, and the faults and steps of its minimal
/// trace.
const FOUND: &[(&str, &str, u32, usize)] = &[
    ("Z01", "VM-3", 0, 13),
    ("Z02", "VM-3", 0, 4),
    ("Z03", "DMA-1", 0, 11),
    ("Z04", "VM-3", 1, 19),
    ("Z05", "VA-1", 0, 22),
    ("Z07", "VM-3", 0, 4),
    ("Z08", "DMA-1", 0, 19),
    ("Z09", "IRQ-1", 0, 28),
    ("Z10", "IRQ-1", 0, 28),
    ("Z10b", "IRQ-1", 0, 38),
    ("Z11", "VM-3", 0, 28),
    ("Z12", "VM-3", 0, 24),
    ("Z13", "VM-3", 0, 24),
    ("Z15", "VM-3", 1, 20),
    ("Z16", "VM-3", 1, 18),
    ("Z17", "DONE-1", 0, 12),
    ("Z18", "DONE-1", 0, 13),
    ("Z19", "VM-3", 1, 18),
    ("Z20", "VM-3", 1, 19),
    ("Z21", "VM-3", 0, 18),
    ("Z23", "VM-3", 0, 13),
    ("Z24", "PRE-1", 0, 6),
    ("Z25", "READ-1", 0, 9),
    ("Z27", "VM-3", 1, 5),
    ("Z28", "IRQ-2", 1, 20),
    ("Z30", "DEV-1", 0, 11),
    ("Z31", "DONE-1", 0, 12),
    ("Z32", "DEV-1", 0, 10),
    ("Z33", "VM-3", 1, 8),
    ("K1", "CHG-1", 0, 32),
    ("K3", "CHG-1", 0, 21),
    ("K4", "PRE-1", 0, 12),
    ("L0", "OWN-2", 0, 9),
    ("L1", "DEV-1", 1, 11),
    ("L2", "VM-3", 1, 11),
    ("L3", "VM-3", 0, 29),
    ("L4", "VM-3", 1, 5),
    ("L5", "PRE-1", 0, 6),
    ("L6", "IRQ-1", 0, 26),
    ("L7", "IRQ-1", 0, 30),
    ("L8", "IRQ-1", 0, 38),
    ("L9", "FD-1", 0, 39),
    ("L10", "OWN-1", 0, 20),
    ("L11", "FD-1", 0, 22),
    ("L12", "VM-3", 1, 18),
    ("L13", "BACK-1", 1, 13),
    ("L14", "PRE-1", 0, 13),
    ("L16", "TRUE-1", 0, 17),
    ("L17", "DEV-1", 0, 11),
    ("L18", "DONE-1", 0, 16),
    ("L19", "FD-2", 0, 12),
    ("L22", "PRE-1", 0, 13),
];

/// Bugs that no scenario can express.
const OUT_OF_SCOPE: &[&str] = &["Z06", "Z14", "Z22", "Z26", "Z29", "L21"];

/// Suspected bugs that proved not to be bugs.
const REFUTED: &[&str] = &["L15", "L20"];

/// For each bug that a conformance fact shows: the difference on the kernel that has the bug.
const SHOWN_BY_FACTS: &[(&str, &str)] = &[
    ("K2", "-16, expected 0"),
    ("K5", "EINTR, expected success"),
    ("K7", "EBUSY, expected success"),
    ("K10", "ENOENT, expected success"),
];

#[test]
fn each_known_bug_is_found_again() {
    let found = bugs::all().filter_map(|known| {
        let Reproduction::Checked(id, _) = &known.reproduction else { return None };
        let report = check(&known.scenario()?, Limits::default()).expect("it can be set up");
        let run = report.violations().find(|(property, _)| property.id == *id).map(|(_, run)| run);
        let run = run.unwrap_or_else(|| panic!("{} is not found by {id}", known.id));
        Some((known.id, *id, run.faults, run.actions.len()))
    });
    assert_eq!(found.collect::<Vec<_>>(), FOUND);
}

#[test]
fn the_protocol_violates_no_property_where_a_bug_is_found() {
    for known in bugs::all() {
        // Containers are out of scope for this protocol.
        let is_for = |scenario: &Scenario| scenario.plan.dma == Dma::Iommufd;
        let Some(scenario) = known.scenario().filter(is_for) else { continue };
        for variant in ours().filter(|form| form.mode == scenario.mode) {
            let safe = Scenario { variant, defects: Vec::new(), ..scenario.clone() };
            let report = check(&safe, Limits::default()).expect("it can be set up");
            assert_eq!(report.stopped_by, None, "{}", known.id);
            let violated: Vec<_> = report.violations().map(|(property, _)| property.id).collect();
            assert!(violated.is_empty(), "{} in {}: {violated:?}", known.id, variant.id);
        }
    }
}

/// A bug of a kernel's containers is absent if the kernel of the scenario has it fixed.
#[test]
fn bugs_of_an_old_kernel_are_absent_on_a_fixed_kernel() {
    let mut asked = 0;
    for known in bugs::all().filter(|known| known.id.starts_with('K')) {
        let (Reproduction::Checked(id, _), Some(scenario)) =
            (&known.reproduction, known.scenario())
        else {
            continue;
        };
        if scenario.kernel.name() != "6.2" {
            continue;
        }
        let kernel = Profile::by_name("7.3").expect("a profile");
        let report = check(&Scenario { kernel, ..scenario }, Limits::default());
        let report = report.expect("it can be set up");
        let verdict = report.verdicts.iter().find(|(property, _)| property.id == *id);
        let (_, verdict) = verdict.expect("it is checked");
        assert!(matches!(verdict, Verdict::Proved), "{}: {verdict:?}", known.id);
        asked += 1;
    }
    assert_eq!(asked, 2);
}

/// The fact holds on the kernel that it is about. On the kernel with the bug it differs as listed
/// here.
#[test]
fn facts_differ_on_the_kernels_that_have_the_bugs() {
    let told = bugs::all().filter_map(|known| {
        let Reproduction::Row(name, _) = known.reproduction else { return None };
        let row = rows::all().find(|row| row.name == name).expect("a row");
        assert_eq!(run(row, &mut simulated_for(row)), suite::Verdict::Agrees, "{name}");
        let found = mismatch(known).unwrap_or_else(|| panic!("{} is not found", known.id));
        let (_, told) = found.what.rsplit_once(": ").expect("what, and how");
        Some((known.id, told.to_owned()))
    });
    let expected = SHOWN_BY_FACTS.iter().map(|(id, told)| (*id, (*told).to_owned()));
    assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn every_number_has_its_entry() {
    let of = |letter: &'static str, last: u32, first: u32| {
        (first..=last).map(move |number| {
            format!("{letter}{number:0width$}", width = if letter == "Z" { 2 } else { 1 })
        })
    };
    let expected: BTreeSet<_> = of("Z", 33, 1)
        .chain(of("K", 10, 1))
        .chain(of("L", 22, 0))
        .chain(["Z10b".to_owned()])
        .collect();
    let rows: Vec<_> = bugs::all().map(|known| known.id.to_owned()).collect();
    let set: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), set.len(), "no entry is listed twice");
    assert_eq!(set, expected);
}

#[test]
fn bugs_out_of_scope_are_few_and_listed_here() {
    let of = |is_it: fn(&Reproduction) -> bool| {
        let those = bugs::all().filter(move |known| is_it(&known.reproduction));
        those.map(|known| known.id).collect::<Vec<_>>()
    };
    assert_eq!(of(|found| matches!(found, Reproduction::OutOfScope(_))), OUT_OF_SCOPE);
    assert_eq!(of(|found| matches!(found, Reproduction::NotABug(_))), REFUTED);
}

/// Each known bug of another variant is planted by an entry of the catalog.
#[test]
fn every_defect_of_another_variant_is_in_the_catalog() {
    let planted: BTreeSet<_> = bugs::all()
        .filter_map(KnownBug::scenario)
        .flat_map(|scenario| scenario.defects.into_iter().map(|defect| defect.id))
        .collect();
    let others = handoff_model::variants::defects::all().filter(|defect| defect.variant != "safe");
    let missing: Vec<_> =
        others.map(|defect| defect.id).filter(|id| !planted.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The property that an entry violates is the one that its edits are documented to break.
#[test]
fn a_planted_bug_breaks_its_documented_property() {
    for known in bugs::all() {
        let (Reproduction::Checked(property, _), Some(scenario)) =
            (&known.reproduction, known.scenario())
        else {
            continue;
        };
        for defect in &scenario.defects {
            assert_eq!(defect.breaks, *property, "{}", known.id);
            assert_eq!(defect.mode == Mode::Exec, scenario.mode == Mode::Exec);
        }
    }
}

/// The tests that entries name, because no check finds these bugs, exist.
#[test]
fn the_named_tests_of_locks_exist() {
    let text = include_str!("../../sim-kernel/tests/locking/main.rs");
    for known in bugs::all() {
        if let Reproduction::LockModel(test) = known.reproduction {
            assert!(text.contains(&format!("fn {test}()")), "{}: {test}", known.id);
        }
    }
}
