//! Tests the view of real processes: this one and a child.

use crate::calls::{fd, memfd};
use crate::common::{host, waiting_child};
use handoff_model::abi::call::{Call, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::{DescriptorView, FileKind, View};
use handoff_real_backend::descriptors;
use handoff_real_backend::observe::{
    Blind, Expectation, KnownDevice, KnownInterrupt, observe, pinned_pages,
};
use rustix::event::EventfdFlags;
use rustix::fd::AsRawFd;
use std::time::Duration;

fn me() -> Pid {
    Pid(std::process::id())
}

#[track_caller]
fn descriptor(view: &View, pid: Pid, fd: Fd) -> DescriptorView {
    view.processes[&pid].descriptors[&fd]
}

#[test]
fn descriptors_of_different_files_of_one_kind_are_distinguished() {
    let mut host = host();
    let (one, other) = (memfd(&mut host, 0), memfd(&mut host, 0));
    let dup = fd(&mut host, &Call::File(FileCall::Dup { fd: one }));
    let events = [
        fd(&mut host, &Call::File(FileCall::Eventfd)),
        fd(&mut host, &Call::File(FileCall::Eventfd)),
    ];
    let seen = observe(&[me()], &Expectation::default());
    let of = |fd| descriptor(&seen.view, me(), fd);
    assert_eq!((of(one).kind, of(events[0]).kind), (FileKind::Memfd, FileKind::Eventfd));
    assert!(of(one).cloexec);
    assert_ne!(of(one).file, of(other).file);
    assert_ne!(of(events[0]).file, of(events[1]).file);
    assert_eq!(of(one).file == of(dup).file, !seen.blind.contains(&Blind::Sharing));
    let mut files: Vec<_> = [one, other, events[0], events[1]].map(|fd| of(fd).file).into();
    files.dedup();
    assert_eq!(files.len(), 4);
}

#[test]
fn a_process_is_seen_alive_and_dead() {
    let (_mine, mut child) = waiting_child();
    let seen = observe(&[me(), child.pid], &Expectation::default());
    let process = &seen.view.processes[&child.pid];
    assert!(process.alive && process.descriptors.len() == 3);
    assert_eq!(descriptor(&seen.view, child.pid, Fd(0)).kind, FileKind::Socket);
    let outputs = [me(), child.pid].map(|pid| descriptor(&seen.view, pid, Fd(1)).file);
    assert_eq!(outputs[0] == outputs[1], !seen.blind.contains(&Blind::Sharing), "inherited");

    rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL).expect("ours");
    while observe(&[child.pid], &Expectation::default()).view.processes[&child.pid].alive {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait(Duration::from_secs(20)).expect("waits").expect("ends");
    let seen = observe(&[child.pid], &Expectation::default());
    assert!(seen.view.processes[&child.pid].descriptors.is_empty());
    assert!(seen.blind.is_empty(), "a dead process hides no fact: {:?}", seen.blind);
    assert_eq!(pinned_pages(child.pid), Err(Errno::ENOENT));
}

#[test]
fn a_device_view_has_the_observable_facts() {
    let event = rustix::event::eventfd(3, EventfdFlags::CLOEXEC).expect("room");
    let trigger = descriptors::own(Fd(event.as_raw_fd())).expect("open").identity;
    let device = KnownDevice {
        bdf: "ffff:ff:1f.7".parse().expect("an address"),
        attached: None,
        upsets: 0,
        interrupts: vec![KnownInterrupt { trigger, raised: 5, delivered: 2 }],
    };
    let known =
        Expectation { devices: [("edu".to_owned(), device)].into(), ..Expectation::default() };
    let seen = observe(&[me()], &known).view;
    let device = &seen.devices["edu"];
    assert!(!device.bound && device.holders.is_empty(), "no process has it open");
    assert_eq!((device.bus_master, &device.reach), (None, &None));
    let vector = &device.interrupts[0];
    assert_eq!((vector.raised, vector.delivered, vector.pending), (5, 2, 3));
    assert_eq!(vector.trigger, Some(descriptor(&seen, me(), Fd(event.as_raw_fd())).file));
}

#[test]
fn without_a_device_no_pages_are_pinned() {
    assert_eq!(pinned_pages(me()), Ok(0));
    assert!(observe(&[me()], &Expectation::default()).view.books.is_empty());
}
