//! Every violated precondition of an inventory is reported, and no other.

use handoff_model::abi::call::Rights;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Va};
use handoff_model::vm::blocker::{Blocker, BlockerKind, of_inventory};
use handoff_model::vm::{
    AddressSpace, Backing, ChargedTo, Context, Descriptors, Device, DeviceKind, Dma, Key, Kind,
    Mapping, Memory, RamBlock, Vm,
};

/// A virtual machine without blockers, and its descriptors.
fn good() -> (Vm, Descriptors) {
    let mapping = Mapping {
        iova: Iova(0x10_0000),
        length_bytes: 0x1000,
        memory: Memory::RamFile { block: 0, offset_bytes: 0 },
        rights: Rights::ReadWrite,
        charged_to: ChargedTo::User,
    };
    let ram = RamBlock {
        name: "ram0".to_owned(),
        backing: Backing::File,
        length_bytes: 0x1000,
        inode: 1,
        va: Va(0x7000_0000),
    };
    let device = Device {
        name: "nic0".to_owned(),
        kind: DeviceKind::Pci,
        context: 0,
        id: ObjectId(2),
        ioas: ObjectId(1),
        hwpt: Some(ObjectId(3)),
        nest_parent: false,
        inode: 2,
        info: (2, 9, 5),
        interrupts: Vec::new(),
    };
    let spaces = vec![AddressSpace { ioas: ObjectId(1), mappings: vec![mapping] }];
    let vm = Vm {
        irqfds: false,
        name: "vm".to_owned(),
        ram: vec![ram],
        dma: Dma::Iommufd,
        contexts: vec![Context { name: "iommufd0".to_owned(), spaces }],
        devices: vec![device],
    };
    let descriptors = vm.keys().into_iter().zip((3..).map(Fd)).collect();
    (vm, descriptors)
}

#[track_caller]
fn check(change: impl FnOnce(&mut Vm), expected: &[BlockerKind]) {
    let (mut vm, descriptors) = good();
    change(&mut vm);
    let found: Vec<_> = of_inventory(&vm, &descriptors).iter().map(Blocker::kind).collect();
    assert_eq!(found, expected);
}

#[test]
fn each_kind_of_blocker_is_found() {
    fn mapping(vm: &mut Vm) -> &mut Mapping {
        &mut vm.contexts[0].spaces[0].mappings[0]
    }
    check(|_| {}, &[]);
    check(|vm| vm.ram[0].backing = Backing::Anonymous, &[BlockerKind::AnonymousRam]);
    check(
        |vm| mapping(vm).memory = Memory::RamAddress { block: 0, offset_bytes: 0 },
        &[BlockerKind::MappedByAddress],
    );
    check(
        |vm| mapping(vm).memory = Memory::Bar { device: 0, region: 2 },
        &[BlockerKind::BarMapped],
    );
    check(|vm| mapping(vm).charged_to = ChargedTo::Process, &[BlockerKind::ChargedToProcess]);
    check(|vm| mapping(vm).charged_to = ChargedTo::None, &[BlockerKind::Uncharged]);
    check(|vm| mapping(vm).charged_to = ChargedTo::Original, &[]);
    let mdev = |needs_kvm| move |vm: &mut Vm| vm.devices[0].kind = DeviceKind::Mdev { needs_kvm };
    check(mdev(true), &[BlockerKind::MdevTiedToKvm]);
    check(mdev(false), &[]);
    check(|vm| vm.devices[0].name = "nic1".to_owned(), &[BlockerKind::NotOpen]);
    // A container and a group are required. Mappings by address, charged to a process, are normal
    // for a container.
    let by_container = |vm: &mut Vm| {
        vm.dma = Dma::Type1;
        mapping(vm).memory = Memory::RamAddress { block: 0, offset_bytes: 0 };
        mapping(vm).charged_to = ChargedTo::Process;
    };
    check(by_container, &[BlockerKind::NotOpen, BlockerKind::NotOpen]);
}

#[test]
fn a_blocker_names_the_object_and_the_remedy() {
    let (mut vm, descriptors) = good();
    vm.contexts[0].spaces[0].mappings[0].memory = Memory::Bar { device: 0, region: 2 };
    vm.contexts.push(Context { name: "second".to_owned(), spaces: Vec::new() });
    let messages: Vec<_> =
        of_inventory(&vm, &descriptors).iter().map(ToString::to_string).collect();
    let (bar, closed) = (&messages[0], &messages[1]);
    assert!(bar.contains("region 2 of device \"nic0\"") && bar.contains("unmap it"));
    assert!(closed.contains(&Key::new(Kind::Iommufd, "second", 0).to_string()), "{closed}");
}
