//! Tests the figures of `docs/figures.md`, to the last digit: the size of each state space, the
//! blackouts, and the minimal trace of each known bug.
//!
//! A change of the protocol, the kernel or the environment changes these figures; any other change
//! must not.

use crate::bugs::defects;
use crate::formats::pages::is_up_to_date;
use crate::verdicts::{made_to_order, reduced};
use handoff_checker::search::Limits;
use handoff_model::variants::defects::{DEFECTS, Defect};
use handoff_specs::check::blackout::Blackouts;
use handoff_specs::check::{PointOfNoReturn, Report, Run, Verdict, check};
use handoff_specs::scenario::library::{BUILT_IN, FOR_RFC, FOR_TYPE1, built_in};
use handoff_specs::scenario::{Scenario, generated};
use std::fmt::Write;

const HEAD: &str = "\
# Figures

Made by checks; `HANDOFF_PAGES=1 cargo test` writes this page again. A change of the protocol, the
simulated kernel or the fault budget changes these figures; any other change must not.

";

const WORLDS: &str = "\
## Built-in scenarios

Reachable states, transitions, and the maximum depth of a state by a run with the fewest faults; the
longest blackout in kernel calls, on fault-free runs and on any run; and the verdicts. `PIN-1 12+1`:
the property is violated by a run of 12 steps, one of which is a fault.

";

const SIZES: &str = "\
## Generated scenarios

`handoff check --world`: devices, address spaces and mappings.

";

const WAITS: &str = "\
The longest blackout in kernel calls on fault-free runs, without the calls by which the old process
closes its descriptors: with the snapshot after the stop (`safe`), before it (`safe-early`), and
before it with KVM.

";

const REDUCED: &str = "\
## Reductions

States of the full search, and with reduction by symmetry, by partial order and by strides.

";

const BUGS: &str = "\
## Known bugs of this protocol

The properties that each planted bug violates, by steps and faults; for the property that it breaks,
the point of no return of the run, on any run and on fault-free runs.

";

#[test]
fn figures_are_up_to_date() {
    let mut text = HEAD.to_owned() + WORLDS + "```text\n";
    for (name, _) in [BUILT_IN, FOR_RFC, FOR_TYPE1].concat() {
        world(&mut text, name, &built_in(name).expect("built in"));
    }
    let _ = write!(text, "```\n\n{SIZES}```text\n");
    for size in made_to_order::SIZES {
        let name = generated::name(size).expect("a size");
        world(&mut text, size, &built_in(&name).expect("made to order"));
    }
    let _ = write!(text, "```\n\n{WAITS}```text\n");
    for size in ["1x1x1", "2x1x1", "1x1x4", "3x2x4"] {
        let forms = [("safe", false), ("safe-early", false), ("safe-early", true)];
        let [late, early, with_kvm] = forms.map(|(id, kvm)| made_to_order::waits(size, id, kvm));
        let _ = writeln!(text, "{size}: {late}, early {early}, with KVM {with_kvm}");
    }
    let _ = write!(text, "```\n\n{REDUCED}```text\n");
    let (full, reduced) = reduced::compare(&built_in("transfer").expect("built in"));
    let _ = writeln!(text, "transfer: {full}, {reduced}");
    let _ = write!(text, "```\n\n{BUGS}```text\n");
    for defect in DEFECTS {
        bug(&mut text, defect);
    }
    is_up_to_date("figures.md", &(text + "```\n"));
}

fn report(scenario: &Scenario) -> Report {
    check(scenario, Limits::default()).expect("it can be set up")
}

fn world(text: &mut String, name: &str, scenario: &Scenario) {
    let report = report(scenario);
    let Report { states, transitions, depth, .. } = report;
    let blackout = report.blackouts.as_ref().map_or_else(
        || "unbounded".to_owned(),
        |Blackouts { undisturbed, worst }| format!("{}, {} calls", undisturbed.calls, worst.calls),
    );
    let _ = writeln!(
        text,
        "{name}: {states} states, {transitions} transitions, depth {depth}; blackout {blackout}"
    );
    let is_proved = |(_, verdict): &&(_, Verdict)| *verdict == Verdict::Proved;
    let proved = report.verdicts.iter().filter(is_proved);
    let _ = writeln!(text, "  proved:{}", proved.map(|(it, _)| spaced(it.id)).collect::<String>());
    for (property, verdict) in &report.verdicts {
        if !matches!(verdict, Verdict::Proved | Verdict::NotApplicable(_) | Verdict::Violated(_)) {
            let _ = writeln!(text, "  {}: {verdict:?}", property.id);
        }
    }
    if report.violations().next().is_some() {
        let _ = writeln!(text, "  violated:{}", violated(&report));
    }
}

fn bug(text: &mut String, defect: &Defect) {
    let report = report(&defects::scenario(defect));
    let broken = report.violations().find(|(property, _)| property.id == defect.breaks);
    let (_, run) =
        broken.unwrap_or_else(|| panic!("{} is not found by {}", defect.id, defect.breaks));
    let all = report.violations().map(|(property, run)| format!(" {}", cost(property.id, run)));
    let _ = writeln!(text, "{}:{}", defect.id, all.collect::<String>());
    let no_return = run.point_of_no_return.map_or_else(
        String::new,
        |PointOfNoReturn { any_run, fault_free }| {
            format!("; point of no return {any_run}, fault-free {fault_free}")
        },
    );
    let _ = writeln!(text, "  breaks {}{no_return}", cost(defect.breaks, run));
}

fn violated(report: &Report) -> String {
    report.violations().map(|(property, run)| spaced(&run_of(property.id, run))).collect()
}

/// The cost of an END-3 run is omitted: beyond the state from which no fault-free run terminates,
/// it continues in one of several ways.
fn run_of(id: &str, run: &Run) -> String {
    match id {
        "END-3" => id.to_owned(),
        _ => cost(id, run),
    }
}

fn cost(id: &str, run: &Run) -> String {
    format!("{id} {}+{}", run.actions.len(), run.faults)
}

fn spaced(it: &str) -> String {
    format!(" {it}")
}
