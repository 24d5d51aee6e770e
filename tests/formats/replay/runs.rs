//! Tests of our own runs: a recorded handoff on the simulated kernel replays without a difference,
//! and one with an altered line replays with exactly one.

use super::adds_up;
use handoff_conformance::replay::{Report, replay};
use handoff_model::abi::call::{
    Call, CallResult, CompletedCall, DeviceCall, FileCall, GuestCall, IommufdCall, MemoryCall,
    ProcessCall, Reply, Rights, SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid};
use handoff_model::trace::{Header, PassedFd, Record, Stamps, event_of, event_of_record};
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine, ProcessSpec, Profile};

const OLD: Pid = Pid(1);
const NEW: Pid = Pid(2);
const IOAS: ObjectId = ObjectId(1);
const DEVICE: ObjectId = ObjectId(2);
const HWPT: ObjectId = ObjectId(3);
const RAM_BYTES: u64 = 16 * PAGE_BYTES;
const MEMLOCK_BYTES: u64 = 40 * PAGE_BYTES;
const DEVICE_FILE: &str = "/dev/vfio/devices/vfio0";

/// A simulated kernel that records its calls.
struct Recorder {
    machine: Machine,
    lines: Vec<String>,
    told: usize,
}

impl Recorder {
    /// Two processes of one user, connected by sockets; the new one has a pidfd of the old one.
    fn new() -> Self {
        Self::with_iommu(false)
    }

    fn with_iommu(nests: bool) -> Self {
        let mut machine = Machine::new(Profile::by_name("7.3").expect("a profile"));
        let kind = DeviceKind::Pci { can_reset: false };
        let irqs = vec![1, 4, 0, 0, 1];
        machine.plug(DeviceSpec { irqs, nests, ..DeviceSpec::new("vfio0", DEVICE_FILE, kind) });
        let mut run = Self { machine, lines: vec![Header::new("sim", "7.3").line()], told: 0 };
        run.start();
        run.start();
        let (fd, peer_fd) = run.machine.socketpair(OLD, NEW);
        run.give(OLD, fd, PassedFd::Socket { peer: NEW, peer_fd });
        let pidfd = run.machine.pidfd(NEW, OLD);
        run.give(NEW, pidfd, PassedFd::Pidfd { target: OLD });
        run
    }

    fn start(&mut self) {
        let (uid, cap_ipc_lock) = (Uid(1000), false);
        let memlock_bytes = MEMLOCK_BYTES;
        let pid = self.machine.spawn(ProcessSpec { uid, cap_ipc_lock, memlock_bytes });
        let (memlock_cur, memlock_max) = (memlock_bytes, memlock_bytes);
        let (euid, parent) = (uid, Pid(0));
        let start = Record::Start { uid, euid, cap_ipc_lock, memlock_cur, memlock_max, parent };
        self.tell(pid, start);
    }

    fn give(&mut self, pid: Pid, fd: Fd, what: PassedFd) {
        self.tell(pid, Record::Given { fd, what, cloexec: true });
    }

    fn tell(&mut self, pid: Pid, record: Record) {
        self.told += 1;
        self.lines.push(event_of_record(pid, record, self.stamps()).line());
    }

    fn stamps(&self) -> Stamps {
        let seq = self.lines.len() as u64;
        Stamps { seq, enter_ns: seq, t_ns: seq }
    }

    fn call(&mut self, pid: Pid, call: Call) -> CallResult {
        let answer = self.machine.call(pid, &call);
        let made = CompletedCall { pid, call, answer: answer.clone() };
        self.lines.push(event_of(&made, self.stamps()).line());
        answer
    }

    #[track_caller]
    fn open(&mut self, pid: Pid, call: Call) -> Fd {
        match self.call(pid, call) {
            Ok(Reply::Fd(fd)) => fd,
            other => panic!("no descriptor but {other:?}"),
        }
    }
}

/// The descriptors to hand over.
#[derive(Clone, Copy)]
struct Hands {
    ram: Fd,
    iommufd: Fd,
    device: Fd,
    event: Fd,
}

