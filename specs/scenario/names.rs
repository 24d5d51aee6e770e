//! Names in a scenario must be unique, and every name that is used must be defined.

use std::collections::BTreeSet;

/// Maximum number of devices: every state has a fixed slot for each.
pub(crate) const DEVICES_MAX: usize = 16;

/// Maximum number of entries of any other table. Larger state spaces cannot be exhausted, and a
/// larger file is more likely a mistake.
pub(super) const LIST_MAX: usize = 64;

/// Fails if a name is empty, unprintable or used twice, or if there are too many.
pub(super) fn check_names<'a>(
    what: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("a [[{what}]] has an empty or unprintable name; rename it"));
        }
        if !seen.insert(name) {
            return Err(format!("two [[{what}]] have the name {name:?}; rename one"));
        }
    }
    let most = if what == "device" { DEVICES_MAX } else { LIST_MAX };
    if seen.len() > most {
        return Err(format!(
            "{} [[{what}]] are more than the {most} that are allowed; remove some",
            seen.len()
        ));
    }
    Ok(())
}

/// Returns the index of `wanted` in `names`. Without `wanted`, there must be only one name.
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
            format!("{what}: no [[{kind}]] has the name {name:?} ({known})")
        })?,
        None if names.len() == 1 => 0,
        None => return Err(format!("{what}: set {kind} = one of {}", all())),
    };
    u16::try_from(at).map_err(|_| format!("{what}: too many [[{kind}]]"))
}
