//! Recordings of other people's programs, made on Linux 7.2.13 in a virtual machine with emulated
//! devices behind an emulated IOMMU.
//!
//! The figures are exact: a call more or less, a name more or less, is a change of what the simulator
//! models.

use super::adds_up;
use flate2::read::MultiGzDecoder;
use handoff_specs::replay::replay;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

/// What a replay counts, but for what adds up.
struct Figures {
    seen: usize,
    told: usize,
    agreeing: usize,
    not_followed: &'static [(&'static str, usize)],
    not_modelled: &'static [(&'static str, usize)],
}

/// KVM's many ioctls in one row: by name, or by their type in the second byte of the number.
fn with_kvm_folded(counts: &BTreeMap<String, usize>) -> BTreeMap<&str, usize> {
    let is_kvm = |name: &str| {
        let number = name.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
        name.starts_with("KVM_") || number.is_some_and(|number| number >> 8 & 0xff == 0xae)
    };
    let mut folded = BTreeMap::new();
    for (name, count) in counts {
        *folded.entry(if is_kvm(name) { "KVM" } else { name }).or_default() += count;
    }
    folded
}

#[track_caller]
fn check(recording: &[u8], expected: &Figures) {
    let lines = BufReader::new(MultiGzDecoder::new(recording)).lines();
    let report = replay(lines.map(|line| line.expect("text"))).expect("a trace");
    assert!(report.agrees(), "{report}");
    assert_eq!(
        with_kvm_folded(&report.not_followed),
        expected.not_followed.iter().copied().collect(),
        "{report}"
    );
    assert_eq!(
        with_kvm_folded(&report.not_modelled),
        expected.not_modelled.iter().copied().collect(),
        "{report}"
    );
    assert_eq!(
        (report.seen, report.told, report.agreeing),
        (expected.seen, expected.told, expected.agreeing),
        "{report}"
    );
    assert_eq!(report.profile, "7.2");
    adds_up(&report);
}

/// QEMU 11.1 hands a running guest with one device to a new QEMU, which takes it over.
///
/// Not followed: files that are none of the handoff's (logs, KVM's, an empty huge-page memfd).
#[test]
fn qemu_transfer_completes() {
    check(
        include_bytes!("../traces/qemu-transfer-1.jsonl.gz"),
        &Figures {
            seen: 1487,
            told: 92,
            agreeing: 330,
            not_followed: &[("close", 13), ("dup", 4), ("mmap", 2), ("setfd", 1)],
            not_modelled: &[
                ("IOMMU_IOAS_IOVA_RANGES (other form)", 2),
                ("KVM", 863),
                ("VFIO_DEVICE_FEATURE", 4),
                ("VFIO_DEVICE_SET_IRQS (other form)", 20),
                ("exec (other form)", 3),
                ("memfd (other form)", 2),
                ("mmap (other file)", 2),
                ("mmap (other form)", 31),
                ("open (other file)", 8),
                ("read (other file)", 29),
                ("read (other form)", 12),
                ("write (other file)", 33),
                ("write (other form)", 36),
            ],
        },
    );
}

/// The same, but the new QEMU is killed after it has realized the device: the old one goes on.
#[test]
fn qemu_transfer_is_broken_off() {
    check(
        include_bytes!("../traces/qemu-defer-kill.jsonl.gz"),
        &Figures {
            seen: 1294,
            told: 66,
            agreeing: 319,
            not_followed: &[("close", 8), ("dup", 4), ("mmap", 2), ("setfd", 1)],
            not_modelled: &[
                ("IOMMU_IOAS_IOVA_RANGES (other form)", 2),
                ("KVM", 723),
                ("VFIO_DEVICE_FEATURE", 4),
                ("VFIO_DEVICE_SET_IRQS (other form)", 20),
                ("exec (other form)", 3),
                ("memfd (other form)", 2),
                ("mmap (other file)", 2),
                ("mmap (other form)", 31),
                ("open (other file)", 8),
                ("read (other file)", 29),
                ("read (other form)", 12),
                ("write (other file)", 33),
                ("write (other form)", 25),
            ],
        },
    );
}

/// The kernel's own test of CHANGE_PROCESS: refused for memory that is no file, done within a
/// process and by a forked child. Its mock domain is not modelled; nothing depends on it here.
#[test]
fn selftest_of_change_process() {
    check(
        include_bytes!("../traces/change_process.account_user.jsonl.gz"),
        &Figures {
            seen: 100,
            told: 13,
            agreeing: 85,
            not_followed: &[],
            not_modelled: &[("IOMMU_TEST_CMD", 2)],
        },
    );
}

/// The kernel's own test of what every ioctl says to odd sizes, ids and options. Odd sizes have no
/// form among the simulator's calls.
#[test]
fn selftest_of_the_surface_of_iommufd() {
    check(
        include_bytes!("../traces/iommufd.jsonl.gz"),
        &Figures {
            seen: 314,
            told: 69,
            agreeing: 161,
            not_followed: &[],
            not_modelled: &[
                ("0x3b7f", 1),
                ("IOMMU_DESTROY (other form)", 5),
                ("IOMMU_GET_HW_INFO (other form)", 2),
                ("IOMMU_HWPT_ALLOC (other form)", 2),
                ("IOMMU_HWPT_INVALIDATE", 4),
                ("IOMMU_IOAS_ALLOC (other form)", 2),
                ("IOMMU_IOAS_ALLOW_IOVAS", 4),
                ("IOMMU_IOAS_CHANGE_PROCESS (other form)", 2),
                ("IOMMU_IOAS_COPY (other form)", 4),
                ("IOMMU_IOAS_IOVA_RANGES (other form)", 2),
                ("IOMMU_IOAS_MAP (other form)", 4),
                ("IOMMU_IOAS_MAP_FILE (other form)", 4),
                ("IOMMU_IOAS_UNMAP (other form)", 2),
                ("IOMMU_OPTION (other form)", 5),
                ("IOMMU_TEST_CMD", 11),
                ("IOMMU_VDEVICE_ALLOC", 4),
                ("IOMMU_VFIO_IOAS", 10),
                ("IOMMU_VIOMMU_ALLOC", 4),
                ("VFIO_CHECK_EXTENSION", 1),
                ("VFIO_GET_API_VERSION", 1),
                ("VFIO_IOMMU_GET_INFO", 2),
                ("VFIO_IOMMU_MAP_DMA", 3),
                ("VFIO_IOMMU_UNMAP_DMA", 3),
                ("VFIO_SET_IOMMU", 2),
            ],
        },
    );
}
