//! The beginning of a case: a small VMM and a second process, so that random steps find state to
//! act on.

use super::Step;
use super::generate::mock::mock_device;
use super::state::{BASE, spec};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Rights};
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid};
use proptest::prelude::*;

/// Descriptors, in the order in which they are assigned.
const IOMMUFD: Fd = Fd(3);
const MEMFD: Fd = Fd(4);
const DEVICE: Fd = Fd(5);
const SPACES: [ObjectId; 2] = [ObjectId(1), ObjectId(2)];

/// Generates either two bare processes, or a process whose context has two IOASes, a device
/// attached to the first, and some areas, together with a child that shares it all or an unrelated
/// process with a socket.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let areas = prop::collection::vec((0..6u64, 1..5u64, 0..2usize), 0..4);
    let first = (spec(), any::<bool>(), any::<bool>(), any::<bool>(), areas);
    let second = one_of![Just(None), spec().prop_map(Some)];
    one_of![
        1 => [spec(), spec()].prop_map(|specs| specs.map(Step::Spawn).to_vec()),
        8 => (first, second).prop_map(|(first, stranger)| {
            let (owner, per_process, device_first, mock, areas) = first;
            let mut steps = vec![Step::Spawn(owner)];
            let mut calls = vec![Call::File(FileCall::Open { path: "/dev/iommu".to_owned() })];
            calls.push(Call::Iommufd(IommufdCall::SetRlimitMode { iommufd: IOMMUFD, per_process }));
            let alloc = Call::Iommufd(IommufdCall::IoasAlloc { iommufd: IOMMUFD });
            calls.extend(SPACES.map(|_| alloc.clone()));
            calls.push(Call::Memory(MemoryCall::Memfd { name: "ram".to_owned() }));
            let length_bytes = 8 * PAGE_BYTES;
            calls.push(Call::Memory(MemoryCall::Truncate { fd: MEMFD, length_bytes }));
            let device = if mock {
                vec![mock_device(IOMMUFD, SPACES[0])]
            } else {
                vec![
                    Call::File(FileCall::Open { path: "/dev/vfio/devices/vfio0".to_owned() }),
                    Call::Device(DeviceCall::Bind { device: DEVICE, iommufd: IOMMUFD }),
                    Call::Device(DeviceCall::Attach { device: DEVICE, page_table: SPACES[0] }),
                ]
            };
            let maps = areas.iter().map(|area| map(*area));
            if device_first {
                calls.extend(device.into_iter().chain(maps));
            } else {
                calls.extend(maps.chain(device));
            }
            calls.push(Call::File(FileCall::Eventfd));
            steps.extend(calls.into_iter().map(|call| Step::Call(OWNER, call)));
            match stranger {
                None => steps.push(Step::Fork(OWNER)),
                Some(spec) => steps.extend([Step::Spawn(spec), Step::Pair(OWNER, Pid(2))]),
            }
            steps
        }),
    ]
}

const OWNER: Pid = Pid(1);

fn map((slot, pages, space): (u64, u64, usize)) -> Call {
    IommufdCall::map_file(
        IOMMUFD,
        SPACES[space],
        (MEMFD, (slot % 4) * PAGE_BYTES),
        Iova(BASE + slot * 2 * PAGE_BYTES),
        pages * PAGE_BYTES,
        Rights::ReadWrite,
    )
}
