//! House rules that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the project with one of these endings.
pub(crate) fn files(endings: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 3, "the project has files that end in {endings:?}");
    found
}

#[test]
fn every_source_file_says_what_it_is() {
    for path in files(&[".rs"]) {
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("//! "), "{} has no head", path.display());
    }
}

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() {
    for path in files(&[".rs"]) {
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

/// The protocol and the simulated kernel have no operating system, no clock, no thread.
#[test]
fn model_and_simulated_kernel_are_pure() {
    let banned = [
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::time",
        "std::env",
        "std::os",
        "std::io",
        "HashMap",
        "unsafe {",
    ];
    for path in files(&[".rs"]) {
        let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("within");
        if !place.starts_with("model/src") && !place.starts_with("sim-kernel/src") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        for word in banned {
            assert!(!text.contains(word), "{} uses {word}", place.display());
        }
    }
}

/// Dependencies point one way.
#[test]
fn the_model_depends_on_no_other_crate_of_the_project() {
    let of = |manifest: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
        fs::read_to_string(path).expect("a manifest")
    };
    assert!(
        !of("model/Cargo.toml").contains("handoff-sim")
            && !of("model/Cargo.toml").contains("handoff-real")
    );
    assert!(!of("sim-kernel/Cargo.toml").contains("handoff-real"));
    assert!(!of("real-backend/Cargo.toml").contains("handoff-sim"));
}