/// Launches a VM with one device in the old process.
fn launch(run: &mut Recorder) -> Hands {
    let ram = run.open(OLD, Call::Memory(MemoryCall::Memfd { name: "ram".into() }));
    let iommufd = run.open(OLD, Call::File(FileCall::Open { path: "/dev/iommu".into() }));
    let device = run.open(OLD, Call::File(FileCall::Open { path: DEVICE_FILE.into() }));
    let event = run.open(OLD, Call::File(FileCall::Eventfd));
    let (fd, length_bytes, offset_bytes) = (ram, RAM_BYTES, 0);
    let (ioas, iova, rights) = (IOAS, Iova(0x10_0000), Rights::ReadWrite);
    for call in [
        Call::Memory(MemoryCall::Truncate { fd, length_bytes }),
        Call::Memory(MemoryCall::SealSize { fd }),
        MemoryCall::mmap(Some(fd), offset_bytes, length_bytes),
        Call::Iommufd(IommufdCall::IoasAlloc { iommufd }),
        IommufdCall::map_file(iommufd, ioas, (fd, offset_bytes), iova, length_bytes, rights),
        Call::Device(DeviceCall::Info { device }),
        Call::Device(DeviceCall::Bind { device, iommufd }),
        Call::Device(DeviceCall::Attach { device, page_table: IOAS }),
        Call::Device(DeviceCall::Info { device }),
        Call::Device(DeviceCall::RegionInfo { device, index: 7 }),
        Call::Device(DeviceCall::IrqInfo { device, index: 1 }),
        Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas }),
        Call::Iommufd(IommufdCall::GetRlimitMode { iommufd }),
        DeviceCall::set_irqs(device, 1, vec![event, event]),
        Call::Device(DeviceCall::Reset { device }),
    ] {
        let _ = run.call(OLD, call);
    }
    run.machine.boot_guest(OLD);
    run.tell(OLD, Record::Guest { what: "boot".into(), fd: None });
    Hands { ram, iommufd, device, event }
}

/// Stops the guest, sends all descriptors, and receives them in the new process.
fn hand_over(run: &mut Recorder, old: Hands) -> Hands {
    let state = run.open(OLD, Call::Memory(MemoryCall::Memfd { name: "state".into() }));
    let _ = run.call(OLD, Call::Guest(GuestCall::Stop));
    let _ = run.call(OLD, Call::Guest(GuestCall::Save { fd: state }));
    let fds = vec![old.ram, old.iommufd, old.device, old.event, state];
    let socket = Fd(3);
    let _ = run.call(OLD, SocketCall::send(socket, vec![7; 100], fds));
    let received = run.call(NEW, Call::Socket(SocketCall::Receive { fd: socket, wait: true }));
    let Ok(Reply::Message { fds, .. }) = received else { panic!("no message but {received:?}") };
    let new = Hands { ram: fds[0], iommufd: fds[1], device: fds[2], event: fds[3] };
    let iommufd = new.iommufd;
    for call in [
        Call::Guest(GuestCall::Load { fd: fds[4] }),
        Call::File(FileCall::Stat { fd: new.ram }),
        Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device: DEVICE }),
        Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt: HWPT }),
        Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt: IOAS }),
        IommufdCall::probe_change_process(iommufd),
        IommufdCall::change_process(iommufd),
        MemoryCall::mmap(Some(new.ram), 0, RAM_BYTES),
        SocketCall::send(socket, vec![], vec![]),
    ] {
        let _ = run.call(NEW, call);
    }
    let _ = run.call(OLD, Call::Socket(SocketCall::Receive { fd: socket, wait: true }));
    let _ = run.call(OLD, Call::Socket(SocketCall::ShutdownReceive { fd: socket }));
    let _ = run.call(NEW, SocketCall::send(socket, vec![1], vec![]));
    new
}

