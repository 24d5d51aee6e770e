//! Tests of guests without devices, and of files that are not devices.

use crate::calls::{DONE, check, memfd, no};
use handoff_model::abi::call::{Call, GuestCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova};
use handoff_real_backend::host::Host;
use handoff_real_backend::memory::Memory;
use handoff_testbed::device::probe;
use handoff_testbed::guest::TestGuest;
use handoff_testbed::workload::{Ram, Wires};
use rustix::fd::AsRawFd;

/// Guest RAM without a file, for a guest without devices.
const NO_RAM: Ram = Ram { fd: Fd(-1), iova: Iova(0), pages: 0 };

fn handle() -> (Host, TestGuest) {
    let memory = Memory::default();
    let guest = TestGuest::new(memory.clone());
    (Host::new(Vec::new(), memory, Box::new(guest.clone())), guest)
}

#[test]
fn a_guest_is_transferred_through_a_memfd() {
    let ((mut old, guest), (mut new, _)) = (handle(), handle());
    let fd = memfd(&mut old, 65536);
    check(
        &mut old,
        &[
            (Call::Guest(GuestCall::Stop), DONE),
            (Call::Guest(GuestCall::Start), no(Errno::EINVAL)),
            (Call::Guest(GuestCall::Save { fd }), no(Errno::EINVAL)),
            (Call::Guest(GuestCall::Load { fd }), no(Errno::EINVAL)),
        ],
    );
    assert_eq!(guest.view(), None);
    guest.wire(7, NO_RAM, &[]).expect("no device that could fail");
    check(
        &mut old,
        &[
            (Call::Guest(GuestCall::Start), DONE),
            (Call::Guest(GuestCall::Start), DONE),
            (Call::Guest(GuestCall::Save { fd }), no(Errno::EBUSY)),
            (Call::Guest(GuestCall::Load { fd }), no(Errno::EBUSY)),
            (Call::Guest(GuestCall::Stop), DONE),
            (Call::Guest(GuestCall::Stop), DONE),
            (Call::Guest(GuestCall::Save { fd }), DONE),
            (Call::Guest(GuestCall::Start), DONE),
        ],
    );
    check(
        &mut new,
        &[(Call::Guest(GuestCall::Load { fd }), DONE), (Call::Guest(GuestCall::Start), DONE)],
    );
    let view = guest.view().expect("it has devices");
    assert!(view.running);
    assert_eq!(view.progress, Some(0));
    assert_eq!(guest.wire(7, NO_RAM, &[]), Err(Errno::EBUSY));
    check(&mut old, &[(Call::Guest(GuestCall::Stop), DONE)]);
}

#[test]
fn a_file_that_is_not_a_device_is_not_driven() {
    let null = std::fs::File::open("/dev/null").expect("everywhere");
    let device = Fd(null.as_raw_fd());
    assert_eq!(probe(device).map(drop), Err(Errno::ENOTTY));
    assert_eq!(probe(Fd(-1)).map(drop), Err(Errno::EBADF));
    let wires = Wires { device, trigger: device };
    assert_eq!(handle().1.wire(7, NO_RAM, &[wires]), Err(Errno::ENOTTY));
}
