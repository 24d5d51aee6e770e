//! The README of each crate shows the example of the crate's head.

use std::{env, fs};

/// The folders of the published crates, and the fences of the examples in their READMEs.
const CRATES: &[(&str, &str)] = &[
    ("model", "rust"),
    ("sim-kernel", "rust"),
    ("real-backend", "rust,no_run"),
    ("specs/checker", "rust"),
    ("specs/conformance", "rust"),
];

/// Returns what is between the first fence and its end.
fn example(text: &str, fence: &str) -> String {
    let (_, rest) = text.split_once(&format!("```{fence}\n")).expect("there is an example");
    rest.split_once("```").expect("it ends").0.to_owned()
}

/// Lines that rustdoc hides are shown.
#[test]
fn readmes_show_the_example_of_their_crate() {
    let root = env!("CARGO_MANIFEST_DIR");
    for (folder, fence) in CRATES {
        let source = fs::read_to_string(format!("{root}/{folder}/src/lib.rs")).expect("a crate");
        let head = source.lines().map_while(|line| line.strip_prefix("//!"));
        let head: String =
            head.flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"]).collect();
        let shown = example(&head, fence.trim_start_matches("rust").trim_start_matches(','));
        let shown: String = shown
            .lines()
            .flat_map(|line| [line.strip_prefix("# ").unwrap_or(line), "\n"])
            .collect();
        let path = format!("{root}/{folder}/README.md");
        let readme = fs::read_to_string(&path).expect("a README");
        let copy = example(&readme, fence);
        if env::var_os("HANDOFF_PAGES").is_some() {
            fs::write(&path, readme.replace(&copy, &shown)).expect("it can be written");
            continue;
        }
        assert_eq!(copy, shown, "{folder}/README.md; HANDOFF_PAGES=1 cargo test writes it");
    }
}