/// The new process kills the old one, continues to work, and executes another program.
fn go_on(run: &mut Recorder, new: Hands) {
    let Hands { ram, iommufd, device, event } = new;
    let (pidfd, ioas, rights, iova) = (Fd(4), IOAS, Rights::Read, Iova(0x20_0000));
    let anonymous = MemoryCall::mmap(None, 0, 2 * PAGE_BYTES);
    let Ok(Reply::Va(va)) = run.call(NEW, anonymous) else { panic!("no memory") };
    for call in [
        Call::Process(ProcessCall::Kill { pidfd }),
        Call::Process(ProcessCall::AwaitExit { pidfd }),
        Call::Process(ProcessCall::Kill { pidfd }),
        Call::Guest(GuestCall::Start),
        DeviceCall::set_irqs(device, 1, vec![event]),
        DeviceCall::set_irqs(device, 2, vec![event]),
        IommufdCall::map(iommufd, ioas, va, iova, PAGE_BYTES, rights),
        IommufdCall::map(iommufd, ioas, va, iova, PAGE_BYTES, rights),
        IommufdCall::change_process(iommufd),
        IommufdCall::unmap(iommufd, ioas, iova, PAGE_BYTES),
        IommufdCall::hwpt_alloc(iommufd, DEVICE, ioas),
        Call::Iommufd(IommufdCall::Destroy { iommufd, id: ObjectId(4) }),
        Call::Iommufd(IommufdCall::Destroy { iommufd, id: IOAS }),
        Call::Memory(MemoryCall::Munmap { va, length_bytes: 1 }),
        MemoryCall::punch_hole(ram, 0, PAGE_BYTES),
        FileCall::write_at(ram, 5, vec![1, 2, 3]),
        FileCall::read_at(ram, RAM_BYTES - 1, 8),
        Call::Process(ProcessCall::GetUid),
        Call::Process(ProcessCall::SetUid { uid: Uid(0) }),
        Call::Process(ProcessCall::GetMemlock),
        Call::Process(ProcessCall::SetMemlock { limit_bytes: UNLIMITED }),
        Call::Process(ProcessCall::SetMemlock { limit_bytes: PAGE_BYTES }),
        Call::Process(ProcessCall::GetCapIpcLock),
        Call::File(FileCall::SetCloexec { fd: iommufd, on: false }),
        Call::File(FileCall::Dup { fd: device }),
        Call::File(FileCall::Close { fd: Fd(77) }),
        Call::Device(DeviceCall::Detach { device }),
    ] {
        let _ = run.call(NEW, call);
    }
    let image = run.machine.image(NEW, 1);
    run.give(NEW, image, PassedFd::Image { path: "/usr/bin/vmm".into() });
    let _ = run.call(NEW, Call::Process(ProcessCall::Exec { image }));
    let _ = run.call(NEW, Call::Device(DeviceCall::Info { device }));
    let _ = run.call(NEW, IommufdCall::unmap(iommufd, ioas, Iova(0), u64::MAX));
}

/// A handoff from the launch to the next program.
fn handoff() -> Recorder {
    let mut run = Recorder::new();
    let old = launch(&mut run);
    let new = hand_over(&mut run, old);
    go_on(&mut run, new);
    run
}

#[test]
fn a_run_on_the_simulator_is_replayed_without_a_difference() {
    let run = handoff();
    let report = replay(run.lines.iter().cloned()).expect("our own trace");
    assert!(report.agrees(), "{report}");
    assert_eq!(report.told, run.told, "{report}");
    assert_eq!(report.agreeing, run.lines.len() - 1 - run.told, "everything else: {report}");
}

