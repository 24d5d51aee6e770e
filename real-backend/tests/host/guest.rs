//! Guests without devices, and the recorder that tells every call.

use crate::common::{DONE, check, host, memfd, no};
use handoff_model::call::{Call, Made, Reply};
use handoff_model::errno::Errno;
use handoff_model::ids::{Fd, Iova, Pid};
use handoff_model::kernel::Kernel;
use handoff_real_backend::edu::Edu;
use handoff_real_backend::guest::EduGuest;
use handoff_real_backend::host::Host;
use handoff_real_backend::memory::Memory;
use handoff_real_backend::recorder::Recorder;
use handoff_real_backend::workload::{Place, Wires};
use rustix::fd::AsRawFd;

#[test]
fn a_process_without_a_guest_refuses_the_guest_calls() {
    let fd = Fd(0);
    check(
        &mut host(),
        &[
            (Call::StopGuest, no(Errno::ENODEV)),
            (Call::SaveGuest { fd }, no(Errno::ENODEV)),
            (Call::LoadGuest { fd }, no(Errno::ENODEV)),
            (Call::StartGuest, no(Errno::ENODEV)),
        ],
    );
}

fn door() -> (Host, EduGuest) {
    let memory = Memory::default();
    let guest = EduGuest::new(memory.clone());
    (Host::new(Vec::new(), memory, Box::new(guest.clone())), guest)
}

#[test]
fn a_guest_goes_through_a_memfd_from_one_door_to_another() {
    let ((mut old, guest), (mut new, _)) = (door(), door());
    let fd = memfd(&mut old, 65536);
    check(
        &mut old,
        &[
            (Call::StopGuest, DONE),
            (Call::StartGuest, no(Errno::EINVAL)),
            (Call::SaveGuest { fd }, no(Errno::EINVAL)),
            (Call::LoadGuest { fd }, no(Errno::EINVAL)),
        ],
    );
    assert_eq!(guest.view(), None);
    guest.wire(7, &[]).expect("no devices, nothing to refuse");
    check(
        &mut old,
        &[
            (Call::StartGuest, DONE),
            (Call::StartGuest, DONE),
            (Call::SaveGuest { fd }, no(Errno::EBUSY)),
            (Call::LoadGuest { fd }, no(Errno::EBUSY)),
            (Call::StopGuest, DONE),
            (Call::StopGuest, DONE),
            (Call::SaveGuest { fd }, DONE),
            (Call::StartGuest, DONE),
        ],
    );
    check(&mut new, &[(Call::LoadGuest { fd }, DONE), (Call::StartGuest, DONE)]);
    let view = guest.view().expect("it has devices");
    assert!(view.running);
    assert_eq!(view.progress, Some(0));
    assert_eq!(guest.wire(7, &[]), Err(Errno::EBUSY));
    check(&mut old, &[(Call::StopGuest, DONE)]);
}

#[test]
fn a_file_that_is_no_device_is_not_driven() {
    let null = std::fs::File::open("/dev/null").expect("everywhere");
    let device = Fd(null.as_raw_fd());
    assert_eq!(Edu::adopt(device), Err(Errno::ENOTTY));
    assert_eq!(Edu::enable(Fd(-1)), Err(Errno::EBADF));
    let place = Place { offset_bytes: 0, iova: Iova(0) };
    let wires = Wires { device, trigger: device, ram: device, out: place, back: place };
    assert_eq!(door().1.wire(7, &[wires]), Err(Errno::ENOTTY));
}

#[test]
fn every_call_is_told_with_its_answer_and_its_time() {
    let mut told: Vec<(Made, u64, u64)> = Vec::new();
    let mut recorder = Recorder::new(host(), Pid(9), |made, enter_ns, leave_ns| {
        told.push((made, enter_ns, leave_ns));
    });
    let rows = [Call::GetUid, Call::Close { fd: Fd(-1) }, Call::Exec { image: Fd(-1) }];
    let answers: Vec<_> = rows.iter().map(|call| recorder.call(call)).collect();
    let made = |at: usize, answer| Made { pid: Pid(9), call: rows[at].clone(), answer };
    let expected = [
        made(0, answers[0].clone()),
        made(1, answers[1].clone()),
        made(2, Ok(Reply::Done)),
        made(2, answers[2].clone()),
    ];
    assert!(answers[2].is_err(), "it came back, so it failed");
    assert_eq!(told.iter().map(|(made, _, _)| made.clone()).collect::<Vec<_>>(), expected);
    assert!(told.iter().all(|(_, enter_ns, leave_ns)| enter_ns <= leave_ns));
    assert!(told.is_sorted_by_key(|(_, _, leave_ns)| *leave_ns));
}
