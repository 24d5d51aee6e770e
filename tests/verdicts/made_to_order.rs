//! Tests of generated scenarios: their verdicts, and the growth of the blackout with their size.

use handoff_checker::search::Limits;
use handoff_model::protocol::Mode;
use handoff_model::variants;
use handoff_specs::check::blackout::Blackouts;
use handoff_specs::check::{Verdict, check};
use handoff_specs::scenario::Scenario;
use handoff_specs::scenario::generated::name;
use handoff_specs::scenario::library::built_in;
use handoff_specs::state::system::System;

/// The numbers of devices, address spaces and mappings.
pub(crate) const SIZES: &[&str] = &["1x1x1", "2x2x3", "2x1x2-exec"];

fn world(size: &str) -> Scenario {
    built_in(&name(size).expect("a size")).expect("made to order")
}

#[test]
fn generated_scenarios_are_proved_exhaustively() {
    for size in SIZES {
        let report = check(&world(size), Limits::default()).expect("it can be set up");
        assert_eq!(report.stopped_by, None, "{size}");
        for (property, verdict) in &report.verdicts {
            let good = matches!(verdict, Verdict::Proved | Verdict::NotApplicable(_));
            assert!(good, "{size}: {} is {verdict:?}", property.id);
        }
    }
}

/// The worst fault-free blackout in kernel calls, without the old process's calls after the
/// handoff, which run concurrently with the guest.
pub(crate) fn waits(size: &str, id: &str, kvm: bool) -> u32 {
    let variant = variants::find(id, Mode::Transfer).expect("a variant");
    let mut scenario = Scenario { variant, ..world(size) };
    scenario.plan.kvm = kvm;
    let report = check(&scenario, Limits::default()).expect("it can be set up");
    let Blackouts { undisturbed, .. } = report.blackouts.expect("every run ends");
    let system = System::new(&scenario).expect("it can be set up");
    let (vm, _) = &system.constants().launched;
    // Unmap each block, close each descriptor, the socket, the new process's pidfd and the VM; and
    // exit.
    let released = vm.ram.len() + vm.keys().len() + 3 + usize::from(kvm);
    undisturbed.calls - u32::try_from(released).expect("few")
}

#[test]
fn with_an_early_snapshot_the_blackout_does_not_grow_with_the_mappings() {
    let of = |id, kvm| ["1x1x1", "2x1x1", "1x1x4", "3x2x4"].map(|size| waits(size, id, kvm));
    let (late, early, with_kvm) =
        (of("safe", false), of("safe-early", false), of("safe-early", true));
    assert!(late.is_sorted_by(|less, more| less < more), "{late:?}");
    assert!(early[0] < late[0] && early.iter().all(|calls| *calls == early[0]), "{early:?}");
    // KVM takes two calls for each vector.
    assert_eq!(with_kvm, [1, 2, 1, 3].map(|vectors| early[0] + 2 * vectors));
}

#[test]
fn an_invalid_size_is_refused() {
    for size in ["", "3", "3x2", "3x2x4x5", "0x1x1", "1x2x1", "17x1x1", "1x1x65", "1x1x-1", "axbxc"]
    {
        let told = name(size).expect_err(size);
        assert!(told.contains("DEVICESxSPACESxMAPPINGS"), "{size}: {told}");
    }
}
