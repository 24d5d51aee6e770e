//! Interrupts: vectors are armed, raised, delivered and disarmed.

use super::upsets;
use crate::common::{BAD, NEW, OLD, Rig, Setup};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, GuestCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::view::InterruptView;

const MSI: u32 = 1;

fn irqs(device: Fd, index: u32, eventfds: &[Fd]) -> Call {
    DeviceCall::set_irqs(device, index, eventfds.to_vec())
}

#[test]
fn interrupt_refusals() {
    let mut rig = Rig::default();
    let Setup { device, memfd, .. } = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let rows = [
        (irqs(device, 5, &[event]), Errno::EINVAL),
        (irqs(device, 2, &[]), Errno::EINVAL),
        (irqs(device, 2, &[event]), Errno::EINVAL),
        (irqs(device, MSI, &[event; 5]), Errno::EINVAL),
        (irqs(device, MSI, &[]), Errno::EINVAL),
        (irqs(device, 0, &[]), Errno::EINVAL),
        (irqs(device, MSI, &[BAD]), Errno::EBADF),
        (irqs(device, MSI, &[memfd]), Errno::EINVAL),
        (irqs(device, MSI, &[event, BAD]), Errno::EBADF),
        (irqs(device, 0, &[BAD]), Errno::EBADF),
        (irqs(device, 4, &[]), Errno::EINVAL),
        (irqs(device, 4, &[BAD]), Errno::EBADF),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
    rig.ok(OLD, irqs(device, MSI, &[event]));
    rig.refuses(OLD, irqs(device, 0, &[event]), Errno::EINVAL);
    rig.refuses(OLD, irqs(device, 0, &[]), Errno::EINVAL);
}

#[track_caller]
fn check_vector(rig: &Rig, vector: usize, raised: u64, delivered: u64, pending: Option<u64>) {
    let view = rig.machine.view();
    let seen = &view.devices["edu"].interrupts[vector];
    let expected = InterruptView {
        trigger: seen.trigger,
        raised,
        delivered,
        pending: pending.unwrap_or_default(),
        irqfd: None,
    };
    assert_eq!(*seen, expected);
    assert_eq!(seen.trigger.is_some(), pending.is_some());
}

#[test]
fn interrupts_stay_pending_until_a_running_guest_takes_them() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    rig.machine.boot_guest(OLD);
    let [a, b] = [(); 2].map(|()| rig.fd(OLD, Call::File(FileCall::Eventfd)));
    rig.ok(OLD, irqs(device, MSI, &[a, b]));
    rig.machine.settle();
    assert!(rig.machine.raise("edu", 0) && rig.machine.raise("edu", 1));
    assert!(rig.machine.raise("edu", 0));
    assert!(!rig.machine.raise("edu", 2), "no such vector");
    check_vector(&rig, 0, 2, 0, Some(2));
    assert!(rig.machine.deliver(OLD, "edu", 0));
    assert!(!rig.machine.deliver(OLD, "edu", 0));
    check_vector(&rig, 0, 2, 2, Some(0));
    rig.ok(OLD, Call::Guest(GuestCall::Stop));
    assert!(!rig.machine.deliver(OLD, "edu", 1));
    check_vector(&rig, 1, 1, 0, Some(1));
    rig.ok(OLD, Call::Guest(GuestCall::Start));
    assert_eq!(rig.ok(OLD, Call::File(FileCall::ReadEvent { fd: b })), Reply::Count(1));
    check_vector(&rig, 1, 1, 1, Some(0));
}

#[test]
fn an_interrupt_that_another_process_reads_is_lost() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.ok(OLD, irqs(device, MSI, &[event]));
    rig.machine.settle();
    assert!(rig.machine.raise("edu", 0));
    let [fd] = rig.pass(&[event])[..] else { panic!("one descriptor") };
    assert!(!rig.machine.deliver(NEW, "edu", 0), "no guest runs there");
    assert_eq!(rig.ok(NEW, Call::File(FileCall::ReadEvent { fd })), Reply::Count(1));
    check_vector(&rig, 0, 1, 0, Some(0));
}

/// The kernel's own reference keeps the pending interrupt while only a message holds the
/// descriptor.
#[test]
fn an_interrupt_is_latched_across_a_handoff() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.ok(OLD, irqs(device, MSI, &[event]));
    rig.machine.settle();
    let [device, event] = rig.pass(&[device, event])[..] else { panic!("two descriptors") };
    rig.machine.kill(OLD);
    assert!(rig.machine.raise("edu", 0));
    rig.ok(NEW, irqs(device, MSI, &[event]));
    rig.machine.boot_guest(NEW);
    assert!(rig.machine.deliver(NEW, "edu", 0));
    check_vector(&rig, 0, 1, 1, Some(0));
    assert_eq!(upsets(&rig, "edu"), 0);
}

#[test]
fn a_disarmed_vector_loses_what_was_armed_when_settled() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    assert!(!rig.machine.raise("edu", 0));
    assert!(rig.machine.view().devices["edu"].interrupts.is_empty());
    rig.ok(OLD, irqs(device, MSI, &[event]));
    rig.machine.settle();
    rig.ok(OLD, irqs(device, MSI, &[]));
    assert_eq!(upsets(&rig, "edu"), 1);
    assert!(!rig.machine.raise("edu", 0));
    check_vector(&rig, 0, 1, 0, None);
}

#[test]
fn setting_a_block_of_vectors_is_not_atomic() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    let [a, b, c] = [(); 3].map(|()| rig.fd(OLD, Call::File(FileCall::Eventfd)));
    rig.ok(OLD, irqs(device, MSI, &[a, b, c]));
    rig.machine.settle();
    let triggers = |rig: &Rig| -> Vec<bool> {
        let view = rig.machine.view();
        view.devices["edu"].interrupts.iter().map(|vector| vector.trigger.is_some()).collect()
    };
    let mut beyond = rig.clone();
    beyond.fails(OLD, irqs(device, MSI, &[a, b, c, a]), Errno::EINVAL);
    assert_eq!(triggers(&beyond), [false; 3]);
    rig.ok(OLD, irqs(device, MSI, &[b, a]));
    rig.fails(OLD, irqs(device, MSI, &[a, BAD]), Errno::EBADF);
    assert_eq!(triggers(&rig), [false, false, true]);
    assert_eq!(upsets(&rig, "edu"), 1);
    rig.ok(OLD, irqs(device, MSI, &[a, Fd(-1)]));
    assert_eq!(triggers(&rig), [true, false, true]);
}

#[test]
fn the_request_notifier_is_independent_of_the_vectors() {
    let mut rig = Rig::default();
    let Setup { device, .. } = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    rig.ok(OLD, irqs(device, 0, &[event]));
    rig.ok(OLD, irqs(device, 4, &[event]));
    rig.ok(OLD, irqs(device, 4, &[event]));
    rig.ok(OLD, irqs(device, 4, &[]));
    rig.refuses(OLD, irqs(device, 4, &[]), Errno::EINVAL);
    rig.refuses(OLD, irqs(device, 0, &[BAD]), Errno::EBADF);
    rig.ok(OLD, irqs(device, 0, &[]));
}
