//! Our own runs: a handoff on the simulated kernel, written down as it goes, is replayed without a
//! difference; and one that was altered afterwards, with exactly one.

use super::adds_up;
use handoff_conformance::replay::{Report, replay};
use handoff_model::abi::call::{Answer, Call, Made, Reply, Rights, UNLIMITED};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid};
use handoff_model::trace::{Given, Header, Record, Stamps, event_of, told};
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine, ProcessSpec, Profile};

const OLD: Pid = Pid(1);
const NEW: Pid = Pid(2);
const IOAS: ObjectId = ObjectId(1);
const DEVICE: ObjectId = ObjectId(2);
const HWPT: ObjectId = ObjectId(3);
const RAM_BYTES: u64 = 16 * PAGE_BYTES;
const MEMLOCK_BYTES: u64 = 40 * PAGE_BYTES;
const DEVICE_FILE: &str = "/dev/vfio/devices/vfio0";

/// A run on the simulated kernel that is written down as it goes.
struct Recorder {
    machine: Machine,
    lines: Vec<String>,
    told: usize,
}

impl Recorder {
    /// Two processes of one user, connected by sockets; the new one can kill the old one.
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
        run.give(OLD, fd, Given::Socket { peer: NEW, peer_fd });
        let pidfd = run.machine.pidfd(NEW, OLD);
        run.give(NEW, pidfd, Given::Pidfd { target: OLD });
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

    fn give(&mut self, pid: Pid, fd: Fd, what: Given) {
        self.tell(pid, Record::Given { fd, what, cloexec: true });
    }

    fn tell(&mut self, pid: Pid, record: Record) {
        self.told += 1;
        self.lines.push(told(pid, record, self.stamps()).line());
    }

    fn stamps(&self) -> Stamps {
        let seq = self.lines.len() as u64;
        Stamps { seq, enter_ns: seq, t_ns: seq }
    }

