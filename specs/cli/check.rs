//! `handoff check`: scenarios in, verdicts out.

use super::compare;
use super::resumable::Pause;
use super::show::{self, Format};
use super::{Exit, Failure, width};
use crate::check::blackout::{Blackout, Blackouts};
use crate::check::certificate::{self, Unwritten};
use crate::check::packed::{Packed, PackedSystem};
use crate::check::{Report, Verdict, check_system};
use crate::counterexample::report;
use crate::scenario::generated;
use crate::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in, text_of, to_compare};
use crate::scenario::{Scenario, find_variant};
use crate::state::system::System;
use handoff_checker::search::{Exploration, Limits, explore};
use handoff_model::variants::defects::Defect;
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args, Default)]
pub(super) struct Arguments {
    /// Scenario files, or names of built-in ones; without any: all built-in ones
    scenario: Vec<String>,

    /// Also a world of this size: DEVICESxSPACESxMAPPINGS, like 3x2x4, or 3x2x4-exec
    #[arg(long, value_name = "SIZE", value_parser = generated::name)]
    world: Vec<String>,

    /// With this variant of the protocol, whatever the scenario asks for; see `handoff list variants`
    #[arg(long, value_name = "NAME", conflicts_with_all = ["certificate", "checkpoint"])]
    variant: Option<String>,

    /// Compare all variants: what each keeps, and the runs by which it does not; fails where one of ours does
    #[arg(long, conflicts_with_all = ["variant", "certificate", "checkpoint", "steps"])]
    all: bool,

    /// Stop after so many states of a scenario; what is left is not called proved
    #[arg(long, value_name = "N")]
    states: Option<u32>,

    /// Stop a scenario after so long: 90, 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,

    /// Follow no run for more than so many steps
    #[arg(long, value_name = "N")]
    depth: Option<u32>,

    /// Stop a scenario when this process has taken so much memory
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,

    /// Threads to search with; results are the same for any number [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Write everything that was reached to a file, for `handoff verify`; of one scenario
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// Go on from this file, where it is there, and write it where a limit stops the search; of one scenario
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Do not search: replay one run of one scenario, as a violation's last line gives it
    #[arg(long, value_name = "RUN")]
    steps: Option<String>,

    /// How to tell that run [default: story]
    #[arg(long, requires = "steps")]
    format: Option<Format>,
}

/// `90`, `90s` or `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix('m') {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of seconds, or like 5m".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let mut scenarios: Vec<(String, Scenario)> = Vec::new();
    for name in arguments.scenario.iter().chain(&arguments.world) {
        scenarios.push((name.clone(), read(name)?));
    }
    if scenarios.is_empty() && (arguments.all || arguments.variant.is_some()) {
        scenarios = to_compare();
    } else if scenarios.is_empty() {
        let all =
            BUILT_IN.iter().filter_map(|(name, _)| Some(((*name).to_owned(), built_in(name)?)));
        scenarios.extend(all);
    }
    if arguments.all {
        return compare::run(&scenarios, limits(arguments), out);
    }
    if let Some(variant) = &arguments.variant {
        if arguments.scenario.is_empty() && arguments.world.is_empty() {
            let fits = |it: &Scenario| {
                find_variant(variant, it.mode, it.plan.dma).is_ok_and(|variant| it.is_for(variant))
            };
            scenarios.retain(|(_, scenario)| fits(scenario));
        }
        scenarios.iter_mut().try_for_each(|(name, scenario)| put(variant, name, scenario))?;
    }
    if let Some(run) = &arguments.steps {
        return show::run(&scenarios, run, arguments.format.unwrap_or_default(), out);
    }
    if arguments.certificate.is_some() && scenarios.len() > 1 {
        return Err(Failure::Usage("a certificate is of one scenario; name it".to_owned()));
    }
    if arguments.checkpoint.is_some() && scenarios.len() > 1 {
        return Err(Failure::Usage("a checkpoint is of one scenario; name it".to_owned()));
    }
    let mut exit = Exit::Good;
    let mut total = Total::default();
    for (name, scenario) in &scenarios {
        let file = arguments.checkpoint.as_deref();
        let mut pause = file.map(|file| Pause::begin(name, file)).transpose()?;
        let (report, certified) = report(name, scenario, arguments, pause.as_mut())?;
        exit = exit.max(write_report(name, scenario, &report, out)?);
        match (certified, &arguments.certificate) {
            (Ok(()), _) | (_, None) => {}
            (Err(error @ Unwritten::Unproved), _) => writeln!(out, "no certificate: {error}")?,
            (Err(Unwritten::File(error)), Some(file)) => {
                return Err(Failure::Usage(format!("{}: {error}", file.display())));
            }
        }
        pause.map_or(Ok(()), |pause| pause.end(out))?;
        total.add(&report);
    }
    if scenarios.len() > 1 {
        total.write(scenarios.len(), out)?;
    }
    Ok(exit)
}

