//! The scenarios that come with the program.

use crate::scenario::Scenario;
use crate::zoo;

/// Those that `handoff check` proves when it is not told what to: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("transfer", include_str!("scenarios/transfer.toml")),
    ("exec", include_str!("scenarios/exec.toml")),
    ("separate-spaces", include_str!("scenarios/separate-spaces.toml")),
    ("another-user", include_str!("scenarios/another-user.toml")),
    ("two-iommufds", include_str!("scenarios/two-iommufds.toml")),
    ("two-faults-transfer", include_str!("scenarios/two-faults-transfer.toml")),
    ("two-faults-exec", include_str!("scenarios/two-faults-exec.toml")),
    ("old-kernel", include_str!("scenarios/old-kernel.toml")),
    ("by-address", include_str!("scenarios/by-address.toml")),
    ("small-memlock", include_str!("scenarios/small-memlock.toml")),
    ("tied-mdev", include_str!("scenarios/tied-mdev.toml")),
    ("kvm-transfer", include_str!("scenarios/kvm-transfer.toml")),
    ("kvm-exec", include_str!("scenarios/kvm-exec.toml")),
    ("process-accounting", include_str!("scenarios/process-accounting.toml")),
    ("untrue-transfer", include_str!("scenarios/untrue-transfer.toml")),
    ("untrue-exec", include_str!("scenarios/untrue-exec.toml")),
];

/// Scenarios for [`crate::live`]: with memory for what the test devices do.
pub const FOR_HOSTS: &[(&str, &str)] = &[
    ("host-transfer-1", include_str!("scenarios/host-transfer-1.toml")),
    ("host-transfer-2", include_str!("scenarios/host-transfer-2.toml")),
    ("host-exec-1", include_str!("scenarios/host-exec-1.toml")),
    ("host-exec-2", include_str!("scenarios/host-exec-2.toml")),
];

/// Scenarios of variants that are for another kernel than `safe` is.
pub const FOR_OTHERS: &[(&str, &str)] = &[
    ("rfc-v1", include_str!("scenarios/rfc-v1.toml")),
    ("rfc-v1-kvm", include_str!("scenarios/rfc-v1-kvm.toml")),
];

/// All over which variants are compared.
pub fn to_compare() -> Vec<(String, Scenario)> {
    let all = BUILT_IN.iter().chain(FOR_OTHERS);
    all.filter_map(|(name, _)| Some(((*name).to_owned(), built_in(name)?))).collect()
}

/// The text of a built-in scenario, or of a file.
pub fn text_of(name: &str) -> std::io::Result<String> {
    known(name).map_or_else(|| std::fs::read_to_string(name), Ok)
}

/// A built-in scenario by name, or the world of a known bug.
pub fn built_in(name: &str) -> Option<Scenario> {
    let text = known(name)?;
    let scenario = Scenario::parse(&format!("built-in {name}"), &text);
    Some(scenario.expect("built-in scenarios are tested"))
}

fn known(name: &str) -> Option<String> {
    let text = BUILT_IN.iter().chain(FOR_HOSTS).chain(FOR_OTHERS).find(|(other, _)| *other == name);
    text.map(|(_, text)| (*text).to_owned()).or_else(|| zoo::find(name)?.text())
}
