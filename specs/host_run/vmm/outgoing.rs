//! The old process: it launches the VM, lets its devices work, and hands it over, in one attempt
//! or, for a sweep, in one attempt per kill.

use super::{DMAS, Failure, PATIENCE, Process, own_pid};
use crate::host_run::observe;
use crate::host_run::run_dir::{RunDir, RunEvent};
use handoff_model::abi::call::{Call, GuestCall};
use handoff_model::abi::ids::{Fd, PAGE_BYTES};
use handoff_model::abi::kernel::Kernel;
use handoff_model::protocol::Mode;
use handoff_model::role::outgoing::{Outgoing, OutgoingTransport};
use handoff_model::role::{Role, drive};
use handoff_model::trace::{PassedFd, Record};
use handoff_model::vm::launch::{Plan, launch};
use handoff_model::vm::{Backing, Descriptors, Key, Kind, Vm};
use handoff_real_backend::clock::monotonic_ns;
use handoff_real_backend::sysfs::Sysfs;
use handoff_real_backend::{socket, spawn};
use handoff_testbed::workload::{Ram, Wires};
use std::ffi::OsString;
use std::os::fd::IntoRawFd;

/// Runs the old process. Returns only on failure.
pub fn old(folder: RunDir) -> Failure {
    let process = match Process::new(folder) {
        Ok(process) => process,
        Err(failure) => return failure,
    };
    match process.live_old() {
        Ok(()) => "the old process should have exited".to_owned(),
        Err(why) => {
            process.note(&RunEvent::NotLaunched { why: why.clone() });
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
        self.record(Record::Guest { what: "boot".to_owned(), fd: None });
        kernel
            .call(&Call::Guest(GuestCall::Start))
            .map_err(|errno| format!("the guest does not start: {errno}"))?;
        self.work(DMAS)?;
        let seen = self.look(&[own_pid()], &vm, &descriptors);
        self.note(&RunEvent::Launched { progress: self.guest.progress(), seen });
        match self.scenario.mode {
            Mode::Transfer => self.transfer(&vm, &descriptors)?,
            Mode::Exec => self.exec(&vm, &descriptors)?,
        }
        self.end(&mut kernel, &[own_pid()], &vm, &descriptors);
        Ok(())
    }

    /// The scenario's plan with the host's device files.
    fn plan(&self) -> Result<Plan, Failure> {
        let mut plan = self.scenario.plan.clone();
        for (device, bdf) in plan.devices.iter_mut().zip(&self.order.devices) {
            let cdev =
                Sysfs::default().cdev(*bdf).ok_or(format!("{bdf} has no VFIO device file"))?;
            let path = cdev.to_str().ok_or("the name of a device file is not UTF-8")?;
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

    /// Hands the VM over to a new process; returns if that failed.
    fn transfer(&self, vm: &Vm, descriptors: &Descriptors) -> Result<(), Failure> {
        for attempt in 0.. {
            let kill = self.order.sweep.then_some(attempt);
            if self.attempt(vm, descriptors, kill)? == Ending::Refused || kill.is_none() {
                return Ok(());
            }
            self.work(1)?;
            let pins = observe::pins(vm);
            self.note(&RunEvent::Survived { attempt: attempt + 1, pins });
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
        self.record(Record::Given {
            fd: pidfd,
            what: PassedFd::Pidfd { target: child.pid },
            cloexec: true,
        });
        let way = OutgoingTransport::Transfer { socket, pidfd };
        self.play(vm, descriptors, way, &mut self.kernel(Vec::new()));
        let ended = child.wait(PATIENCE).map_err(|errno| failed("wait", errno))?;
        let killed = ended.is_some_and(|status| status.code().is_none());
        Ok(if killed { Ending::Killed } else { Ending::Refused })
    }

    /// Executes the new program; returns if that failed.
    fn exec(&self, vm: &Vm, descriptors: &Descriptors) -> Result<(), Failure> {
        let open = || {
            let file = std::fs::File::open("/proc/self/exe");
            let fd = Fd(file.map_err(|error| format!("own program: {error}"))?.into_raw_fd());
            let what = PassedFd::Image { path: "/proc/self/exe".to_owned() };
            self.record(Record::Given { fd, what, cloexec: true });
            Ok::<_, Failure>(fd)
        };
        let (new_image, old_image) = (open()?, open()?);
        let stream = descriptors.get(&Key::new(Kind::Stream, "", 0)).ok_or("no stream")?;
        let mut kernel = self.kernel(self.exec_argv(stream, old_image));
        self.play(vm, descriptors, OutgoingTransport::Exec { new_image, old_image }, &mut kernel);
        Ok(())
    }

    fn exec_argv(&self, stream: Fd, old_image: Fd) -> Vec<OsString> {
        self.program_argv("exec", stream, old_image)
    }

    fn play(
        &self,
        vm: &Vm,
        descriptors: &Descriptors,
        way: OutgoingTransport,
        kernel: &mut impl Kernel,
    ) {
        let mut role = Outgoing::new(&self.scenario.protocol(), vm, descriptors, way);
        let mut told = None;
        drive(&mut role, kernel, |role, seen| {
            self.observe(&role.phase_name(), &seen);
            if role.end() != told {
                told = role.end();
                if let Some(outcome) = told {
                    self.note(&RunEvent::Outcome { outcome });
                }
            }
        });
    }
}

/// The way in which an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The new process was killed.
    Killed,
    /// One of the two processes refused.
    Refused,
}
