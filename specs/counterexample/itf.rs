//! A run in Apalache's Informal Trace Format (ITF), which viewers of Apalache and Quint, and
//! scripts, read.
//!
//! A state is the [`View`](handoff_model::abi::view::View) after a step, and the step that led to
//! it. The format has no null and its own maps, and a variable has the same type in all states. So
//! parts of the view's JSON form are converted:
//!
//! | in the view | in ITF |
//! |---|---|
//! | a map, a set, pairs by account (listed in the tables below) | `#map`, `#set` |
//! | an optional field (listed below) | an option: `{"tag": "Some", "value": …}` or `None` |
//! | an account | a variant: `{"tag": "user", "value": 1000}` |
//! | an integer that a double cannot represent | `#bigint` |
//!
//! In an infinite run, `loop` is the index of the state that follows the last one.

use super::{Followed, Position, Step};
use handoff_model::abi::call::errno_of;
use handoff_model::role::Role;
use serde_json::{Map, Value, json};

/// Fields that are maps, and whether their keys are numbers.
const MAPS: &[(&str, bool)] = &[("processes", true), ("descriptors", true), ("devices", false)];

/// Fields that are maps, encoded as lists of pairs.
const PAIRS: &[&str] = &["books"];

/// Fields that are sets.
const SETS: &[&str] = &["holders"];

/// Fields that are tuples when present.
const TUPLES: &[&str] = &["attached"];

/// Optional fields.
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

/// The greatest integer up to which a double represents every integer.
const DOUBLE_MAX: u128 = 1 << 53;

fn needs_bigint(number: i128) -> bool {
    number.unsigned_abs() > DOUBLE_MAX
}

/// Returns the trace of a run, on one line. `source` describes the run.
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
        // Only the variables of the step differ between the last state and the state after `from`
        // steps.
        trace["loop"] = json!(from + 1);
    }
    trace.to_string()
}

/// Returns the state after `at` steps, the last of which is `step`.
fn state(followed: &Followed<'_>, at: usize, step: Option<&Step>) -> Map<String, Value> {
    let at_state = &followed.states()[at];
    let seen = serde_json::to_value(at_state.view()).expect("a view always has a JSON form");
    let mut state = Map::new();
    state.insert("#meta".to_owned(), json!({ "index": at }));
    if let Value::Object(seen) = seen {
        state.extend(seen.into_iter().map(|(name, value)| (name.clone(), field(&name, value))));
    }
    let phase = |name: Option<String>| json!(name.unwrap_or_default());
    state.insert("old_phase".to_owned(), phase(at_state.outgoing.acting().map(Role::phase_name)));
    state.insert("new_phase".to_owned(), phase(at_state.incoming.acting().map(Role::phase_name)));
    state.extend(of_step(step).map(|(name, value)| (name.to_owned(), json!(value))));
    state
}

/// Returns the variables of the step that led to a state; empty for the initial state.
fn of_step(step: Option<&Step>) -> [(&'static str, String); 6] {
    let call = step.and_then(|step| step.happening.call.as_ref());
    let error = step.and_then(|step| step.happening.error.as_ref());
    let who = step.map(|step| match step.place {
        Position::Old => "old",
        Position::New => "new",
        Position::World => "world",
    });
    let result = |answer| errno_of(answer).map_or("ok".to_owned(), |errno| errno.to_string());
    let answer = call.map(|(_, _, answer)| result(answer));
    [
        ("action", step.map_or("start", |step| step.action.kind().describe()).to_owned()),
        ("who", who.unwrap_or_default().to_owned()),
        ("call", call.map_or("", |(_, call, _)| call.name()).to_owned()),
        ("answer", answer.unwrap_or_default()),
        ("trouble", error.map(ToString::to_string).unwrap_or_default()),
        ("told", step.map(Step::describe).unwrap_or_default()),
    ]
}

/// Converts a field of a record.
fn field(name: &str, value: Value) -> Value {
    if !OPTIONS.contains(&name) {
        return present(name, value);
    }
    match value {
        Value::Null => json!({ "tag": "None", "value": { "#tup": [] } }),
        value => json!({ "tag": "Some", "value": present(name, value) }),
    }
}

/// Converts a field that is present.
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

/// Converts an account and its pages.
fn pair(pair: Value) -> Value {
    match pair {
        Value::Array(pair) => {
            let mut pair = pair.into_iter();
            json!([pair.next().map(variant), pair.next().map(plain)])
        }
        other => plain(other),
    }
}

/// Converts an enumeration whose JSON form is an object with one field.
fn variant(value: Value) -> Value {
    match value {
        Value::Object(one) => {
            let (tag, value) = one.into_iter().next().unwrap_or_default();
            json!({ "tag": tag, "value": plain(value) })
        }
        other => plain(other),
    }
}

/// Converts a record, a list or a value.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(record) => {
            record.into_iter().map(|(name, value)| (name.clone(), field(&name, value))).collect()
        }
        Value::Array(items) => Value::Array(list(items)),
        Value::Number(number) if number.as_i128().is_some_and(needs_bigint) => {
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
    fn integers_that_a_double_cannot_represent_are_bigints() {
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
