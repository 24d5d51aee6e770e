//! The stream: every record survives a round trip, and invalid input is rejected.

use handoff_model::abi::call::Rights;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, Uid, Va};
use handoff_model::stream::envelope::{self, CorruptFrame, HEADER_BYTES};
use handoff_model::stream::{InvalidState, Kind, Message, Offer, State};
use handoff_model::vm::{
    AddressSpace, Backing, ChargedTo, Context, Descriptors, Device, DeviceKind, Dma, Interrupts,
    Mapping, Memory, RamBlock, Vm,
};
use proptest::prelude::*;

/// A virtual machine with one object of each kind.
fn vm() -> Vm {
    let mapping = Mapping {
        iova: Iova(0x10_0000),
        length_bytes: 0x2000,
        memory: Memory::RamFile { block: 0, offset_bytes: 0 },
        rights: Rights::ReadWrite,
        charged_to: ChargedTo::User,
    };
    Vm {
        irqfds: false,
        name: "vm".to_owned(),
        ram: vec![RamBlock {
            name: "ram0".to_owned(),
            backing: Backing::File,
            length_bytes: 0x4000,
            inode: 7,
            va: Va(0x7f00_0000_0000),
        }],
        dma: Dma::Iommufd,
        contexts: vec![Context {
            name: "iommufd0".to_owned(),
            spaces: vec![AddressSpace { ioas: ObjectId(1), mappings: vec![mapping] }],
        }],
        devices: vec![Device {
            name: "nic0".to_owned(),
            kind: DeviceKind::Pci,
            context: 0,
            id: ObjectId(2),
            ioas: ObjectId(1),
            hwpt: Some(ObjectId(3)),
            nest_parent: false,
            inode: 9,
            info: (2, 9, 5),
            interrupts: vec![Interrupts { index: 1, vectors: 2 }],
        }],
    }
}

fn state() -> State {
    let vm = vm();
    let descriptors: Descriptors = vm.keys().into_iter().zip((10..).map(Fd)).collect();
    State::of(&vm, &descriptors).expect("every descriptor is there")
}

#[test]
fn a_state_survives_a_round_trip() {
    assert_eq!(State::from_bytes(&state().to_bytes()), Ok(state()));
}

#[test]
fn a_released_stream_can_still_be_read() {
    let golden = include_bytes!("golden/state-v1.bin");
    assert_eq!(State::from_bytes(golden), Ok(state()), "version 1 must stay readable");
}

/// A field added later: streams from before it have none, and only states that need it write it.
#[test]
fn only_a_nesting_parent_is_written_as_one() {
    let writes = |state: &State| String::from_utf8_lossy(&state.to_bytes()).contains("nest_parent");
    let mut parent = state();
    assert!(!writes(&parent));
    parent.vm.devices[0].nest_parent = true;
    assert!(writes(&parent));
    assert_eq!(State::from_bytes(&parent.to_bytes()), Ok(parent));
}

#[test]
fn every_message_survives_a_round_trip_and_fits_a_packet() {
    for message in [
        Message::Offer(Offer { vm: "vm".to_owned(), uid: Uid(1000), user_pages: 64, early: true }),
        Message::Ready { uid: Uid(1000) },
        Message::Refuse { reason: "no".to_owned() },
        Message::Descriptors { first: 253, total: 300 },
        Message::Prepared,
        Message::Commit,
        Message::Committed,
        Message::Abort,
    ] {
        let bytes = message.to_bytes();
        assert!(bytes.len() <= handoff_model::abi::call::MESSAGE_BYTES_MAX);
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
    }
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_have_their_default() {
    let offer = serde_json::json!({"message": "offer", "vm": "vm", "uid": 0, "later": [1, 2]});
    let read: Message = envelope::open(Kind::Message, &envelope::seal(Kind::Message, &offer))
        .expect("an offer with a field from the future");
    assert_eq!(
        read,
        Message::Offer(Offer { vm: "vm".to_owned(), uid: Uid(0), user_pages: 0, early: false })
    );
}

#[track_caller]
fn check_damage(change: impl FnOnce(&mut Vec<u8>), expected: &CorruptFrame) {
    let mut frame = Message::Commit.to_bytes();
    change(&mut frame);
    assert_eq!(Message::from_bytes(&frame).as_ref(), Err(expected));
}

#[test]
fn a_damaged_frame_is_refused_with_its_reason() {
    let whole = Message::Commit.to_bytes().len() as u64;
    check_damage(Vec::clear, &CorruptFrame::CutOff { have: 0, need: 32 });
    check_damage(|f| f.truncate(20), &CorruptFrame::CutOff { have: 20, need: 32 });
    check_damage(
        |f| f.truncate(f.len() - 1),
        &CorruptFrame::CutOff { have: whole - 1, need: whole },
    );
    check_damage(|f| f.push(0), &CorruptFrame::Trailing { extra: 1 });
    check_damage(|f| f[0] = b'X', &CorruptFrame::Magic);
    check_damage(|f| f[8] = 2, &CorruptFrame::Version(2));
    check_damage(|f| f[31] = 1, &CorruptFrame::TooLong(1 << 56 | (whole - 32)));
    check_damage(|f| f[33] ^= 1, &CorruptFrame::Checksum);
    check_damage(|f| f[16] ^= 1, &CorruptFrame::Checksum);
}

#[test]
fn an_intact_frame_of_the_wrong_kind_is_refused() {
    let resealed = |at: usize, value: u8| {
        let mut frame = Message::Commit.to_bytes();
        frame[at] = value;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&frame[..20]);
        crc.update(&frame[24..]);
        frame[20..24].copy_from_slice(&crc.finalize().to_le_bytes());
        Message::from_bytes(&frame)
    };
    assert_eq!(resealed(12, 4), Err(CorruptFrame::Features(4)));
    assert_eq!(resealed(10, 2), Err(CorruptFrame::Kind(2)));
    assert!(matches!(resealed(32, b'['), Err(CorruptFrame::Record(_))));
    assert_eq!(resealed(16, 4), Ok(Message::Commit), "a compatible feature is ignored");
}

