//! A run as text: numbered steps, in columns where there is room for them, and what it violates.

use crate::report::layout::{hanging, paragraph};
use crate::report::run::{Actor, PointOfNoReturn, Run, Step, Violation};

/// Narrower than this, columns make lines unreadable: a word before each step says who makes it.
const COLUMNS_FROM: usize = 100;

/// Writes a counterexample: the properties, the steps, why it came to that, and how to replay it.
pub fn counterexample(run: &Run, width: usize) -> String {
    let mut text = String::new();
    let length = length(run.steps.len(), run.faults);
    for Violation { property, sentence, .. } in &run.violated {
        let line = format!("{property} violated in {length}: {sentence}");
        text.push_str(&paragraph(&line, width));
    }
    text.push_str(&steps(run, width, |_| &[]));
    for violation in &run.violated {
        // A run that violates one property has no need of a name before each line.
        let (name, indent) = match run.violated.len() {
            1 => (None, "  "),
            _ => (Some(format!("  {}\n", violation.property)), "    "),
        };
        text.extend(name);
        for line in why(violation) {
            text.push_str(&paragraph(&format!("{indent}{line}"), width));
        }
    }
    if let Some(Step { changes, .. }) = run.steps.last().filter(|last| !last.changes.is_empty()) {
        text.push_str("  the last step changed:\n");
        for line in changes {
            text.extend(["    ", line, "\n"]);
        }
    }
    text.extend(["  replay: ", &run.replay, "\n"]);
    text
}

/// What is wrong, and why.
fn why(violation: &Violation) -> Vec<String> {
    let Violation { violation, causes, reason, point_of_no_return, .. } = violation;
    let mut lines = vec![format!("wrong: {violation}"), format!("because {causes}")];
    lines.extend(point_of_no_return.map(|point| format!("no return: {}", no_return(point))));
    lines.push(format!("why it matters: {reason}"));
    lines
}

fn no_return(PointOfNoReturn { any_run, fault_free }: PointOfNoReturn) -> String {
    let after = |steps| match steps {
        0 => "from the beginning".to_owned(),
        _ => format!("from step {steps} on"),
    };
    if any_run == fault_free {
        return format!("{} every way comes to this", after(any_run));
    }
    format!(
        "{} every way comes to this by which nothing more goes wrong, {} every way",
        after(fault_free),
        after(any_run)
    )
}

/// Writes any run, with what each step changed and what the run violates.
pub fn shown(run: &Run, width: usize) -> String {
    let mut text = steps(run, width, |step| &step.changes);
    for Violation { property, violation, causes, .. } in &run.violated {
        text.push_str(&paragraph(&format!("  {property} does not hold: {violation}"), width));
        text.push_str(&paragraph(&format!("    because {causes}"), width));
    }
    text
}

/// Returns how long a run is, in words.
pub fn length(steps: usize, faults: usize) -> String {
    match faults {
        0 => format!("{steps} steps"),
        1 => format!("{steps} steps, 1 of them a fault"),
        _ => format!("{steps} steps, {faults} of them faults"),
    }
}

/// The steps, each with its number, in its column, and below it what there is to say about it.
fn steps(run: &Run, width: usize, below: impl Fn(&Step) -> &[String]) -> String {
    let rows = Rows { width, each: (width.saturating_sub(6) / 3).min(52) };
    let mut text = rows.head();
    for step in &run.steps {
        if run.repeats_after == Some(step.number - 1) {
            text.push_str("      from here on for ever:\n");
        }
        text.push_str(&rows.row(step.actor, &step.number.to_string(), "", &step.text));
        for line in below(step) {
            text.push_str(&rows.row(step.actor, "", "  ", &format!("· {line}")));
        }
    }
    text
}

/// How a step becomes rows of text.
struct Rows {
    width: usize,
    /// The width of a column.
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

    /// The last column reaches beyond the width if it is narrower than the others.
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