/// A trace does not record that the IOMMU supports nesting; the answer to a request for a nesting
/// parent shows it.
#[test]
fn a_nesting_parent_is_allocated_if_the_recorded_kernel_allocated_it() {
    for (nests, made) in [(true, Ok(Reply::Object(HWPT))), (false, Err(Errno::EOPNOTSUPP))] {
        let mut run = Recorder::with_iommu(nests);
        let iommufd = run.open(OLD, Call::File(FileCall::Open { path: "/dev/iommu".into() }));
        let device = run.open(OLD, Call::File(FileCall::Open { path: DEVICE_FILE.into() }));
        let _ = run.call(OLD, Call::Iommufd(IommufdCall::IoasAlloc { iommufd }));
        let _ = run.call(OLD, Call::Device(DeviceCall::Bind { device, iommufd }));
        let alloc = IommufdCall::hwpt_alloc_nest_parent(iommufd, DEVICE, IOAS);
        assert_eq!(run.call(OLD, alloc), made);
        let probe = run.call(
            OLD,
            Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device: DEVICE, hwpt: HWPT }),
        );
        assert_eq!(probe, Err(if nests { Errno::EOPNOTSUPP } else { Errno::EINVAL }));
        let report = replay(run.lines.into_iter()).expect("our own trace");
        assert_eq!((report.differing, report.told), (0, run.told), "{report}");
    }
}

#[test]
fn external_events_are_accepted_without_comparison() {
    let mut run = Recorder::new();
    let hands = launch(&mut run);
    run.machine.raise("vfio0", 0);
    let read = run.call(OLD, Call::File(FileCall::ReadEvent { fd: hands.event }));
    assert_eq!(read, Ok(Reply::Count(1)));
    let empty = run.call(NEW, Call::Socket(SocketCall::Receive { fd: Fd(3), wait: false }));
    assert_eq!(empty, Err(Errno::EAGAIN));
    let _ = run.call(NEW, Call::Process(ProcessCall::Exit { status: 1 }));
    let report = replay(run.lines.into_iter()).expect("our own trace");
    assert_eq!((report.differing, report.told), (0, run.told + 3), "{report}");
}

// ---- differences -------------------------------------------------------------------------------

/// Replays a handoff in which `from` is replaced by `to` in the first line that contains `at`.
#[track_caller]
fn altered(at: &str, from: &str, to: &str) -> Report {
    let mut lines = handoff().lines;
    let line = lines.iter_mut().find(|line| line.contains(at)).expect("such a line");
    assert!(line.contains(from), "{line}");
    *line = line.replace(from, to);
    let report = replay(lines.into_iter()).expect("still a trace");
    adds_up(&report);
    report
}

/// Asserts that a difference is reported exactly once, despite its consequences.
#[track_caller]
fn is_reported_once(report: &Report, story: &str) {
    assert!(!report.agrees());
    assert_eq!(report.differing, 1, "{report}");
    let told = report.stories[0].to_string();
    assert!(told.starts_with(story), "{told}");
}

#[test]
fn another_errno_is_a_difference() {
    let report = altered(r#""errno":"EOPNOTSUPP""#, "EOPNOTSUPP", "ENOTTY");
    is_reported_once(
        &report,
        "line 36: process 2: IOMMU_IOAS_CHANGE_PROCESS iommufd 6, reserved 1\n    the kernel \
         returned ENOTTY (unknown ioctl), the simulator returned EOPNOTSUPP (not supported)",
    );
}

#[test]
fn a_failure_that_only_the_kernel_has_is_a_difference() {
    let report = altered("IOMMU_IOAS_MAP_FILE", r#""ret":0"#, r#""ret":-1,"errno":"ENOMEM""#);
    is_reported_once(&report, "line 14");
}

#[test]
fn an_out_field_is_compared() {
    let report =
        altered("IOMMU_GET_HW_INFO", r#"0800000000000000","ret""#, r#"0000000000000000","ret""#);
    is_reported_once(
        &report,
        "line 33: process 2: IOMMU_GET_HW_INFO device 2, iommufd 6\n    the kernel returned \
         hw_info capabilities 0, data_type 1, the simulator returned hw_info capabilities 8, \
         data_type 1",
    );
}

#[test]
fn one_cause_is_one_finding() {
    let report = altered(r#""path":"/dev/iommu""#, r#""ret":5"#, r#""ret":-1,"errno":"EACCES""#);
    is_reported_once(&report, "line 7");
    assert_eq!(report.not_followed["IOMMU_IOAS_ALLOC"], 1, "{report}");
}
