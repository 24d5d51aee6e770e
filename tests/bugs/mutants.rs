//! Whatever the protocol does for safety is needed: a protocol without it violates a property in
//! one of some small worlds. What is left out is enumerated ([`mutants`]), never chosen; what
//! nothing catches is listed here, with the reason.
//!
//! A mutant counts as caught where a property is violated or its roles panic. In the same worlds
//! the protocol itself violates none.

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

/// A form of the protocol: variant and mode.
type Form = (&'static str, Mode);

const SAFE: Form = ("safe", Mode::Transfer);
const BY_EXEC: Form = ("safe", Mode::Exec);
const EARLY: Form = ("safe-early", Mode::Transfer);
const FORMS: [Form; 3] = [SAFE, BY_EXEC, EARLY];

/// How many mutants there are of each kind, of each form of the protocol.
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

/// What nothing catches, of which forms, and why. Where the state is cut early the new process
/// looks at all of it before the guest stops, so that some of what the old one asks is asked twice.
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
    (&[SAFE, EARLY], "tries old Release", "the kernel unmaps what a process has when it ends"),
    (
        &[SAFE, EARLY],
        "tries new ResolveInDoubt",
        "only a guest is lost whose process was killed, and no property promises that one",
    ),
    (
        &[EARLY],
        "call old Preflight: IOMMU_IOAS_CHANGE_PROCESS",
        "the new process asks the same before the guest stops",
    ),
    (&[BY_EXEC], "call old Preflight: geteuid", "by execve nobody asks who the other user is"),
    (
        &[SAFE, EARLY],
        "call old Release: close",
        "the kernel closes what a process has open when it ends",
    ),
    (
        &[SAFE, EARLY],
        "call old Release: munmap",
        "the kernel unmaps what a process has when it ends",
    ),
    (
        &[EARLY],
        "answer old Preflight: IOMMU_IOAS_CHANGE_PROCESS",
        "the new process asks the same before the guest stops",
    ),
    (
        &[SAFE, EARLY],
        "answer old Save: ftruncate",
        "what is left over behind the saved guest is refused by who loads it",
    ),
    (
        &[SAFE, EARLY],
        "answer old Save: save guest",
        "a guest that is not saved is refused by who loads it",
    ),
    (
        &[SAFE, EARLY],
        "answer old Snapshot: ftruncate",
        "what is left over behind the stream is refused by who reads it",
    ),
    (
        &[SAFE, EARLY],
        "answer old Release: munmap",
        "the kernel unmaps what a process has when it ends",
    ),
    (
        &[EARLY],
        "answer new AwaitOffer: recvmsg",
        "what comes in its place is not due later, and is refused before the guest stops, too",
    ),
    (
        &[SAFE, BY_EXEC, EARLY],
        "answer new MakeVm: KVM_CREATE_VM",
        "the next call is made on nothing, and its answer is judged",
    ),
    (
        &[SAFE, BY_EXEC, EARLY],
        "answer new MakeVm: open",
        "the next call is made on nothing, and its answer is judged",
    ),
    (
        &[EARLY],
        "answer new AwaitConfirm: recvmsg",
        "what is not confirmed is not committed, either",
    ),
    (
        &[SAFE, EARLY],
        "answer new Refuse: sendmsg",
        "the protocol does not judge it either: nobody may be left to hear",
    ),
    (&[EARLY], "blocker KernelTooOld", "the new process asks the same before the guest stops"),
    (
        &[EARLY],
        "blocker NotOpen",
        "the new process misses it, and refuses before the guest stops, too",
    ),
];

/// A world of one of the modes, or of both: what it is called, and what it has besides the smallest
/// VM.
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
    // Without RAM there is no mapping that an old kernel can only have by address.
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

/// Something wrong, where it shows: what is survived only when something goes wrong besides.
fn wrong(wrong: &Corruption, form: Form) -> Scenario {
    let world = smallest(wrong.id, form).corruption(wrong.id);
    let world = match wrong.id {
        "mapping-odd" => spare_space(world),
        "fate-unheard" => another_user(world),
        "no-kvm" => world.kvm(),
        _ => world,
    };
    let may = match wrong.id {
        // One that has been killed may go on a little, as if it were not.
        "abort-unsaid" => FaultBudget { kill: 0, ..FaultBudget::default() },
        _ if wrong.expected == Expected::HandedOver => FaultBudget::default(),
        _ => FaultBudget::NOTHING,
    };
    world.fault_budget(may).build().expect("a scenario")
}

/// The smallest first.
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

/// The first property that is violated, or the panic.
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
fn the_protocol_itself_violates_nothing_in_these_worlds() {
    for form in FORMS {
        let wrong: Vec<_> = worlds(form).iter().filter_map(|world| found(world, None)).collect();
        assert!(wrong.is_empty(), "{form:?}: {wrong:?}");
    }
}

/// All mutants of a form, in their order, with what catches them first.
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

/// The specimen and a launched VM with the same parts make the same calls in every phase.
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
fn every_mutant_but_these_is_caught() {
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
    assert!(survive * 20 <= count, "{survive} of {count} are not caught");
}
