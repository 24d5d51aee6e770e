//! The corruptions that a scenario can inject, in the order in which a handoff meets them.

use super::{Corruption, Site};
use crate::scenario::expectation::Expected;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::phase::{InPhase, OutPhase};
use handoff_model::stream::State;
use handoff_model::stream::envelope::{HEADER_BYTES, attest};
use handoff_model::vm::{
    AddressSpace, Backing, Context, Device, Key, Kind, Mapping, Memory, RamBlock,
};

/// An object id that the kernel never allocated.
const NONE: ObjectId = ObjectId(99);

fn space(state: &mut State) -> &mut AddressSpace {
    &mut state.vm.contexts[0].spaces[0]
}

fn mapping(state: &mut State) -> &mut Mapping {
    &mut space(state).mappings[0]
}

fn device(state: &mut State) -> &mut Device {
    &mut state.vm.devices[0]
}

/// Changes a byte of the frame's header and recomputes the checksum.
fn header(frame: &mut [u8], at: usize, byte: u8) {
    frame[at] = byte;
    attest(frame);
}

/// Removes the interrupts of the first device, so that the inventory needs no eventfds for it.
fn disarm(state: &mut State) {
    device(state).interrupts.clear();
}

/// Returns the index of the first interrupt's eventfd in the list of descriptors.
fn eventfd(state: &State) -> usize {
    let place = state.descriptors.iter().position(|(key, _)| key.kind == Kind::Interrupt);
    place.expect("the first device has an interrupt")
}

fn block(name: &str, backing: Backing, length_bytes: u64) -> RamBlock {
    RamBlock { name: name.to_owned(), backing, length_bytes, inode: 0, va: Va(0) }
}

/// A corruption whose expected outcome follows from its site.
const fn at(id: &'static str, sentence: &'static str, site: Site) -> Corruption {
    let expected = match site {
        Site::Inventory(_) | Site::Offer(_) => Expected::RefusedBeforeStop,
        Site::Leftover => Expected::HandedOver,
        _ => Expected::RefusedBeforeChange,
    };
    Corruption { id, sentence, expected, site }
}

