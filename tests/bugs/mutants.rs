//! Mutation test: without any one of its safety measures the protocol violates a property in one of
//! several small scenarios. The mutants are enumerated ([`mutants`]), not chosen; survivors are
//! listed here, with the reason.
//!
//! A mutant is caught if a property is violated or a role panics. In the same scenarios the
//! protocol itself violates no property.

use handoff_checker::search::Limits;
use handoff_model::abi::ids::Fd;
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::incoming::{Incoming, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingTransport};
use handoff_model::variants;
use handoff_model::variants::mutants::Mutation;
use handoff_model::vm::launch::HwptPlan;
use handoff_specs::check::check;
use handoff_specs::scenario::builder::{DeviceEntry, Iommufd, Ram, ScenarioBuilder, Space};
use handoff_specs::scenario::corruption::{CORRUPTIONS, Corruption};
use handoff_specs::scenario::expectation::Expected;
use handoff_specs::scenario::library::built_in;
use handoff_specs::scenario::mutants;
use handoff_specs::scenario::{FaultBudget, Scenario};
use handoff_specs::state::system::System;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;

/// A protocol: variant and mode.
type Form = (&'static str, Mode);

const SAFE: Form = ("safe", Mode::Transfer);
const BY_EXEC: Form = ("safe", Mode::Exec);
const EARLY: Form = ("safe-early", Mode::Transfer);
const FORMS: [Form; 3] = [SAFE, BY_EXEC, EARLY];

/// Number of mutants of each kind, for each protocol.
const KINDS: &[(&str, [usize; 3])] = &[
    ("answer", [48, 29, 52]),
    ("blocker", [9, 9, 9]),
    ("call", [29, 20, 29]),
    ("check", [45, 35, 46]),
    ("jump", [2, 0, 2]),
    ("last", [0, 1, 0]),
    ("row", [39, 23, 43]),
    ("tries", [8, 5, 8]),
    ("undo", [25, 14, 29]),
];

/// The surviving mutants, for which protocols, and why. In the early variant the new process
/// verifies the complete snapshot before the guest stops, so some of the old process's checks are
/// made twice.
const SURVIVORS: &[(&[Form], &str, &str)] = &[
    (
        &[BY_EXEC],
        "row new Leave",
        "only after a fallback that has failed three times: the guest is lost, with or without a \
         process",
    ),
    (
        &[BY_EXEC],
        "undo new Fallback",
        "only after a fallback that has failed three times: the guest is lost, with or without a \
         process",
    ),
    (&[SAFE, EARLY], "tries old Release", "the kernel unmaps a process's memory when it exits"),
    (
        &[SAFE, EARLY],
        "tries new ResolveInDoubt",
        "it loses only a guest whose process was killed, which no property forbids",
    ),
    (
        &[EARLY],
        "call old Preflight: IOMMU_IOAS_CHANGE_PROCESS",
        "the new process makes the same check before the guest stops",
    ),
    (
        &[BY_EXEC],
        "call old Preflight: geteuid",
        "by execve there is no second user to compare with",
    ),
    (
        &[SAFE, EARLY],
        "call old Release: close",
        "the kernel closes a process's descriptors when it exits",
    ),
    (
        &[SAFE, EARLY],
        "call old Release: munmap",
        "the kernel unmaps a process's memory when it exits",
    ),
    (
        &[EARLY],
        "answer old Preflight: IOMMU_IOAS_CHANGE_PROCESS",
        "the new process makes the same check before the guest stops",
    ),
    (
        &[SAFE, EARLY],
        "answer old Save: ftruncate",
        "the process that loads the saved guest refuses trailing bytes",
    ),
    (
        &[SAFE, EARLY],
        "answer old Save: save guest",
        "the process that loads the guest refuses one that was not saved",
    ),
    (
        &[SAFE, EARLY],
        "answer old Snapshot: ftruncate",
        "the process that reads the stream refuses trailing bytes",
    ),
    (
        &[SAFE, EARLY],
        "answer old Release: munmap",
        "the kernel unmaps a process's memory when it exits",
    ),
    (
        &[EARLY],
        "answer new AwaitOffer: recvmsg",
        "any other message is unexpected later, and is refused before the guest stops, too",
    ),
    (
        &[SAFE, BY_EXEC, EARLY],
        "answer new MakeVm: KVM_CREATE_VM",
        "the next call is made on an invalid descriptor, and its answer is checked",
    ),
    (
        &[SAFE, BY_EXEC, EARLY],
        "answer new MakeVm: open",
        "the next call is made on an invalid descriptor, and its answer is checked",
    ),
    (
        &[EARLY],
        "answer new AwaitConfirm: recvmsg",
        "a handoff that is not confirmed is not committed, either",
    ),
    (
        &[SAFE, EARLY],
        "answer new Refuse: sendmsg",
        "the protocol ignores the answer, too: the peer may have exited",
    ),
    (
        &[EARLY],
        "blocker KernelTooOld",
        "the new process makes the same check before the guest stops",
    ),
    (
        &[EARLY],
        "blocker NotOpen",
        "the new process finds it missing, and refuses before the guest stops, too",
    ),
];

/// A scenario for one or both modes: its name, and the additions to the smallest VM.
type World = (&'static str, &'static [Mode], fn(ScenarioBuilder) -> ScenarioBuilder);

const BOTH: &[Mode] = &[Mode::Transfer, Mode::Exec];
const TRANSFER: &[Mode] = &[Mode::Transfer];

const MUST_BE_REFUSED: &[World] = &[
    ("by-address", BOTH, |it| {
        it.ram([Ram::new("ram0", 0x10_0000).by_address()]).fault_budget(FaultBudget::NOTHING)
    }),
    ("small-limit", BOTH, |it| it.memlock_pages(1)),
    ("small-limit-of-the-old", TRANSFER, |it| it.memlock_pages(1).new_memlock_pages(9)),
    ("small-limit-of-the-new", TRANSFER, |it| it.memlock_pages(9).new_memlock_pages(1)),
    ("accounting", BOTH, |it| it.uid(0).iommufds([Iommufd::charging_processes("iommufd0")])),
    ("uncharged", BOTH, ScenarioBuilder::cap_ipc_lock),
    ("tied-mdev", BOTH, |it| {
        it.devices([DeviceEntry::new("nic0"), DeviceEntry::mdev("mdev0", true)])
    }),
    // Without RAM there is no mapping that an old kernel could only make by address.
    ("old-kernel", BOTH, |it| it.kernel("6.12").ram([])),
];

const POSSIBLE: &[World] = &[
    ("plain", BOTH, |it| it.memlock_pages(2)),
    ("kvm", BOTH, |it| it.kvm().devices([DeviceEntry::new("nic0").interrupts(2)]).memlock_pages(2)),
    ("another-user", TRANSFER, another_user),
    ("armed-later", TRANSFER, |it| {
        let later = DeviceEntry::new("nic1").armed_later();
        it.devices([DeviceEntry::new("nic0").interrupts(0), later])
    }),
    ("two-faults", BOTH, |it| {
        it.memlock_pages(2).fault_budget(FaultBudget { fail_calls: 2, ..FaultBudget::default() })
    }),
];

fn another_user(world: ScenarioBuilder) -> ScenarioBuilder {
    world.memlock_pages(1).new_uid(1001)
}

fn spare_space(world: ScenarioBuilder) -> ScenarioBuilder {
    world
        .spaces([Space::new("spare"), Space::new("used")])
        .devices([DeviceEntry::new("nic0").in_space("used")])
}

fn smallest(name: &str, (variant, mode): Form) -> ScenarioBuilder {
    ScenarioBuilder::new(mode).name(name).variant(variant)
}

/// A scenario with a corruption. Its fault budget is empty unless the handoff must succeed despite
/// it.
fn wrong(wrong: &Corruption, form: Form) -> Scenario {
    let world = smallest(wrong.id, form).corruption(wrong.id);
    let world = match wrong.id {
        "mapping-odd" => spare_space(world),
        "fate-unheard" => another_user(world),
        "no-kvm" => world.kvm(),
        _ => world,
    };
    let may = match wrong.id {
        // A process that was killed may still make a few steps.
        "abort-unsaid" => FaultBudget { kill: 0, ..FaultBudget::default() },
        _ if wrong.expected == Expected::HandedOver => FaultBudget::default(),
        _ => FaultBudget::NOTHING,
    };
    world.fault_budget(may).build().expect("a scenario")
}

/// The scenarios of a protocol, the smallest first.
fn worlds(form: Form) -> Vec<Scenario> {
    let (_, mode) = form;
    let of = |worlds: &'static [World]| worlds.iter().filter(|(_, modes, _)| modes.contains(&mode));
    let world = |(name, _, change): &World| change(smallest(name, form));
    let told = |due: fn(Expected) -> bool| {
        CORRUPTIONS
            .iter()
            .filter(move |w| w.is_for(mode) && due(w.expected))
            .map(|w| wrong(w, form))
    };
    let refused = of(MUST_BE_REFUSED).map(|it| world(it).refused().build().expect("a scenario"));
    let possible = of(POSSIBLE).map(|it| world(it).build().expect("a scenario"));
    let refused_or_lost = told(|due| due != Expected::HandedOver);
    refused_or_lost
        .chain(refused)
        .chain(possible)
        .chain(told(|due| due == Expected::HandedOver))
        .collect()
}

/// Returns the first violated property, or the panic.
fn found(world: &Scenario, mutant: Option<Mutation>) -> Option<String> {
    let limits = Limits { threads: NonZeroUsize::MIN, ..Limits::default() };
    let scenario = Scenario { mutant, ..world.clone() };
    let report = check(&scenario, limits).expect("it can be set up");
    assert!(
        report.stopped_by.is_none() || report.panic.is_some(),
        "{}: {:?}",
        world.name,
        report.stopped_by
    );
    let violated = report.violations().map(|(property, _)| property.id).next();
    violated.or(report.panic.map(|_| "a panic")).map(|what| format!("{what} in {}", world.name))
}

#[test]
fn the_protocol_violates_no_property_in_these_scenarios() {
    for form in FORMS {
        let wrong: Vec<_> = worlds(form).iter().filter_map(|world| found(world, None)).collect();
        assert!(wrong.is_empty(), "{form:?}: {wrong:?}");
    }
}

/// Returns all mutants of a protocol, in order, each with the first violation that catches it.
fn judged(form: Form) -> Vec<(Mutation, Option<String>)> {
    let (id, mode) = form;
    let variant = variants::find(id, mode).expect("a form");
    let (worlds, mutants) = (worlds(form), mutants::of_variant(variant));
    let todo = Mutex::new(mutants.into_iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().expect("nobody panics").next();
                    let Some((at, mutant)) = next else { break };
                    let by = worlds.iter().find_map(|world| found(world, Some(mutant)));
                    done.lock().expect("nobody panics").insert(at, (mutant, by));
                }
            });
        }
    });
    done.into_inner().expect("nobody panics").into_values().collect()
}

