//! Tests that the crates a VMM links, built alone, contain no laboratory.
//!
//! Cargo unifies the features of packages that are built together, so in this workspace's own build
//! the model has the feature `lab`. Only a build of one package alone shows what an embedder links.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The crates that a VMM can depend on.
const PRODUCT: [&str; 2] = ["handoff-model", "handoff-real-backend"];

/// Crates of the test bench and the laboratory, and dependencies that only they need.
const FOREIGN: [&str; 11] = [
    "clap",
    "handoff-checker",
    "handoff-conformance",
    "handoff-sim-kernel",
    "handoff-testbed",
    "loom",
    "postcard",
    "proptest",
    "stateright",
    "tiny_http",
    "vfio-handoff",
];

/// A phase of `safe`, and phases that only other protocols and known bugs have.
const OWN_PHASE: &str = "ResolveInDoubt";
const FOREIGN_PHASES: [&str; 4] =
    ["WipeRam", "AbortRestoring", "ProveOwnership", "MapVaddrOfFirst"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_vmm_depends_on_no_test_crate() {
    for package in PRODUCT {
        let tree = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}"]);
        let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&"handoff-model") && names.contains(&"serde"), "{names:?}");
        let foreign: Vec<_> = names.iter().filter(|name| FOREIGN.contains(name)).collect();
        assert!(foreign.is_empty(), "{package} depends on {foreign:?}");
    }
}

#[test]
fn a_vmm_enables_no_feature_of_the_laboratory() {
    for package in PRODUCT {
        let tree = cargo(&["tree", "-p", package, "-e", "normal,features", "-f", "{p} [{f}]"]);
        assert!(tree.contains("handoff-model"), "{tree}");
        assert!(!tree.contains("lab"), "{package} enables the feature lab:\n{tree}");
    }
}

/// Each package is built alone, so that its features are not unified with those of others.
#[test]
fn a_vmm_contains_no_phase_of_another_protocol() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("product");
    let folder = target.to_str().expect("a path in UTF-8");
    for package in PRODUCT {
        cargo(&["build", "-p", package, "--target-dir", folder]);
    }
    for package in PRODUCT {
        let name = format!("debug/lib{}.rlib", package.replace('-', "_"));
        let bytes = fs::read(target.join(&name)).expect("it was just built");
        let has = |word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
        assert!(has(OWN_PHASE) || package != "handoff-model", "{name} does not name its phases");
        let foreign: Vec<_> = FOREIGN_PHASES.into_iter().filter(|phase| has(phase)).collect();
        assert!(foreign.is_empty(), "{name} contains {foreign:?}");
    }
}
