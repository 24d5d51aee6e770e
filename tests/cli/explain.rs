//! Tests `handoff explain`: every name in the registries is explained.

use super::check;
use handoff_model::abi::errno::Errno;
use handoff_model::protocol::phase::{InPhase, OutPhase};
use handoff_model::variants::{VARIANTS, defects};
use handoff_sim_kernel::Hazard;
use handoff_specs::properties::PROPERTIES;
use handoff_specs::scenario::bugs;
use handoff_specs::scenario::corruption::CORRUPTIONS;
use std::process::Command;

/// Returns the explanation of a name, on one line.
#[track_caller]
fn explained(name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_handoff"))
        .args(["explain", name])
        .env("COLUMNS", "100")
        .output()
        .expect("the command runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!((2..=40).contains(&text.lines().count()), "{name} is not one screen:\n{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks that an explanation contains a sentence of the registry.
#[track_caller]
fn explains(name: &str, sentence: &str) {
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = explained(name);
    assert!(text.contains(&sentence), "{name}:\n{text}\nlacks {sentence:?}");
}

#[test]
fn every_property_variant_defect_and_corruption_is_explained() {
    for property in PROPERTIES {
        explains(property.id, property.sentence);
        explains(property.id, property.title);
        explains(property.id, property.reason);
        explains(property.id, &format!("severity {}", property.severity));
    }
    for variant in VARIANTS {
        explains(variant.id, variant.sentence);
        explains(variant.id, &format!("handoff check --variant {}", variant.id));
    }
    for defect in defects::all() {
        explains(defect.id, defect.sentence);
        explains(defect.breaks, defect.id);
    }
    for corruption in CORRUPTIONS {
        explains(corruption.id, corruption.sentence);
    }
}

#[test]
fn every_known_bug_is_explained() {
    for bug in bugs::all() {
        explains(bug.id, bug.sentence);
        explains(bug.id, &format!("handoff bugs {}", bug.id));
    }
}

#[test]
fn every_hazard_is_explained() {
    for hazard in Hazard::ALL {
        explains(hazard.code, hazard.what);
        explains(hazard.code, hazard.evidence);
    }
}

#[test]
fn every_phase_is_explained() {
    for phase in OutPhase::ALL {
        explains(&phase.to_string(), &format!("purpose {}", phase.sentence()));
        explains(&phase.to_string(), "phase of the old process");
    }
    for phase in InPhase::ALL {
        explains(&phase.to_string(), &format!("purpose {}", phase.sentence()));
        explains(&phase.to_string(), "phase of the new process");
    }
}

/// Checks one page of each kind for the facts that follow from tables.
#[test]
fn pages_state_what_follows_from_the_tables() {
    for (name, texts) in [
        ("DONE-1", &["handoff bugs Z17", "n/a in others"][..]),
        ("VA-1", &["handoff check type1-transfer", "no type1 container maps memory"]),
        ("fd-1", &["not promised", "qemu-10.2 transfer", "(property)"]),
        ("z17", &["violates DONE-1", "planted space-of-first"]),
        ("K10", &["fact compat/unmap", "kernel 6.13"]),
        ("H2", &["kernel = \"fixed\"", "hazard/h2-dead"]),
        ("h7", &["fails with EBUSY while another thread"]),
        ("qemu-10.2", &["limit FD-1", "exec mode", "transfer mode", "Snapshot → "]),
        (
            "ReclaimOwnership",
            &["safe transfer: then Unpark; each call is tried 3 times", "rollback"],
        ),
        ("takeback", &["ReclaimOwnership: phase of the old process", "IOMMU_IOAS_CHANGE_PROCESS"]),
        ("Drain", &["or, depending on the answer, Release"]),
        ("AssignIrqfds", &["after the point of no return", "KVM_IRQFD"]),
        ("WipeRam", &["only planted ram-initialised"]),
        ("ReleaseVaddr", &["rule type1 transfer: then"]),
        ("CloseWindow", &["phase of the old process", "phase of the new process"]),
        ("ebusy", &["is retried", "IOMMU_IOAS_CHANGE_PROCESS"]),
    ] {
        let text = explained(name);
        for words in texts {
            assert!(text.contains(words), "{name} lacks {words:?}:\n{text}");
        }
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_ones() {
    check(&["explain", "OWM-1"], 2, &["\"OWM-1\" is not a known name", "OWN-1"]);
    check(&["explain", "comit"], 2, &["Commit"]);
    check(&["explain", &Errno::Other(99).to_string()], 2, &["not a known name"]);
}
