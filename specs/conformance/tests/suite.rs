//! The conformance suite on the simulated kernel.

use handoff_conformance::suite::fixture::ORDINARY;
use handoff_conformance::suite::{Verdict, rows, run, simulated_for};
use handoff_model::abi::call::{Call, FileCall, IommufdCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_sim_kernel::{Failure, Hazard, Machine, Placement, Profile};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_simulated_kernel_agrees_with_every_row() {
    let failed: Vec<String> = rows::all()
        .filter_map(|row| match run(row, &mut simulated_for(row)) {
            Verdict::Agrees => None,
            Verdict::Differs(mismatch) => {
                Some(format!("{}: {}\n{mismatch}", row.name, row.sentence))
            }
            Verdict::Skipped(missing) => {
                Some(format!("{}: skipped for want of {missing}", row.name))
            }
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn names_of_rows_are_unique() {
    let mut names = BTreeSet::new();
    for row in rows::all() {
        assert!(names.insert(row.name), "{} is there twice", row.name);
    }
}

/// Each hazard has its own facts, except for one that needs two threads.
#[test]
fn every_hazard_has_a_row() {
    let named = |code: &str| {
        let name = format!("/{}", code.to_lowercase());
        rows::all().any(|row| row.name.contains(&name))
    };
    let without: Vec<&str> =
        Hazard::ALL.iter().map(|hazard| hazard.code).filter(|code| !named(code)).collect();
    assert_eq!(without, ["H7"]);
}

/// Returns every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns every place in the simulator's source that refuses a call: file, line and column.
fn branches() -> BTreeSet<(String, u32, u32)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut branches = BTreeSet::new();
    for path in sources(&root.join("sim-kernel/src")) {
        let place = path.strip_prefix(&root).expect("within").to_str().expect("a name").to_owned();
        let text = fs::read_to_string(&path).expect("text");
        for (line, at) in text.lines().zip(1..) {
            let code = line.split("//").next().unwrap_or_default();
            let columns = code.match_indices("fail(").map(|(column, _)| column + 1);
            let calls = columns.filter(|column| !code[..column - 1].ends_with("fn "));
            branches.extend(
                calls.map(|column| (place.clone(), at, u32::try_from(column).expect("short"))),
            );
        }
    }
    branches
}

/// Returns the place where a refusal was made.
fn place(refusal: &Failure) -> (String, u32, u32) {
    (refusal.at.file().to_owned(), refusal.at.line(), refusal.at.column())
}

/// Returns the one branch that needs fault injection, because no call reaches it: out of memory.
fn out_of_memory() -> (String, u32, u32) {
    let mut machine = Machine::new(Profile::by_name("7.3").expect("a profile"));
    let pid = machine.spawn(ORDINARY);
    let open = Call::File(FileCall::Open { path: "/dev/iommu".to_owned() });
    let Ok(Reply::Fd(iommufd)) = machine.call(pid, &open) else { panic!("no iommufd") };
    let allocate = Call::Iommufd(IommufdCall::IoasAlloc { iommufd });
    let (answer, refusal, _) = machine.call_failing(pid, &allocate, &Placement::default(), 1);
    assert_eq!(answer, Err(Errno::ENOMEM));
    place(&refusal.expect("it was refused"))
}

#[test]
fn every_refusal_of_the_simulator_is_reached_by_a_row() {
    let mut reached = BTreeSet::from([out_of_memory()]);
    for row in rows::all() {
        let mut arm = simulated_for(row);
        let _ = run(row, &mut arm);
        reached.extend(arm.refusals.iter().map(place));
    }
    let branches = branches();
    assert!(reached.is_subset(&branches), "{:?}", reached.difference(&branches));
    let missed: Vec<String> = (branches.difference(&reached))
        .map(|(file, line, column)| format!("{file}:{line}:{column}"))
        .collect();
    assert!(missed.is_empty(), "{} of {}: {}", missed.len(), branches.len(), missed.join("\n"));
}
