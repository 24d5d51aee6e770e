//! Bind and attach: errors, holders of a bound file, replacements, emulated devices.

use super::upsets;
use crate::common::{BAD, BASE, EDU, MTTY, NEW, NIC, OLD, Rig, Setup, map, map_file, unlimited};
use handoff_model::abi::call::{Call, DeviceCall, FileCall, IommufdCall, Reply, SocketCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId};
use handoff_sim_kernel::{DeviceKind, DeviceSpec, DmaFault};

const NONE: ObjectId = ObjectId(77);

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
fn a_device_is_bound_until_its_last_reference_is_dropped() {
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
    rig.ok(OLD, IommufdCall::change_process(iommufd));
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

/// Retargets a map call to a new address space, and makes it.
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
        }) => IommufdCall::map(iommufd, new, user_va, iova, length_bytes, rights),
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
            IommufdCall::map_file(iommufd, ioas, (fd, offset_bytes), iova, length_bytes, rights)
        }
        other => panic!("no map: {other:?}"),
    };
    rig.ok(OLD, call);
    new
}

#[test]
fn attaching_again_replaces_and_detaching_twice_succeeds() {
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
fn holders_are_those_of_the_bound_file() {
    let mut rig = Rig::new("7.3", unlimited(), unlimited());
    let Setup { device, .. } = rig.set_up(1);
    rig.open(NEW, EDU);
    let holders = |rig: &Rig| rig.machine.view().devices["edu"].holders.clone();
    assert_eq!(holders(&rig).into_iter().collect::<Vec<_>>(), [OLD]);
    rig.pass(&[device]);
    assert_eq!(holders(&rig).into_iter().collect::<Vec<_>>(), [OLD, NEW]);
}
