//! Tests of scenario files: accepted input, and a one-line error with location and remedy per
//! mistake.

use handoff_model::abi::call::{Call, CompletedCall, DeviceCall, IommufdCall, Reply};
use handoff_model::abi::ids::{ObjectId, Uid};
use handoff_model::protocol::Mode;
use handoff_model::variants::{VARIANTS, Variant};
use handoff_model::vm::Dma;
use handoff_specs::scenario::bugs::{self, KnownBug};
use handoff_specs::scenario::builder::{DeviceEntry, Iommufd, Ram, ScenarioBuilder};
use handoff_specs::scenario::mutants::{of_variant, ours};
use handoff_specs::scenario::{FaultBudget, Scenario};
use handoff_specs::state::setup::set_up;

const GOOD: &str = r#"
name = "vm"
mode = "transfer"
[[ram]]
name = "ram0"
pages = 2
iova = 0x100000
[[device]]
name = "nic0"
"#;

#[test]
fn the_smallest_file_has_sensible_defaults() {
    let scenario = Scenario::parse("vm.toml", GOOD).expect("a good file");
    assert_eq!(scenario.mode, Mode::Transfer);
    assert_eq!(scenario.kernel.name(), "7.3");
    assert_eq!((scenario.old.uid, scenario.old.memlock_bytes), (Uid(1000), u64::MAX));
    assert_eq!(scenario.old, scenario.new);
    assert_eq!(scenario.plan.devices[0].interrupts.len(), 1);
    assert!(!scenario.refused && scenario.defects.is_empty());
}

/// Former and present spellings of one scenario, written as TOML keys.
#[test]
fn former_spellings_are_still_read() {
    let table = [
        ("mutant = \"undo new AwaitFate\"", "mutant = \"undo new ResolveInDoubt\""),
        ("mutant = \"answer old Cut: ftruncate\"", "mutant = \"answer old Snapshot: ftruncate\""),
        ("mutant = \"blocker ChargedToNobody\"", "mutant = \"blocker Uncharged\""),
        ("wrong = \"ram-other\"", "corruption = \"ram-other\""),
        ("[may]\nkill = 2", "[faults]\nkill = 2"),
    ];
    let read = |spelling: &str| {
        let text = GOOD.replace("[[ram]]", &format!("{spelling}\n[[ram]]"));
        let text = if spelling.starts_with('[') { format!("{GOOD}{spelling}") } else { text };
        let scenario = Scenario::parse("vm.toml", &text).expect("a good file");
        format!("{:?} {:?} {:?}", scenario.mutant, scenario.corruption, scenario.fault_budget)
    };
    let plain = read("# nothing");
    for (former, present) in table {
        assert_eq!(read(former), read(present));
        assert_ne!(read(present), plain, "{present}");
    }
}

/// Replaces `from` by `to` in a valid file; the error must contain all `words` in one line.
#[track_caller]
fn check(from: &str, to: &str, words: &[&str]) {
    assert!(GOOD.contains(from));
    let refusal = Scenario::parse("vm.toml", &GOOD.replace(from, to)).expect_err("a mistake");
    let line = refusal.to_string();
    assert!(line.starts_with("vm.toml: ") && !line.contains('\n'), "{line:?}");
    for word in words {
        assert!(line.contains(word), "{line:?} does not contain {word:?}");
    }
}

/// At most 16 devices, because every state stores each of them; at most 64 of anything else.
#[test]
fn a_scenario_too_large_to_check_is_refused() {
    let devices = |count: usize| {
        let names = (1..count).map(|at| format!("[[device]]\nname = \"nic{at}\"\n"));
        format!("{GOOD}{}", names.collect::<String>())
    };
    assert!(Scenario::parse("vm.toml", &devices(16)).is_ok());
    let refusal = Scenario::parse("vm.toml", &devices(17)).expect_err("too many").to_string();
    assert!(refusal.contains("17 [[device]] are more than the 16"), "{refusal}");
}