/// A corruption by which a call of a phase always fails.
const fn refused(
    id: &'static str,
    sentence: &'static str,
    expected: Expected,
    (place, call, errno): (RolePhase, &'static str, Errno),
) -> Corruption {
    Corruption { id, sentence, expected, site: Site::Refused(place, call, errno) }
}

/// Every corruption.
pub(super) const CORRUPTIONS: &[Corruption] = &[
    at("leftover", "the memfds hold a longer stream and guest of a failed handoff", Site::Leftover),
    at(
        "stop-denied",
        "the guest stops, but the stop reports EIO",
        Site::Denied(RolePhase::Old(OutPhase::Stop), "stop guest", Errno::EIO),
    ),
    refused(
        "no-program",
        "execve of the new program fails with ENOENT",
        Expected::NotHandedOver,
        (RolePhase::Old(OutPhase::Exec), "execve", Errno::ENOENT),
    ),
    refused(
        "no-room",
        "mmap of guest RAM fails with ENOMEM in the new process",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::MapRam), "mmap", Errno::ENOMEM),
    ),
    refused(
        "guest-unreadable",
        "loading the saved guest fails with EINVAL in the new process",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::Load), "load guest", Errno::EINVAL),
    ),
    refused(
        "no-kvm",
        "open of /dev/kvm fails with EACCES in the new process",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::MakeVm), "open", Errno::EACCES),
    ),
    Corruption {
        id: "commit-denied",
        sentence: "the new process receives Commit, but sendmsg reports ENOMEM to the old one",
        expected: Expected::NotHandedOver,
        site: Site::Denied(RolePhase::Old(OutPhase::Commit), "sendmsg", Errno::ENOMEM),
    },
    refused(
        "limit-lost",
        "CHANGE_PROCESS fails with ENOMEM, although the new process has checked its limit",
        Expected::NotHandedOver,
        (RolePhase::New(InPhase::ChangeOwner), "IOMMU_IOAS_CHANGE_PROCESS", Errno::ENOMEM),
    ),
    refused(
        "fate-unheard",
        "Committed cannot be sent, and recvmsg from the old process fails with ENOMEM",
        Expected::HandedOver,
        (RolePhase::New(InPhase::ResolveInDoubt), "recvmsg", Errno::ENOMEM),
    ),
    refused(
        "abort-unsaid",
        "sendmsg of the abort fails with EAGAIN: the new process does not read any more",
        Expected::HandedOver,
        (RolePhase::Old(OutPhase::TerminatePeer), "sendmsg", Errno::EAGAIN),
    ),
    at(
        "not-open",
        "the old process does not hold the eventfds of its inventory",
        Site::Inventory(|_, descriptors| {
            let held = descriptors.iter().filter(|(key, _)| key.kind != Kind::Interrupt);
            *descriptors = held.map(|(key, fd)| (key.clone(), fd)).collect();
        }),
    ),
    at(
        "bar-mapped",
        "the inventory lists the first mapping as a mapping of a BAR",
        Site::Inventory(|vm, _| {
            vm.contexts[0].spaces[0].mappings[0].memory = Memory::Bar { device: 0, region: 0 };
        }),
    ),
    at(
        "anonymous-block",
        "the inventory has a block of anonymous RAM that no device reaches",
        Site::Inventory(|vm, _| vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES))),
    ),
    at(
        "form-other",
        "the offer inverts whether the snapshot is taken before or after the stop",
        Site::Offer(|offer| offer.early = !offer.early),
    ),
    at(
        "written-short",
        "the write of the stream reports one byte less than the stream has",
        Site::Written(|length| *length -= 1),
    ),
    at(
        "descriptors-lost",
        "the new process receives one descriptor less and MSG_CTRUNC",
        Site::Descriptors(|packet| packet.truncated = packet.fds.pop().is_some()),
    ),
    at(
        "descriptors-absent",
        "a Descriptors message arrives without descriptors",
        Site::Descriptors(|packet| packet.fds.clear()),
    ),
    at(
        "descriptors-late",
        "the first Descriptors message claims to begin at the second descriptor",
        Site::Descriptors(|packet| (packet.first, packet.total) = (1, packet.total + 1)),
    ),
    at(
        "descriptors-many",
        "more descriptors arrive than the message announces",
        Site::Descriptors(|packet| packet.total -= 1),
    ),
    at(
        "list-short",
        "the stream lists one descriptor less than arrives",
        Site::State(|state| {
            state.descriptors.remove(eventfd(state));
            disarm(state);
        }),
    ),
    at("frame-cut", "the frame ends within its header", Site::Frame(|frame| frame.truncate(16))),
    at("frame-magic", "the magic of the frame is wrong", Site::Frame(|frame| header(frame, 0, 0))),
    at(
        "frame-version",
        "the version of the frame is newer than this program",
        Site::Frame(|frame| header(frame, 8, 2)),
    ),
    at("frame-kind", "the kind of the record is wrong", Site::Frame(|frame| header(frame, 10, 1))),
    at(
        "frame-feature",
        "the frame requires a feature that this program does not know",
        Site::Frame(|frame| header(frame, 12, 1)),
    ),
    at(
        "frame-short",
        "the length field exceeds the frame",
        Site::Frame(|frame| {
            let longer = (frame.len() - HEADER_BYTES + 1).to_le_bytes();
            frame[24..32].copy_from_slice(&longer);
            attest(frame);
        }),
    ),
    at(
        "frame-trailing",
        "a byte follows the record of the frame",
        Site::Frame(|frame| {
            frame.push(b' ');
            attest(frame);
        }),
    ),
    at("frame-damaged", "the checksum of the frame is wrong", Site::Frame(|frame| frame[20] ^= 1)),
    at(
        "listed-twice",
        "the descriptor list has its first entry twice, in place of an eventfd",
        Site::State(|state| {
            let at = eventfd(state);
            state.descriptors[at] = state.descriptors[0].clone();
            disarm(state);
        }),
    ),
    at(
        "named-twice",
        "two RAM blocks have the same name",
        Site::State(|state| state.vm.ram.push(state.vm.ram[0].clone())),
    ),
    at(
        "descriptor-missing",
        "the inventory has a file-backed RAM block whose descriptor is not listed",
        Site::State(|state| state.vm.ram.push(block("ghost", Backing::File, PAGE_BYTES))),
    ),
    at("descriptor-unclaimed", "an eventfd is listed without an interrupt", Site::State(disarm)),
    at(
        "ram-odd",
        "the length of a RAM block is not a multiple of the page size",
        Site::State(|state| state.vm.ram.push(block("ghost", Backing::Anonymous, 1))),
    ),
    at(
        "space-unknown",
        "the IOAS of a device is not in the inventory",
        Site::State(|state| device(state).ioas = NONE),
    ),
    at(
        "mapping-odd",
        "the length of a mapping is not a multiple of the page size",
        Site::State(|state| mapping(state).length_bytes -= 1),
    ),
    at(
        "memory-unknown",
        "the RAM block of a mapping is not in the inventory",
        Site::State(|state| mapping(state).memory = Memory::RamFile { block: 9, offset_bytes: 0 }),
    ),
    at(
        "memory-odd",
        "the offset of a mapping in its RAM block is not a multiple of the page size",
        Site::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, 2 * PAGE_BYTES));
            mapping(state).memory = Memory::RamAddress { block: 1, offset_bytes: 1 };
        }),
    ),
    at(
        "memory-beyond",
        "a mapping begins at the end of its RAM block",
        Site::State(|state| {
            mapping(state).memory = Memory::RamAddress { block: 0, offset_bytes: PAGE_BYTES };
        }),
    ),
    at(
        "memory-anonymous",
        "a mapping by file names a RAM block without a file",
        Site::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES));
            mapping(state).memory = Memory::RamFile { block: 1, offset_bytes: 0 };
        }),
    ),
    at(
        "bar-unknown",
        "a mapping names a BAR of a device that is not in the inventory",
        Site::State(|state| mapping(state).memory = Memory::Bar { device: 9, region: 0 }),
    ),
    at(
        "mapping-twice",
        "two mappings have the same IOVA",
        Site::State(|state| {
            let again = mapping(state).clone();
            space(state).mappings.push(again);
        }),
    ),
    at(
        "iommufd-other",
        "the inventory has a second iommufd, whose descriptor is an eventfd",
        Site::State(|state| {
            let at = eventfd(state);
            state.descriptors[at].0 = Key::new(Kind::Iommufd, "ghost", 0);
            state.vm.contexts.push(Context { name: "ghost".to_owned(), spaces: Vec::new() });
            disarm(state);
        }),
    ),
    at(
        "space-absent",
        "the inventory has an IOAS whose id the kernel does not know",
        Site::State(|state| {
            let ghost = AddressSpace { ioas: NONE, mappings: Vec::new() };
            state.vm.contexts[0].spaces.push(ghost);
        }),
    ),
    at(
        "mapping-elsewhere",
        "the IOVA of a mapping is wrong",
        Site::State(|state| mapping(state).iova = Iova(0x40_0000)),
    ),
    at(
        "mapping-longer",
        "a RAM block and its mapping are listed one page too long",
        Site::State(|state| {
            state.vm.ram[0].length_bytes += PAGE_BYTES;
            mapping(state).length_bytes += PAGE_BYTES;
        }),
    ),
    at(
        "ram-other",
        "the inode of a RAM file is wrong",
        Site::State(|state| state.vm.ram[0].inode += 1),
    ),
    at(
        "ram-longer",
        "the length of a RAM file is one page too long",
        Site::State(|state| state.vm.ram[0].length_bytes += PAGE_BYTES),
    ),
    at(
        "device-other",
        "the inode of a device file is wrong",
        Site::State(|state| device(state).inode += 1),
    ),
    at(
        "flags-other",
        "a flag of a device is wrong",
        Site::State(|state| device(state).info.0 ^= 1),
    ),
    at(
        "regions-other",
        "a device has one region too many",
        Site::State(|state| device(state).info.1 += 1),
    ),
    at(
        "irqs-other",
        "a device has one interrupt index too many",
        Site::State(|state| device(state).info.2 += 1),
    ),
    at(
        "device-unbound",
        "the id of a device is wrong",
        Site::State(|state| device(state).id = NONE),
    ),
    at(
        "hwpt-absent",
        "the HWPT id of a device does not exist",
        Site::State(|state| device(state).hwpt = Some(NONE)),
    ),
    at(
        "hwpt-plain",
        "the HWPT of a device is marked as a nesting parent, which it is not",
        Site::State(|state| device(state).nest_parent = true),
    ),
    at(
        "number-closed",
        "a descriptor is listed under a number that is not open",
        Site::State(|state| {
            let at = eventfd(state);
            state.descriptors[at].1 = Fd(99);
        }),
    ),
    at(
        "vector-absent",
        "the armed vectors belong to an interrupt index that has none",
        Site::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/2", device(state).name);
            device(state).interrupts[0].index = 2;
            state.descriptors[at].0.name = name;
        }),
    ),
    at(
        "index-absent",
        "the armed vectors belong to an interrupt index that the device does not have",
        Site::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/9", device(state).name);
            device(state).interrupts[0].index = 9;
            state.descriptors[at].0.name = name;
        }),
    ),
];
