//! The lives of the processes of a run: small VMMs whose guest drives test devices.
//!
//! The old one launches the VM, lets its devices work, and hands it over; the new one takes it, lets the
//! devices work on, looks at the host, and ends. Both run the roles of `handoff_model` unchanged, on the
//! real kernel, with every call recorded. What is done here and not there is a test's: waiting until the
//! devices have done something, and dying on purpose.

use crate::host_run::observe::{self, Sight};
use crate::host_run::run_dir::{Folder, Note, Order, Seen};
use crate::scenario::{Process as Rights, Scenario};
use handoff_model::abi::call::{Call, GuestCall, Made, ProcessCall, Reply, UNLIMITED};
use handoff_model::abi::ids::{Fd, PAGE_BYTES, Pid, Uid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::protocol::Mode;
use handoff_model::protocol::phase::InPhase;
use handoff_model::role::incoming::{Arrival, Incoming, Origin};
use handoff_model::role::outgoing::{Outgoing, Way};
use handoff_model::role::{self, Role, drive};
use handoff_model::trace::{Given, Record, Stamps, event_of, told};
use handoff_model::vm::launch::{Plan, launch};
use handoff_model::vm::{Backing, Descriptors, Key, Kind, Vm};
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::host::Host;
use handoff_real_backend::memory::Memory;
use handoff_real_backend::recorder::Recorder;
use handoff_real_backend::sysfs::Sysfs;
use handoff_real_backend::{descriptors, socket, spawn};
use handoff_testbed::family;
use handoff_testbed::guest::TestGuest;
use handoff_testbed::workload::{Ram, Wires};
use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::time::{Duration, Instant};

/// DMAs that every device must do before, and again after, a handoff.
pub(in crate::host_run) const DMAS: u64 = 4;
/// How long they may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A reason to give up, for people.
pub type Failure = String;

/// One process of a run.
struct Process {
    folder: Folder,
    order: Order,
    scenario: Scenario,
    memory: Memory,
    guest: TestGuest,
}

impl Process {
    fn new(folder: Folder) -> Result<Self, Failure> {
        let order = folder.order().map_err(|error| format!("order: {error}"))?;
        let scenario =
            Scenario::parse(&order.name, &order.text).map_err(|error| error.to_string())?;
        let memory = Memory::default();
        let guest = TestGuest::new(memory.clone());
        Ok(Self { folder, order, scenario, memory, guest })
    }

    /// The door to the kernel, which records; `argv` is for the program that an `execve` starts.
    fn kernel(&self, argv: Vec<OsString>) -> impl Kernel + use<> {
        let host = Host::new(argv, self.memory.clone(), Box::new(self.guest.clone()));
        let folder = self.folder.clone();
        Recorder::new(host, own_pid(), move |made: Made, enter_ns, t_ns| {
            let event = event_of(&made, Stamps { seq: 0, enter_ns, t_ns });
            folder.event(&event).expect("the folder of the run stays writable");
        })
    }

    fn tell(&self, record: Record) {
        self.tell_at(record, monotonic_ns());
    }

    fn tell_at(&self, record: Record, t_ns: u64) {
        let event = told(own_pid(), record, Stamps { seq: 0, enter_ns: t_ns, t_ns });
        self.folder.event(&event).expect("the folder of the run stays writable");
    }

    fn note(&self, note: &Note) {
        self.folder.note(note).expect("the folder of the run stays writable");
    }

    /// Tells what the process begins with.
    fn introduce(&self, kernel: &mut impl Kernel, parent: u32, t_ns: u64) {
        let uid = match kernel.call(&Call::Process(ProcessCall::GetUid)) {
            Ok(Reply::Uid(uid)) => uid,
            _ => Uid(0),
        };
        let cap_ipc_lock =
            kernel.call(&Call::Process(ProcessCall::GetCapIpcLock)) == Ok(Reply::Flag(true));
        let memlock = match kernel.call(&Call::Process(ProcessCall::GetMemlock)) {
            Ok(Reply::Memlock(bytes)) => bytes,
            _ => UNLIMITED,
        };
        // A new process is made by fork and exec: what it does not inherit is closed.
        let is_new = parent != 0;
        let start = Record::Start {
            uid,
            euid: uid,
            cap_ipc_lock,
            memlock_cur: memlock,
            memlock_max: memlock,
            parent: Pid(parent),
        };
        self.tell_at(start, t_ns);
        if is_new {
            let (uid, cap_ipc_lock) = (Some(uid), Some(cap_ipc_lock));
            let path = "/proc/self/exe".to_owned();
            self.tell_at(
                Record::Exec { path, argv: Vec::new(), uid, euid: uid, cap_ipc_lock },
                t_ns + 1,
            );
        }
    }

    /// Waits until every device has done so many more DMAs, and none has a fault.
    fn work(&self, dmas: u64) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        let goals: Vec<_> = self.guest.progress().iter().map(|p| p.finished + dmas).collect();
        loop {
            let progress = self.guest.progress();
            if let Some(fault) = progress.iter().flat_map(|device| &device.faults).next() {
                return Err(format!("a device is at fault: {fault:?}"));
            }
            if progress.iter().zip(&goals).all(|(device, goal)| device.finished >= *goal) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the devices do not work: {progress:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last words of the process that has the guest.
    fn end(&self, kernel: &mut impl Kernel, pids: &[Pid], vm: &Vm, descriptors: &Descriptors) {
        let from = self.guest.progress();
        let failure = self.work(DMAS).err();
        let seen = self.look(pids, vm, descriptors);
        self.note(&Note::Final { from, progress: self.guest.progress(), failure, seen });
        let _ = kernel.call(&Call::Guest(GuestCall::Stop));
        let _ = kernel.call(&Call::Process(ProcessCall::Exit { status: 0 }));
    }

    fn look(&self, pids: &[Pid], vm: &Vm, descriptors: &Descriptors) -> Seen {
        let guest = &self.guest;
        observe::look(&Sight { pids, vm, descriptors, guest, devices: &self.order.devices })
    }

    /// Notes what matters of a step of either role.
    fn observe(&self, phase: &str, seen: &role::Seen<'_>) {
        match seen {
            role::Seen::After(Call::Guest(GuestCall::Stop), Ok(_), _) => {
                let progress = self.guest.progress();
                self.note(&Note::Stopped { at_ns: monotonic_ns(), progress });
            }
            role::Seen::After(_, _, Some(trouble)) => {
                let (phase, what) = (phase.to_owned(), trouble.to_string());
                self.note(&Note::Trouble { phase, what });
            }
            _ => {}
        }
    }

    /// Before the guest runs again: waits until each interrupt under way has arrived.
    fn await_interrupts(&self, vm: &Vm, descriptors: &Descriptors) {
        let started = monotonic_ns();
        let until = Instant::now() + Duration::from_secs(2);
        let keys = || vm.devices.iter().flat_map(handoff_model::vm::Device::interrupt_keys);
        let waiting = || -> Vec<u64> {
            let fds = keys().filter_map(|(_, key)| descriptors.get(&key));
            fds.map(|fd| descriptors::own(fd).ok().and_then(|d| d.event_count).unwrap_or(0))
                .collect()
        };
        while waiting().contains(&0) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let at_ns = monotonic_ns();
        self.note(&Note::Starting { at_ns, waited_ns: at_ns - started, waiting: waiting() });
    }
}

fn own_pid() -> Pid {
    Pid(std::process::id())
}

/// The life of the old process. Returns only when something prevented it from ending as it should.
pub fn old(folder: Folder) -> Failure {
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    match process.live_old() {
        Ok(()) => "the old process should have ended".to_owned(),
        Err(why) => {
            process.note(&Note::NotLaunched { why: why.clone() });
            why
        }
    }
}

impl Process {
    fn live_old(&self) -> Result<(), Failure> {
        let mut kernel = self.kernel(Vec::new());
        self.introduce(&mut kernel, 0, monotonic_ns());
        Self::limit(&mut kernel, self.scenario.old)?;
        let plan = self.plan()?;
        let (vm, descriptors) = launch(&plan, &mut kernel).map_err(|error| error.to_string())?;
        self.wire(&vm, &descriptors)?;
        self.tell(Record::Guest { what: "boot".to_owned(), fd: None });
        kernel
            .call(&Call::Guest(GuestCall::Start))
            .map_err(|errno| format!("the guest does not start: {errno}"))?;
        self.work(DMAS)?;
        let seen = self.look(&[own_pid()], &vm, &descriptors);
        self.note(&Note::Launched { progress: self.guest.progress(), seen });
        match self.scenario.mode {
            Mode::Transfer => self.transfer(&vm, &descriptors)?,
            Mode::Exec => self.exec(&vm, &descriptors)?,
        }
        self.end(&mut kernel, &[own_pid()], &vm, &descriptors);
        Ok(())
    }

    /// Takes on the rights that the scenario gives, as far as they differ from those at hand.
    fn limit(kernel: &mut impl Kernel, rights: Rights) -> Result<(), Failure> {
        let mut change = |reads: Call, wanted: Reply, writes: Call| match kernel.call(&reads) {
            Ok(reply) if reply == wanted => Ok(()),
            _ => {
                let done = kernel.call(&writes).map(drop);
                done.map_err(|errno| format!("{}: {errno}", writes.name()))
            }
        };
        let Rights { uid, cap_ipc_lock, memlock_bytes } = rights;
        let limit = Call::Process(ProcessCall::SetMemlock { limit_bytes: memlock_bytes });
        change(Call::Process(ProcessCall::GetMemlock), Reply::Memlock(memlock_bytes), limit)?;
        change(
            Call::Process(ProcessCall::GetUid),
            Reply::Uid(uid),
            Call::Process(ProcessCall::SetUid { uid }),
        )?;
        if !cap_ipc_lock {
            change(
                Call::Process(ProcessCall::GetCapIpcLock),
                Reply::Flag(false),
                Call::Process(ProcessCall::DropCapIpcLock),
            )?;
        }
        Ok(())
    }

    /// The scenario's plan with the host's device files in it.
    fn plan(&self) -> Result<Plan, Failure> {
        let mut plan = self.scenario.plan.clone();
        for (device, bdf) in plan.devices.iter_mut().zip(&self.order.devices) {
            let cdev =
                Sysfs::default().cdev(*bdf).ok_or(format!("{bdf} has no VFIO device file"))?;
            let path = cdev.to_str().ok_or("a device file with an odd name")?;
            path.clone_into(&mut device.path);
        }
        Ok(plan)
    }

    /// Gives the guest its devices, and the first file-backed RAM block for their DMA.
    fn wire(&self, vm: &Vm, descriptors: &Descriptors) -> Result<(), Failure> {
        let find = |key: &Key| descriptors.get(key).ok_or(format!("{key} is not open"));
        let block = vm.ram.iter().find(|block| block.backing == Backing::File);
        let block = block.ok_or("the guest needs a file-backed RAM block")?;
        let planned = self.scenario.plan.ram.iter().find(|ram| ram.name == block.name);
        let planned = planned.ok_or("the guest's RAM is not planned")?;
        let fd = find(&Key::new(Kind::Ram, &block.name, 0))?;
        let ram = Ram { fd, iova: planned.iova, pages: planned.length_bytes / PAGE_BYTES };
        let mut wires = Vec::new();
        for device in &vm.devices {
            let trigger = device.interrupt_keys().next().ok_or("a device without an interrupt")?.1;
            wires.push(Wires {
                device: find(&Key::new(Kind::Device, &device.name, 0))?,
                trigger: find(&trigger)?,
            });
        }
        self.guest
            .wire(1, ram, &wires)
            .map_err(|errno| format!("the test devices do not answer: {errno}"))
    }

    /// Hands over to a new process; returns when that failed for good.
    fn transfer(&self, vm: &Vm, descriptors: &Descriptors) -> Result<(), Failure> {
        for attempt in 0.. {
            let kill = self.order.sweep.then_some(attempt);
            if self.attempt(vm, descriptors, kill)? == Ending::Refused || kill.is_none() {
                return Ok(());
            }
            self.work(1)?;
            let pins = observe::pins(vm);
            self.note(&Note::Survived { attempt: attempt + 1, pins });
        }
        Ok(())
    }

    fn attempt(
        &self,
        vm: &Vm,
        descriptors: &Descriptors,
        kill: Option<u32>,
    ) -> Result<Ending, Failure> {
        let failed = |what: &str, errno| format!("{what}: {errno}");
        let (socket, peer) = socket::pair().map_err(|errno| failed("socketpair", errno))?;
        let socket = Fd(socket.into_raw_fd());
        let mut argv: Vec<OsString> = ["handoff", "vmm", "new"].map(OsString::from).to_vec();
        argv.push(self.folder.path().into());
        let numbers = [i64::from(own_pid().0), i64::from(socket.0), monotonic_ns().cast_signed()];
        argv.extend(numbers.iter().map(|number| number.to_string().into()));
        argv.extend(kill.map(|step| step.to_string().into()));
        let image = std::env::current_exe().map_err(|error| format!("own program: {error}"))?;
        let mut child =
            spawn::spawn(&image, &argv, peer).map_err(|errno| failed("a new process", errno))?;
        let pidfd = child.pidfd.try_clone().map_err(|error| format!("pidfd: {error}"))?;
        let pidfd = Fd(pidfd.into_raw_fd());
        self.tell(Record::Given {
            fd: pidfd,
            what: Given::Pidfd { target: child.pid },
            cloexec: true,
        });
        let way = Way::Transfer { socket, pidfd };
        self.play(vm, descriptors, way, &mut self.kernel(Vec::new()));
        let ended = child.wait(PATIENCE).map_err(|errno| failed("wait", errno))?;
        let killed = ended.is_some_and(|status| status.code().is_none());
        Ok(if killed { Ending::Killed } else { Ending::Refused })
    }

    /// Becomes the new program; returns when that failed.
    fn exec(&self, vm: &Vm, descriptors: &Descriptors) -> Result<(), Failure> {
        let open = || {
            let file = std::fs::File::open("/proc/self/exe");
            let fd = Fd(file.map_err(|error| format!("own program: {error}"))?.into_raw_fd());
            let what = Given::Image { path: "/proc/self/exe".to_owned() };
            self.tell(Record::Given { fd, what, cloexec: true });
            Ok::<_, Failure>(fd)
        };
        let (new_image, old_image) = (open()?, open()?);
        let stream = descriptors.get(&Key::new(Kind::Stream, "", 0)).ok_or("no stream")?;
        let mut kernel = self.kernel(self.exec_argv(stream, old_image));
        self.play(vm, descriptors, Way::Exec { new_image, old_image }, &mut kernel);
        Ok(())
    }

    fn exec_argv(&self, stream: Fd, old_image: Fd) -> Vec<OsString> {
        self.program_argv("exec", stream, old_image)
    }

    /// The command line of a program that finds the stream and the old image inherited.
    fn program_argv(&self, life: &str, stream: Fd, old_image: Fd) -> Vec<OsString> {
        let mut argv: Vec<OsString> = ["handoff", "vmm", life].map(OsString::from).to_vec();
        argv.push(self.folder.path().into());
        argv.extend([stream, old_image].map(|fd| fd.to_string().into()));
        argv
    }

    fn play(&self, vm: &Vm, descriptors: &Descriptors, way: Way, kernel: &mut impl Kernel) {
        let mut role = Outgoing::new(&self.scenario.protocol(), vm, descriptors, way);
        let mut told = None;
        drive(&mut role, kernel, |role, seen| {
            self.observe(&role.phase_name(), &seen);
            if role.outcome() != told {
                told = role.outcome();
                if let Some(outcome) = told {
                    self.note(&Note::Outcome { outcome });
                }
            }
        });
    }
}

/// How an attempt ended that did not succeed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The new process was killed.
    Killed,
    /// One of the two refused.
    Refused,
}

/// What a new process is told on its command line.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// The old process.
    pub peer: u32,
    /// Its end of the socket.
    pub peer_fd: i32,
    /// When it was about to be started, on the clock of the trace.
    pub born_ns: u64,
    /// Before which step to die.
    pub kill: Option<u32>,
}

/// The life of the new process by transfer. Returns only when something went wrong.
pub fn new(folder: Folder, birth: Birth) -> Failure {
    let socket = match spawn::take_inherited() {
        Ok(socket) => socket,
        Err(errno) => return format!("no inherited socket: {errno}"),
    };
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    let mut kernel = process.kernel(Vec::new());
    process.introduce(&mut kernel, birth.peer, birth.born_ns);
    let what = Given::Socket { peer: Pid(birth.peer), peer_fd: Fd(birth.peer_fd) };
    process.tell_at(Record::Given { fd: socket, what, cloexec: true }, birth.born_ns + 2);
    if let Err(why) = Process::limit(&mut kernel, process.scenario.new) {
        return why;
    }
    let role = Incoming::new(&process.scenario.protocol(), Origin::Transfer { socket });
    process.arrive(role, &mut kernel, birth.kill, &[Pid(birth.peer), own_pid()])
}

/// The life of the new program in the old process, by exec; `again`: of the old program, when the new one
/// could not take over. Returns only when something went wrong.
pub fn executed(folder: Folder, stream: Fd, old_image: Fd, again: bool) -> Failure {
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    let mut kernel = process.kernel(process.program_argv("fallback", stream, old_image));
    let mut protocol = process.scenario.protocol();
    if again {
        process.note(&Note::FellBack);
        protocol = protocol.last_resort();
    }
    let role = Incoming::new(&protocol, Origin::Exec { stream, old_image });
    process.arrive(role, &mut kernel, None, &[own_pid()])
}

impl Process {
    fn arrive(
        &self,
        mut role: Incoming,
        kernel: &mut impl Kernel,
        kill: Option<u32>,
        pids: &[Pid],
    ) -> Failure {
        let (mut step, mut told) = (0, None);
        drive(&mut role, kernel, |role, seen| {
            self.observe(&role.phase_name(), &seen);
            if let role::Seen::Before(call) = seen {
                let committed = matches!(role.phase(), InPhase::Run | InPhase::Settle);
                if kill == Some(step) && !committed {
                    self.die(step, &role.phase_name());
                }
                step += 1;
                if let (Call::Guest(GuestCall::Start), Some((vm, descriptors))) =
                    (call, role.inventory())
                {
                    self.await_interrupts(&vm, &descriptors);
                }
            }
            if role.arrival() != told {
                told = role.arrival();
                if let Some(arrival) = told {
                    self.note(&Note::Arrival { arrival });
                }
            }
        });
        match (role.arrival(), role.inventory()) {
            (Some(Arrival::TookOver), Some((vm, descriptors))) => {
                self.end(kernel, pids, &vm, &descriptors);
                "the new process should have ended".to_owned()
            }
            _ => "the new process did not take over".to_owned(),
        }
    }

    /// Dies as if killed from outside, between two calls. The old process is given time to come to
    /// where it waits, so that the trace has its calls and this death in the order in which they were.
    fn die(&self, step: u32, phase: &str) {
        std::thread::sleep(Duration::from_millis(100));
        self.note(&Note::Killed { step, phase: phase.to_owned() });
        self.tell(Record::Exit { status: None, signal: Some("SIGKILL".to_owned()) });
        family::kill_self();
    }
}
