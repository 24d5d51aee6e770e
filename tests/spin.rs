//! Checks the abstract spec of a handoff with SPIN (`specs/spec/abstract.pml`): it must find the
//! same states, transitions and verdicts as this project's search, for the spec as it is and with
//! each flaw.
//!
//! Requires SPIN and a C compiler. If one is missing, every test is reported as ignored, with the
//! reason; with `HANDOFF_SPIN=required` that is a failure instead.

#[path = "verdicts/abstract_spec/variants.rs"]
mod variants;

use handoff_model::protocol::Mode;
use handoff_specs::spec::INVARIANTS;
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use variants::{Found, Variant};

fn main() -> ExitCode {
    let missing = missing();
    let is_required = env::var_os("HANDOFF_SPIN").is_some_and(|value| value == "required");
    let kind = missing.map(|missing| format!("SKIPPED: {missing}")).unwrap_or_default();
    let trial = |variant: Variant| {
        let told = kind.clone();
        let test = move || if told.is_empty() { agrees(variant) } else { Err(told.into()) };
        let is_ignored = !kind.is_empty() && !is_required;
        Trial::test(variant.name(), test).with_kind(kind.clone()).with_ignored_flag(is_ignored)
    };
    let trials = Variant::all().into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Returns the first program that is missing, and how to install it.
fn missing() -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| env::split_paths(&path).any(|at| at.join(program).exists());
    let program = ["spin", "gcc"].into_iter().find(|program| !is_there(program))?;
    Some(format!("no {program}; install the package {program}"))
}

/// Checks that SPIN and this project's search find the same for a model.
fn agrees(variant: Variant) -> Result<(), Failed> {
    let spin = Spin::of(variant)?;
    let found = variant.explored();
    let by_spin = spin.explored()?;
    if found == by_spin { Ok(()) } else { Err(format!("{found:?}; by SPIN {by_spin:?}").into()) }
}

/// The option for a small hash table.
const SMALL: &str = "-w16";

/// The compiled verifiers of a variant.
struct Spin {
    folder: PathBuf,
}

impl Spin {
    fn of(variant: Variant) -> Result<Self, String> {
        let name = variant.name().replace(' ', "-");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spin").join(name);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let spin = Self { folder };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/spec/abstract.pml");
        let mut generate = Command::new("spin");
        generate.args((variant.mode == Mode::Exec).then_some("-DEXEC"));
        generate.args(variant.flaw.map(|flaw| format!("-D{}", flaw.name)));
        spin.run(generate.arg("-a").arg(source))?;
        // The count of states includes no claim, and no reduction omits any.
        let count = ["-DNOCLAIM", "-DSAFETY", "-DNOREDUCE", "-o", "count", "pan.c"];
        spin.run(Command::new("gcc").args(count))?;
        spin.run(Command::new("gcc").args(["-DNOREDUCE", "-o", "claims", "pan.c"]))?;
        Ok(spin)
    }

    fn run(&self, command: &mut Command) -> Result<String, String> {
        let output = command.current_dir(&self.folder).output();
        let output = output.map_err(|error| format!("{command:?}: {error}"))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout);
        let failed = || format!("{command:?}: {}\n{said}{}", output.status, text(&output.stderr));
        output.status.success().then_some(said.clone()).ok_or_else(failed)
    }

    fn explored(&self) -> Result<Found, String> {
        let counted = self.run(Command::new("./count").arg(SMALL))?;
        let names = INVARIANTS.iter().map(|(name, _)| *name).chain(["ends"]);
        let mut violated = Vec::new();
        for name in names {
            let said = self.run(Command::new("./claims").args([SMALL, "-a", "-N", name]))?;
            if number(&said, "errors: ")? > 0 {
                violated.push(name);
            }
        }
        let states = u32::try_from(number(&counted, " states, stored")?);
        Ok(Found {
            states: states.map_err(|error| error.to_string())?,
            // pan counts the transition to the initial state.
            transitions: number(&counted, " transitions (=")? - 1,
            violated,
        })
    }
}

/// The number before these words in a verifier's output, or after them if there is none before.
fn number(said: &str, words: &str) -> Result<u64, String> {
    let (before, after) =
        said.split_once(words).ok_or_else(|| format!("no '{words}' in\n{said}"))?;
    let before = before.rsplit_once('\n').map_or(before, |(_, line)| line).trim();
    let found = before.parse().or_else(|_| after.lines().next().unwrap_or_default().trim().parse());
    found.map_err(|_| format!("no number at '{words}' in\n{said}"))
}
