//! Random calls: arbitrary bytes on any file, and valid calls with some words replaced.

use super::{FD_END, IOMMUFD, busy, ioctl, outcome, words};
use crate::common::{NEW, OLD};
use handoff_model::abi::argument::{Argument, Pointee, Structure};
use handoff_model::abi::call::Call;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use proptest::prelude::*;

/// Generates a word of the kinds that callers write: sizes, flags, ids, descriptors, addresses,
/// garbage.
pub(super) fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => Just(0u32),
        6 => 0u32..28,
        2 => 0u32..80,
        2 => (0u32..8).prop_map(|page| page << 12),
        2 => (0u32..5).prop_map(|page| 0x10000 + (page << 12)),
        2 => (0u32..32).prop_map(|bit| 1 << bit),
        1 => Just(u32::MAX),
        1 => any::<u32>(),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let sized = (prop::collection::vec(word(), 0..24), 0usize..4, 0u32..10).prop_map(
        |(mut words, cut, says)| {
            let length = words.len() * 4;
            if let Some(first) = words.first_mut().filter(|_| says > 1) {
                *first = u32::try_from(length).expect("a small length");
            }
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            if says == 0 {
                bytes.truncate(length.saturating_sub(cut));
            }
            bytes
        },
    );
    prop_oneof![9 => sized, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn pointees() -> impl Strategy<Value = Vec<Pointee>> {
    let pointee = ((0usize..12).prop_map(|at| at * 4), bytes());
    prop::collection::vec(pointee.prop_map(|(at, bytes)| Pointee { at, bytes }), 0..3)
}

fn argument() -> impl Strategy<Value = Argument> {
    let structure = (bytes(), prop::bool::weighted(0.1), pointees());
    prop_oneof![
        1 => (0u64..4).prop_map(Argument::Value),
        1 => any::<u64>().prop_map(Argument::Value),
        8 => structure.prop_map(|(bytes, read_only, pointees)| {
            Argument::Structure(Structure { bytes, read_only, pointees })
        }),
    ]
}

/// Generates every known request number, and numbers close to them.
fn request() -> impl Strategy<Value = u32> {
    let known = || prop::sample::select(nr::ALL).prop_map(|(number, _)| number);
    prop_oneof![
        12 => known(),
        1 => (known(), 1u32..4).prop_map(|(number, more)| number.wrapping_add(more)),
        1 => (known(), 0u32..32).prop_map(|(number, bit)| number ^ (1 << bit)),
        1 => any::<u32>(),
    ]
}

/// Generates an arbitrary ioctl on an arbitrary descriptor.
fn wild_call() -> impl Strategy<Value = Call> {
    ((3..FD_END).prop_map(Fd), request(), argument())
        .prop_map(|(fd, request, argument)| ioctl(fd, request, argument))
}

const MEMFD: u32 = 5;
const VFIO: Fd = Fd(6);
const CONTAINER: Fd = Fd(20);
const PAGE: u32 = 4096;
const AREA: u32 = 0x10000;

/// Calls that succeed on a busy machine, as words.
const SENSIBLE: &[(Fd, u32, &[u32])] = &[
    (IOMMUFD, nr::IOMMU_DESTROY, &[8, 7]),
    (IOMMUFD, nr::IOMMU_IOAS_ALLOC, &[12, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_ALLOW_IOVAS, &[24, 1, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_MAP_FILE, &[40, 7, 1, MEMFD, 0, 0, PAGE, 0, 0x20000, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_MAP_FILE, &[40, 6, 1, MEMFD, 0, 0, PAGE, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_COPY, &[40, 7, 1, 1, PAGE, 0, 0x30000, 0, AREA, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_UNMAP, &[24, 1, AREA, 0, 3 * PAGE, 0]),
    (IOMMUFD, nr::IOMMU_IOAS_UNMAP, &[24, 1, 0, 0, u32::MAX, u32::MAX]),
    (IOMMUFD, nr::IOMMU_IOAS_CHANGE_PROCESS, &[8, 0]),
    (IOMMUFD, nr::IOMMU_OPTION, &[24, 0, 1, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_OPTION, &[24, 1, 1, 1, 0, 0]),
    (IOMMUFD, nr::IOMMU_VFIO_IOAS, &[12, 1, 1]),
    (IOMMUFD, nr::IOMMU_HWPT_ALLOC, &[48, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_GET_HW_INFO, &[40, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_FAULT_QUEUE_ALLOC, &[16, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 2, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 1, 1, 0, 0, 5, PAGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (IOMMUFD, nr::IOMMU_TEST_CMD, &[72, 22, 0, 0, PAGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (CONTAINER, nr::VFIO_IOMMU_MAP_DMA, &[32, 3, 0, 0x7f00, 0, 0, PAGE, 0]),
    (CONTAINER, nr::VFIO_IOMMU_UNMAP_DMA, &[24, 2, 0, 0, 0, 0]),
    (CONTAINER, nr::VFIO_IOMMU_GET_INFO, &[24, 0, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_INFO, &[20, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_REGION_INFO, &[32, 0, 1, 0, 0, 0, 0, 0]),
    (VFIO, nr::VFIO_DEVICE_GET_IRQ_INFO, &[16, 0, 1, 0]),
    (VFIO, nr::VFIO_DEVICE_SET_IRQS, &[24, 0x24, 1, 0, 1, 9]),
    (VFIO, nr::VFIO_DEVICE_ATTACH_IOMMUFD_PT, &[12, 0, 1]),
    (VFIO, nr::VFIO_DEVICE_DETACH_IOMMUFD_PT, &[8, 0]),
];

/// Generates a call of [`SENSIBLE`] with some words replaced.
fn altered_call() -> impl Strategy<Value = Call> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), word()), 0..3);
    (prop::sample::select(SENSIBLE), places, pointees()).prop_map(
        |((fd, request, sensible), places, pointees)| {
            let mut words = sensible.to_vec();
            for (place, word) in places {
                *place.get_mut(&mut words) = word;
            }
            let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            ioctl(fd, request, Argument::of(bytes, pointees))
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![1 => wild_call(), 1 => altered_call()]
}

/// Returns true if a failed ioctl must not have changed the machine. Exceptions are ioctls that
/// work part by part, and those that fail with `EFAULT` when they report their result.
fn is_atomic(call: &Call, errno: Errno) -> bool {
    const BY_PARTS: &[u32] = &[
        nr::IOMMU_IOAS_UNMAP,
        nr::IOMMU_IOAS_CHANGE_PROCESS,
        nr::VFIO_IOMMU_UNMAP_DMA,
        nr::VFIO_DEVICE_SET_IRQS,
    ];
    let Call::Ioctl { ioctl, .. } = call else { unreachable!("all calls here are ioctls") };
    errno != Errno::EFAULT && !BY_PARTS.contains(&ioctl.request)
}

#[test]
fn sensible_calls_succeed() {
    let machine = busy("7.3");
    for (fd, request, sensible) in SENSIBLE {
        let call = ioctl(*fd, *request, words(sensible));
        let refused = outcome(&mut machine.clone(), &call).errno();
        assert_eq!(refused, None, "{} {sensible:?}", nr::name(*request).unwrap_or("?"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_on_any_file_are_answered(kernel in prop::sample::select(vec!["7.3", "fixed"]),
                                          calls in prop::collection::vec(call(), 1..24)) {
        let mut machine = busy(kernel);
        for call in &calls {
            let before = machine.clone();
            let refused = outcome(&mut machine, call).errno();
            if refused.is_some_and(|errno| is_atomic(call, errno)) {
                prop_assert_eq!(&machine, &before, "{:?}: {:?}", call, refused);
            }
            machine.audit().map_err(|broken| TestCaseError::fail(format!("{call:?}: {broken}")))?;
        }
        for pid in [OLD, NEW] {
            machine.kill(pid);
        }
        machine.audit().map_err(TestCaseError::fail)?;
    }
}
