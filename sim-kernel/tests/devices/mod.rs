//! Device files: `vfio`, `iommufd/hw_pagetable`, `hardware`.

use crate::common::{BAD, BASE, EDU, MTTY, NEW, NIC, OLD, Rig, Setup, map, map_file, unlimited};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, GuestCall, IommufdCall, Reply, SocketCall,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES};
use handoff_model::abi::view::InterruptView;
use handoff_sim_kernel::{DeviceKind, DeviceSpec, DmaFault};

const NONE: ObjectId = ObjectId(77);
const MSI: u32 = 1;

#[test]
fn bind_refusals() {
    let mut rig = Rig::default();
    let kind = DeviceKind::Mdev { needs_kvm: true };
    rig.machine.plug(DeviceSpec::new("gpu", "/dev/vfio/devices/vfio3", kind));
    let Setup { iommufd, device: bound, memfd, .. } = rig.set_up(1);
    let free = rig.open(OLD, NIC);
    let second = rig.open(OLD, EDU);
    let gpu = rig.open(OLD, "/dev/vfio/devices/vfio3");
    let bind = |device, iommufd| Call::Device(DeviceCall::Bind { device, iommufd });
    let rows = [
        (bind(BAD, BAD), Errno::EBADF),
        (bind(memfd, iommufd), Errno::ENOTTY),
        (bind(free, Fd(-1)), Errno::EINVAL),
        (bind(bound, BAD), Errno::EINVAL),
        (bind(free, BAD), Errno::EBADF),
        (bind(second, memfd), Errno::EBADFD),
        (bind(second, iommufd), Errno::EINVAL),
        (bind(gpu, iommufd), Errno::ESRCH),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

#[test]
fn a_device_is_bound_until_its_last_reference_goes() {
    let mut rig = Rig::default();
    let Setup { iommufd, device, .. } = rig.set_up(1);
    let other = rig.iommufd(NEW);
    let again = rig.open(NEW, EDU);
    let bind = Call::Device(DeviceCall::Bind { device: again, iommufd: other });
    rig.send(&[device]);
    rig.ok(OLD, Call::File(FileCall::Close { fd: device }));
    rig.refuses(NEW, bind.clone(), Errno::EINVAL);
    let [passed] = { rig.ok(NEW, receive(rig.new_end)).clone_fds() };
    rig.refuses(NEW, bind.clone(), Errno::EINVAL);
    rig.ok(NEW, Call::File(FileCall::Close { fd: passed }));
    rig.ok(NEW, bind);
    rig.ok(OLD, Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 }));
}

fn receive(fd: Fd) -> Call {
    Call::Socket(SocketCall::Receive { fd, wait: true })
}

trait Fds {
    fn clone_fds<const N: usize>(&self) -> [Fd; N];
}

impl Fds for Reply {
    fn clone_fds<const N: usize>(&self) -> [Fd; N] {
        match self {
            Self::Message { fds, .. } => fds.clone().try_into().expect("as many"),
            other => panic!("no message: {other:?}"),
        }
    }
}

#[test]
fn attach_refusals() {
    let mut rig = Rig::default();
    let Setup { iommufd, device, device_id, .. } = rig.set_up(1);
    let attach = |device, page_table| Call::Device(DeviceCall::Attach { device, page_table });
    let lazy: Vec<ObjectId> = [
        map(iommufd, NONE, handoff_model::abi::ids::Va(0x1000), Iova(0), 1),
        map_file(iommufd, NONE, rig.fd(OLD, Call::File(FileCall::Eventfd)), Iova(0), 1),
        map_file(iommufd, NONE, rig.memfd(OLD, 1), Iova(0), 2),
        map_file(iommufd, NONE, rig.memfd(OLD, 1), Iova(0xfee0_0000), 1),
        map_file(iommufd, NONE, rig.memfd(OLD, 1), Iova(0x80_0000_0000), 1),
        map_file(iommufd, NONE, rig.memfd(OLD, 1), Iova(0x123), 1),
    ]
    .into_iter()
    .map(|call| mapped(&mut rig, iommufd, call))
    .collect();
    let (mtty, mtty_id) = rig.bind(OLD, MTTY, iommufd);
    let rows = [
        (attach(device, NONE), Errno::ENOENT),
        (attach(device, device_id), Errno::EINVAL),
        (attach(device, mtty_id), Errno::EINVAL),
        (attach(device, lazy[0]), Errno::EFAULT),
        (attach(device, lazy[1]), Errno::EINVAL),
        (attach(device, lazy[2]), Errno::EINVAL),
        (attach(device, lazy[3]), Errno::EADDRINUSE),
        (attach(device, lazy[4]), Errno::EADDRINUSE),
        (attach(device, lazy[5]), Errno::EADDRINUSE),
        (attach(mtty, NONE), Errno::ENOENT),
        (attach(mtty, device_id), Errno::ENOENT),
        (attach(mtty, lazy[5]), Errno::EADDRINUSE),
    ];
    for (call, errno) in rows {
        rig.refuses(OLD, call, errno);
    }
}

