//! The built-in scenarios.

use super::bugs::{self, KnownBug};
use super::builder::ScenarioBuilder;
use super::generated;
use super::resolved::Scenario;

/// Names and texts of the scenarios that `handoff check` proves by default.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("transfer", include_str!("transfer.toml")),
    ("exec", include_str!("exec.toml")),
    ("separate-spaces", include_str!("separate-spaces.toml")),
    ("nest-parent", include_str!("nest-parent.toml")),
    ("another-user", include_str!("another-user.toml")),
    ("two-iommufds", include_str!("two-iommufds.toml")),
    ("two-faults-transfer", include_str!("two-faults-transfer.toml")),
    ("two-faults-exec", include_str!("two-faults-exec.toml")),
    ("old-kernel", include_str!("old-kernel.toml")),
    ("by-address", include_str!("by-address.toml")),
    ("small-memlock", include_str!("small-memlock.toml")),
    ("tied-mdev", include_str!("tied-mdev.toml")),
    ("kvm-transfer", include_str!("kvm-transfer.toml")),
    ("kvm-exec", include_str!("kvm-exec.toml")),
    ("armed-later", include_str!("armed-later.toml")),
    ("early", include_str!("early.toml")),
    ("process-accounting", include_str!("process-accounting.toml")),
    ("uncharged", include_str!("uncharged.toml")),
    ("untrue-transfer", include_str!("untrue-transfer.toml")),
    ("untrue-exec", include_str!("untrue-exec.toml")),
];

/// Scenarios for [`crate::host_run`], with enough memory for the test devices' DMA.
pub const FOR_HOSTS: &[(&str, &str)] = &[
    ("host-transfer-1", include_str!("host-transfer-1.toml")),
    ("host-transfer-2", include_str!("host-transfer-2.toml")),
    ("host-exec-1", include_str!("host-exec-1.toml")),
    ("host-exec-2", include_str!("host-exec-2.toml")),
];

/// Scenarios on the kernel that RFC V1 proposed.
pub const FOR_RFC: &[(&str, &str)] =
    &[("rfc-v1", include_str!("rfc-v1.toml")), ("rfc-v1-kvm", include_str!("rfc-v1-kvm.toml"))];

/// Scenarios with type1 containers, for the variants that hand those over.
pub const FOR_TYPE1: &[(&str, &str)] = &[
    ("type1-transfer", include_str!("type1-transfer.toml")),
    ("type1-exec", include_str!("type1-exec.toml")),
    ("type1-two-containers-transfer", include_str!("type1-two-containers-transfer.toml")),
    ("type1-two-containers-exec", include_str!("type1-two-containers-exec.toml")),
    ("type1-kvm-transfer", include_str!("type1-kvm-transfer.toml")),
    ("type1-kvm-exec", include_str!("type1-kvm-exec.toml")),
    ("type1-small-memlock", include_str!("type1-small-memlock.toml")),
    ("type1-mdev", include_str!("type1-mdev.toml")),
    ("type1-untrue-transfer", include_str!("type1-untrue-transfer.toml")),
    ("type1-untrue-exec", include_str!("type1-untrue-exec.toml")),
];

/// Returns the scenarios over which variants are compared.
pub fn to_compare() -> Vec<(String, Scenario)> {
    let all = BUILT_IN.iter().chain(FOR_RFC).chain(FOR_TYPE1);
    all.filter_map(|(name, _)| Some(((*name).to_owned(), built_in(name)?))).collect()
}

/// Returns the text of a built-in scenario, or else of the file with this name.
pub fn text_of(name: &str) -> std::io::Result<String> {
    known(name).map_or_else(|| std::fs::read_to_string(name), Ok)
}

/// Returns the scenario with this name: built-in, of a known bug, or generated.
pub fn built_in(name: &str) -> Option<Scenario> {
    let text = known(name)?;
    let scenario = Scenario::parse(&format!("built-in {name}"), &text);
    Some(scenario.expect("built-in scenarios are tested"))
}

fn known(name: &str) -> Option<String> {
    let mut all = BUILT_IN.iter().chain(FOR_HOSTS).chain(FOR_RFC).chain(FOR_TYPE1);
    let text = all.find(|(other, _)| *other == name);
    text.map(|(_, text)| (*text).to_owned()).or_else(|| Some(built(name)?.text()))
}

/// Returns the scenario of a known bug, or a generated one.
fn built(name: &str) -> Option<ScenarioBuilder> {
    bugs::find(name).and_then(KnownBug::world).or_else(|| generated::world(name))
}
