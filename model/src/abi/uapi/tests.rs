//! The codec survives a round trip in both directions, and decodes only exact matches.

use super::structure::Bytes;
use super::{answer, decode, encode, outcome};
use crate::abi::argument::Argument;
use crate::abi::call::{Call, ContainerCall, DeviceCall, IommufdCall, KvmCall, Reply, Rights};
use crate::abi::ids::{Fd, Iova, IovaRange, ObjectId, Va};
use crate::abi::request::{IOMMU_IOAS_MAP, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU, name};
use iommufd_bindings as io;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio;

const IOMMUFD: Fd = Fd(3);
const DEVICE: Fd = Fd(4);
const ID: ObjectId = ObjectId(7);

/// Returns one call of each ioctl, and one per value if a field has few values. All fields are
/// spelled out, so that a new field must be added here.
fn every_ioctl() -> Vec<Call> {
    [iommufd(), devices(), containers(), kvm(), nesting()].concat()
}

fn iommufd() -> Vec<Call> {
    let rights = Rights::ReadWrite;
    vec![
        Call::Iommufd(IommufdCall::Destroy { iommufd: IOMMUFD, id: ID }),
        Call::Iommufd(IommufdCall::IoasAlloc { iommufd: IOMMUFD }),
        Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd: IOMMUFD, ioas: ID }),
        Call::Iommufd(IommufdCall::IoasMap {
            iommufd: IOMMUFD,
            ioas: ID,
            user_va: Va(0x7000_0000),
            length_bytes: 0x2000,
            iova: Iova(0x10_0000),
            rights,
        }),
        Call::Iommufd(IommufdCall::IoasMapFile {
            iommufd: IOMMUFD,
            ioas: ID,
            fd: Fd(9),
            offset_bytes: 0x1000,
            length_bytes: 0x2000,
            iova: Iova(0x10_0000),
            rights: Rights::Read,
        }),
        Call::Iommufd(IommufdCall::IoasCopy {
            iommufd: IOMMUFD,
            source: ID,
            source_iova: Iova(0x1000),
            destination: ObjectId(8),
            destination_iova: Iova(0x2000),
            length_bytes: 0x3000,
            rights,
        }),
        Call::Iommufd(IommufdCall::IoasUnmap {
            iommufd: IOMMUFD,
            ioas: ID,
            iova: Iova(1),
            length_bytes: 2,
        }),
        Call::Iommufd(IommufdCall::ChangeProcess { iommufd: IOMMUFD, reserved: 1 }),
        Call::Iommufd(IommufdCall::GetRlimitMode { iommufd: IOMMUFD }),
        Call::Iommufd(IommufdCall::SetRlimitMode { iommufd: IOMMUFD, per_process: true }),
        Call::Iommufd(IommufdCall::HwptAlloc {
            iommufd: IOMMUFD,
            device: ID,
            ioas: ObjectId(1),
            nest_parent: false,
        }),
        Call::Iommufd(IommufdCall::ProbeHwpt { iommufd: IOMMUFD, hwpt: ID }),
        Call::Iommufd(IommufdCall::GetHwInfo { iommufd: IOMMUFD, device: ID }),
    ]
}

fn devices() -> Vec<Call> {
    vec![
        Call::Device(DeviceCall::Bind { device: DEVICE, iommufd: IOMMUFD }),
        Call::Device(DeviceCall::Attach { device: DEVICE, page_table: ID }),
        Call::Device(DeviceCall::Detach { device: DEVICE }),
        Call::Device(DeviceCall::Info { device: DEVICE }),
        Call::Device(DeviceCall::RegionInfo { device: DEVICE, index: 2 }),
        Call::Device(DeviceCall::IrqInfo { device: DEVICE, index: 1 }),
        Call::Device(DeviceCall::SetIrqs {
            device: DEVICE,
            index: 1,
            eventfds: vec![Fd(10), Fd(11)],
        }),
        Call::Device(DeviceCall::SetIrqs { device: DEVICE, index: 1, eventfds: vec![] }),
        Call::Device(DeviceCall::Reset { device: DEVICE }),
    ]
}

fn containers() -> Vec<Call> {
    vec![
        Call::Container(ContainerCall::SetContainer { group: DEVICE, container: IOMMUFD }),
        Call::Container(ContainerCall::SetIommu { container: IOMMUFD }),
        Call::Container(ContainerCall::GroupDevice {
            group: DEVICE,
            address: "0000:00:05.0".into(),
        }),
        Call::Container(ContainerCall::CanUpdateVaddr { container: IOMMUFD }),
        Call::Container(ContainerCall::MapDma {
            container: IOMMUFD,
            user_va: Va(0x7000_0000),
            length_bytes: 0x2000,
            iova: Iova(0x10_0000),
            rights: Rights::Read,
        }),
        Call::Container(ContainerCall::GiveVaddr {
            container: IOMMUFD,
            user_va: Va(0x7000_0000),
            length_bytes: 0x2000,
            iova: Iova(0x10_0000),
        }),
        Call::Container(ContainerCall::ForgetVaddrs { container: IOMMUFD }),
    ]
}

