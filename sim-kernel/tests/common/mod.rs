//! A small machine for tests: two processes, two devices with DMA, one emulated device.
//!
//! After every successful call, the machine's invariants are audited. Every call of
//! [`Rig::refuses`] must leave the machine unchanged.
#![allow(clippy::needless_pass_by_value, reason = "calls are written in place")]

pub(crate) mod raw;

use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply, Rights, SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_model::abi::view::{Account, PageSetView};
use handoff_sim_kernel::{
    BUS_MASTER, COMMAND_OFFSET, DeviceKind, DeviceSpec, Machine, ProcessSpec, Profile,
};

pub(crate) const OLD: Pid = Pid(1);
pub(crate) const NEW: Pid = Pid(2);
pub(crate) const EDU: &str = "/dev/vfio/devices/vfio0";
pub(crate) const NIC: &str = "/dev/vfio/devices/vfio1";
pub(crate) const MTTY: &str = "/dev/vfio/devices/vfio2";
pub(crate) const BAD: Fd = Fd(99);

/// A machine, and both processes' ends of a socket pair.
#[derive(Clone, Debug)]
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) old_end: Fd,
    pub(crate) new_end: Fd,
}

pub(crate) fn process(uid: u32, cap_ipc_lock: bool, limit_pages: u64) -> ProcessSpec {
    let memlock_bytes = limit_pages.saturating_mul(PAGE_BYTES);
    ProcessSpec { uid: Uid(uid), cap_ipc_lock, memlock_bytes }
}

pub(crate) fn unlimited() -> ProcessSpec {
    ProcessSpec { uid: Uid(1000), cap_ipc_lock: false, memlock_bytes: UNLIMITED }
}

pub(crate) fn profile(name: &str) -> Profile {
    Profile::by_name(name).expect("a profile")
}

fn device(name: &str, path: &str, kind: DeviceKind) -> DeviceSpec {
    let irqs = vec![1, 4, 0, 0, 1];
    DeviceSpec { irqs, ..DeviceSpec::new(name, path, kind) }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new("7.3", unlimited(), unlimited())
    }
}

impl Rig {
    pub(crate) fn new(kernel: &str, old: ProcessSpec, new: ProcessSpec) -> Self {
        let mut machine = Machine::new(profile(kernel));
        machine.plug(device("edu", EDU, DeviceKind::Pci { can_reset: false }));
        machine.plug(device("nic", NIC, DeviceKind::Pci { can_reset: true }));
        machine.plug(device("mtty", MTTY, DeviceKind::Mdev { needs_kvm: false }));
        machine.spawn(old);
        machine.spawn(new);
        let (old_end, new_end) = machine.socketpair(OLD, NEW);
        Self { machine, old_end, new_end }
    }

    /// Makes a call that must succeed.
    #[track_caller]
    pub(crate) fn ok(&mut self, pid: Pid, call: Call) -> Reply {
        let answer = self.machine.call(pid, &call);
        self.machine.audit().expect("invariants");
        answer.unwrap_or_else(|errno| panic!("{call:?}: {errno}"))
    }

    /// Makes a call that must fail without changing the machine.
    #[track_caller]
    pub(crate) fn refuses(&self, pid: Pid, call: Call, errno: Errno) {
        let mut machine = self.machine.clone();
        assert_eq!(machine.call(pid, &call), Err(errno), "{call:?}");
        assert_eq!(machine, self.machine, "{call:?} changed something");
    }

    /// Makes a call that must fail, and may change the machine.
    #[track_caller]
    pub(crate) fn fails(&mut self, pid: Pid, call: Call, errno: Errno) {
        assert_eq!(self.machine.call(pid, &call), Err(errno), "{call:?}");
        self.machine.audit().expect("invariants");
    }