/// Makes the call on a new address space.
fn mapped(rig: &mut Rig, iommufd: Fd, call: Call) -> ObjectId {
    let new = rig.ioas(OLD, iommufd);
    let call = match call {
        Call::Iommufd(IommufdCall::IoasMap {
            iommufd,
            user_va,
            length_bytes,
            iova,
            rights,
            ..
        }) => Call::Iommufd(IommufdCall::IoasMap {
            iommufd,
            ioas: new,
            user_va,
            length_bytes,
            iova,
            rights,
        }),
        Call::Iommufd(IommufdCall::IoasMapFile {
            iommufd,
            fd,
            offset_bytes,
            length_bytes,
            iova,
            rights,
            ..
        }) => {
            let ioas = new;
            Call::Iommufd(IommufdCall::IoasMapFile {
                iommufd,
                ioas,
                fd,
                offset_bytes,
                length_bytes,
                iova,
                rights,
            })
        }
        other => panic!("no map: {other:?}"),
    };
    rig.ok(OLD, call);
    new
}

fn upsets(rig: &Rig, device: &str) -> u32 {
    rig.machine.view().devices[device].upsets
}

#[test]
fn attaching_again_replaces_and_detaching_nothing_succeeds() {
    let mut rig = Rig::default();
    let Setup { iommufd, ioas, device, hwpt, .. } = rig.set_up(2);
    rig.machine.settle();
    assert_eq!(rig.attach(OLD, device, ioas), hwpt);
    assert_eq!(upsets(&rig, "edu"), 0, "nothing was replaced");
    let other = rig.ioas(OLD, iommufd);
    rig.attach(OLD, device, other);
    assert_eq!(upsets(&rig, "edu"), 1);
    assert_eq!(rig.machine.view().devices["edu"].attached, Some((0, other)));
    assert_eq!(rig.page_set().pinned_pages, 0);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device }));
    assert_eq!(upsets(&rig, "edu"), 2);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::Blocked));
}

#[test]
fn a_replacement_that_fails_leaves_the_old_one() {
    let mut rig = Rig::default();
    let Setup { iommufd, device, .. } = rig.set_up(2);
    let bad = rig.ioas(OLD, iommufd);
    rig.ok(OLD, map(iommufd, bad, handoff_model::abi::ids::Va(0), Iova(0), 1));
    rig.refuses(OLD, Call::Device(DeviceCall::Attach { device, page_table: bad }), Errno::EFAULT);
    assert!(rig.machine.dma("edu", BASE).is_ok());
}

#[test]
fn emulated_devices_are_accesses() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let [ioas, other] = [(); 2].map(|()| rig.ioas(OLD, iommufd));
    let memfd = rig.memfd(OLD, 1);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 1));
    let (mtty, id) = rig.bind(OLD, MTTY, iommufd);
    rig.machine.settle();
    assert_eq!(rig.attach(OLD, mtty, ioas), ioas, "no HWPT");
    rig.refuses(OLD, Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device: id }), Errno::ENOENT);
    rig.refuses(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }), Errno::EBUSY);
    assert_eq!(rig.page_set().pinned_pages, 0);
    assert_eq!(rig.machine.dma("mtty", BASE).expect("there").index, 0);
    assert_eq!(rig.machine.dma("mtty", Iova(0)), Err(DmaFault::Unmapped));
    let reach = rig.machine.view().devices["mtty"].reach.clone().expect("seen");
    assert_eq!(reach, [], "nothing is pinned, and the kernel looks up the rest page by page");
    rig.attach(OLD, mtty, other);
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device: mtty }));
    rig.ok(OLD, Call::Device(DeviceCall::Detach { device: mtty }));
    assert_eq!(upsets(&rig, "mtty"), 2);
    rig.ok(OLD, Call::Iommufd(IommufdCall::Destroy { iommufd, id: ioas }));
}