    fn call(&mut self, pid: Pid, call: Call) -> Answer {
        let answer = self.machine.call(pid, &call);
        let made = Made { pid, call, answer: answer.clone() };
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

/// What is handed over.
#[derive(Clone, Copy)]
struct Hands {
    ram: Fd,
    iommufd: Fd,
    device: Fd,
    event: Fd,
}

/// The old process takes a device into service.
fn launch(run: &mut Recorder) -> Hands {
    let ram = run.open(OLD, Call::Memfd { name: "ram".into() });
    let iommufd = run.open(OLD, Call::Open { path: "/dev/iommu".into() });
    let device = run.open(OLD, Call::Open { path: DEVICE_FILE.into() });
    let event = run.open(OLD, Call::Eventfd);
    let (fd, length_bytes, offset_bytes) = (ram, RAM_BYTES, 0);
    let (ioas, iova, rights) = (IOAS, Iova(0x10_0000), Rights::ReadWrite);
    for call in [
        Call::Truncate { fd, length_bytes },
        Call::SealSize { fd },
        Call::Mmap { fd: Some(fd), offset_bytes, length_bytes },
        Call::IoasAlloc { iommufd },
        Call::IoasMapFile { iommufd, ioas, fd, offset_bytes, length_bytes, iova, rights },
        Call::DeviceInfo { device },
        Call::Bind { device, iommufd },
        Call::Attach { device, page_table: IOAS },
        Call::DeviceInfo { device },
        Call::RegionInfo { device, index: 7 },
        Call::IrqInfo { device, index: 1 },
        Call::IoasIovaRanges { iommufd, ioas },
        Call::GetRlimitMode { iommufd },
        Call::SetIrqs { device, index: 1, eventfds: vec![event, event] },
        Call::Reset { device },
    ] {
        let _ = run.call(OLD, call);
    }
    run.machine.boot_guest(OLD);
    run.tell(OLD, Record::Guest { what: "boot".into(), fd: None });
    Hands { ram, iommufd, device, event }
}

/// The old process stops, sends everything, and waits for the answer.
fn hand_over(run: &mut Recorder, old: Hands) -> Hands {
    let state = run.open(OLD, Call::Memfd { name: "state".into() });
    let _ = run.call(OLD, Call::StopGuest);
    let _ = run.call(OLD, Call::SaveGuest { fd: state });
    let fds = vec![old.ram, old.iommufd, old.device, old.event, state];
    let socket = Fd(3);
    let _ = run.call(OLD, Call::SendMessage { fd: socket, bytes: vec![7; 100], fds });
    let received = run.call(NEW, Call::ReceiveMessage { fd: socket, wait: true });
    let Ok(Reply::Message { fds, .. }) = received else { panic!("no message but {received:?}") };
    let new = Hands { ram: fds[0], iommufd: fds[1], device: fds[2], event: fds[3] };
    let iommufd = new.iommufd;
    for call in [
        Call::LoadGuest { fd: fds[4] },
        Call::Stat { fd: new.ram },
        Call::GetHwInfo { iommufd, device: DEVICE },
        Call::ProbeHwpt { iommufd, hwpt: HWPT },
        Call::ProbeHwpt { iommufd, hwpt: IOAS },
        Call::ChangeProcess { iommufd, reserved: 1 },
        Call::ChangeProcess { iommufd, reserved: 0 },
        Call::Mmap { fd: Some(new.ram), offset_bytes: 0, length_bytes: RAM_BYTES },
        Call::SendMessage { fd: socket, bytes: vec![], fds: vec![] },
    ] {
        let _ = run.call(NEW, call);
    }
    let _ = run.call(OLD, Call::ReceiveMessage { fd: socket, wait: true });
    let _ = run.call(OLD, Call::ShutdownReceive { fd: socket });
    let _ = run.call(NEW, Call::SendMessage { fd: socket, bytes: vec![1], fds: vec![] });
    new
}

/// The new process fences the old one and works on, then ends in another program.
fn go_on(run: &mut Recorder, new: Hands) {
    let Hands { ram, iommufd, device, event } = new;
    let (pidfd, ioas, rights, iova) = (Fd(4), IOAS, Rights::Read, Iova(0x20_0000));
    let anonymous = Call::Mmap { fd: None, offset_bytes: 0, length_bytes: 2 * PAGE_BYTES };
    let Ok(Reply::Va(va)) = run.call(NEW, anonymous) else { panic!("no memory") };
    for call in [
        Call::Kill { pidfd },
        Call::AwaitExit { pidfd },
        Call::Kill { pidfd },
        Call::StartGuest,
        Call::SetIrqs { device, index: 1, eventfds: vec![event] },
        Call::SetIrqs { device, index: 2, eventfds: vec![event] },
        Call::IoasMap { iommufd, ioas, user_va: va, length_bytes: PAGE_BYTES, iova, rights },
        Call::IoasMap { iommufd, ioas, user_va: va, length_bytes: PAGE_BYTES, iova, rights },
        Call::ChangeProcess { iommufd, reserved: 0 },
        Call::IoasUnmap { iommufd, ioas, iova, length_bytes: PAGE_BYTES },
        Call::HwptAlloc { iommufd, device: DEVICE, ioas, nest_parent: false },
        Call::Destroy { iommufd, id: ObjectId(4) },
        Call::Destroy { iommufd, id: IOAS },
        Call::Munmap { va, length_bytes: 1 },
        Call::PunchHole { fd: ram, offset_bytes: 0, length_bytes: PAGE_BYTES },
        Call::WriteAt { fd: ram, offset_bytes: 5, bytes: vec![1, 2, 3] },
        Call::ReadAt { fd: ram, offset_bytes: RAM_BYTES - 1, length_bytes: 8 },
        Call::GetUid,
        Call::SetUid { uid: Uid(0) },
        Call::GetMemlock,
        Call::SetMemlock { limit_bytes: UNLIMITED },
        Call::SetMemlock { limit_bytes: PAGE_BYTES },
        Call::GetCapIpcLock,
        Call::SetCloexec { fd: iommufd, on: false },
        Call::Dup { fd: device },
        Call::Close { fd: Fd(77) },
        Call::Detach { device },
    ] {
        let _ = run.call(NEW, call);
    }
    let image = run.machine.image(NEW, 1);
    run.give(NEW, image, Given::Image { path: "/usr/bin/vmm".into() });
    let _ = run.call(NEW, Call::Exec { image });
    let _ = run.call(NEW, Call::DeviceInfo { device });
    let _ = run.call(NEW, Call::IoasUnmap { iommufd, ioas, iova: Iova(0), length_bytes: u64::MAX });
}

/// A handoff from launch to the next program.
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

/// Whether its IOMMU nests no device tells; what comes of a nesting parent does.
#[test]
fn a_nesting_parent_is_made_again_where_one_was_made() {
    for (nests, made) in [(true, Ok(Reply::Object(HWPT))), (false, Err(Errno::EOPNOTSUPP))] {
        let mut run = Recorder::with_iommu(nests);
        let iommufd = run.open(OLD, Call::Open { path: "/dev/iommu".into() });
        let device = run.open(OLD, Call::Open { path: DEVICE_FILE.into() });
        let _ = run.call(OLD, Call::IoasAlloc { iommufd });
        let _ = run.call(OLD, Call::Bind { device, iommufd });
        let alloc = Call::HwptAlloc { iommufd, device: DEVICE, ioas: IOAS, nest_parent: true };
        assert_eq!(run.call(OLD, alloc), made);
        let probe = run.call(OLD, Call::ProbeNesting { iommufd, device: DEVICE, hwpt: HWPT });
        assert_eq!(probe, Err(if nests { Errno::EOPNOTSUPP } else { Errno::EINVAL }));
        let report = replay(run.lines.into_iter()).expect("our own trace");
        assert_eq!((report.differing, report.told), (0, run.told), "{report}");
    }
}

#[test]
fn what_comes_from_outside_is_taken_as_told() {
    let mut run = Recorder::new();
    let hands = launch(&mut run);
    run.machine.raise("vfio0", 0);
    let read = run.call(OLD, Call::ReadEvent { fd: hands.event });
    assert_eq!(read, Ok(Reply::Count(1)));
    let empty = run.call(NEW, Call::ReceiveMessage { fd: Fd(3), wait: false });
    assert_eq!(empty, Err(Errno::EAGAIN));
    let _ = run.call(NEW, Call::Exit { status: 1 });
    let report = replay(run.lines.into_iter()).expect("our own trace");
    assert_eq!((report.differing, report.told), (0, run.told + 3), "{report}");
}

// ---- differences -------------------------------------------------------------------------------

/// Replays a handoff in which the first line that holds `at` says `to` instead of `from`.
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

/// A difference is told once, whatever follows from it.
#[track_caller]
fn is_told(report: &Report, story: &str) {
    assert!(!report.agrees());
    assert_eq!(report.differing, 1, "{report}");
    let told = report.stories[0].to_string();
    assert!(told.starts_with(story), "{told}");
}

#[test]
fn another_errno_is_a_difference() {
    let report = altered(r#""errno":"EOPNOTSUPP""#, "EOPNOTSUPP", "ENOTTY");
    is_told(
        &report,
        "line 36: process 2: IOMMU_IOAS_CHANGE_PROCESS iommufd 6, reserved 1\n    the kernel said \
         ENOTTY (unknown ioctl), the simulator says EOPNOTSUPP (not supported)",
    );
}

#[test]
fn a_failure_that_only_the_kernel_has_is_a_difference() {
    let report = altered("IOMMU_IOAS_MAP_FILE", r#""ret":0"#, r#""ret":-1,"errno":"ENOMEM""#);
    is_told(&report, "line 14");
}

#[test]
fn an_out_field_is_compared() {
    let report =
        altered("IOMMU_GET_HW_INFO", r#"0800000000000000","ret""#, r#"0000000000000000","ret""#);
    is_told(
        &report,
        "line 33: process 2: IOMMU_GET_HW_INFO device 2, iommufd 6\n    the kernel said hw_info \
         capabilities 0, data_type 1, the simulator says hw_info capabilities 8, data_type 1",
    );
}

#[test]
fn one_cause_is_one_finding() {
    let report = altered(r#""path":"/dev/iommu""#, r#""ret":5"#, r#""ret":-1,"errno":"EACCES""#);
    is_told(&report, "line 7");
    assert_eq!(report.not_followed["IOMMU_IOAS_ALLOC"], 1, "{report}");
}
