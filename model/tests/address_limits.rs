//! Roles neither panic nor overflow on addresses, lengths and counts at the limits of their types.
//!
//! Each protocol runs over an inventory that ends at the top of the address space: once without a
//! fault, and then with a failure of each call in turn.

use handoff_model::abi::call::{
    Call, CallResult, FileCall, IommufdCall, MemoryCall, ProcessCall, Reply, Rights, SocketCall,
    UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Uid, Va};
use handoff_model::protocol::{Mode, Protocol, confirms};
use handoff_model::role::Role;
use handoff_model::role::incoming::{Incoming, IncomingOutcome, IncomingTransport};
use handoff_model::role::outgoing::{Outgoing, OutgoingOutcome, OutgoingTransport};
use handoff_model::stream::{Message, Offer, State};
use handoff_model::variants::defects;
use handoff_model::vm::{
    AddressSpace, Backing, ChargedTo, Context, Descriptors, Key, Kind, Mapping, Memory, RamBlock,
    Vm,
};
use std::collections::VecDeque;

const SOCKET: Fd = Fd(3);
const PIDFD: Fd = Fd(4);
const IMAGE: Fd = Fd(5);
const UID: Uid = Uid(1);
const TOP_PAGE: u64 = u64::MAX - PAGE_BYTES + 1;

/// Upper bound on the calls of any role.
const CALLS_MAX: usize = 1000;

fn protocols() -> Vec<Protocol> {
    vec![Protocol::safe(Mode::Transfer), Protocol::safe_early(), Protocol::safe(Mode::Exec)]
}

/// Returns a state with a block of RAM of maximum length. One address space maps all of it, the
/// other maps its last page at the last page of the address space.
fn limits() -> State {
    let ram = RamBlock {
        name: "ram0".to_owned(),
        backing: Backing::File,
        length_bytes: TOP_PAGE,
        inode: 1,
        va: Va(TOP_PAGE),
    };
    let mapping = |iova, length_bytes, offset_bytes| Mapping {
        iova: Iova(iova),
        length_bytes,
        memory: Memory::RamFile { block: 0, offset_bytes },
        rights: Rights::ReadWrite,
        charged_to: ChargedTo::User,
    };
    let whole = mapping(PAGE_BYTES, TOP_PAGE, 0);
    let last = mapping(TOP_PAGE, PAGE_BYTES, TOP_PAGE - PAGE_BYTES);
    let space = |ioas, mapping| AddressSpace { ioas: ObjectId(ioas), mappings: vec![mapping] };
    let spaces = vec![space(1, whole), space(2, last)];
    let contexts = vec![Context { name: "iommufd0".to_owned(), spaces }];
    state(&Vm { name: "vm".to_owned(), ram: vec![ram], contexts, ..Vm::default() })
}

fn state(vm: &Vm) -> State {
    let descriptors: Descriptors = vm.keys().into_iter().zip((10..).map(Fd)).collect();
    State::of(vm, &descriptors).expect("every descriptor is there")
}

/// A kernel that matches the inventory, and the peer's messages.
struct Host {
    state: State,
    from_peer: VecDeque<Message>,
}

impl Host {
    fn answer(&mut self, call: &Call) -> CallResult {
        Ok(match call {
            Call::Socket(SocketCall::Receive { wait: false, .. }) => return Err(Errno::EAGAIN),
            Call::Socket(SocketCall::Receive { .. }) => self.message(),
            Call::File(FileCall::ReadAt { .. }) => Reply::Bytes(self.state.to_bytes()),
            Call::File(FileCall::WriteAt { bytes, .. }) => Reply::Length(bytes.len() as u64),
            Call::Process(ProcessCall::GetMemlock) => Reply::Memlock(UNLIMITED),
            Call::Process(ProcessCall::GetUid) => Reply::Uid(UID),
            Call::Iommufd(IommufdCall::ChangeProcess { reserved: 1, .. }) => {
                return Err(Errno::EOPNOTSUPP);
            }
            Call::Iommufd(IommufdCall::IoasCopy { .. }) => return Err(Errno::EEXIST),
            Call::File(FileCall::Stat { .. }) => Reply::Stat { inode: 1, length_bytes: TOP_PAGE },
            Call::Memory(MemoryCall::Mmap { .. }) => Reply::Va(Va(TOP_PAGE)),
            _ => Reply::Done,
        })
    }

    fn message(&mut self) -> Reply {
        let message = self.from_peer.pop_front();
        let fds = match message {
            Some(Message::Descriptors { .. }) => {
                self.state.descriptors.iter().map(|(_, fd)| *fd).collect()
            }
            _ => Vec::new(),
        };
        let bytes = message.map(|message| message.to_bytes()).unwrap_or_default();
        Reply::Message { bytes, fds, truncated: false }
    }