/// Checks that the mutants' specimen VM and a launched VM with the same parts make the same calls
/// in every phase.
#[test]
fn the_specimen_makes_every_call_of_a_launched_vm() {
    for variant in mutants::ours() {
        let name = variant.mode.name();
        let mut scenario = Scenario { variant, ..built_in(name).expect("built in") };
        scenario.plan.kvm = true;
        scenario.plan.devices[0].hwpt = HwptPlan::NestParent;
        let system = System::new(&scenario).expect("it can be set up");
        let (vm, descriptors) = &system.constants().launched;
        let (protocol, fd) = (Protocol::of(variant), Fd(0));
        let (way, origin) = match variant.mode {
            Mode::Transfer => (
                OutgoingTransport::Transfer { socket: fd, pidfd: fd },
                IncomingTransport::Transfer { socket: fd },
            ),
            Mode::Exec => (
                OutgoingTransport::Exec { new_image: fd, old_image: fd },
                IncomingTransport::Exec { stream: fd, old_image: fd },
            ),
        };
        let old = Outgoing::new(&protocol, vm, descriptors, way);
        let old = old.script().map(|(phase, call)| (RolePhase::Old(phase), call.name()));
        let new = Incoming::script(&protocol, origin, vm, descriptors);
        let new = new.iter().map(|(phase, call)| (RolePhase::New(*phase), call.name()));
        let launched: BTreeSet<_> = old.chain(new).collect();
        let specimen: BTreeSet<_> =
            mutants::calls(&protocol).iter().map(|(place, call)| (*place, call.name())).collect();
        assert_eq!(launched, specimen, "{}, {name}", variant.id);
    }
}

