//! The list of all calls, so that a test fails if a new call is missing from its table.

use handoff_model::abi::call::Call;
use serde_json::Value;
use std::collections::BTreeSet;

/// Returns the names that the parser of calls accepts at this place, taken from its error message.
fn names(json: &str) -> Vec<String> {
    let complaint = serde_json::from_str::<Call>(json).unwrap_err().to_string();
    complaint.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Returns every call by its subsystem and name, except an ioctl as bytes.
pub(crate) fn variants() -> BTreeSet<(String, String)> {
    let calls = |subsystem: String| {
        let names = names(&format!(r#"{{"{subsystem}":"no such call"}}"#));
        names.into_iter().map(move |name| (subsystem.clone(), name))
    };
    names(r#""no such subsystem""#).into_iter().flat_map(calls).collect()
}

/// Returns the subsystem and the name of a call; `None` for an ioctl as bytes.
pub(crate) fn variant(call: &Call) -> Option<(String, String)> {
    if matches!(call, Call::Ioctl { .. }) {
        return None;
    }
    let value = serde_json::to_value(call).expect("a call has a JSON form");
    let (subsystem, call) = value.as_object()?.iter().next()?;
    let name = match call {
        Value::String(name) => name,
        _ => call.as_object()?.keys().next()?,
    };
    Some((subsystem.clone(), name.clone()))
}
