//! Names in a scenario: each once, and each that is used is one.

use std::collections::BTreeSet;

/// The most devices, which each have their place in every state.
pub(crate) const DEVICES_MAX: usize = 16;

/// The most of anything in a file: worlds beyond are hopeless to exhaust, and mistakes are
/// likelier.
pub(super) const LIST_MAX: usize = 64;

/// None is empty, none stands twice, and there are not too many.
pub(super) fn check_names<'a>(
    what: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("a [[{what}]] has an empty or unprintable name; give it another"));
        }
        if !seen.insert(name) {
            return Err(format!("two [[{what}]] are called {name:?}; rename one"));
        }
    }
    let most = if what == "device" { DEVICES_MAX } else { LIST_MAX };
    if seen.len() > most {
        return Err(format!("{} [[{what}]] are more than the {most} that are allowed", seen.len()));
    }
    Ok(())
}

/// The place of `wanted` among `names`; the first where nothing is said and there is only one.
pub(super) fn lookup(
    what: &str,
    kind: &str,
    wanted: Option<&str>,
    names: &[&str],
) -> Result<u16, String> {
    let all = || names.join(", ");
    let at = match wanted {
        Some(name) => names.iter().position(|other| *other == name).ok_or_else(|| {
            let known = if names.is_empty() { "none is defined".to_owned() } else { all() };
            format!("{what}: no [[{kind}]] is called {name:?} ({known})")
        })?,
        None if names.len() == 1 => 0,
        None => return Err(format!("{what}: say which {kind} = (one of {})", all())),
    };
    u16::try_from(at).map_err(|_| format!("{what}: too many [[{kind}]]"))
}
