//! The mutants of a variant: every step that its protocol could omit.
//!
//! The scripts of both roles determine which calls a phase makes, and they need an inventory. A
//! specimen VM with one object of each kind is given here as data, so that resolving the name of a
//! mutant does not have to start a simulated machine.

use super::faults::errnos;
use handoff_model::abi::call::{Call, Rights};
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Va};
use handoff_model::protocol::phase::RolePhase;
use handoff_model::protocol::{Mode, Protocol};
use handoff_model::role::incoming::{Incoming, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingTransport};
use handoff_model::variants::mutants::Mutation;
use handoff_model::variants::mutants::mutants;
use handoff_model::variants::{VARIANTS, Variant};
use handoff_model::vm::{
    AddressSpace, Backing, ChargedTo, Context, Descriptors, Device, DeviceKind, Dma, Interrupts,
    Key, Kind, Mapping, Memory, RamBlock, Vm,
};

/// Returns the variants that a VMM should use.
pub fn ours() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter().filter(|variant| variant.is_ours)
}

/// Returns every mutant of a variant, in a fixed order.
pub fn of_variant(variant: &Variant) -> Vec<Mutation> {
    let protocol = Protocol::of(variant);
    mutants(&protocol, &calls(&protocol), |call| !errnos(call).is_empty())
}

/// Former words in names of mutants, which scenarios may still use, each with its present word.
const FORMER_WORDS: &[(&str, &str)] = &[
    ("Part", "Disconnect"),
    ("Cut", "Snapshot"),
    ("Hand", "SendFds"),
    ("Dismiss", "TerminatePeer"),
    ("TakeBack", "ReclaimOwnership"),
    ("AwaitFate", "ResolveInDoubt"),
    ("Settle", "Cleanup"),
    ("Claim", "AssignIrqfds"),
    ("TakeOver", "ChangeOwner"),
    ("ProbeForReal", "ProbeByChange"),
    ("MapAfresh", "MapFresh"),
    ("ChargedToNobody", "Uncharged"),
];

/// Returns the mutant with this name; former names of phases are accepted.
pub(super) fn find(variant: &Variant, name: &str) -> Option<Mutation> {
    let today = |word: &str| {
        let (former, colon) = word.strip_suffix(':').map_or((word, ""), |word| (word, ":"));
        let renamed = FORMER_WORDS.iter().find(|(of_old, _)| *of_old == former);
        format!("{}{colon}", renamed.map_or(former, |(_, today)| today))
    };
    let name = name.split(' ').map(today).collect::<Vec<_>>().join(" ");
    of_variant(variant).into_iter().find(|mutant| mutant.to_string() == name)
}

/// Returns the calls that every phase makes for the specimen VM.
pub fn calls(protocol: &Protocol) -> Vec<(RolePhase, Call)> {
    let (socket, pidfd, new_image, old_image) = (Fd(0), Fd(1), Fd(0), Fd(1));
    let (vm, descriptors) = specimen();
    let (way, origin) = match protocol.mode {
        Mode::Transfer => {
            (OutgoingTransport::Transfer { socket, pidfd }, IncomingTransport::Transfer { socket })
        }
        Mode::Exec => (
            OutgoingTransport::Exec { new_image, old_image },
            IncomingTransport::Exec { stream: Fd(2), old_image },
        ),
    };
    let old = Outgoing::new(protocol, &vm, &descriptors, way);
    let old = old.script().map(|(phase, call)| (RolePhase::Old(phase), call.clone()));
    let new = Incoming::script(protocol, origin, &vm, &descriptors);
    old.chain(new.into_iter().map(|(phase, call)| (RolePhase::New(phase), call))).collect()
}

/// Returns the inventory of a KVM guest with one object of each kind: a RAM block, an iommufd, an
/// IOAS, a mapping, a nesting parent, and a device with an interrupt.
fn specimen() -> (Vm, Descriptors) {
    let [ioas, device, hwpt] = [1, 2, 3].map(ObjectId);
    let mapping = Mapping {
        iova: Iova(0x10_0000),
        length_bytes: PAGE_BYTES,
        memory: Memory::RamFile { block: 0, offset_bytes: 0 },
        rights: Rights::ReadWrite,
        charged_to: ChargedTo::User,
    };
    let ram = RamBlock {
        name: "ram0".to_owned(),
        backing: Backing::File,
        length_bytes: PAGE_BYTES,
        inode: 1,
        va: Va(0x1000),
    };
    let device = Device {
        name: "nic0".to_owned(),
        kind: DeviceKind::Pci,
        context: 0,
        id: device,
        ioas,
        hwpt: Some(hwpt),
        nest_parent: true,
        inode: 2,
        info: (0, 9, 5),
        interrupts: vec![Interrupts { index: 1, vectors: 1 }],
    };
    let spaces = vec![AddressSpace { ioas, mappings: vec![mapping] }];
    let vm = Vm {
        name: "specimen".to_owned(),
        ram: vec![ram],
        dma: Dma::Iommufd,
        contexts: vec![Context { name: "iommufd0".to_owned(), spaces }],
        devices: vec![device],
        irqfds: true,
    };
    let keys = vm.keys().into_iter().chain([Key::new(Kind::Kvm, "", 0)]);
    let descriptors = keys.zip((3..).map(Fd)).collect();
    (vm, descriptors)
}

/// Returns the present name of a phase, given its present or a former name, in any case.
pub(crate) fn present_name(phase: &str) -> &str {
    let renamed = FORMER_WORDS.iter().find(|(former, _)| former.eq_ignore_ascii_case(phase));
    renamed.map_or(phase, |(_, present)| present)
}