    /// Runs a role to its end; the call with the number `fails` fails. Returns true if that call
    /// was made.
    fn run(mut self, role: &mut impl Role, fails: Option<usize>) -> bool {
        let mut made = 0;
        while let Some(call) = role.next_call() {
            self.check(&call);
            let answer = if fails == Some(made) { Err(Errno::EIO) } else { self.answer(&call) };
            made += 1;
            if answer.is_ok()
                && matches!(
                    call,
                    Call::Process(ProcessCall::Exit { .. } | ProcessCall::Exec { .. })
                )
            {
                break;
            }
            role.complete(answer);
        }
        fails.is_some_and(|fails| fails < made)
    }

    /// Checks that a call names no address that the inventory does not have.
    fn check(&self, call: &Call) {
        let Call::Iommufd(
            IommufdCall::IoasCopy { source_iova: iova, .. } | IommufdCall::IoasMapFile { iova, .. },
        ) = call
        else {
            return;
        };
        let mut mappings = self.state.vm.mappings();
        assert!(mappings.any(|(_, _, mapping)| mapping.iova == *iova), "{call:?}");
    }
}

/// Returns the host of a role, with the messages that the other role sends in this variant.
fn host(protocol: &Protocol, from_peer: impl IntoIterator<Item = Message>) -> Host {
    let is_early = confirms(&protocol.outgoing);
    let is_sent =
        |message: &Message| is_early || !matches!(message, Message::Adopted | Message::Unchanged);
    Host { state: limits(), from_peer: from_peer.into_iter().filter(is_sent).collect() }
}

fn old_host(protocol: &Protocol) -> Host {
    let ready = Message::Ready { uid: UID };
    host(protocol, [ready, Message::Adopted, Message::Prepared, Message::Committed])
}

fn new_host(protocol: &Protocol) -> Host {
    let user_pages = u64::MAX / PAGE_BYTES;
    let early = confirms(&protocol.outgoing);
    let offer = Offer { vm: "vm".to_owned(), uid: UID, user_pages, early };
    let total = u32::try_from(limits().descriptors.len()).expect("few");
    let descriptors = Message::Descriptors { first: 0, total };
    host(protocol, [Message::Offer(offer), descriptors, Message::Unchanged, Message::Commit])
}

#[test]
fn the_old_process_hands_over_mappings_at_the_top() {
    for protocol in protocols() {
        let way = match protocol.mode {
            Mode::Transfer => OutgoingTransport::Transfer { socket: SOCKET, pidfd: PIDFD },
            Mode::Exec => OutgoingTransport::Exec { new_image: IMAGE, old_image: IMAGE },
        };
        let run = |fails| {
            let State { vm, descriptors } = limits();
            let descriptors = descriptors.into_iter().collect();
            let mut role = Outgoing::new(&protocol, &vm, &descriptors, way);
            let failed = old_host(&protocol).run(&mut role, fails);
            (failed, role.end())
        };
        let (_, outcome) = run(None);
        let handed_over = (protocol.mode == Mode::Transfer).then_some(OutgoingOutcome::HandedOver);
        assert_eq!(outcome, handed_over);
        assert!((0..CALLS_MAX).take_while(|fails| run(Some(*fails)).0).count() > 5);
    }
}

#[test]
fn the_new_process_takes_over_mappings_at_the_top() {
    for protocol in protocols() {
        let origin = match protocol.mode {
            Mode::Transfer => IncomingTransport::Transfer { socket: SOCKET },
            Mode::Exec => IncomingTransport::Exec { stream: Fd(10), old_image: IMAGE },
        };
        let run = |fails| {
            let mut role = Incoming::new(&protocol, origin);
            let failed = new_host(&protocol).run(&mut role, fails);
            (failed, role.end())
        };
        assert_eq!(run(None).1, Some(IncomingOutcome::TookOver));
        assert!((0..CALLS_MAX).take_while(|fails| run(Some(*fails)).0).count() > 5);
    }
}

/// A known bug that maps RAM a second time, at higher addresses, skips mappings that do not fit
/// there.
#[test]
fn mapping_again_does_not_overflow() {
    let defect = defects::find("mapped-twice").expect("a known bug");
    let protocol = defect.plant(Protocol::safe(Mode::Transfer));
    let mut role = Incoming::new(&protocol, IncomingTransport::Transfer { socket: SOCKET });
    let mut host = new_host(&protocol);
    for space in &mut host.state.vm.contexts[0].spaces {
        space.mappings.retain(|mapping| mapping.iova == Iova(TOP_PAGE));
    }
    host.run(&mut role, None);
    assert_eq!(role.end(), Some(IncomingOutcome::TookOver));
}

/// Devices refer to contexts by 16-bit numbers, but a stream may list more contexts.
#[test]
fn a_stream_can_list_more_contexts_than_can_be_numbered() {
    let context = |at| Context { name: format!("iommufd{at}"), spaces: Vec::new() };
    let contexts = (0..70_000).map(context).collect();
    let state = state(&Vm { contexts, ..Vm::default() });
    assert!(State::from_bytes(&state.to_bytes()).is_ok());
    assert_eq!(
        state.descriptors.iter().filter(|(key, _)| key.kind == Kind::Iommufd).count(),
        70_000
    );
    assert!(
        state.descriptors.iter().any(|(key, _)| *key == Key::new(Kind::Iommufd, "iommufd0", 0))
    );
}