/// A container is not an iommufd, and each variant is for one of the two.
#[test]
fn containers_and_iommufds_are_distinguished() {
    const TYPE1: &str = "mode = \"transfer\"\ndma = \"type1\"";
    let with = |more: &str| format!("{TYPE1}\nvariant = \"type1\"\n{more}");
    let head = "mode = \"transfer\"";
    check(head, TYPE1, &["\"safe\" is for dma = \"iommufd\"", "variant = one of type1"]);
    let fits = |variant: &&Variant| variant.mode == Mode::Transfer && variant.dma == Dma::Iommufd;
    let ids: Vec<_> = VARIANTS.iter().filter(fits).map(|variant| variant.id).collect();
    let instead = format!("variant = one of {}", ids.join(", "));
    let words = ["\"type1\" is for dma = \"type1\"", &instead];
    check(head, "mode = \"transfer\"\nvariant = \"type1\"", &words);
    check(head, "mode = \"transfer\"\ndma = \"type2\"", &["line 4", "type2", "`type1`"]);
    check(head, &with("wrong = \"hwpt-absent\""), &["hwpt-absent", "iommufd", "remove"]);
    check(head, &with("[[iommufd]]\nname = \"iommufd0\""), &["iommufd0", "container", "remove"]);
    check(head, &with("[[space]]\nname = \"c\"\niommufd = \"x\""), &["\"c\"", "remove"]);
    let two =
        "[[space]]\nname = \"c\"\n[[space]]\nname = \"d\"\n[[device]]\nname = \"x\"\nspace = \"c\"";
    let text = GOOD.replace(head, &with(two)).replace("\"nic0\"", "\"nic0\"\nspace = \"c\"");
    let refusal = Scenario::parse("vm.toml", &text).expect_err("nobody is in it").to_string();
    assert!(refusal.contains("space \"d\": a container without a device"), "{refusal}");
    for what in ["hwpt = \"own\"", "hwpt = \"nest-parent\"", "bar_iova = 0x200000"] {
        let text = GOOD.replace(head, &with("")).replace("\"nic0\"", &format!("\"nic0\"\n{what}"));
        let refusal = Scenario::parse("vm.toml", &text).expect_err("there is none").to_string();
        let what = what.trim_end_matches(" = 0x200000");
        assert!(refusal.contains("nic0") && refusal.contains(what), "{refusal}");
    }
}

#[test]
fn mistakes_are_reported_with_location_and_remedy() {
    check("pages = 2", "pages = 2\npagez = 3", &["line 7", "pagez", "expected"]);
    check("mode = \"transfer\"", "mode = \"teleport\"", &["line 3", "teleport", "`transfer`"]);
    check("mode = \"transfer\"", "", &["mode"]);
    check("pages = 2", "pages = \"two\"", &["line 6"]);
    check("[[device]]", "[[device", &["line"]);
    check("iova = 0x100000", "iova = 0x100001", &["ram0", "4096"]);
    check("pages = 2", "pages = 0", &["ram0", "at least one page"]);
    check("pages = 2", "pages = 9007199254740991", &["ram0"]);
    check("name = \"ram0\"", "name = \"\"", &["[[ram]]", "empty"]);
    check(
        "[[device]]",
        "[[ram]]\nname = \"ram1\"\npages = 1\niova = 0x101000\n[[device]]",
        &["ram1", "ram0", "0x101000", "overlaps", "move"],
    );
    check("name = \"nic0\"", "name = \"nic0\"\n[[device]]\nname = \"nic0\"", &["nic0", "rename"]);
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\nspace = \"far\"",
        &["nic0", "far", "none is defined"],
    );
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\n[[space]]\nname = \"a\"\n[[space]]\nname = \"b\"",
        &["nic0", "space", "a, b"],
    );
    check("name = \"nic0\"", "name = \"nic0\"\nneeds_kvm = true", &["nic0", "mdev"]);
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\nkind = \"mdev\"\nhwpt = \"own\"",
        &["nic0", "no HWPT"],
    );
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\nkind = \"mdev\"\nhwpt = \"nest-parent\"",
        &["nic0", "no HWPT", "remove hwpt = \"nest-parent\""],
    );
    let later = "name = \"nic0\"\narmed_later = true";
    let not_last = format!("{later}\n[[device]]\nname = \"nic1\"");
    check("name = \"nic0\"", &not_last, &["nic0", "armed_later", "the last device"]);
    for interrupts in [0, 2] {
        let other = format!("{later}\ninterrupts = {interrupts}");
        check("name = \"nic0\"", &other, &["nic0", "armed_later", "interrupts = 1"]);
    }
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\nhwpt = \"nested\"",
        &["line 10", "nested", "`nest-parent`"],
    );
    check(
        "name = \"nic0\"",
        "name = \"nic0\"\n[[space]]\nname = \"a\"\niommufd = \"far\"",
        &["space \"a\"", "iommufd", "far"],
    );
    check("name = \"vm\"", "name = \"vm\"\nkernel = \"2.4\"", &["2.4", "6.12", "fixed"]);
    check("name = \"vm\"", "name = \"vm\"\ndefects = [\"x\"]", &["\"x\"", "no-take-back"]);
    check("name = \"vm\"", "name = \"vm\"\nwrong = \"x\"", &["\"x\"", "ram-other"]);
    let by_number = "name = \"vm\"\nwrong = \"number-closed\"";
    check("name = \"vm\"", by_number, &["number-closed", "mode = \"exec\""]);
    let both = "name = \"vm\"\nwrong = \"ram-other\"\nrefused = true";
    check("name = \"vm\"", both, &["ram-other", "remove refused"]);
    let other_mode = "name = \"vm\"\ndefects = [\"window-left-open\"]";
    check("name = \"vm\"", other_mode, &["window-left-open", "mode = \"exec\""]);
    check("name = \"nic0\"", "name = \"nic\\u001b\"", &["[[device]]", "unprintable"]);
}