    #[track_caller]
    pub(crate) fn fd(&mut self, pid: Pid, call: Call) -> Fd {
        match self.ok(pid, call) {
            Reply::Fd(fd) => fd,
            other => panic!("no descriptor: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn id(&mut self, pid: Pid, call: Call) -> ObjectId {
        match self.ok(pid, call) {
            Reply::Object(id) => id,
            other => panic!("no object: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn open(&mut self, pid: Pid, path: &str) -> Fd {
        self.fd(pid, Call::File(FileCall::Open { path: path.into() }))
    }

    #[track_caller]
    pub(crate) fn iommufd(&mut self, pid: Pid) -> Fd {
        self.open(pid, "/dev/iommu")
    }

    #[track_caller]
    pub(crate) fn ioas(&mut self, pid: Pid, iommufd: Fd) -> ObjectId {
        self.id(pid, Call::Iommufd(IommufdCall::IoasAlloc { iommufd }))
    }

    #[track_caller]
    pub(crate) fn memfd(&mut self, pid: Pid, pages: u64) -> Fd {
        let fd = self.fd(pid, Call::Memory(MemoryCall::Memfd { name: "ram".into() }));
        self.ok(pid, Call::Memory(MemoryCall::Truncate { fd, length_bytes: pages * PAGE_BYTES }));
        fd
    }

    #[track_caller]
    pub(crate) fn mmap(&mut self, pid: Pid, fd: Option<Fd>, pages: u64) -> Va {
        let call = MemoryCall::mmap(fd, 0, pages * PAGE_BYTES);
        match self.ok(pid, call) {
            Reply::Va(va) => va,
            other => panic!("no mapping: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn bind(&mut self, pid: Pid, path: &str, iommufd: Fd) -> (Fd, ObjectId) {
        let device = self.open(pid, path);
        let id = self.id(pid, Call::Device(DeviceCall::Bind { device, iommufd }));
        (device, id)
    }

    #[track_caller]
    pub(crate) fn attach(&mut self, pid: Pid, device: Fd, page_table: ObjectId) -> ObjectId {
        self.id(pid, Call::Device(DeviceCall::Attach { device, page_table }))
    }

    #[track_caller]
    pub(crate) fn enable_bus_master(&mut self, pid: Pid, fd: Fd) {
        let bytes = (0x0103 | BUS_MASTER).to_le_bytes().to_vec();
        self.ok(pid, FileCall::write_at(fd, COMMAND_OFFSET, bytes));
    }

    #[track_caller]
    pub(crate) fn change_process(&mut self, pid: Pid, iommufd: Fd) {
        self.ok(pid, IommufdCall::change_process(iommufd));
    }

    /// Sends descriptors from the old process to the new one. Returns their numbers there.
    #[track_caller]
    pub(crate) fn pass(&mut self, fds: &[Fd]) -> Vec<Fd> {
        self.send(fds);
        match self.ok(NEW, Call::Socket(SocketCall::Receive { fd: self.new_end, wait: true })) {
            Reply::Message { fds, truncated: false, .. } => fds,
            other => panic!("no message: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, fds: &[Fd]) {
        let message = SocketCall::send(self.old_end, vec![1], fds.to_vec());
        self.ok(OLD, message);
    }

    pub(crate) fn locked(&self, account: Account) -> i64 {
        self.machine.view().books.get(&account).copied().unwrap_or(0)
    }

    /// Returns the only page set.
    #[track_caller]
    pub(crate) fn page_set(&self) -> PageSetView {
        let sets = self.machine.view().page_sets;
        assert_eq!(sets.len(), 1);
        sets.into_iter().next().expect("one")
    }
}

/// A context with an IOAS, a memfd mapped there at `0x10000`, and an attached `edu`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) iommufd: Fd,
    pub(crate) ioas: ObjectId,
    pub(crate) memfd: Fd,
    pub(crate) device: Fd,
    pub(crate) device_id: ObjectId,
    pub(crate) hwpt: ObjectId,
}

pub(crate) const BASE: Iova = Iova(0x10000);

impl Rig {
    /// Creates a [`Setup`] in the old process, with `pages` mapped pages.
    #[track_caller]
    pub(crate) fn set_up(&mut self, pages: u64) -> Setup {
        let iommufd = self.iommufd(OLD);
        let ioas = self.ioas(OLD, iommufd);
        let memfd = self.memfd(OLD, pages);
        self.ok(OLD, map_file(iommufd, ioas, memfd, BASE, pages));
        let (device, device_id) = self.bind(OLD, EDU, iommufd);
        let hwpt = self.attach(OLD, device, ioas);
        self.enable_bus_master(OLD, device);
        Setup { iommufd, ioas, memfd, device, device_id, hwpt }
    }
}

pub(crate) fn map_file(iommufd: Fd, ioas: ObjectId, fd: Fd, iova: Iova, pages: u64) -> Call {
    IommufdCall::map_file(iommufd, ioas, (fd, 0), iova, pages * PAGE_BYTES, Rights::ReadWrite)
}

pub(crate) fn map(iommufd: Fd, ioas: ObjectId, user_va: Va, iova: Iova, pages: u64) -> Call {
    IommufdCall::map(iommufd, ioas, user_va, iova, pages * PAGE_BYTES, Rights::ReadWrite)
}

pub(crate) fn copy(iommufd: Fd, from: (ObjectId, Iova), to: (ObjectId, Iova), pages: u64) -> Call {
    IommufdCall::copy(iommufd, from, to, pages * PAGE_BYTES, Rights::ReadWrite)
}

pub(crate) fn unmap(iommufd: Fd, ioas: ObjectId, iova: Iova, pages: u64) -> Call {
    IommufdCall::unmap(iommufd, ioas, iova, pages * PAGE_BYTES)
}
