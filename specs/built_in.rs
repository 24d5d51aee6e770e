//! The scenarios that come with the program.

use crate::scenario::Scenario;

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

/// The text of a built-in scenario, or of a file.
pub fn text_of(name: &str) -> std::io::Result<String> {
    let known = BUILT_IN.iter().chain(FOR_HOSTS).find(|(other, _)| *other == name);
    known.map_or_else(|| std::fs::read_to_string(name), |(_, text)| Ok((*text).to_owned()))
}

/// A built-in scenario by name.
pub fn built_in(name: &str) -> Option<Scenario> {
    let (name, text) = BUILT_IN.iter().chain(FOR_HOSTS).find(|(other, _)| *other == name)?;
    Some(Scenario::parse(&format!("built-in {name}"), text).expect("built-in scenarios are tested"))
}
