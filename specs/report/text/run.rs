//! Runs as text: numbered steps, in columns if the terminal is wide enough, and violations.

use crate::properties;
use crate::report::layout::{hanging, paragraph};
use crate::report::run::{Actor, PointOfNoReturn, Run, Step, Violation};
use std::fmt::Write;

/// The minimum width for columns. A narrower text names the actor before each step instead.
const COLUMNS_FROM: usize = 100;

/// The extent to which a counterexample is written.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Maximum number of steps; the first ones are left out, except for faults.
    pub steps_max: usize,
    /// Maximum number of violated properties that are explained; the others are named.
    pub explained_max: usize,
    /// Maximum number of changes of the last step.
    pub changes_max: usize,
}

impl Detail {
    /// Everything.
    pub const FULL: Self =
        Self { steps_max: usize::MAX, explained_max: usize::MAX, changes_max: usize::MAX };
}

/// Writes a counterexample: the properties, the most severe first, the steps, the causes, and the
/// command that replays it.
pub fn counterexample(run: &Run, width: usize, detail: Detail) -> String {
    let mut violated: Vec<&Violation> = run.violated.iter().collect();
    violated.sort_by_key(|it| properties::find(it.property).map(|property| property.severity));
    let (explained, others) = violated.split_at(detail.explained_max.min(violated.len()));
    let mut text = String::new();
    let length = length(run.steps.len(), run.faults);
    for Violation { property, sentence, .. } in explained {
        let line = format!("{property} violated in {length}: {sentence}");
        text.push_str(&paragraph(&line, width));
    }
    text.push_str(&steps(run, width, detail.steps_max, |_| &[]));
    for violation in explained {
        // A run that violates one property needs no name before each line.
        let (name, indent) = match violated.len() {
            1 => (None, "  "),
            _ => (Some(format!("  {}\n", violation.property)), "    "),
        };
        text.extend(name);
        for line in why(violation) {
            text.push_str(&paragraph(&format!("{indent}{line}"), width));
        }
    }
    if !others.is_empty() {
        let ids: Vec<_> = others.iter().map(|it| it.property).collect();
        let line = format!("  also violated by this run (see --verbose): {}", ids.join(" "));
        text.push_str(&paragraph(&line, width));
    }
    text.push_str(&last_changes(run, detail.changes_max));
    text.extend(["  replay: ", &replay(&run.replay), "\n"]);
    text
}

/// Returns the changes that the last step made, a line each.
fn last_changes(run: &Run, changes_max: usize) -> String {
    let changes = run.steps.last().map_or(&[][..], |last| &last.changes);
    let mut text = String::new();
    if !changes.is_empty() {
        text.push_str("  changed by the last step:\n");
    }
    for line in changes.iter().take(changes_max) {
        text.extend(["    ", line, "\n"]);
    }
    if let Some(more @ 1..) = changes.len().checked_sub(changes_max) {
        let _ = writeln!(text, "    … and {more} more (--verbose shows them)");
    }
    text
}

/// Returns the violation, its causes and its consequences, a line each.
fn why(violation: &Violation) -> Vec<String> {
    let Violation { violation, causes, reason, point_of_no_return, .. } = violation;
    let mut lines = vec![format!("violation: {violation}"), format!("cause: {causes}")];
    lines.extend(point_of_no_return.map(no_return));
    lines.push(format!("why it matters: {reason}"));
    lines
}

fn no_return(PointOfNoReturn { any_run, fault_free }: PointOfNoReturn) -> String {
    let point = if any_run == fault_free {
        format!("step {any_run}")
    } else {
        format!("step {fault_free} on fault-free runs, step {any_run} on any run")
    };
    format!("point of no return: {point}")
}

/// Returns the command that replays a run, with the run in quotes for the shell.
pub fn replay(command: &str) -> String {
    match command.rsplit_once(' ') {
        Some((before, run)) => format!("{before} '{run}'"),
        None => command.to_owned(),
    }
}

/// Writes any run, with the changes that each step makes and the properties that the run violates.
pub fn shown(run: &Run, width: usize) -> String {
    let mut text = steps(run, width, usize::MAX, |step| &step.changes);
    for Violation { property, violation, causes, .. } in &run.violated {
        text.push_str(&paragraph(&format!("  {property} is violated: {violation}"), width));
        text.push_str(&paragraph(&format!("    cause: {causes}"), width));
    }
    text
}

/// Returns the length of a run, such as "20 steps, 1 fault".
pub fn length(steps: usize, faults: usize) -> String {
    let steps = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
    match faults {
        0 => steps,
        1 => format!("{steps}, 1 fault"),
        _ => format!("{steps}, {faults} faults"),
    }
}

/// Writes the steps, each with its number, in its column, and its details below it.
fn steps(run: &Run, width: usize, steps_max: usize, below: impl Fn(&Step) -> &[String]) -> String {
    let rows = Rows { width, each: (width.saturating_sub(6) / 3).min(52) };
    let mut text = rows.head();
    let left_out = run.steps.len().saturating_sub(steps_max);
    // The steps that repeat for ever are never left out.
    let left_out = left_out.min(run.repeats_after.unwrap_or(left_out));
    let is_shown = |step: &&Step| step.number > left_out || step.fault;
    if left_out > 0 {
        let hidden = run.steps.len() - run.steps.iter().filter(is_shown).count();
        let _ = writeln!(text, "   …  {hidden} earlier steps (--verbose shows them)");
    }
    for step in run.steps.iter().filter(is_shown) {
        if run.repeats_after == Some(step.number - 1) {
            text.push_str("      the following steps repeat for ever:\n");
        }
        text.push_str(&rows.row(step.actor, &step.number.to_string(), "", &step.text));
        for line in below(step) {
            text.push_str(&rows.row(step.actor, "", "  ", &format!("· {line}")));
        }
    }
    text
}

/// The layout of steps as rows of text.
struct Rows {
    width: usize,
    /// The width of each column.
    each: usize,
}

impl Rows {
    fn are_columns(&self) -> bool {
        self.width >= COLUMNS_FROM
    }

    fn head(&self) -> String {
        if !self.are_columns() {
            return String::new();
        }
        let each = self.each;
        format!("{:>4}  {:<each$}{:<each$}kernel and devices\n", "", "old VMM", "new VMM")
    }

    /// Returns the row of a step. The last column may exceed the width, to be as wide as the
    /// others.
    fn row(&self, actor: Actor, number: &str, indent: &str, text: &str) -> String {
        let (column, who) = match (self.are_columns(), actor) {
            (true, Actor::Old) => (0, ""),
            (true, Actor::New) => (self.each, ""),
            (true, Actor::Devices) => (2 * self.each, ""),
            (false, _) if number.is_empty() => (4, ""),
            (false, Actor::Old) => (4, "old"),
            (false, Actor::New) => (4, "new"),
            (false, Actor::Devices) => (4, "dev"),
        };
        let first = format!("{number:>4}  {who:<column$}{indent}");
        let hang = if indent.is_empty() { "" } else { "  " };
        let rest = format!("{:4}  {:column$}{indent}{hang}", "", "");
        let least = if self.are_columns() { self.each } else { 30 };
        hanging(&first, &rest, text, self.width.max(6 + column + least))
    }
}
