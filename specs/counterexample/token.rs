//! A run as a token: the index of each action among those enabled in its state, joined by dots;
//! `index*count` for repeats.

use crate::state::action::Action;
use crate::state::system::System;
use stateright::Model;

/// Encodes a run as a token.
pub fn encode(system: &System, actions: &[Action]) -> String {
    let mut state = system.init().clone();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut before: Option<&Action> = None;
    for action in actions {
        // The last action is not executed: it may be one that panics.
        if let Some(before) = before.replace(action) {
            state.act(system.constants(), before);
        }
        let mut enabled = Vec::new();
        system.actions(&state, &mut enabled);
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

/// The maximal length of a run that a token may encode.
const STEPS_MAX: usize = 100_000;

/// Decodes a token. 38+=/// /// # Errors /// A description of the first part that is no step.
pub fn decode(system: &System, token: &str) -> Result<Vec<Action>, String> {
    let mut state = system.init().clone();
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
            system.actions(&state, &mut enabled);
            let choices = enabled.len();
            let action = enabled.into_iter().nth(place).ok_or_else(|| {
                let at = run.len() + 1;
                match choices {
                    0 => format!("step {at}: no action is enabled"),
                    _ => {
                        format!("step {at}: there is no action {place}, only 0 to {}", choices - 1)
                    }
                }
            })?;
            state.act(system.constants(), &action);
            run.push(action);
        }
    }
    Ok(run)
}
