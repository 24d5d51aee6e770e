//! The death matrix: the state that remains when a process dies in the middle of a handoff.

use crate::common::{BASE, EDU, NEW, OLD, Rig, Setup, map_file, process, unlimited};
use handoff_model::abi::call::{Call, DeviceCall, FileCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Iova, Uid};
use handoff_model::abi::view::{Account, DeviceView};
use handoff_sim_kernel::DmaFault;

fn edu(rig: &Rig) -> DeviceView {
    rig.machine.view().devices["edu"].clone()
}

/// Ends the set-up, passes the picked descriptors, and kills the old process.
fn after_death(pick: fn(&Setup) -> Vec<handoff_model::abi::ids::Fd>) -> (Rig, Setup) {
    let mut rig = Rig::default();
    let set_up = rig.set_up(2);
    rig.machine.settle();
    rig.pass(&pick(&set_up));
    rig.machine.kill(OLD);
    rig.machine.audit().expect("invariants");
    (rig, set_up)
}

const FIRST: handoff_model::abi::ids::Fd = handoff_model::abi::ids::Fd(4);

#[test]
fn with_all_files_passed_the_device_is_unaffected() {
    let (rig, _) = after_death(|set_up| vec![set_up.device, set_up.iommufd, set_up.memfd]);
    let device = edu(&rig);
    assert_eq!((device.disruptions, device.bus_master, device.bound), (0, Some(true), true));
    assert!(rig.machine.dma("edu", BASE).is_ok());
    assert_eq!(rig.page_set().pinned_pages, 2);
}

#[test]
fn with_no_file_passed_the_device_is_closed_without_a_leak() {
    let (rig, _) = after_death(|_| vec![]);
    let device = edu(&rig);
    assert_eq!((device.disruptions, device.bus_master, device.bound), (1, Some(false), false));
    let view = rig.machine.view();
    assert!(view.page_sets.is_empty() && view.mappings.is_empty() && view.books.is_empty());
}

#[test]
fn with_only_the_device_dma_continues_and_mappings_are_fixed() {
    let (mut rig, _) = after_death(|set_up| vec![set_up.device]);
    assert!(rig.machine.dma("edu", BASE).is_ok());
    rig.ok(NEW, Call::Device(DeviceCall::Info { device: FIRST }));
    let iommufd = rig.iommufd(NEW);
    rig.refuses(NEW, Call::Device(DeviceCall::Bind { device: FIRST, iommufd }), Errno::EINVAL);
    rig.ok(NEW, Call::File(FileCall::Close { fd: FIRST }));
    let view = rig.machine.view();
    assert!(view.mappings.is_empty(), "the context goes with the device");
    let (_, id) = rig.bind(NEW, EDU, iommufd);
    assert_eq!(id.0, 1, "and it can be bound again");
}

#[test]
fn with_only_the_context_mappings_remain_and_pin_again() {
    let (mut rig, set_up) = after_death(|set_up| vec![set_up.iommufd, set_up.memfd]);
    let device = edu(&rig);
    assert_eq!((device.disruptions, device.bus_master, device.bound), (1, Some(false), false));
    assert_eq!(rig.page_set().pinned_pages, 0);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::NoBusMaster));
    let (device, id) = rig.bind(NEW, EDU, FIRST);
    assert_eq!(id, set_up.device_id, "the id is used again");
    rig.attach(NEW, device, set_up.ioas);
    assert_eq!(rig.page_set().pinned_pages, 2);
}

#[test]
fn without_the_memfd_dma_continues_over_unmappable_pages() {
    let (rig, _) = after_death(|set_up| vec![set_up.device, set_up.iommufd]);
    assert!(rig.machine.dma("edu", BASE).is_ok());
    assert!(rig.page_set().owner_alive == Some(false));
}

#[test]
fn files_in_flight_live_until_the_receiver_exits() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(2);
    rig.machine.settle();
    rig.send(&[set_up.device, set_up.iommufd]);
    rig.machine.kill(OLD);
    assert!(rig.machine.dma("edu", BASE).is_ok());
    assert!(edu(&rig).holders.is_empty());
    let (device, iommufd) = (rig.open(NEW, EDU), rig.iommufd(NEW));
    rig.refuses(NEW, Call::Device(DeviceCall::Bind { device, iommufd }), Errno::EINVAL);
    let fd = rig.new_end;
    rig.ok(NEW, Call::File(FileCall::Close { fd }));
    assert_eq!((edu(&rig).disruptions, edu(&rig).bound), (1, false));
}

#[test]
fn a_device_keeps_a_closed_context() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(2);
    rig.ok(OLD, Call::File(FileCall::Close { fd: set_up.iommufd }));
    assert!(rig.machine.dma("edu", BASE).is_ok());
    rig.ok(OLD, Call::File(FileCall::Close { fd: set_up.device }));
    assert!(rig.machine.view().mappings.is_empty());
}

#[test]
fn the_last_close_frees_interrupts_and_resets_in_order() {
    let mut rig = Rig::default();
    let set_up = rig.set_up(1);
    let event = rig.fd(OLD, Call::File(FileCall::Eventfd));
    let arm = DeviceCall::set_irqs(set_up.device, 1, vec![event]);
    rig.ok(OLD, arm);
    rig.machine.settle();
    rig.ok(OLD, Call::File(FileCall::Close { fd: event }));
    assert!(rig.machine.raise("edu", 0), "the kernel holds its own reference");
    rig.ok(OLD, Call::File(FileCall::Close { fd: set_up.device }));
    assert!(!rig.machine.raise("edu", 0));
    let device = edu(&rig);
    assert_eq!(device.interrupts[0].trigger, None);
    assert_eq!((device.disruptions, device.attached), (1, None));
}

#[test]
fn the_old_process_reclaims_pages_from_a_dead_new_one() {
    let mut rig = Rig::new("7.3", process(1000, false, 4), process(1001, false, 2));
    let set_up = rig.set_up(2);
    let passed = rig.pass(&[set_up.iommufd])[0];
    rig.change_process(NEW, passed);
    rig.machine.kill(NEW);
    let [old, new] = [1000, 1001].map(|uid| Account::User(Uid(uid)));
    assert_eq!((rig.locked(old), rig.locked(new)), (0, 2));
    rig.change_process(OLD, set_up.iommufd);
    assert_eq!((rig.locked(old), rig.locked(new)), (2, 0));
    assert!(rig.machine.dma("edu", BASE).is_ok());
}

#[test]
fn the_old_process_can_still_use_passed_files() {
    let mut rig = Rig::new("7.3", unlimited(), unlimited());
    let set_up = rig.set_up(2);
    let passed = rig.pass(&[set_up.iommufd])[0];
    rig.change_process(NEW, passed);
    rig.ok(OLD, map_file(set_up.iommufd, set_up.ioas, set_up.memfd, Iova(0), 1));
    let owners: Vec<_> = rig.machine.view().page_sets.iter().map(|set| set.owner).collect();
    assert_eq!(owners, [Some(NEW), Some(OLD)]);
}