fn kvm() -> Vec<Call> {
    vec![
        Call::Kvm(KvmCall::CreateVm { kvm: DEVICE }),
        Call::Kvm(KvmCall::CreateIrqchip { vm: DEVICE }),
        Call::Kvm(KvmCall::Irqfd { vm: DEVICE, eventfd: Fd(10), gsi: 24, assign: true }),
        Call::Kvm(KvmCall::Irqfd { vm: DEVICE, eventfd: Fd(10), gsi: 24, assign: false }),
    ]
}

fn nesting() -> Vec<Call> {
    vec![
        Call::Iommufd(IommufdCall::HwptAlloc {
            iommufd: IOMMUFD,
            device: ID,
            ioas: ObjectId(1),
            nest_parent: true,
        }),
        Call::Iommufd(IommufdCall::ProbeNesting {
            iommufd: IOMMUFD,
            device: ID,
            hwpt: ObjectId(8),
        }),
    ]
}

#[test]
fn every_ioctl_decodes_to_itself_and_has_a_name() {
    for call in every_ioctl() {
        let (fd, ioctl) = encode(&call).expect("an ioctl");
        assert_eq!(decode(fd, ioctl.request, &ioctl.argument), Some(call.clone()));
        assert!(name(ioctl.request).is_some(), "{call:?}");
    }
}

#[test]
fn sizes_are_those_of_the_kernel() {
    let size = |call: &Call| encode(call).expect("an ioctl").1.argument.bytes().len();
    let sizes: Vec<usize> = every_ioctl().iter().map(size).collect();
    assert_eq!(
        sizes,
        [
            8, 12, 32, 40, 40, 40, 24, 8, 24, 24, 48, 48, 40, 24, 12, 8, 24, 32, 16, 28, 20, 0, 4,
            0, 13, 0, 32, 32, 24, 0, 0, 32, 32, 48, 48
        ]
    );
}

#[test]
fn what_the_kernel_writes_is_read_back() {
    let range = IovaRange { first: Iova(0), last: Iova(0xfedf_ffff) };
    let replies = [
        (3, Reply::Done),
        (1, Reply::Object(ID)),
        (2, Reply::IovaRanges { ranges: vec![range, range], alignment_bytes: 4096 }),
        (6, Reply::Length(9)),
        (8, Reply::Flag(true)),
        (12, Reply::HwInfo { data_type: 1, capabilities: 8 }),
        (13, Reply::Object(ID)),
        (16, Reply::DeviceInfo { flags: 2, regions: 9, irqs: 5 }),
        (17, Reply::RegionInfo { flags: 7, length_bytes: 1, offset_bytes: 1 << 40 }),
        (18, Reply::IrqInfo { flags: 9, count: 1 }),
        (24, Reply::Fd(Fd(12))),
        (25, Reply::Flag(true)),
        (28, Reply::Length(9)),
        (29, Reply::Fd(Fd(12))),
    ];
    for (row, expected) in replies {
        let call = &every_ioctl()[row];
        let (_, ioctl) = encode(call).expect("an ioctl");
        let answer_of = |outcome| answer(call, outcome);
        let came = outcome(call, &ioctl, &Ok(expected.clone()));
        assert_eq!(answer_of(came), Ok(expected), "{call:?}");
    }
}

#[test]
fn forms_that_are_not_known_are_not_guessed() {
    /// `IOMMU_IOAS_MAP_READABLE`.
    const READABLE: u32 = 4;
    let with = |call: &Call, offset: usize, value: u32| {
        let (fd, ioctl) = encode(call).expect("an ioctl");
        let bytes = Bytes(ioctl.argument.bytes().to_vec()).u32(offset, value).0;
        decode(fd, ioctl.request, &Argument::of(bytes, Vec::new()))
    };
    let calls = every_ioctl();
    assert_eq!(
        with(&calls[3], offset_of!(io::iommu_ioas_map, flags), READABLE),
        None,
        "no fixed IOVA"
    );
    assert_eq!(
        with(&calls[10], offset_of!(io::iommu_hwpt_alloc, flags), 2),
        None,
        "dirty tracking"
    );
    assert_eq!(
        with(&calls[10], offset_of!(io::iommu_hwpt_alloc, data_type), 1),
        None,
        "a driver's data"
    );
    assert_eq!(
        with(&calls[34], offset_of!(io::iommu_hwpt_alloc, flags), 1),
        None,
        "a nested parent"
    );
    assert_eq!(with(&calls[19], offset_of!(vfio::vfio_irq_set, start), 1), None, "vectors from 1");
    assert_eq!(
        with(&calls[13], offset_of!(vfio::vfio_device_bind_iommufd, flags), 1),
        None,
        "a token"
    );
    assert_eq!(with(&calls[26], 4, 7), None, "rights, and a new address");
    assert_eq!(with(&calls[28], 4, 4), None, "not all of them");
    let value = |request, value| decode(IOMMUFD, request, &Argument::Value(value));
    assert_eq!(value(0x3b_ff, 0), None, "unknown request");
    assert_eq!(value(IOMMU_IOAS_MAP, 0), None, "no argument at all");
    assert_eq!(value(VFIO_SET_IOMMU, 1), None, "version 1");
    assert_eq!(value(VFIO_CHECK_EXTENSION, 9), None, "another extension");
}
