//! `handoff check`: checks scenarios and prints verdicts.
//!
//! Two of its options are former names of commands: `--all` is `handoff compare`, and `--steps` is
//! `handoff show`.

use super::limits::LimitArguments;
use super::output::{Output, ReportArgument, ReportFile, Style};
use super::resumable::Pause;
use super::scenarios::{Named, Scenarios, cannot_start};
use super::{Exit, Failure, compare, show};
use crate::check::certificate::{self, CertificateError};
use crate::check::packed::{Packed, PackedSystem};
use crate::check::{Report, check_system};
use crate::counterexample::Checked;
use crate::report::check::{Check, CheckedScenario};
use crate::report::{Body, text};
use crate::scenario::Scenario;
use crate::scenario::library::text_of;
use crate::state::system::System;
use handoff_checker::search::{Exploration, Limits, explore};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    #[command(flatten)]
    scenarios: Scenarios,

    /// Use this variant of the protocol instead of the scenario's; see `handoff list variants`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["certificate", "checkpoint"])]
    variant: Option<String>,

    /// Compare all variants, as `handoff compare` does
    #[arg(long, conflicts_with_all = ["variant", "certificate", "checkpoint", "steps"])]
    all: bool,

    #[command(flatten)]
    limits: LimitArguments,

    /// Write a certificate of the proof for `handoff verify`; for one scenario
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// Resume from this file if it exists, and write it if a limit stops the search; for one
    /// scenario
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Do not search; show one run of one scenario, as `handoff show` does
    #[arg(long, value_name = "RUN", conflicts_with = "reports")]
    steps: Option<String>,

    /// Format of the output; trace, itf and mermaid need --steps
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: show::Format,

    #[command(flatten)]
    reports: ReportArgument,

    /// List every property, and show every counterexample in full
    #[arg(long, short)]
    verbose: bool,
}

/// The command that the arguments select.
enum Resolved {
    Check(Job),
    Compare(compare::Job),
    Show(Box<show::Job>),
}

/// A check.
struct Job {
    scenarios: Vec<Named>,
    limits: Limits,
    certificate: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
    style: Style,
    files: Vec<ReportFile>,
    verbose: bool,
}

pub(super) fn run(arguments: Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    match arguments.resolve()? {
        Resolved::Check(job) => check(job, out),
        Resolved::Compare(job) => compare::compare(job, out),
        Resolved::Show(job) => show::show(&job, out),
    }
}

impl Arguments {
    fn resolve(self) -> Result<Resolved, Failure> {
        let Self { scenarios, variant, certificate, checkpoint, format, .. } = self;
        let limits = self.limits.resolve();
        if let Some(run) = self.steps {
            let scenarios = scenarios.read(variant.as_deref())?;
            let [scenario] = <[Named; 1]>::try_from(scenarios)
                .map_err(|_| Failure::Usage("--steps needs exactly one scenario".to_owned()))?;
            return Ok(Resolved::Show(Box::new(show::Job { scenario, run, format })));
        }
        let style = format.style().ok_or_else(|| {
            Failure::Usage("this format shows one run, which needs --steps <RUN>".to_owned())
        })?;
        if self.all {
            let (scenarios, files) = (scenarios.to_compare()?, self.reports.files()?);
            return Ok(Resolved::Compare(compare::Job { scenarios, limits, style, files }));
        }
        let scenarios = scenarios.read(variant.as_deref())?;
        for (file, what) in [(&certificate, "certificate"), (&checkpoint, "checkpoint")] {
            if file.is_some() && scenarios.len() > 1 {
                return Err(Failure::Usage(format!("--{what} needs exactly one scenario")));
            }
        }
        let files = self.reports.files()?;
        let verbose = self.verbose;
        Ok(Resolved::Check(Job {
            scenarios,
            limits,
            certificate,
            checkpoint,
            style,
            files,
            verbose,
        }))
    }
}

fn check(job: Job, out: &mut impl Write) -> Result<Exit, Failure> {
    let Job { scenarios, limits, certificate, checkpoint, style, files, verbose } = job;
    let mut output = Output::new(style, files, out);
    let (mut exit, mut checks) = (Exit::Good, Vec::new());
    for (name, scenario) in &scenarios {
        let mut pause = checkpoint.as_deref().map(|file| Pause::begin(name, file)).transpose()?;
        let (checked, certified) =
            search(name, scenario, limits, certificate.as_deref(), pause.as_mut())?;
        exit = exit.max(exit_of(&checked.report));
        let mut report = CheckedScenario::new(name, scenario, &checked);
        output.text(|width| match (verbose, scenarios.len()) {
            (true, _) => text::check::everything(&report, width),
            (false, 1) => text::check::summary(&report, width),
            (false, _) => text::check::line(&report),
        })?;
        report.notes.extend(unwritten(certified, certificate.as_deref())?);
        report.notes.extend(pause.map_or(Ok(Vec::new()), Pause::end)?);
        for note in &report.notes {
            output.text(|_| format!("{note}\n"))?;
        }
        checks.push(report);
    }
    if scenarios.len() > 1 {
        output.text(|width| text::check::total(&checks, width))?;
    }
    output.end(Body::Check(Check { scenarios: checks }), exit)
}

/// Sets up a scenario, searches it, and writes a certificate if requested.
fn search(
    name: &str,
    scenario: &Scenario,
    limits: Limits,
    certificate: Option<&Path>,
    pause: Option<&mut Pause<'_>>,
) -> Result<(Checked, Result<(), CertificateError>), Failure> {
    let certify = |report: &Report, exploration: &_| {
        certificate.map_or(Ok(()), |file| certify(name, report, exploration, file))
    };
    let search = |packed: &PackedSystem<'_>| match pause {
        Some(pause) => pause.search(packed, limits),
        None => Ok(explore(packed, packed, limits)),
    };
    let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
    let (report, certified) =
        check_system(&system, &scenario.name, limits.threads, search, certify)?;
    Ok((Checked { system, report }, certified))
}

/// Writes the certificate of a search that proves every property.
fn certify(
    name: &str,
    report: &Report,
    exploration: &Exploration<Packed>,
    file: &Path,
) -> Result<(), CertificateError> {
    let text = text_of(name)?;
    let mut whole = Vec::new();
    certificate::write(report, exploration, &text, &mut whole)?;
    Ok(std::fs::write(file, whole)?)
}

/// Returns a note if a certificate was requested but the search proves too little for one.
fn unwritten(
    certified: Result<(), CertificateError>,
    file: Option<&Path>,
) -> Result<Option<String>, Failure> {
    match (certified, file) {
        (Ok(()), _) | (_, None) => Ok(None),
        (Err(error @ CertificateError::Unproved), _) => {
            Ok(Some(format!("no certificate: {error}")))
        }
        (Err(CertificateError::File(error)), Some(file)) => {
            Err(Failure::Usage(format!("{}: {error}", file.display())))
        }
    }
}

fn exit_of(report: &Report) -> Exit {
    if report.panic.is_some() || report.violations().next().is_some() {
        Exit::Bad
    } else if report.is_inconclusive() {
        Exit::Inconclusive
    } else {
        Exit::Good
    }
}