/// A built-in scenario, or a file.
pub(super) fn read(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = built_in(name) {
        return Ok(scenario);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        let known = BUILT_IN.iter().chain(FOR_RFC).chain(FOR_TYPE1).map(|(name, _)| *name);
        let known = known.collect::<Vec<_>>().join(", ");
        Failure::Usage(format!("{name}: {error}; a file, or one of {known}"))
    })?;
    Scenario::parse(name, &text).map_err(|refusal| Failure::Usage(refusal.to_string()))
}

/// Puts a variant in the place of the one that a scenario asks for, and into its name, as one gives it to the command. Known bugs of
/// other variants are not planted then.
fn put(variant: &str, name: &mut String, scenario: &mut Scenario) -> Result<(), Failure> {
    let found = find_variant(variant, scenario.mode, scenario.plan.dma);
    let found = found.map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if !scenario.is_for(found) {
        return Err(Failure::Usage(format!("{name} is for another kernel than variant {variant}")));
    }
    scenario.variant = found;
    scenario.defects.retain(|defect| defect.variant == found.id);
    *name = format!("{name} --variant {variant}");
    Ok(())
}

fn limits(arguments: &Arguments) -> Limits {
    let usual = Limits::default();
    Limits {
        states_max: arguments.states.unwrap_or(usual.states_max),
        depth_max: arguments.depth,
        time_max: arguments.time,
        memory_max_bytes: arguments.memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
        threads: arguments.threads.unwrap_or(usual.threads),
    }
}

fn report(
    name: &str,
    scenario: &Scenario,
    arguments: &Arguments,
    pause: Option<&mut Pause<'_>>,
) -> Result<(Report, Result<(), Unwritten>), Failure> {
    let limits = limits(arguments);
    let certify = |report: &Report, exploration: &_| {
        let file = arguments.certificate.as_deref();
        file.map_or(Ok(()), |file| certify(name, report, exploration, file))
    };
    let search = |packed: &PackedSystem<'_>| match pause {
        Some(pause) => pause.search(packed, limits),
        None => Ok(explore(packed, packed, limits)),
    };
    let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
    check_system(&system, &scenario.name, limits.threads, search, certify)
}

/// Writes the certificate of a search that proves everything.
fn certify(
    name: &str,
    report: &Report,
    exploration: &Exploration<Packed>,
    file: &Path,
) -> Result<(), Unwritten> {
    let text = text_of(name)?;
    let mut whole = Vec::new();
    certificate::write(report, exploration, &text, &mut whole)?;
    Ok(std::fs::write(file, whole)?)
}

pub(super) fn cannot_start(scenario: &Scenario, error: &dyn std::error::Error) -> Failure {
    let (name, kernel) = (&scenario.name, scenario.kernel.name());
    Failure::Usage(format!(
        "{name}: the VM cannot be started on the simulated kernel {kernel}: {error}"
    ))
}