/// Refuses names that do not parse, phases that the variant does not have, undo phases and jumps
/// that are not in its tables, calls that the phase does not make, makes alone or cannot fail to
/// make, and checks and preconditions that this variant does not have.
#[test]
fn a_mutant_that_omits_nothing_is_refused() {
    let nothing = [
        "",
        "row",
        "row Revoke",
        "row old revoke",
        "row old Revoke ",
        "rows old Revoke",
        "row old Exec",
        "row new Revoke",
        "row old End",
        "undo old Revoke",
        "undo old Exec",
        "tries old Preflight",
        "tries new Fallback",
        "jump old Preflight",
        "call old Preflight",
        "call old Preflight: execve",
        "call old Preflight: teleport",
        "call old Stop: stop guest",
        "answer old Preflight: geteuid",
        "answer old Park: execve",
        "last resort",
        "check StillSo",
        "check Weather",
        "blocker NoNewAddresses",
        "blocker Weather",
    ];
    for name in nothing {
        check(
            "name = \"vm\"",
            &format!("name = \"vm\"\nmutant = \"{name}\""),
            &[&format!("{name:?}"), "this variant and mode", "handoff list mutants"],
        );
    }
}

/// The printed name of a mutant is its name in a scenario file.
#[test]
fn a_mutant_is_parsed_from_its_name() {
    for variant in ours() {
        let mode = variant.mode;
        for mutant in of_variant(variant) {
            let head = format!("variant = \"{}\"\nmutant = \"{mutant}\"", variant.id);
            let text = GOOD.replace("mode = \"transfer\"", &format!("mode = \"{mode}\"\n{head}"));
            let scenario = Scenario::parse("vm.toml", &text).expect("a good file");
            assert_eq!(scenario.mutant, Some(mutant));
        }
    }
}

/// The HWPTs that are allocated, each with true if it is a nesting parent, and the objects that the
/// devices are attached to.
fn hwpts(devices: &str) -> (Vec<(ObjectId, bool)>, Vec<ObjectId>) {
    let text = GOOD.replace("[[device]]\nname = \"nic0\"\n", devices);
    let scenario = Scenario::parse("vm.toml", &text).expect("a good file");
    let (constants, _) = set_up(&scenario).expect("it starts");
    let (mut made, mut attached) = (Vec::new(), Vec::new());
    for CompletedCall { call, answer, .. } in &constants.opening {
        match (call, answer) {
            (Call::Iommufd(IommufdCall::HwptAlloc { nest_parent, .. }), Ok(Reply::Object(id))) => {
                made.push((*id, *nest_parent));
            }
            (Call::Device(DeviceCall::Attach { .. }), Ok(Reply::Object(id))) => attached.push(*id),
            _ => {}
        }
    }
    (made, attached)
}

/// As in QEMU, the first device allocates a nesting parent, and the others of its address space
/// share it.
#[test]
fn an_address_space_has_one_nesting_parent() {
    let device = |name: &str, space: &str, hwpt: &str| {
        format!("[[device]]\nname = \"{name}\"\nspace = \"{space}\"\nhwpt = \"{hwpt}\"\n")
    };
    let devices = [
        "[[space]]\nname = \"a\"\n[[space]]\nname = \"b\"\n".to_owned(),
        device("nic0", "a", "nest-parent"),
        device("nic1", "a", "own"),
        device("nic2", "a", "nest-parent"),
        device("nic3", "b", "nest-parent"),
        device("nic4", "a", "shared"),
    ];
    let (made, attached) = hwpts(&devices.concat());
    let is_parent: Vec<_> = made.iter().map(|(_, nest_parent)| *nest_parent).collect();
    assert_eq!(is_parent, [true, false, true]);
    let [first, own, other] = [0, 1, 2].map(|at: usize| made[at].0);
    assert_eq!(attached[..4], [first, own, first, other]);
    assert!(![first, own, other].contains(&attached[4]), "the kernel's own");
}

#[test]
fn an_execve_cannot_change_user_or_limit() {
    let text = format!("{}\n[new]\nuid = 7\n", GOOD.replace("transfer", "exec"));
    let line = Scenario::parse("vm.toml", &text).expect_err("a contradiction").to_string();
    assert!(line.contains("[new]") && line.contains("transfer"), "{line}");
}

/// The text that a builder writes parses to the scenario that it builds.
#[test]
fn a_built_scenario_equals_its_parsed_text() {
    let of_bugs = bugs::all().filter_map(KnownBug::world);
    let smallest = ScenarioBuilder::new(Mode::Exec);
    let process = ScenarioBuilder::new(Mode::Transfer)
        .uid(1)
        .memlock_pages(2)
        .new_uid(3)
        .new_memlock_pages(4)
        .cap_ipc_lock()
        .iommufds([Iommufd::charging_processes("iommufd0")])
        .ram([Ram::new("ram0", 0).by_address()])
        .devices([DeviceEntry::new("nic0"), DeviceEntry::new("nic1").armed_later()])
        .fault_budget(FaultBudget::NOTHING);
    for world in of_bugs.chain([smallest, process]) {
        let text = world.text();
        let built = world.build().expect("a scenario");
        let read = Scenario::parse("built.toml", &text).expect("the same one");
        assert_eq!(format!("{read:?}"), format!("{built:?}"), "{text}");
    }
}