fn kind(mutant: &Mutation) -> String {
    let name = mutant.to_string();
    name.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn only_the_listed_mutants_survive() {
    let all = FORMS.map(|form| (form, judged(form)));
    let mut kinds: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut survivors = Vec::new();
    for (at, (form, judged)) in all.iter().enumerate() {
        for (mutant, by) in judged {
            kinds.entry(kind(mutant)).or_default()[at] += 1;
            survivors.extend(by.is_none().then(|| (*form, mutant.to_string())));
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, counts)| (kind.as_str(), *counts)).collect();
    let expected: Vec<_> = (FORMS.iter())
        .flat_map(|form| SURVIVORS.iter().map(move |(of, name, _)| (form, of, name)))
        .filter(|(form, of, _)| of.contains(form))
        .map(|(form, _, name)| (*form, (*name).to_owned()))
        .collect();
    assert_eq!(survivors, expected);
    assert_eq!(kinds, KINDS);
    let of_safe = |(id, _): &Form| *id == "safe";
    let count: usize = all.iter().filter(|(form, _)| of_safe(form)).map(|(_, it)| it.len()).sum();
    let survive = survivors.iter().filter(|(form, _)| of_safe(form)).count();
    assert!(survive * 20 <= count, "{survive} of {count} survive");
}
