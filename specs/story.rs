//! A run, told: numbered steps in columns, and what the last one changed.

use crate::action::{Action, NEW, OLD, Side};
use crate::check::{NoReturn, Run};
use crate::parts::Player;
use crate::property::Property;
use crate::system::System;
use crate::words;
use crate::world::{Happening, World};
use handoff_model::ids::{Fd, Pid};
use stateright::Model;
use std::fmt::Write;

/// A column of a story.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Old,
    New,
    World,
}

/// One line of a story.
struct Line {
    column: Column,
    text: String,
}

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
    let (lines, differences) = tell(system, &run.actions);
    text.push_str(&layout(&lines, width, run.repeats_from));
    paragraph(&mut text, &format!("  wrong: {}", run.wrong), width);
    if let Some(words) = run.no_return.map(no_return) {
        paragraph(&mut text, &format!("  no return: {words}"), width);
    }
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
pub fn replayed(system: &System, actions: &[Action], width: usize) -> String {
    let (lines, _) = tell(system, actions);
    layout(&lines, width, None)
}

/// The lines of a run, and what its last step changed.
fn tell(system: &System, actions: &[Action]) -> (Vec<Line>, Vec<String>) {
    let mut world = system.init().clone();
    let mut lines = Vec::new();
    let mut differences = Vec::new();
    for (at, action) in actions.iter().enumerate() {
        let before = world.clone();
        let happening = world.act(system.setting(), action);
        lines.push(line(system, &before, action, &happening));
        if at + 1 == actions.len() {
            let exec = before.is_exec();
            let facts = |world: &World| words::facts(&world.view(), &|pid| process(pid, exec));
            differences = words::differences(&facts(&before), &facts(&world));
        }
    }
    (lines, differences)
}

fn process(pid: Pid, exec: bool) -> String {
    match pid {
        OLD if exec => "the VMM".to_owned(),
        OLD => "old VMM".to_owned(),
        NEW => "new VMM".to_owned(),
        other => format!("process {other}"),
    }
}

fn line(system: &System, before: &World, action: &Action, happening: &Happening) -> Line {
    let device = |at: &u8| system.setting().devices[usize::from(*at)].clone();
    let (column, mut text) = match action {
        Action::Step(side) | Action::Fail(side, _) => {
            let injected = matches!(action, Action::Fail(..));
            (before.column(*side), step(system, before, *side, happening, injected))
        }
        Action::Kill(side) => (before.column(*side), "KILLED".to_owned()),
        Action::Die => (Column::New, "dies of the signal".to_owned()),
        Action::Cancel => (Column::Old, "somebody calls it off".to_owned()),
        Action::Raise(at) => (
            Column::World,
            format!("{} writes to guest memory and raises an interrupt", device(at)),
        ),
        Action::Take(side, at) => {
            (before.column(*side), format!("the guest takes the interrupt of {}", device(at)))
        }
        Action::Work(side) => (before.column(*side), "the guest works on".to_owned()),
    };
    if let Some(trouble) = &happening.trouble
        && !text.contains("Refuse")
    {
        let _ = write!(text, " [{trouble}]");
    }
    Line { column, text }
}

fn step(
    system: &System,
    before: &World,
    side: Side,
    happening: &Happening,
    injected: bool,
) -> String {
    let Some((phase, call, answer)) = &happening.call else { return String::new() };
    let view = before.view();
    let name = |fd: Fd| {
        let table = view.processes.get(&side.pid()).map(|process| &process.descriptors);
        let file = table.and_then(|table| table.get(&fd)).map(|descriptor| descriptor.file);
        let known = file.and_then(|file| system.setting().names.get(&file).cloned());
        known.unwrap_or_else(|| format!("descriptor {fd}"))
    };
    let made_up = if injected { " (injected)" } else { "" };
    format!("{phase}: {}{made_up}", words::call(call, answer, &name))
}

impl World {
    /// By exec the new program runs in the old process.
    fn column(&self, side: Side) -> Column {
        match side {
            Side::New => Column::New,
            Side::Old if self.is_exec() && !self.outgoing.is_acting() => Column::New,
            Side::Old => Column::Old,
        }
    }
}

fn layout(lines: &[Line], width: usize, repeats_from: Option<usize>) -> String {
    let mut text = String::new();
    let columns = width >= COLUMNS_FROM;
    let each = (width.saturating_sub(6) / 3).min(52);
    if columns {
        let _ =
            writeln!(text, "{:>4}  {:<each$}{:<each$}kernel and devices", "", "old VMM", "new VMM");
    }
    for (at, line) in lines.iter().enumerate() {
        if repeats_from == Some(at) {
            let _ = writeln!(text, "      from here on for ever:");
        }
        let number = at + 1;
        if columns {
            let place = line.column as usize * each;
            wrapped(&line.text, (width - 6).saturating_sub(place).max(each))
                .into_iter()
                .enumerate()
                .for_each(|(row, part)| {
                    let number = if row == 0 { number.to_string() } else { String::new() };
                    let _ = writeln!(text, "{number:>4}  {:place$}{part}", "");
                });
        } else {
            let who = match line.column {
                Column::Old => "old",
                Column::New => "new",
                Column::World => "dev",
            };
            wrapped(&line.text, width.saturating_sub(10).max(30)).into_iter().enumerate().for_each(
                |(row, part)| {
                    let head =
                        if row == 0 { format!("{number:>4}  {who} ") } else { " ".repeat(10) };
                    let _ = writeln!(text, "{head}{part}");
                },
            );
        }
    }
    text
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