#[track_caller]
fn check_flaw(change: impl FnOnce(&mut State), expected: &str) {
    let mut bad = state();
    change(&mut bad);
    let flaw = State::from_bytes(&bad.to_bytes()).expect_err("a flawed state");
    assert!(flaw.to_string().contains(expected), "{flaw} does not contain {expected:?}");
}

#[test]
fn an_inconsistent_state_is_refused() {
    let mapping = |s: &mut State| s.vm.contexts[0].spaces[0].mappings[0].clone();
    check_flaw(|s| drop(s.descriptors.pop()), "is missing");
    check_flaw(|s| s.descriptors.push(s.descriptors[0].clone()), "listed twice");
    check_flaw(|s| s.descriptors[0].0.name = "else".to_owned(), "is missing");
    check_flaw(|s| s.vm.devices.clear(), "is not used by the inventory");
    check_flaw(|s| s.vm.devices[0].interrupts[0].vectors = u16::MAX, "65535 were expected");
    check_flaw(|s| s.vm.devices[0].context = 9, "not in the inventory");
    check_flaw(|s| s.vm.devices[0].ioas = ObjectId(9), "not in the inventory");
    check_flaw(|s| s.vm.devices.push(s.vm.devices[0].clone()), "listed twice");
    check_flaw(|s| s.vm.ram[0].length_bytes = 0, "valid range of pages");
    check_flaw(|s| s.vm.ram[0].length_bytes = 0x1000, "not in the inventory");
    check_flaw(|s| s.vm.contexts[0].spaces[0].mappings[0].iova = Iova(1), "valid range of pages");
    check_flaw(|s| s.vm.contexts[0].spaces[0].mappings[0].iova = Iova(u64::MAX - 0xfff), "valid");
    check_flaw(
        |s| {
            s.vm.contexts[0].spaces[0].mappings[0].memory =
                Memory::RamFile { block: 0, offset_bytes: u64::MAX };
        },
        "not in the inventory",
    );
    check_flaw(
        |s| {
            let mut second = mapping(s);
            second.iova = Iova(0x10_1000);
            s.vm.contexts[0].spaces[0].mappings.push(second);
        },
        "mappings overlap at",
    );
}

#[test]
fn the_number_of_descriptors_must_match_the_list() {
    let state = state();
    let listed = state.descriptors.len();
    let few: Vec<Fd> = (0..).map(Fd).take(listed - 1).collect();
    assert_eq!(state.adopt(Some(&few)), Err(InvalidState::Count { arrived: listed - 1, listed }));
    let all: Vec<Fd> = (0..).map(Fd).take(listed).collect();
    let adopted = state.adopt(Some(&all)).expect("all of them");
    for (place, (key, _)) in state.descriptors.iter().enumerate() {
        assert_eq!(adopted.get(key), Some(all[place]), "{key}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = State::from_bytes(&bytes);
        let _ = Message::from_bytes(&bytes);
    }

    #[test]
    fn a_changed_byte_is_detected(at in 0usize..2000, flip in 1u8..=255) {
        let mut bytes = state().to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(State::from_bytes(&bytes).is_err());
    }

    /// A peer that can frame records still cannot make a reader accept an inconsistent state.
    #[test]
    fn a_well_framed_inconsistent_state_never_panics(
        field in 0usize..8, number in any::<u64>(), small in any::<u16>(),
    ) {
        let mut lie = state();
        match field {
            0 => lie.vm.ram[0].length_bytes = number,
            1 => lie.vm.contexts[0].spaces[0].mappings[0].iova = Iova(number),
            2 => lie.vm.contexts[0].spaces[0].mappings[0].length_bytes = number,
            3 => lie.vm.contexts[0].spaces[0].mappings[0].memory =
                Memory::RamFile { block: small, offset_bytes: number },
            4 => lie.vm.devices[0].context = small,
            5 => lie.vm.devices[0].interrupts[0].vectors = small,
            6 => lie.descriptors[0].0.index = small,
            _ => lie.vm.contexts[0].spaces[0].mappings[0].memory =
                Memory::Bar { device: small, region: 0 },
        }
        if let Ok(read) = State::from_bytes(&lie.to_bytes()) {
            prop_assert!(read.check().is_ok());
        }
    }

    #[test]
    fn a_truncated_frame_is_refused(length in 0usize..HEADER_BYTES + 1000) {
        let bytes = state().to_bytes();
        prop_assume!(length < bytes.len());
        prop_assert!(State::from_bytes(&bytes[..length]).is_err());
    }
}
