//! Everything that a scenario can say to be so and is not.

use super::{Lie, Wrong};
use crate::scenario::expectation::Due;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::protocol::phase::Place;
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
const fn wrong(id: &'static str, sentence: &'static str, lie: Lie) -> Wrong {
    let due = match lie {
        Lie::Inventory(_) | Lie::Offer(_) => Due::RefusedBeforeStop,
        Lie::Leftover => Due::Done,
        _ => Due::RefusedBeforeChange,
    };
    Wrong { id, sentence, due, lie }
}

const fn refused(
    id: &'static str,
    sentence: &'static str,
    due: Due,
    (place, call, errno): (Place, &'static str, Errno),
) -> Wrong {
    Wrong { id, sentence, due, lie: Lie::Refused(place, call, errno) }
}

/// All of them.
pub(super) const WRONGS: &[Wrong] = &[
    wrong("leftover", "an earlier handoff has left a longer stream and saved guest", Lie::Leftover),
    wrong(
        "stop-denied",
        "the guest stops, and is said not to have",
        Lie::Denied(Place::Old(OutPhase::Stop), "stop guest", Errno::EIO),
    ),
    refused(
        "no-program",
        "the new program cannot be executed",
        Due::NotDone,
        (Place::Old(OutPhase::Exec), "execve", Errno::ENOENT),
    ),
    refused(
        "no-room",
        "the new process has no room to map RAM",
        Due::RefusedBeforeChange,
        (Place::New(InPhase::MapRam), "mmap", Errno::ENOMEM),
    ),
    refused(
        "guest-unreadable",
        "the new process cannot read the saved guest",
        Due::RefusedBeforeChange,
        (Place::New(InPhase::Load), "load guest", Errno::EINVAL),
    ),
    refused(
        "no-kvm",
        "the new process may not open /dev/kvm",
        Due::RefusedBeforeChange,
        (Place::New(InPhase::MakeVm), "open", Errno::EACCES),
    ),
    Wrong {
        id: "commit-denied",
        sentence: "the new process is allowed to change things, and the old one is told that it \
                   could not be",
        due: Due::NotDone,
        lie: Lie::Denied(Place::Old(OutPhase::Commit), "sendmsg", Errno::ENOMEM),
    },
    refused(
        "limit-lost",
        "somebody else has used up what the new process may lock since it looked",
        Due::NotDone,
        (Place::New(InPhase::TakeOver), "IOMMU_IOAS_CHANGE_PROCESS", Errno::ENOMEM),
    ),
    refused(
        "fate-unheard",
        "a new process whose commit could not be told cannot hear from the old one",
        Due::Done,
        (Place::New(InPhase::AwaitFate), "recvmsg", Errno::ENOMEM),
    ),
    refused(
        "abort-unsaid",
        "the new process reads nothing more, and its socket is full, when it shall be told that \
         it is off",
        Due::Done,
        (Place::Old(OutPhase::Dismiss), "sendmsg", Errno::EAGAIN),
    ),
    wrong(
        "not-open",
        "the old process does not hold a descriptor of its inventory",
        Lie::Inventory(|_, descriptors| {
            let held = descriptors.iter().filter(|(key, _)| key.kind != Kind::Interrupt);
            *descriptors = held.map(|(key, fd)| (key.clone(), fd)).collect();
        }),
    ),
    wrong(
        "bar-mapped",
        "what the first mapping maps is a BAR",
        Lie::Inventory(|vm, _| {
            vm.contexts[0].spaces[0].mappings[0].memory = Memory::Bar { device: 0, region: 0 };
        }),
    ),
    wrong(
        "anonymous-block",
        "there is a block of anonymous RAM that no device sees",
        Lie::Inventory(|vm, _| vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES))),
    ),
    wrong(
        "form-other",
        "the old process says that it cuts the state when the other form does",
        Lie::Offer(|offer| offer.early = !offer.early),
    ),
    wrong(
        "written-short",
        "less of the stream was written than it is long",
        Lie::Written(|length| *length -= 1),
    ),
    wrong(
        "descriptors-lost",
        "a descriptor finds no room in the new process",
        Lie::Descriptors(|packet| packet.truncated = packet.fds.pop().is_some()),
    ),
    wrong(
        "descriptors-absent",
        "a message that should bring descriptors brings none",
        Lie::Descriptors(|packet| packet.fds.clear()),
    ),
    wrong(
        "descriptors-late",
        "the first descriptors that arrive are not the first that were sent",
        Lie::Descriptors(|packet| (packet.first, packet.total) = (1, packet.total + 1)),
    ),
    wrong(
        "descriptors-many",
        "more descriptors arrive than are announced",
        Lie::Descriptors(|packet| packet.total -= 1),
    ),
    wrong(
        "list-short",
        "one descriptor less is listed than arrives",
        Lie::State(|state| {
            state.descriptors.remove(eventfd(state));
            disarm(state);
        }),
    ),
    wrong("frame-cut", "the stream ends in its header", Lie::Frame(|frame| frame.truncate(16))),
    wrong(
        "frame-magic",
        "the stream is another program's",
        Lie::Frame(|frame| header(frame, 0, 0)),
    ),
    wrong(
        "frame-version",
        "the stream is of a later version",
        Lie::Frame(|frame| header(frame, 8, 2)),
    ),
    wrong(
        "frame-kind",
        "the stream has a record of another kind",
        Lie::Frame(|frame| header(frame, 10, 1)),
    ),
    wrong(
        "frame-feature",
        "the stream needs a feature that is not known",
        Lie::Frame(|frame| header(frame, 12, 1)),
    ),
    wrong(
        "frame-short",
        "the stream says to be longer than it is",
        Lie::Frame(|frame| {
            let longer = (frame.len() - HEADER_BYTES + 1).to_le_bytes();
            frame[24..32].copy_from_slice(&longer);
            attest(frame);
        }),
    ),
    wrong(
        "frame-trailing",
        "something follows the stream",
        Lie::Frame(|frame| {
            frame.push(b' ');
            attest(frame);
        }),
    ),
    wrong(
        "frame-damaged",
        "the stream is not as it was written",
        Lie::Frame(|frame| frame[20] ^= 1),
    ),
    wrong(
        "listed-twice",
        "a descriptor is listed twice, and one that is needed not at all",
        Lie::State(|state| {
            let at = eventfd(state);
            state.descriptors[at] = state.descriptors[0].clone();
            disarm(state);
        }),
    ),
    wrong(
        "named-twice",
        "two blocks of RAM have one name",
        Lie::State(|state| state.vm.ram.push(state.vm.ram[0].clone())),
    ),
    wrong(
        "descriptor-missing",
        "there is a block of RAM whose file is not listed",
        Lie::State(|state| state.vm.ram.push(block("ghost", Backing::File, PAGE_BYTES))),
    ),
    wrong("descriptor-unclaimed", "the first device has no interrupt armed", Lie::State(disarm)),
    wrong(
        "ram-odd",
        "there is a block of RAM that is no whole page",
        Lie::State(|state| state.vm.ram.push(block("ghost", Backing::Anonymous, 1))),
    ),
    wrong(
        "space-unknown",
        "a device is attached to an address space that the inventory does not have",
        Lie::State(|state| device(state).ioas = NONE),
    ),
    wrong(
        "mapping-odd",
        "a mapping is no whole page",
        Lie::State(|state| mapping(state).length_bytes -= 1),
    ),
    wrong(
        "memory-unknown",
        "a mapping maps a block of RAM that the inventory does not have",
        Lie::State(|state| mapping(state).memory = Memory::RamFile { block: 9, offset_bytes: 0 }),
    ),
    wrong(
        "memory-odd",
        "what a mapping maps begins within a page",
        Lie::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, 2 * PAGE_BYTES));
            mapping(state).memory = Memory::RamAddress { block: 1, offset_bytes: 1 };
        }),
    ),
    wrong(
        "memory-beyond",
        "what a mapping maps is beyond the end of a block of RAM",
        Lie::State(|state| {
            mapping(state).memory = Memory::RamAddress { block: 0, offset_bytes: PAGE_BYTES };
        }),
    ),
    wrong(
        "memory-anonymous",
        "what a mapping maps by file has none",
        Lie::State(|state| {
            state.vm.ram.push(block("ghost", Backing::Anonymous, PAGE_BYTES));
            mapping(state).memory = Memory::RamFile { block: 1, offset_bytes: 0 };
        }),
    ),
    wrong(
        "bar-unknown",
        "what a mapping maps is a BAR of a device that the inventory does not have",
        Lie::State(|state| mapping(state).memory = Memory::Bar { device: 9, region: 0 }),
    ),
    wrong(
        "mapping-twice",
        "there are two mappings at one address",
        Lie::State(|state| {
            let again = mapping(state).clone();
            space(state).mappings.push(again);
        }),
    ),
    wrong(
        "iommufd-other",
        "there is an iommufd more, and its descriptor is an eventfd",
        Lie::State(|state| {
            let at = eventfd(state);
            state.descriptors[at].0 = Key::new(Kind::Iommufd, "ghost", 0);
            state.vm.contexts.push(Context { name: "ghost".to_owned(), spaces: Vec::new() });
            disarm(state);
        }),
    ),
    wrong(
        "space-absent",
        "there is an address space more than the kernel has",
        Lie::State(|state| {
            let ghost = AddressSpace { ioas: NONE, mappings: Vec::new() };
            state.vm.contexts[0].spaces.push(ghost);
        }),
    ),
    wrong(
        "mapping-elsewhere",
        "a mapping is at another address",
        Lie::State(|state| mapping(state).iova = Iova(0x40_0000)),
    ),
    wrong(
        "mapping-longer",
        "a block of RAM and its mapping are a page longer",
        Lie::State(|state| {
            state.vm.ram[0].length_bytes += PAGE_BYTES;
            mapping(state).length_bytes += PAGE_BYTES;
        }),
    ),
    wrong("ram-other", "a RAM file is another", Lie::State(|state| state.vm.ram[0].inode += 1)),
    wrong(
        "ram-longer",
        "a RAM file is a page longer",
        Lie::State(|state| state.vm.ram[0].length_bytes += PAGE_BYTES),
    ),
    wrong("device-other", "a device file is another", Lie::State(|state| device(state).inode += 1)),
    wrong(
        "flags-other",
        "a device has another flag",
        Lie::State(|state| device(state).info.0 ^= 1),
    ),
    wrong(
        "regions-other",
        "a device has a region more",
        Lie::State(|state| device(state).info.1 += 1),
    ),
    wrong(
        "irqs-other",
        "a device has an interrupt index more",
        Lie::State(|state| device(state).info.2 += 1),
    ),
    wrong("device-unbound", "a device has another id", Lie::State(|state| device(state).id = NONE)),
    wrong(
        "hwpt-absent",
        "a device has another HWPT",
        Lie::State(|state| device(state).hwpt = Some(NONE)),
    ),
    wrong(
        "hwpt-plain",
        "the HWPT of a device is said to be a nesting parent",
        Lie::State(|state| device(state).nest_parent = true),
    ),
    wrong(
        "number-closed",
        "a descriptor is listed under a number that is not open",
        Lie::State(|state| {
            let at = eventfd(state);
            state.descriptors[at].1 = Fd(99);
        }),
    ),
    wrong(
        "vector-absent",
        "the armed vectors are of an index that has none",
        Lie::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/2", device(state).name);
            device(state).interrupts[0].index = 2;
            state.descriptors[at].0.name = name;
        }),
    ),
    wrong(
        "index-absent",
        "the armed vectors are of an index that the device does not have",
        Lie::State(|state| {
            let at = eventfd(state);
            let name = format!("{}/9", device(state).name);
            device(state).interrupts[0].index = 9;
            state.descriptors[at].0.name = name;
        }),
    ),
];