fn write_report(
    name: &str,
    scenario: &Scenario,
    report: &Report,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mode = format!("{:?}", scenario.mode).to_lowercase();
    let mut lines = vec![format!("{}  ({mode}, kernel {})", scenario.name, scenario.kernel.name())];
    if !scenario.about.is_empty() {
        lines.push(format!("  {}", scenario.about));
    }
    let planted = |d: &&Defect| format!("  planted: {}: {}", d.id, d.sentence);
    lines.extend(scenario.defects.iter().map(planted));
    lines.extend(scenario.mutant.map(|mutant| format!("  left out: {mutant}")));
    lines.extend(scenario.wrong.map(|wrong| format!("  wrong: {}", wrong.sentence)));
    lines.push(format!("  {}", coverage(report)));
    if !report.never.is_empty() {
        lines.push(format!(
            "  never happens, so nothing is proved of it: {}",
            report.never.join(", ")
        ));
    }
    lines.extend(blackout(name, scenario, report)?);
    let mut open: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (property, verdict) in &report.verdicts {
        open.entry(words(verdict)).or_default().push(property.id);
    }
    lines.extend(open.iter().map(|(verdict, ids)| format!("  {verdict}: {}", ids.join(" "))));
    let mut text = String::new();
    for line in &lines {
        report::paragraph(&mut text, line, width());
    }
    write!(out, "{text}")?;
    if report.violations().next().is_some() {
        let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
        let mut violations: Vec<_> = report.violations().collect();
        violations.sort_by_key(|(_, run)| run.actions.len());
        for (property, run) in violations {
            writeln!(out)?;
            write!(out, "{}", report::violation(&system, name, property, run, width()))?;
        }
    }
    if let Some(run) = &report.panic {
        let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
        writeln!(out, "\n{} after {}", run.wrong, report::length(run))?;
        writeln!(
            out,
            "  replay: handoff check {name} --steps {}",
            report::token(&system, &run.actions)
        )?;
    }
    writeln!(out)?;
    Ok(match (report.violations().count(), report.is_inconclusive()) {
        (0, false) => Exit::Good,
        (0, true) => Exit::Inconclusive,
        _ => Exit::Bad,
    }
    .max(if report.panic.is_some() { Exit::Bad } else { Exit::Good }))
}

/// The worst blackout, where the handoff stops a guest at all.
fn blackout(name: &str, scenario: &Scenario, report: &Report) -> Result<Option<String>, Failure> {
    let Some(Blackouts { undisturbed, worst }) = &report.blackouts else { return Ok(None) };
    if worst.steps == 0 {
        return Ok(None);
    }
    let system = System::new(scenario).map_err(|error| cannot_start(scenario, &error))?;
    let run = report::token(&system, &system.actions_at(&worst.places));
    let told =
        |blackout: &Blackout| format!("{} kernel calls ({} steps)", blackout.calls, blackout.steps);
    Ok(Some(format!(
        "  blackout: at most {} when nothing disturbs it, {} whatever does: handoff check {name} --steps {run}",
        told(undisturbed),
        told(worst)
    )))
}

fn coverage(report: &Report) -> String {
    let how = match report.cut {
        None => "exhaustive".to_owned(),
        Some(cut) => format!("NOT exhaustive: cut by {cut}"),
    };
    let longest =
        report.longest_run.map_or(String::new(), |steps| format!(", longest run {steps} steps"));
    let seconds = report.time.as_secs_f64();
    format!(
        "{how}: {} unique states, {} transitions, depth {}{longest}, {seconds:.1} s",
        report.states, report.transitions, report.depth
    )
}

fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Proved => "proved".to_owned(),
        Verdict::HoldsWithin(cut) => format!("holds within {cut}, not proved"),
        Verdict::Violated(run) => format!("violated, by {}", report::length(run)),
        Verdict::Vacuous => "vacuous, proves nothing".to_owned(),
        Verdict::Inconclusive(cut) => format!("inconclusive, cut by {cut}"),
        Verdict::NotAsked(why) => format!("not asked ({why})"),
    }
}

/// Sums over scenarios.
#[derive(Default)]
struct Total {
    states: u64,
    exhaustive: usize,
    violated: usize,
    time: Duration,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.states += u64::from(report.states);
        self.exhaustive += usize::from(report.cut.is_none());
        self.violated += report.violations().count();
        self.time += report.time;
    }

    fn write(&self, scenarios: usize, out: &mut impl Write) -> Result<(), Failure> {
        let violated = match self.violated {
            0 => "no property violated".to_owned(),
            count => format!("{count} violations"),
        };
        writeln!(
            out,
            "{scenarios} scenarios, {} exhaustive, {} unique states, {:.1} s: {violated}",
            self.exhaustive,
            self.states,
            self.time.as_secs_f64()
        )?;
        Ok(())
    }
}