#[test]
fn what_devices_tell_of_themselves() {
    let mut rig = Rig::default();
    let Setup { iommufd, device, .. } = rig.set_up(1);
    let (nic, _) = rig.bind(OLD, NIC, iommufd);
    let info = |flags| Reply::DeviceInfo { flags, regions: 9, irqs: 5 };
    assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::Info { device })), info(2));
    assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::Info { device: nic })), info(3));

    let regions = [(0, 7, 0x10_0000), (1, 0, 0), (7, 3, 0x100)];
    for (index, flags, length_bytes) in regions {
        let offset_bytes = u64::from(index) << 40;
        let expected = Reply::RegionInfo { flags, length_bytes, offset_bytes };
        assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::RegionInfo { device, index })), expected);
    }
    for (index, flags, count) in [(0, 7, 1), (1, 9, 4), (2, 9, 0), (4, 9, 1)] {
        let expected = Reply::IrqInfo { flags, count };
        assert_eq!(rig.ok(OLD, Call::Device(DeviceCall::IrqInfo { device, index })), expected);
    }
    let rows = [
        Call::Device(DeviceCall::RegionInfo { device, index: 8 }),
        Call::Device(DeviceCall::RegionInfo { device, index: 9 }),
        Call::Device(DeviceCall::IrqInfo { device, index: 5 }),
        Call::Device(DeviceCall::Reset { device }),
    ];
    for call in rows {
        rig.refuses(OLD, call, Errno::EINVAL);
    }
    rig.machine.settle();
    rig.ok(OLD, Call::Device(DeviceCall::Reset { device: nic }));
    assert_eq!(upsets(&rig, "nic"), 1);
}

/// Only 7.3 has the error interrupt of a device that is not of PCI Express.
#[test]
fn the_error_interrupt_depends_on_the_kernel() {
    for (kernel, has_it) in [("6.12", false), ("7.2", false), ("7.3", true), ("fixed", true)] {
        let mut rig = Rig::new(kernel, unlimited(), unlimited());
        let iommufd = rig.iommufd(OLD);
        let (device, _) = rig.bind(OLD, EDU, iommufd);
        let call = Call::Device(DeviceCall::IrqInfo { device, index: 3 });
        if has_it {
            assert_eq!(rig.ok(OLD, call), Reply::IrqInfo { flags: 9, count: 1 });
        } else {
            rig.refuses(OLD, call, Errno::EINVAL);
        }
    }
}

fn irqs(device: Fd, index: u32, eventfds: &[Fd]) -> Call {
    Call::Device(DeviceCall::SetIrqs { device, index, eventfds: eventfds.to_vec() })
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
fn interrupts_wait_in_the_eventfd_until_a_running_guest_takes_them() {
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
fn an_interrupt_that_another_process_reads_is_gone() {
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

/// The kernel's own reference keeps the interrupt while nobody holds a descriptor but the message.
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
fn the_request_notifier_stands_beside_the_vectors() {
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

#[test]
fn dma_reaches_what_is_mapped() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::NoBusMaster));
    rig.enable_bus_master(OLD, device);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::Blocked));
    rig.attach(OLD, device, ioas);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::Unmapped));
    let memfd = rig.memfd(OLD, 2);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 2));
    let inode = match rig.ok(OLD, Call::File(FileCall::Stat { fd: memfd })) {
        Reply::Stat { inode, .. } => inode,
        other => panic!("{other:?}"),
    };
    for (offset, index) in [(0, 0), (PAGE_BYTES - 1, 0), (PAGE_BYTES, 1)] {
        let page = rig.machine.dma("edu", Iova(BASE.0 + offset)).expect("mapped");
        assert_eq!((page.inode, page.index, page.generation), (inode, index, 0));
    }
    let reach = rig.machine.view().devices["edu"].reach.clone().expect("seen");
    assert_eq!(reach.len(), 1);
    assert!(reach[0].pinned && reach[0].range.length_bytes() == 2 * PAGE_BYTES);
}

#[test]
fn holders_are_those_of_the_bound_file() {
    let mut rig = Rig::new("7.3", unlimited(), unlimited());
    let Setup { device, .. } = rig.set_up(1);
    rig.open(NEW, EDU);
    let holders = |rig: &Rig| rig.machine.view().devices["edu"].holders.clone();
    assert_eq!(holders(&rig).into_iter().collect::<Vec<_>>(), [OLD]);
    rig.pass(&[device]);
    assert_eq!(holders(&rig).into_iter().collect::<Vec<_>>(), [OLD, NEW]);
}
