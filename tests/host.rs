//! The test host: boots a real kernel in a virtual machine, runs one suite there, and reports each
//! of its lines as a test.
//!
//! Requires a kernel, QEMU and busybox. If one is missing, every test is reported as ignored, with
//! the reason; with `HANDOFF_HOST=required` that is a failure instead. See `tests/host/`.

use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};

/// The tests of `tests/host/suite`, in its order.
const TESTS: &[&str] = &[
    "doctor",
    "transfer",
    "exec",
    "early",
    "early-sweep",
    "root",
    "enough-memlock",
    "small-memlock",
    "by-address",
    "sweep",
    "conform",
    "lockstep",
    "no-right",
    "no-device",
    "no-driver",
];

/// The traces that the suite writes, all of which must replay without a difference.
const TRACES: &[&str] =
    &["transfer", "exec", "early", "early-sweep", "root", "small-memlock", "by-address", "sweep"];

/// Time limit of the suite, in seconds; it takes about 30 on two cores.
const SUITE_SECONDS: &str = "1200";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = missing();
    if let (Some(missing), true) = (&missing, required()) {
        let told = Trial::test("test host", {
            let missing = missing.clone();
            move || Err(Failed::from(missing))
        });
        return libtest_mimic::run(&arguments, vec![told]).exit_code();
    }
    let run: Arc<OnceLock<Result<Run, String>>> = Arc::default();
    let kind = missing.as_ref().map(|missing| format!("SKIPPED: {missing}")).unwrap_or_default();
    let trial = |name: String, test: fn(&Run, &str) -> Result<(), Failed>| {
        let (run, own) = (run.clone(), name.clone());
        let trial = Trial::test(name, move || {
            let run = run.get_or_init(boot);
            test(run.as_ref().map_err(|error| Failed::from(error.clone()))?, &own)
        });
        trial.with_kind(kind.clone()).with_ignored_flag(missing.is_some())
    };
    let mut trials: Vec<_> = TESTS.iter().map(|name| trial((*name).to_owned(), said_ok)).collect();
    trials.extend(TRACES.iter().map(|name| trial(format!("replay-{name}"), replays)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn required() -> bool {
    env::var_os("HANDOFF_HOST").is_some_and(|value| value == "required")
}

/// Returns the first precondition that is not met, and how to meet it.
fn missing() -> Option<String> {
    let is_there = |program: &str| {
        env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .any(|at| at.join(program).exists())
    };
    if env::var_os("HANDOFF_KERNEL").is_none() {
        return Some("no kernel; HANDOFF_KERNEL=$(tests/host/kernel) provides one".to_owned());
    }
    let programs = [("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")];
    let program = programs.into_iter().find(|(program, _)| !is_there(program));
    if let Some((program, package)) = program {
        return Some(format!("no {program}; install the package {package}"));
    }
    let busybox = env::var_os("HANDOFF_BUSYBOX").unwrap_or("/bin/busybox".into());
    (!Path::new(&busybox).exists()).then(|| "no static busybox; install busybox-static".to_owned())
}

/// The results of the suite.
struct Run {
    console: String,
    folder: PathBuf,
}

/// Builds the command statically, boots the kernel with it, and runs the suite.
fn boot() -> Result<Run, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host");
    let triple = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--bin", "handoff", "--target", triple]);
    // A position-independent program relocates itself each time that a worker executes it.
    let flags = "-C target-feature=+crt-static -C relocation-model=static";
    cargo.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &target);
    run(cargo.current_dir(root))?;
    let binary = target.join(triple).join("release/handoff");
    let initramfs = target.join("initramfs.gz");
    let folder = target.join("out");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let scripts = root.join("tests/host");
    run(Command::new(scripts.join("initramfs")).args([&initramfs, &binary]))?;
    let kernel = env::var_os("HANDOFF_KERNEL").unwrap_or_default();
    let mut boot = Command::new(scripts.join("boot"));
    boot.args([&kernel, initramfs.as_os_str(), folder.as_os_str(), OsStr::new(SUITE_SECONDS)]);
    let booted = run(&mut boot);
    let console = fs::read_to_string(folder.join("console.log"));
    // A suite that ran to its end reports each failure itself.
    match console {
        Ok(console) if folder.join("status").exists() => Ok(Run { console, folder }),
        _ => Err(booted.err().unwrap_or("the guest left no console".to_owned())),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

fn said_ok(run: &Run, name: &str) -> Result<(), Failed> {
    let line = run.console.lines().find(|line| *line == format!("ok {name}"));
    line.map(drop).ok_or_else(|| Failed::from(format!("the suite says:\n{}", run.console)))
}

fn replays(run: &Run, name: &str) -> Result<(), Failed> {
    let file = format!("{}.jsonl", name.trim_start_matches("replay-"));
    let text = fs::read_to_string(run.folder.join(file))?;
    let report = handoff_conformance::replay::replay(text.lines().map(str::to_owned))?;
    let full = report.agrees() && report.not_followed.is_empty() && report.not_modelled.is_empty();
    if full && report.agreeing > 0 { Ok(()) } else { Err(Failed::from(report.to_string())) }
}
