//! Tests recordings of other projects' programs, made on Linux 7.2.13 in a virtual machine with
//! emulated devices behind an emulated IOMMU.
//!
//! The figures are exact: any difference in a count or a name is a change of what the simulator
//! models.

use super::adds_up;
use flate2::read::MultiGzDecoder;
use handoff_conformance::replay::replay;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

/// The counts of a replay, except those that follow from others.
struct Figures {
    seen: usize,
    told: usize,
    agreeing: usize,
    /// The numbers of iommufd and VFIO ioctls, and of those compared.
    of_devices: (usize, usize),
    /// The trace lines that the simulator is known to answer differently.
    differing: &'static [usize],
    not_followed: &'static [(&'static str, usize)],
    not_modelled: &'static [(&'static str, usize)],
}

fn as_listed(counts: &BTreeMap<String, usize>) -> Vec<(&str, usize)> {
    counts.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

#[track_caller]
fn check(recording: &[u8], expected: &Figures) {
    let lines = BufReader::new(MultiGzDecoder::new(recording)).lines();
    let report = replay(lines.map(|line| line.expect("text"))).expect("a trace");
    let differing: Vec<usize> = report.stories.iter().map(|story| story.line).collect();
    assert_eq!(differing, expected.differing, "{report}");
    assert_eq!(as_listed(&report.not_followed), expected.not_followed, "{report}");
    assert_eq!(as_listed(&report.not_modelled), expected.not_modelled, "{report}");
    let of_devices = (report.of_devices.seen, report.of_devices.compared);
    assert_eq!(
        (report.seen, report.told, report.agreeing, of_devices),
        (expected.seen, expected.told, expected.agreeing, expected.of_devices),
        "{report}"
    );
    assert_eq!(report.profile, "7.2");
    adds_up(&report);
}

/// QEMU 11.1 hands a running guest with one device over to a new QEMU.
#[test]
fn qemu_transfer_completes() {
    check(
        include_bytes!("../traces/qemu-transfer-1.jsonl.gz"),
        &Figures {
            seen: 1487,
            told: 193,
            agreeing: 451,
            of_devices: (99, 99),
            differing: &[],
            not_followed: &[("close", 1)],
            not_modelled: &[
                ("KVM (others)", 576),
                ("KVM_CHECK_EXTENSION", 155),
                ("KVM_RUN", 51),
                ("KVM_SET_GSI_ROUTING", 4),
                ("KVM_SET_USER_MEMORY_REGION", 54),
                ("read (other form)", 2),
            ],
        },
    );
}

/// The new QEMU is killed after it has realized the device, and the old one continues.
#[test]
fn qemu_transfer_is_broken_off() {
    check(
        include_bytes!("../traces/qemu-defer-kill.jsonl.gz"),
        &Figures {
            seen: 1294,
            told: 156,
            agreeing: 434,
            of_devices: (96, 96),
            differing: &[],
            not_followed: &[],
            not_modelled: &[
                ("KVM (others)", 465),
                ("KVM_CHECK_EXTENSION", 149),
                ("KVM_RUN", 47),
                ("KVM_SET_GSI_ROUTING", 3),
                ("KVM_SET_USER_MEMORY_REGION", 38),
                ("read (other form)", 2),
            ],
        },
    );
}

/// QEMU hands a guest over with a group and a type1 container.
#[test]
fn qemu_transfer_of_a_container() {
    check(
        include_bytes!("../traces/qemu-legacy-1.jsonl.gz"),
        &Figures {
            seen: 1468,
            told: 182,
            agreeing: 462,
            of_devices: (110, 110),
            differing: &[],
            not_followed: &[("close", 1)],
            not_modelled: &[
                ("KVM (others)", 558),
                ("KVM_CHECK_EXTENSION", 155),
                ("KVM_RUN", 50),
                ("KVM_SET_GSI_ROUTING", 4),
                ("KVM_SET_USER_MEMORY_REGION", 54),
                ("read (other form)", 2),
            ],
        },
    );
}

/// The kernel's selftest of CHANGE_PROCESS: refused for memory that is not file-backed, successful
/// within a process and by a forked child.
#[test]
fn selftest_of_change_process() {
    check(
        include_bytes!("../traces/change_process.account_user.jsonl.gz"),
        &Figures {
            seen: 100,
            told: 13,
            agreeing: 87,
            of_devices: (10, 10),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}

/// The kernel's selftest of every ioctl with odd sizes, IDs and options.
#[test]
fn selftest_of_the_surface_of_iommufd() {
    check(
        include_bytes!("../traces/iommufd.jsonl.gz"),
        &Figures {
            seen: 314,
            told: 69,
            agreeing: 245,
            of_devices: (108, 108),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}

/// The kernel's selftest of dirty tracking, with a bitmap for 64 KiB of addresses.
#[test]
fn selftest_of_dirty_tracking() {
    check(
        include_bytes!("../traces/iommufd_dirty_tracking.domain_dirty64k.jsonl.gz"),
        &Figures {
            seen: 246,
            told: 39,
            agreeing: 207,
            of_devices: (82, 82),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}

/// The kernel's selftest of file mappings: all alignments, copies, replaced domains.
#[test]
fn selftest_of_a_domain_over_files() {
    check(
        include_bytes!("../traces/iommufd_mock_domain.one_domain_file.jsonl.gz"),
        &Figures {
            seen: 1592,
            told: 48,
            agreeing: 1544,
            of_devices: (1414, 1414),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}

/// The kernel's selftest of areas, accesses and options, up to the sweep of all lengths (71,000
/// more calls of the same kind).
#[test]
fn selftest_of_an_address_space() {
    check(
        include_bytes!("../traces/iommufd_ioas.mock_domain.first.jsonl.gz"),
        &Figures {
            seen: 913,
            told: 109,
            agreeing: 804,
            of_devices: (624, 624),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}

/// The kernel's selftest of an iommufd as a type1v2 container.
#[test]
fn selftest_of_an_iommufd_as_container() {
    check(
        include_bytes!("../traces/vfio_compat_mock_domain.Ver1v2.jsonl.gz"),
        &Figures {
            seen: 266,
            told: 34,
            agreeing: 232,
            of_devices: (131, 131),
            differing: &[],
            not_followed: &[],
            not_modelled: &[],
        },
    );
}
