//! The processes of a run: small VMMs whose guest drives test devices.
//!
//! The old process launches the VM, lets its devices work, and hands it over. The new one takes it
//! over, lets the devices work again, observes the host, and exits. Both run the roles of
//! `handoff_model` unchanged, on the real kernel, with every call recorded. This module adds only
//! what the test needs: waiting until the devices have made progress, and self-inflicted kills.

mod incoming;
mod outgoing;

pub use incoming::{Inherited, executed, new};
pub use outgoing::old;

use crate::host_run::observe::{self, Observer};
use crate::host_run::run_dir::{HostObservation, RunDir, RunEvent, RunSpec};
use crate::scenario::{Credentials as Rights, Scenario};
use handoff_model::abi::call::{Call, CompletedCall, GuestCall, ProcessCall, Reply, UNLIMITED};
use handoff_model::abi::ids::{Fd, Pid, Uid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::role;
use handoff_model::trace::{Record, Stamps, event_of, event_of_record};
use handoff_model::vm::{Descriptors, Vm};
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::host::Host;
use handoff_real_backend::memory::Memory;
use handoff_real_backend::recorder::Recorder;
use handoff_testbed::guest::TestGuest;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// Number of DMAs that every device must do before the handoff, and again after it.
pub(in crate::host_run) const DMAS: u64 = 4;
/// The longest time that these DMAs may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A reason to give up, as text.
pub type Failure = String;

/// One process of a run.
struct Process {
    folder: RunDir,
    order: RunSpec,
    scenario: Scenario,
    memory: Memory,
    guest: TestGuest,
}

impl Process {
    fn new(folder: RunDir) -> Result<Self, Failure> {
        let order = folder.order().map_err(|error| format!("order: {error}"))?;
        let scenario =
            Scenario::parse(&order.name, &order.text).map_err(|error| error.to_string())?;
        let memory = Memory::default();
        let guest = TestGuest::new(memory.clone());
        Ok(Self { folder, order, scenario, memory, guest })
    }

    /// The kernel, with a recorder; `argv` is for the program that an `execve` starts.
    fn kernel(&self, argv: Vec<OsString>) -> impl Kernel + use<> {
        let host = Host::new(argv, self.memory.clone(), Box::new(self.guest.clone()));
        let folder = self.folder.clone();
        Recorder::new(host, own_pid(), move |made: CompletedCall, enter_ns, t_ns| {
            let event = event_of(&made, Stamps { seq: 0, enter_ns, t_ns });
            folder.event(&event).expect("the folder of the run stays writable");
        })
    }

    /// The command line of a program that inherits the stream and the old image.
    fn program_argv(&self, life: &str, stream: Fd, old_image: Fd) -> Vec<OsString> {
        let mut argv: Vec<OsString> = ["handoff", "vmm", life].map(OsString::from).to_vec();
        argv.push(self.folder.path().into());
        argv.extend([stream, old_image].map(|fd| fd.to_string().into()));
        argv
    }

    fn record(&self, record: Record) {
        self.record_at(record, monotonic_ns());
    }

    fn record_at(&self, record: Record, t_ns: u64) {
        let event = event_of_record(own_pid(), record, Stamps { seq: 0, enter_ns: t_ns, t_ns });
        self.folder.event(&event).expect("the folder of the run stays writable");
    }

    fn note(&self, note: &RunEvent) {
        self.folder.note(note).expect("the folder of the run stays writable");
    }

    /// Records the credentials and limits with which the process starts.
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
        // A new process is made by fork and exec: descriptors that it does not inherit are closed.
        let is_new = parent != 0;
        let start = Record::Start {
            uid,
            euid: uid,
            cap_ipc_lock,
            memlock_cur: memlock,
            memlock_max: memlock,
            parent: Pid(parent),
        };
        self.record_at(start, t_ns);
        if is_new {
            let (uid, cap_ipc_lock) = (Some(uid), Some(cap_ipc_lock));
            let path = "/proc/self/exe".to_owned();
            self.record_at(
                Record::Exec { path, argv: Vec::new(), uid, euid: uid, cap_ipc_lock },
                t_ns + 1,
            );
        }
    }

    /// Takes on the credentials of the scenario, as far as they differ from the current ones.
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

    /// Waits until every device has done `dmas` more DMAs. Fails if a device has a fault.
    fn work(&self, dmas: u64) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        let goals: Vec<_> = self.guest.progress().iter().map(|p| p.finished + dmas).collect();
        loop {
            let progress = self.guest.progress();
            if let Some(fault) = progress.iter().flat_map(|device| &device.faults).next() {
                return Err(format!("a device has a fault: {fault:?}"));
            }
            if progress.iter().zip(&goals).all(|(device, goal)| device.finished >= *goal) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the devices make too little progress: {progress:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes the final report of the process that has the guest, and exits.
    fn end(&self, kernel: &mut impl Kernel, pids: &[Pid], vm: &Vm, descriptors: &Descriptors) {
        let from = self.guest.progress();
        let failure = self.work(DMAS).err();
        let seen = self.look(pids, vm, descriptors);
        self.note(&RunEvent::Final { from, progress: self.guest.progress(), failure, seen });
        let _ = kernel.call(&Call::Guest(GuestCall::Stop));
        let _ = kernel.call(&Call::Process(ProcessCall::Exit { status: 0 }));
    }

    fn look(&self, pids: &[Pid], vm: &Vm, descriptors: &Descriptors) -> HostObservation {
        let guest = &self.guest;
        observe::look(&Observer { pids, vm, descriptors, guest, devices: &self.order.devices })
    }

    /// Notes the relevant events of a step of either role.
    fn observe(&self, phase: &str, seen: &role::StepEvent<'_>) {
        match seen {
            role::StepEvent::Returned(Call::Guest(GuestCall::Stop), Ok(_), _) => {
                let progress = self.guest.progress();
                self.note(&RunEvent::Stopped { at_ns: monotonic_ns(), progress });
            }
            role::StepEvent::Returned(_, _, Some(error)) => {
                let (phase, what) = (phase.to_owned(), error.to_string());
                self.note(&RunEvent::Trouble { phase, what });
            }
            _ => {}
        }
    }
}

fn own_pid() -> Pid {
    Pid(std::process::id())
}
