//! Everything that a scenario can say to be so and is not.

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

/// An id that no kernel object has.
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

/// A byte of the header that is another, in a frame that is whole all the same.
fn header(frame: &mut [u8], at: usize, byte: u8) {
    frame[at] = byte;
    attest(frame);
}

/// The inventory needs one descriptor less: the eventfds of the first device.
fn disarm(state: &mut State) {
    device(state).interrupts.clear();
}

fn eventfd(state: &State) -> usize {
    let place = state.descriptors.iter().position(|(key, _)| key.kind == Kind::Interrupt);
    place.expect("the first device has an interrupt")
}

fn block(name: &str, backing: Backing, length_bytes: u64) -> RamBlock {
    RamBlock { name: name.to_owned(), backing, length_bytes, inode: 0, va: Va(0) }
}

/// What is due where something is wrong of which nothing more is said.
const fn at(id: &'static str, sentence: &'static str, site: Site) -> Corruption {
    let expected = match site {
        Site::Inventory(_) | Site::Offer(_) => Expected::RefusedBeforeStop,
        Site::Leftover => Expected::HandedOver,
        _ => Expected::RefusedBeforeChange,
    };
    Corruption { id, sentence, expected, site }
}

const fn refused(
    id: &'static str,
    sentence: &'static str,
    expected: Expected,
    (place, call, errno): (RolePhase, &'static str, Errno),
) -> Corruption {
    Corruption { id, sentence, expected, site: Site::Refused(place, call, errno) }
}

/// All of them.
pub(super) const CORRUPTIONS: &[Corruption] = &[
    at("leftover", "an earlier handoff has left a longer stream and saved guest", Site::Leftover),
    at(
        "stop-denied",
        "the guest stops, and is said not to have",
        Site::Denied(RolePhase::Old(OutPhase::Stop), "stop guest", Errno::EIO),
    ),
    refused(
        "no-program",
        "the new program cannot be executed",
        Expected::NotHandedOver,
        (RolePhase::Old(OutPhase::Exec), "execve", Errno::ENOENT),
    ),
    refused(
        "no-room",
        "the new process has no room to map RAM",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::MapRam), "mmap", Errno::ENOMEM),
    ),
    refused(
        "guest-unreadable",
        "the new process cannot read the saved guest",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::Load), "load guest", Errno::EINVAL),
    ),
    refused(
        "no-kvm",
        "the new process may not open /dev/kvm",
        Expected::RefusedBeforeChange,
        (RolePhase::New(InPhase::MakeVm), "open", Errno::EACCES),
    ),
    Corruption {
        id: "commit-denied",
        sentence: "the new process is allowed to change things, and the old one is told that it \
                   could not be",
        expected: Expected::NotHandedOver,
        site: Site::Denied(RolePhase::Old(OutPhase::Commit), "sendmsg", Errno::ENOMEM),
    },
    refused(
        "limit-lost",
        "somebody else has used up what the new process may lock since it looked",
        Expected::NotHandedOver,
        (RolePhase::New(InPhase::ChangeOwner), "IOMMU_IOAS_CHANGE_PROCESS", Errno::ENOMEM),
    ),
    refused(
        "fate-unheard",
        "a new process whose commit could not be told cannot hear from the old one",
        Expected::HandedOver,
        (RolePhase::New(InPhase::ResolveInDoubt), "recvmsg", Errno::ENOMEM),
    ),
    refused(
        "abort-unsaid",
        "the new process reads nothing more, and its socket is full, when it shall be told that \
         it is off",
        Expected::HandedOver,
        (RolePhase::Old(OutPhase::TerminatePeer), "sendmsg", Errno::EAGAIN),
    ),
    at(
        "not-open",
        "the old process does not hold a descriptor of its inventory",
        Site::Inventory(|_, descriptors| {
            let held = descriptors.iter().filter(|(key, _)| key.kind != Kind::Interrupt);
            *descriptors = held.map(|(key, fd)| (key.clone(), fd)).collect();
        }),
    ),
    at(
        "bar-mapped",
        "what the first mapping maps is a BAR",
        Site::Inventory(|vm, _| {
            vm.contexts[0].spaces[0].mappings[0].memory = Memory::Bar { device: 0, region: 0 };
        }),
    ),
    at(
        "anonymous-block",
        "there is a block of anonymous RAM that no device sees",
        Site::Inventory(|vm, _| vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES))),
    ),
    at(
        "form-other",
        "the old process says that it cuts the state when the other form does",
        Site::Offer(|offer| offer.early = !offer.early),
    ),
    at(
        "written-short",
        "less of the stream was written than it is long",
        Site::Written(|length| *length -= 1),
    ),
    at(
        "descriptors-lost",
        "a descriptor finds no room in the new process",
        Site::Descriptors(|packet| packet.truncated = packet.fds.pop().is_some()),
    ),
    at(
        "descriptors-absent",
        "a message that should bring descriptors brings none",
        Site::Descriptors(|packet| packet.fds.clear()),
    ),
    at(
        "descriptors-late",
        "the first descriptors that arrive are not the first that were sent",
        Site::Descriptors(|packet| (packet.first, packet.total) = (1, packet.total + 1)),
    ),
    at(
        "descriptors-many",
        "more descriptors arrive than are announced",
        Site::Descriptors(|packet| packet.total -= 1),
    ),
    at(
        "list-short",
        "one descriptor less is listed than arrives",
        Site::State(|state| {
            state.descriptors.remove(eventfd(state));
            disarm(state);
        }),
    ),
    at("frame-cut", "the stream ends in its header", Site::Frame(|frame| frame.truncate(16))),
    at("frame-magic", "the stream is another program's", Site::Frame(|frame| header(frame, 0, 0))),
    at(
        "frame-version",
        "the stream is of a later version",
        Site::Frame(|frame| header(frame, 8, 2)),
    ),
    at(
        "frame-kind",
        "the stream has a record of another kind",
        Site::Frame(|frame| header(frame, 10, 1)),
    ),
    at(
        "frame-feature",
        "the stream needs a feature that is not known",
        Site::Frame(|frame| header(frame, 12, 1)),
    ),
    at(
        "frame-short",
        "the stream says to be longer than it is",
        Site::Frame(|frame| {
            let longer = (frame.len() - HEADER_BYTES + 1).to_le_bytes();
            frame[24..32].copy_from_slice(&longer);
            attest(frame);
        }),
    ),
    at(
        "frame-trailing",
        "something follows the stream",
        Site::Frame(|frame| {
            frame.push(b' ');
            attest(frame);
        }),
    ),
    at("frame-damaged", "the stream is not as it was written", Site::Frame(|frame| frame[20] ^= 1)),
    at(
        "listed-twice",
        "a descriptor is listed twice, and one that is needed not at all",
        Site::State(|state| {
            let at = eventfd(state);
            state.descriptors[at] = state.descriptors[0].clone();
            disarm(state);
        }),
    ),
    at(
        "named-twice",
        "two blocks of RAM have one name",
        Site::State(|state| state.vm.ram.push(state.vm.ram[0].clone())),
    ),
    at(
        "descriptor-missing",
        "there is a block of RAM whose file is not listed",
        Site::State(|state| state.vm.ram.push(block("ghost", Backing::File, PAGE_BYTES))),
    ),
    at("descriptor-unclaimed", "the first device has no interrupt armed", Site::State(disarm)),
    at(
        "ram-odd",
        "there is a block of RAM that is no whole page",
        Site::State(|state| state.vm.ram.push(block("ghost", Backing::Anonymous, 1))),
    ),
    at(
        "space-unknown",
        "a device is attached to an address space that the inventory does not have",
        Site::State(|state| device(state).ioas = NONE),
    ),
    at(
        "mapping-odd",
        "a mapping is no whole page",
        Site::State(|state| mapping(state).length_bytes -= 1),
    ),
    at(
        "memory-unknown",
        "a mapping maps a block of RAM that the inventory does not have",
        Site::State(|state| mapping(state).memory = Memory::RamFile { block: 9, offset_bytes: 0 }),
    ),
    at(
        "memory-odd",
        "what a mapping maps begins within a page",
        Site::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, 2 * PAGE_BYTES));
            mapping(state).memory = Memory::RamAddress { block: 1, offset_bytes: 1 };
        }),
    ),
    at(
        "memory-beyond",
        "what a mapping maps is beyond the end of a block of RAM",
        Site::State(|state| {
            mapping(state).memory = Memory::RamAddress { block: 0, offset_bytes: PAGE_BYTES };
        }),
    ),
    at(
        "memory-anonymous",
        "what a mapping maps by file has none",
        Site::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES));
            mapping(state).memory = Memory::RamFile { block: 1, offset_bytes: 0 };
        }),
    ),
    at(
        "bar-unknown",
        "what a mapping maps is a BAR of a device that the inventory does not have",
        Site::State(|state| mapping(state).memory = Memory::Bar { device: 9, region: 0 }),
    ),
    at(
        "mapping-twice",
        "there are two mappings at one address",
        Site::State(|state| {
            let again = mapping(state).clone();
            space(state).mappings.push(again);
        }),
    ),
    at(
        "iommufd-other",
        "there is an iommufd more, and its descriptor is an eventfd",
        Site::State(|state| {
            let at = eventfd(state);
            state.descriptors[at].0 = Key::new(Kind::Iommufd, "ghost", 0);
            state.vm.contexts.push(Context { name: "ghost".to_owned(), spaces: Vec::new() });
            disarm(state);
        }),
    ),
    at(
        "space-absent",
        "there is an address space more than the kernel has",
        Site::State(|state| {
            let ghost = AddressSpace { ioas: NONE, mappings: Vec::new() };
            state.vm.contexts[0].spaces.push(ghost);
        }),
    ),
    at(
        "mapping-elsewhere",
        "a mapping is at another address",
        Site::State(|state| mapping(state).iova = Iova(0x40_0000)),
    ),
    at(
        "mapping-longer",
        "a block of RAM and its mapping are a page longer",
        Site::State(|state| {
            state.vm.ram[0].length_bytes += PAGE_BYTES;
            mapping(state).length_bytes += PAGE_BYTES;
        }),
    ),
    at("ram-other", "a RAM file is another", Site::State(|state| state.vm.ram[0].inode += 1)),
    at(
        "ram-longer",
        "a RAM file is a page longer",
        Site::State(|state| state.vm.ram[0].length_bytes += PAGE_BYTES),
    ),
    at("device-other", "a device file is another", Site::State(|state| device(state).inode += 1)),
    at("flags-other", "a device has another flag", Site::State(|state| device(state).info.0 ^= 1)),
    at(
        "regions-other",
        "a device has a region more",
        Site::State(|state| device(state).info.1 += 1),
    ),
    at(
        "irqs-other",
        "a device has an interrupt index more",
        Site::State(|state| device(state).info.2 += 1),
    ),
    at("device-unbound", "a device has another id", Site::State(|state| device(state).id = NONE)),
    at(
        "hwpt-absent",
        "a device has another HWPT",
        Site::State(|state| device(state).hwpt = Some(NONE)),
    ),
    at(
        "hwpt-plain",
        "the HWPT of a device is said to be a nesting parent",
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
        "the armed vectors are of an index that has none",
        Site::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/2", device(state).name);
            device(state).interrupts[0].index = 2;
            state.descriptors[at].0.name = name;
        }),
    ),
    at(
        "index-absent",
        "the armed vectors are of an index that the device does not have",
        Site::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/9", device(state).name);
            device(state).interrupts[0].index = 9;
            state.descriptors[at].0.name = name;
        }),
    ),
];
