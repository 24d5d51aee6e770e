//! A run, told: numbered steps in columns, what they changed, and why it came to this.

use crate::check::{NoReturn, Run};
use crate::counterexample::causes::because;
use crate::counterexample::{Followed, Place};
use crate::properties::Property;
use crate::state::action::Action;
use crate::state::system::System;
use stateright::Model;
use std::fmt::Write;

/// Narrower than this, columns make lines unreadable: they are told by a word instead.
const COLUMNS_FROM: usize = 100;

/// Tells a violation: the property, the steps, the difference that breaks it, and how to replay it.
pub fn violation(
    system: &System,
    scenario: &str,
    property: &Property,
    run: &Run,
    width: usize,
) -> String {
    let mut text = String::new();
    paragraph(
        &mut text,
        &format!("{} violated in {}: {}", property.id, length(run), property.sentence),
        width,
    );
    let followed = Followed::of(system, &run.actions);
    text.push_str(&layout(&followed, width, |_| Vec::new()));
    paragraph(&mut text, &format!("  wrong: {}", run.wrong), width);
    paragraph(&mut text, &format!("  {}", because(&followed, property)), width);
    if let Some(words) = run.no_return.map(no_return) {
        paragraph(&mut text, &format!("  no return: {words}"), width);
    }
    let differences = followed.differences(run.actions.len());
    if !differences.is_empty() {
        let _ = writeln!(text, "  the last step changed:");
        for line in &differences {
            let _ = writeln!(text, "    {line}");
        }
    }
    paragraph(&mut text, &format!("  why it matters: {}", property.reason), width);
    let _ = writeln!(
        text,
        "  replay: handoff check {scenario} --steps {}",
        token(system, &run.actions)
    );
    text
}

fn no_return(NoReturn { whatever, undisturbed }: NoReturn) -> String {
    let after = |steps| match steps {
        0 => "from the beginning".to_owned(),
        _ => format!("from step {steps} on"),
    };
    if whatever == undisturbed {
        return format!("{} every way comes to this", after(whatever));
    }
    format!(
        "{} every way comes to this by which nothing more goes wrong, {} every way",
        after(undisturbed),
        after(whatever)
    )
}

/// How long a run is, in words.
pub(crate) fn length(run: &Run) -> String {
    let steps = run.actions.len();
    match run.faults {
        0 => format!("{steps} steps"),
        1 => format!("{steps} steps, 1 of them a fault"),
        faults => format!("{steps} steps, {faults} of them faults"),
    }
}

/// Lines of a text, those after the first set in.
pub(crate) fn paragraph(to: &mut String, text: &str, width: usize) {
    let first = text.len() - text.trim_start().len();
    let rows = wrapped(text.trim_start(), width.saturating_sub(first + 4).max(30));
    for (at, row) in rows.iter().enumerate() {
        let indent = if at == 0 { first } else { first + 4 };
        let _ = writeln!(to, "{:indent$}{row}", "");
    }
}

/// Tells any run, with what each step changed.
pub fn replayed(followed: &Followed<'_>, width: usize) -> String {
    let changed = |step| followed.differences(step).iter().map(ToString::to_string).collect();
    layout(followed, width, changed)
}

/// The steps, each with its number, in its column, and below it what there is to say of it.
fn layout(followed: &Followed<'_>, width: usize, below: impl Fn(usize) -> Vec<String>) -> String {
    let rows = Rows { width, each: (width.saturating_sub(6) / 3).min(52) };
    let mut text = rows.head();
    let repeats_from = followed.repeats_from();
    for (number, step) in (1..).zip(followed.steps()) {
        if repeats_from == Some(number - 1) {
            text.push_str("      from here on for ever:\n");
        }
        rows.write(&mut text, step.place, &number.to_string(), &step.told());
        for line in below(number) {
            rows.write(&mut text, step.place, "", &format!("  · {line}"));
        }
    }
    text
}

/// How a step becomes rows of text.
struct Rows {
    width: usize,
    /// Of a column.
    each: usize,
}

impl Rows {
    fn are_columns(&self) -> bool {
        self.width >= COLUMNS_FROM
    }

    fn head(&self) -> String {
        let each = self.each;
        let head =
            format!("{:>4}  {:<each$}{:<each$}kernel and devices\n", "", "old VMM", "new VMM");
        if self.are_columns() { head } else { String::new() }
    }

    fn write(&self, to: &mut String, place: Place, number: &str, text: &str) {
        let column = if self.are_columns() { place as usize * self.each } else { 4 };
        let room = (self.width.saturating_sub(6 + column)).max(if self.are_columns() {
            self.each
        } else {
            30
        });
        let who = match place {
            _ if self.are_columns() || number.is_empty() => "",
            Place::Old => "old",
            Place::New => "new",
            Place::World => "dev",
        };
        let set_in = text.len() - text.trim_start().len();
        let rows = wrapped(text.trim_start(), room.saturating_sub(set_in));
        for (row, part) in rows.iter().enumerate() {
            let (number, who) = if row == 0 { (number, who) } else { ("", "") };
            let hang = if row > 0 && set_in > 0 { set_in + 2 } else { set_in };
            let _ = writeln!(to, "{number:>4}  {who:<column$}{:hang$}{part}", "");
        }
    }
}

/// Breaks a line at spaces.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split(' ') {
        let row = rows.last_mut().expect("there is always a row");
        if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > width {
            rows.push(word.to_owned());
        } else {
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
    }
    rows
}

/// A run as one word: the place of each action among those of its state, repeats as `place*times`.
pub fn token(system: &System, actions: &[Action]) -> String {
    let mut world = system.init().clone();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut before: Option<&Action> = None;
    for action in actions {
        // The last one is not done: it may be one that panics.
        if let Some(before) = before.replace(action) {
            world.act(system.setting(), before);
        }
        let mut enabled = Vec::new();
        system.actions(&world, &mut enabled);
        let place =
            enabled.iter().position(|other| other == action).expect("a run's action is enabled");
        match runs.last_mut() {
            Some((last, times)) if *last == place => *times += 1,
            _ => runs.push((place, 1)),
        }
    }
    let part = |(place, times): &(usize, usize)| match times {
        1 => place.to_string(),
        _ => format!("{place}*{times}"),
    };
    runs.iter().map(part).collect::<Vec<_>>().join(".")
}

/// The longest run that a token may stand for.
const STEPS_MAX: usize = 100_000;

/// The run that a [`token`] stands for.
pub fn from_token(system: &System, token: &str) -> Result<Vec<Action>, String> {
    let mut world = system.init().clone();
    let mut run = Vec::new();
    for part in token.split('.') {
        let (place, times) = part.split_once('*').unwrap_or((part, "1"));
        let number =
            |digits: &str| digits.parse::<usize>().map_err(|_| format!("{part:?} is not a step"));
        let (place, times) = (number(place)?, number(times)?);
        if times == 0 || times > STEPS_MAX - run.len() {
            return Err(format!("{part:?}: a run has at least one step and at most {STEPS_MAX}"));
        }
        for _ in 0..times {
            let mut enabled = Vec::new();
            system.actions(&world, &mut enabled);
            let choices = enabled.len();
            let action = enabled.into_iter().nth(place).ok_or_else(|| {
                let at = run.len() + 1;
                match choices {
                    0 => format!("step {at}: nothing can happen any more"),
                    _ => {
                        format!("step {at}: there is no action {place}, only 0 to {}", choices - 1)
                    }
                }
            })?;
            world.act(system.setting(), &action);
            run.push(action);
        }
    }
    Ok(run)
}
