//! A run in Apalache's Informal Trace Format, which its viewers, Quint's, and scripts read.
//!
//! A state is what can be seen after a step, a [`View`](handoff_model::abi::view::View), and the
//! step that led to it. The format has no null and no map but its own, and a variable has one type
//! in all states, so of the view's JSON form
//!
//! | what | becomes |
//! |---|---|
//! | a map, a set, pairs by account (the tables below say which) | `#map`, `#set` |
//! | what may be absent (so do they) | Apalache's option: `{"tag": "Some", "value": …}`, or `None` |
//! | an account | a variant: `{"tag": "user", "value": 1000}` |
//! | an integer that a double cannot hold | `#bigint` |
//!
//! In a run that can repeat for ever, `loop` is the state that follows the last one.

use super::{Followed, Position, Step};
use handoff_model::abi::call::errno_of;
use handoff_model::role::Role;
use serde_json::{Map, Value, json};

/// Fields that are maps; whether their keys are numbers.
const MAPS: &[(&str, bool)] = &[("processes", true), ("descriptors", true), ("devices", false)];

/// Fields that are lists of pairs, and maps in truth.
const PAIRS: &[&str] = &["books"];

/// Fields that are sets.
const SETS: &[&str] = &["holders"];

/// Fields that are tuples where they are there.
const TUPLES: &[&str] = &["attached"];

/// Fields that may be absent.
const OPTIONS: &[&str] = &[
    "account",
    "attached",
    "awaits_address",
    "bus_master",
    "guest",
    "irqfd",
    "owner",
    "owner_alive",
    "progress",
    "reach",
    "trigger",
    "uid",
    "vm_pin_pages",
];

/// The greatest integer up to which a double holds every one.
const DOUBLE_MAX: u128 = 1 << 53;

fn is_great(number: i128) -> bool {
    number.unsigned_abs() > DOUBLE_MAX
}

/// The trace of a run, on one line. `source` says what it is a run of.
pub fn itf(followed: &Followed<'_>, source: &str) -> String {
    let steps = std::iter::once(None).chain(followed.steps().iter().map(Some));
    let states: Vec<_> = steps.enumerate().map(|(at, step)| state(followed, at, step)).collect();
    let meta = json!({
        "format": "ITF",
        "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
        "source": source,
    });
    let names = states[0].keys().filter(|name| *name != "#meta").collect::<Vec<_>>();
    let mut trace = json!({ "#meta": meta, "vars": names, "states": states });
    if let Some(from) = followed.repeats_from() {
        // The state after `from` steps is the last one, but for the step that led to it.
        trace["loop"] = json!(from + 1);
    }
    trace.to_string()
}

/// The state after so many steps, the last of which is `step`.
fn state(followed: &Followed<'_>, at: usize, step: Option<&Step>) -> Map<String, Value> {
    let world = &followed.states()[at];
    let seen = serde_json::to_value(world.view()).expect("a view always has a JSON form");
    let mut state = Map::new();
    state.insert("#meta".to_owned(), json!({ "index": at }));
    if let Value::Object(seen) = seen {
        state.extend(seen.into_iter().map(|(name, value)| (name.clone(), field(&name, value))));
    }
    let phase = |name: Option<String>| json!(name.unwrap_or_default());
    state.insert("old_phase".to_owned(), phase(world.outgoing.acting().map(Role::phase_name)));
    state.insert("new_phase".to_owned(), phase(world.incoming.acting().map(Role::phase_name)));
    state.extend(of_step(step).map(|(name, value)| (name.to_owned(), json!(value))));
    state
}

/// What led to a state; empty words for the first one.
fn of_step(step: Option<&Step>) -> [(&'static str, String); 6] {
    let call = step.and_then(|step| step.happening.call.as_ref());
    let error = step.and_then(|step| step.happening.error.as_ref());
    let who = step.map(|step| match step.place {
        Position::Old => "old",
        Position::New => "new",
        Position::World => "world",
    });
    let told = |answer| errno_of(answer).map_or("ok".to_owned(), |errno| errno.to_string());
    let answer = call.map(|(_, _, answer)| told(answer));
    [
        ("action", step.map_or("start", |step| step.action.kind().describe()).to_owned()),
        ("who", who.unwrap_or_default().to_owned()),
        ("call", call.map_or("", |(_, call, _)| call.name()).to_owned()),
        ("answer", answer.unwrap_or_default()),
        ("trouble", error.map(ToString::to_string).unwrap_or_default()),
        ("told", step.map(Step::describe).unwrap_or_default()),
    ]
}

/// A field of a record.
fn field(name: &str, value: Value) -> Value {
    if !OPTIONS.contains(&name) {
        return present(name, value);
    }
    match value {
        Value::Null => json!({ "tag": "None", "value": { "#tup": [] } }),
        value => json!({ "tag": "Some", "value": present(name, value) }),
    }
}

/// A field that is there.
fn present(name: &str, value: Value) -> Value {
    match (value, MAPS.iter().find(|(map, _)| *map == name)) {
        (Value::Object(map), Some((_, are_numbers))) => {
            let number = |key: &String| key.parse::<i64>().ok().filter(|_| *are_numbers);
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_by_cached_key(|(key, _)| number(key));
            let key = |key: String| number(&key).map_or(json!(key), |number| json!(number));
            let pair = |(name, value)| json!([key(name), plain(value)]);
            json!({ "#map": pairs.into_iter().map(pair).collect::<Vec<_>>() })
        }
        (Value::Array(pairs), None) if PAIRS.contains(&name) => {
            json!({ "#map": pairs.into_iter().map(pair).collect::<Vec<_>>() })
        }
        (Value::Array(items), None) if SETS.contains(&name) => json!({ "#set": list(items) }),
        (Value::Array(items), None) if TUPLES.contains(&name) => json!({ "#tup": list(items) }),
        (value, _) if name == "account" => variant(value),
        (value, _) => plain(value),
    }
}

/// An account and its pages.
fn pair(pair: Value) -> Value {
    match pair {
        Value::Array(pair) => {
            let mut pair = pair.into_iter();
            json!([pair.next().map(variant), pair.next().map(plain)])
        }
        other => plain(other),
    }
}

/// Of an enumeration whose JSON form is an object with one field.
fn variant(value: Value) -> Value {
    match value {
        Value::Object(one) => {
            let (tag, value) = one.into_iter().next().unwrap_or_default();
            json!({ "tag": tag, "value": plain(value) })
        }
        other => plain(other),
    }
}

/// What is what it is: records, lists, and values.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(record) => {
            record.into_iter().map(|(name, value)| (name.clone(), field(&name, value))).collect()
        }
        Value::Array(items) => Value::Array(list(items)),
        Value::Number(number) if number.as_i128().is_some_and(is_great) => {
            json!({ "#bigint": number.to_string() })
        }
        other => other,
    }
}

fn list(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;
    use serde_json::json;

    #[test]
    fn integers_that_a_double_cannot_hold_are_written_as_such() {
        let great = |digits: &str| json!({ "#bigint": digits });
        for (number, written) in [
            (json!(1_u64 << 53), json!(1_u64 << 53)),
            (json!((1_u64 << 53) + 1), great("9007199254740993")),
            (json!(u64::MAX), great("18446744073709551615")),
            (json!(-1), json!(-1)),
            (json!(i64::MIN), great("-9223372036854775808")),
        ] {
            assert_eq!(plain(json!([number])), json!([written]));
        }
    }
}
