//! A new call has a fact in the suite and an arm in the generator of lockstep, or this file says
//! why it has none.

#[path = "../../../model/tests/trace/variants.rs"]
mod variants;

use handoff_conformance::lockstep::{Plan, Step, run as lockstep};
use handoff_conformance::suite::{rows, run, simulated_for};
use handoff_conformance::target::simulated::SimulatedTarget;
use handoff_model::abi::call::Call;
use handoff_model::abi::uapi::decode;
use handoff_sim_kernel::Profile;
use std::collections::BTreeSet;
use variants::{variant, variants};

/// Calls that have no arm in the generator, by the reason. A subsystem alone is all of its calls.
const NOT_IN_LOCKSTEP: &[(&str, &[&str])] = &[
    ("lockstep is about contexts and the devices in them", &["container", "guest", "kvm"]),
    ("a step of its own", &["process exec", "process exit", "process kill"]),
    ("it waits", &["process await_exit"]),
    (
        "it touches one file, and rows say how",
        &[
            "device region_info",
            "file read",
            "file read_at",
            "file stat",
            "file write",
            "file write_at",
            "file write_event",
            "memory add_seals",
            "memory reopen_read_only",
            "socket receive_few",
            "socket shutdown_receive",
        ],
    ),
];

type Names = BTreeSet<(String, String)>;

/// The calls that were not made, sorted.
fn missing(made: &Names) -> Vec<String> {
    variants().difference(made).map(|(subsystem, name)| format!("{subsystem} {name}")).collect()
}

/// A fact about the bytes of an ioctl is one about the call that has this form.
fn typed(call: &Call) -> Option<(String, String)> {
    match call {
        Call::Ioctl { fd, ioctl } => variant(&decode(*fd, ioctl.request, &ioctl.argument)?),
        call => variant(call),
    }
}

#[test]
fn every_call_is_made_by_a_row() {
    let mut made = Names::new();
    for row in rows::all() {
        let mut arm = simulated_for(row);
        let _ = run(row, &mut arm);
        made.extend(arm.made.iter().filter_map(typed));
    }
    assert_eq!(missing(&made), [""; 0]);
}

#[test]
fn every_call_is_made_in_lockstep() {
    let kernel = || Profile::by_name("7.3").expect("a profile");
    let mut made = Names::new();
    let plan = Plan { calls: 20_000, steps: 100, seed: 1 };
    let report = lockstep(plan, kernel(), &mut SimulatedTarget::new(kernel()), &mut |step| {
        if let Step::Call(_, call) = step {
            made.extend(variant(call));
        }
    });
    assert!(report.difference.is_none(), "{report}");
    let named: BTreeSet<&str> =
        NOT_IN_LOCKSTEP.iter().flat_map(|(_, calls)| *calls).copied().collect();
    let is_named = |call: &String| {
        let subsystem = call.split(' ').next().unwrap_or_default();
        named.contains(call.as_str()) || named.contains(subsystem)
    };
    let without: Vec<String> = missing(&made);
    let unnamed: Vec<&String> = without.iter().filter(|call| !is_named(call)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    let of = |name: &&str| without.iter().any(|call| call.starts_with(*name));
    let stale: Vec<&&str> = named.iter().filter(|name| !of(name)).collect();
    assert!(stale.is_empty(), "{stale:?}");
}
