//! Every known bug that can be planted is found by the property that it breaks, by a shortest run.

use crate::hazards::HAZARDS;
use handoff_model::defect::{DEFECTS, Defect};
use handoff_model::protocol::Mode;
use handoff_specs::check::check;
use handoff_specs::property::{self, PROPERTIES};
use handoff_specs::scenario::Scenario;
use handoff_specs::search::Limits;
use handoff_specs::story;
use handoff_specs::system::System;
use std::collections::BTreeSet;

/// The least VM in which a bug shows, and what it needs to show.
pub(crate) fn scenario(defect: &Defect) -> Scenario {
    let mode = if defect.mode == Mode::Exec { "exec" } else { "transfer" };
    let (head, map, tail) = match defect.id {
        "charged-to-the-dead" => (
            "",
            "file",
            "[[iommufd]]\nname = \"iommufd0\"\naccounting = \"process\"\n[process]\nuid = 0",
        ),
        "checked-late" => ("refused = true", "address", ""),
        "limit-unjudged" => ("refused = true", "file", "[process]\nmemlock_pages = 1"),
        _ => ("", "file", ""),
    };
    let text = format!(
        "name = \"defect\"\nmode = \"{mode}\"\ndefects = [\"{}\"]\n{head}\n\
         [[ram]]\nname = \"ram0\"\npages = 1\niova = 0x100000\nmap = \"{map}\"\n\
         [[device]]\nname = \"nic0\"\n{tail}\n",
        defect.id
    );
    Scenario::parse("defect.toml", &text).expect("a scenario")
}

/// Faults and steps of the cheapest run by which the property that a bug breaks is violated.
const CHEAPEST: &[(&str, u32, usize)] = &[
    ("ownership-not-taken", 0, 46),
    ("no-take-back", 1, 43),
    ("taken-back-too-early", 1, 43),
    ("mapped-twice", 0, 34),
    ("charged-to-the-dead", 0, 67),
    ("ram-initialised", 0, 28),
    ("remapped", 0, 33),
    ("unwound", 1, 20),
    ("reset-on-realize", 0, 27),
    ("resumed-unrevoked", 1, 37),
    ("cut-while-running", 0, 36),
    ("events-drained", 0, 30),
    ("not-fenced", 0, 37),
    ("lingering", 1, 21),
    ("window-left-open", 0, 17),
    ("probe-takes-ownership", 0, 27),
    ("stays-stopped", 1, 16),
    ("checked-late", 0, 10),
    ("limit-unjudged", 0, 10),
    ("ends-too-early", 0, 25),
    ("overcautious", 0, 12),
    ("waits-for-each-other", 1, 34),
    ("waits-for-the-dead", 1, 18),
];

#[test]
fn every_known_bug_is_found_by_the_property_that_it_breaks() {
    let names: Vec<_> = DEFECTS.iter().map(|defect| defect.id).collect();
    assert_eq!(names, CHEAPEST.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    let mut found_by = Vec::new();
    for defect in DEFECTS {
        let report = check(&scenario(defect), Limits::default()).expect("it can be set up");
        let found = report.violations().find(|(property, _)| property.id == defect.breaks);
        let (_, run) =
            found.unwrap_or_else(|| panic!("{} is not found by {}", defect.id, defect.breaks));
        found_by.push((defect.id, run.faults, run.actions.len()));
    }
    assert_eq!(found_by, CHEAPEST);
}

/// From which step of that run on every way violates the property: whatever happens, and where nothing more goes wrong.
#[test]
fn the_step_of_no_return_is_told() {
    let expected = [
        ("ownership-not-taken", 0, 46),
        ("no-take-back", 38, 43),
        ("unwound", 18, 20),
        ("not-fenced", 0, 37),
        ("lingering", 9, 21),
    ];
    let found = expected.map(|(id, ..)| {
        let defect = DEFECTS.iter().find(|defect| defect.id == id).expect("a known bug");
        let report = check(&scenario(defect), Limits::default()).expect("it can be set up");
        let found = report.violations().find(|(property, _)| property.id == defect.breaks);
        let no_return = found.expect("it is found").1.no_return.expect("the search is complete");
        (id, no_return.undisturbed, no_return.whatever)
    });
    assert_eq!(found, expected);
}

#[test]
fn without_its_bug_each_of_these_scenarios_is_proved() {
    for defect in DEFECTS {
        let mut scenario = scenario(defect);
        scenario.defects.clear();
        // What the bug does not look at must be refused without it.
        scenario.refused |= defect.id == "charged-to-the-dead";
        let report = check(&scenario, Limits::default()).expect("it can be set up");
        let violated: Vec<_> = report.violations().map(|(property, _)| property.id).collect();
        assert!(violated.is_empty(), "{}: {violated:?}", defect.id);
    }
}

#[test]
fn every_property_has_a_bug_that_breaks_it() {
    let defects = DEFECTS.iter().map(|defect| defect.breaks);
    let hazards = HAZARDS.iter().map(|hazard| hazard.breaks);
    let broken: BTreeSet<_> = defects.chain(hazards).collect();
    let all: BTreeSet<_> = PROPERTIES.iter().map(|property| property.id).collect();
    assert_eq!(broken, all);
    assert!(broken.iter().all(|id| property::find(id).is_some()));
}

/// A story ends with a line that replays it, and the replay ends where the story did.
#[test]
fn a_run_can_be_replayed_from_its_last_line() {
    for defect in DEFECTS {
        let scenario = scenario(defect);
        let system = System::new(&scenario).expect("set up");
        let report = check(&scenario, Limits::default()).expect("checked");
        for (property, run) in report.violations() {
            let token = story::token(&system, &run.actions);
            assert_eq!(story::from_token(&system, &token).as_ref(), Ok(&run.actions));
            let told = story::violation(&system, "file.toml", property, run, 110);
            assert!(told.contains(&format!("--steps {token}")), "{told}");
        }
    }
}
