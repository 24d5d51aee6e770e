//! The new process, and the programs after an exec: each takes the VM over, lets its devices work,
//! and exits.

use super::{Failure, Process, own_pid};
use crate::host_run::run_dir::{RunDir, RunEvent};
use handoff_model::abi::call::{Call, GuestCall};
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::kernel::Kernel;
use handoff_model::protocol::phase::InPhase;
use handoff_model::role::incoming::{Incoming, IncomingOutcome, IncomingTransport};
use handoff_model::role::{self, Role, drive};
use handoff_model::trace::{PassedFd, Record};
use handoff_model::vm::{Descriptors, Vm};
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::{descriptors, spawn};
use handoff_testbed::family;
use std::time::{Duration, Instant};

/// The command-line arguments of a new process.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// The process ID of the old process.
    pub peer: u32,
    /// The descriptor number of the old process's end of the socket.
    pub peer_fd: i32,
    /// The time just before it was started, on the clock of the trace (ns).
    pub born_ns: u64,
    /// The step before which it kills itself.
    pub kill: Option<u32>,
}

/// Runs the new process in mode transfer. Returns only on failure.
pub fn new(folder: RunDir, inherited: Inherited) -> Failure {
    let socket = match spawn::take_inherited() {
        Ok(socket) => socket,
        Err(errno) => return format!("no inherited socket: {errno}"),
    };
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    let mut kernel = process.kernel(Vec::new());
    process.introduce(&mut kernel, inherited.peer, inherited.born_ns);
    let what = PassedFd::Socket { peer: Pid(inherited.peer), peer_fd: Fd(inherited.peer_fd) };
    process.record_at(Record::Given { fd: socket, what, cloexec: true }, inherited.born_ns + 2);
    if let Err(why) = Process::limit(&mut kernel, process.scenario.new) {
        return why;
    }
    let role = Incoming::new(&process.scenario.protocol(), IncomingTransport::Transfer { socket });
    process.arrive(role, &mut kernel, inherited.kill, &[Pid(inherited.peer), own_pid()])
}

/// Runs the new program in the old process, in mode exec; if `again`, the old program after the new
/// one could not take over. Returns only on failure.
pub fn executed(folder: RunDir, stream: Fd, old_image: Fd, again: bool) -> Failure {
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    let mut kernel = process.kernel(process.program_argv("fallback", stream, old_image));
    let mut protocol = process.scenario.protocol();
    if again {
        process.note(&RunEvent::FellBack);
        protocol = protocol.last_resort();
    }
    let role = Incoming::new(&protocol, IncomingTransport::Exec { stream, old_image });
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
            if let role::StepEvent::Calling(call) = seen {
                let committed = matches!(role.phase(), InPhase::Run | InPhase::Cleanup);
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
            if role.end() != told {
                told = role.end();
                if let Some(arrival) = told {
                    self.note(&RunEvent::Arrival { arrival });
                }
            }
        });
        match (role.end(), role.inventory()) {
            (Some(IncomingOutcome::TookOver), Some((vm, descriptors))) => {
                self.end(kernel, pids, &vm, &descriptors);
                "the new process should have exited".to_owned()
            }
            _ => "the new process did not take over".to_owned(),
        }
    }

    /// Waits, before the guest runs again, until the interrupt of every DMA in flight has arrived.
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
        self.note(&RunEvent::Starting { at_ns, waited_ns: at_ns - started, waiting: waiting() });
    }

    /// Kills this process between two calls. It waits first, so that the old process reaches the
    /// call in which it waits, and the trace has the old process's calls and this exit in their
    /// true order.
    fn die(&self, step: u32, phase: &str) {
        std::thread::sleep(Duration::from_millis(100));
        self.note(&RunEvent::Killed { step, phase: phase.to_owned() });
        self.record(Record::Exit { status: None, signal: Some("SIGKILL".to_owned()) });
        family::kill_self();
    }
}
