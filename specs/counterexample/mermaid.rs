//! A run as a Mermaid sequence diagram, which Markdown pages of GitHub and GitLab display.
//!
//! | in the run | in the diagram |
//! |---|---|
//! | a call | an arrow from its process to the kernel, the guest, or (a message) the peer |
//! | a call that failed | an arrow that ends in a cross |
//! | a receive, a kill, a cancellation, the error of a step, the final violation | a note |
//! | steps that repeat for ever | a loop |
//!
//! Characters and words that Mermaid interprets (`;`, `#`, markup, the word "end") are escaped as
//! entities.

use super::{Followed, Position, Step};
use crate::state::action::Action;
use handoff_model::abi::call::{Call, GuestCall, SocketCall, errno_of};
use std::fmt::Write;

/// Ids of the participants.
const OLD: &str = "old";
const NEW: &str = "new";
const KERNEL: &str = "kernel";
const GUEST: &str = "guest";

/// Returns the diagram of a run, with the violations as notes at its end.
pub fn mermaid(followed: &Followed<'_>, violations: &[String]) -> String {
    let mut text = "sequenceDiagram\n".to_owned();
    let devices = &followed.system().constants().devices;
    let fixed = [(OLD, "old VMM"), (NEW, "new VMM"), (KERNEL, KERNEL), (GUEST, GUEST)];
    let fixed = fixed.map(|(id, name)| (id.to_owned(), name));
    let plugged = devices.iter().enumerate().map(|(at, name)| (device(at), name.as_str()));
    for (id, name) in fixed.into_iter().chain(plugged) {
        let _ = writeln!(text, "    participant {id} as {}", escaped(name));
    }
    let repeats_from = followed.repeats_from();
    for (number, step) in (1..).zip(followed.steps()) {
        if repeats_from == Some(number - 1) {
            text.push_str("    loop for ever\n");
        }
        for line in lines(number, step) {
            let _ = writeln!(text, "    {line}");
        }
    }
    if repeats_from.is_some() {
        text.push_str("    end\n");
    }
    for violation in violations {
        let _ = writeln!(text, "    Note over {OLD},{NEW}: {}", escaped(violation));
    }
    text
}

fn device(at: usize) -> String {
    format!("device{at}")
}

/// Returns the lines of a step.
fn lines(number: usize, step: &Step) -> Vec<String> {
    let who = if step.place == Position::New { NEW } else { OLD };
    let words = escaped(&format!("{number}. {}", step.words));
    let arrow = |from: &str, to: &str| format!("{from}->>{to}: {words}");
    let note = |words: &str| format!("Note over {who}: {words}");
    let first = match &step.action {
        Action::Step(_) | Action::Fail(..) => call(step, who, &words),
        Action::Kill(_) | Action::Die | Action::Cancel => note(&words),
        Action::Raise(at) => arrow(&device(usize::from(*at)), GUEST),
        Action::Take(..) | Action::Work(_) => arrow(GUEST, GUEST),
        Action::Arm => arrow(GUEST, OLD),
    };
    let error = step.happening.error.as_ref();
    let error = error.map(|error| note(&escaped(&error.to_string())));
    std::iter::once(first).chain(error).collect()
}

fn call(step: &Step, who: &str, words: &str) -> String {
    let Some((_, call, answer)) = &step.happening.call else { return String::new() };
    let other = if who == NEW { OLD } else { NEW };
    let to = match call {
        Call::Socket(SocketCall::Receive { .. }) if answer.is_ok() => {
            return format!("Note over {who}: {words}");
        }
        Call::Socket(SocketCall::Send { .. }) => other,
        Call::Guest(
            GuestCall::Stop | GuestCall::Start | GuestCall::Save { .. } | GuestCall::Load { .. },
        ) => GUEST,
        _ => KERNEL,
    };
    let arrow = if errno_of(answer).is_none() { "->>" } else { "-x" };
    format!("{who}{arrow}{to}: {words}")
}

/// Escapes words that Mermaid would interpret.
fn escaped(words: &str) -> String {
    let escape = |c: char| match c {
        ';' | '#' | '"' | '<' | '>' | '&' | '%' => format!("#{};", u32::from(c)),
        '\n' => " ".to_owned(),
        other => other.to_string(),
    };
    let word = |word: &str| match word {
        "end" => "#101;nd".to_owned(),
        other => other.chars().map(escape).collect(),
    };
    words.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
