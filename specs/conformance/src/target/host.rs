//! The target that is the kernel of this host.
//!
//! Each process of a fact is a worker process, which makes the fact's calls through the same
//! `Kernel` implementation that a VMM uses. The controller must be root. When the workers exit,
//! they release all resources of a fact.
//!
//! The exception is the accounting of users, which outlives processes and after some hazards is
//! never corrected. So each fact has its own users: the target adds an offset to every user id
//! except 0, and the fact sees the original ids.
//!
//! A failure of a worker is an [error](Target::error) of the target. It does not end the fact by
//! itself: from then on every answer is `EIO`, and the fact is reported as differing.

use super::capabilities::{Capabilities, Place};
use super::{Capability, Device, Target};
use handoff_model::abi::call::{Call, CallResult, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, PAGE_BYTES, Pid, Uid, Va};
use handoff_real_backend::socket;
use handoff_sim_kernel::ProcessSpec;
use handoff_testbed::worker::{Reach, Worker, WorkerCredentials, WorkerError, Zygote};
use handoff_testbed::{family, interrupts};
use std::ffi::OsString;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The kernel of this host.
#[derive(Debug)]
pub struct HostTarget {
    equipment: Capabilities,
    mother: Zygote,
    /// Workers by process number, from 1; `None` for an exited process.
    puppets: Vec<Option<Worker>>,
    /// Number of times that the target was cleared.
    round: u32,
    error: Option<String>,
}

/// Upper bound on the user ids of a fact, and distance between the ranges of two facts.
const USERS: u32 = 1 << 16;

/// Time limit for a raised interrupt to arrive.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(2);

impl HostTarget {
    /// Detects this host's capabilities and starts the first worker: `image` with `argv`, whose
    /// first element is its name.
    ///
    /// # Errors
    /// A message that describes what this host lacks as a target.
    pub fn new(image: &Path, argv: &[OsString]) -> Result<Self, String> {
        let uid = family::own_user();
        if uid != Uid(0) {
            return Err(format!("root; this is user {uid}"));
        }
        if !Path::new("/dev/iommu").exists() {
            return Err("/dev/iommu (CONFIG_IOMMUFD)".to_owned());
        }
        let equipment = Capabilities::of_this_host();
        let mother = Zygote::start(image, argv).map_err(|error| format!("worker: {error}"))?;
        Ok(Self { equipment, mother, puppets: Vec::new(), round: 0, error: None })
    }

    fn try_with<T>(
        &mut self,
        pid: Pid,
        play: impl FnOnce(&mut Worker) -> Result<T, WorkerError>,
    ) -> Result<T, String> {
        let place = usize::try_from(pid.0).ok().and_then(|pid| pid.checked_sub(1));
        let puppet = place.and_then(|place| self.puppets.get_mut(place)?.as_mut());
        let puppet = puppet.ok_or("the process is not alive")?;
        play(puppet).map_err(|error| error.to_string())
    }

    /// Lets a worker act, unless the target has an error.
    fn with<T>(
        &mut self,
        pid: Pid,
        play: impl FnOnce(&mut Worker) -> Result<T, WorkerError>,
    ) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match self.try_with(pid, play) {
            Ok(played) => Some(played),
            Err(error) => self.note(format!("process {pid}: {error}")),
        }
    }

    fn note<T>(&mut self, error: String) -> Option<T> {
        self.error.get_or_insert(error);
        None
    }

    fn join(&mut self, puppet: Result<Worker, WorkerError>) -> Pid {
        let puppet = match puppet {
            Ok(puppet) => Some(puppet),
            Err(error) => self.note(format!("spawning a process: {error}")),
        };
        self.puppets.push(puppet);
        Pid(u32::try_from(self.puppets.len()).expect("processes are few"))
    }

    /// Returns the user id on this host for a user id of a fact.
    fn user_here(&self, uid: Uid) -> Uid {
        if uid.0 == 0 { uid } else { Uid(uid.0 + self.round * USERS) }
    }

    fn call_here(&self, call: &Call) -> Option<Call> {
        match call {
            Call::Process(ProcessCall::SetUid { uid }) => {
                Some(Call::Process(ProcessCall::SetUid { uid: self.user_here(*uid) }))
            }
            _ => None,
        }
    }

    fn done(&mut self, what: &str, answer: Option<CallResult>) -> Option<Reply> {
        match answer? {
            Ok(reply) => Some(reply),
            Err(errno) => self.note(format!("{what}: {errno}")),
        }
    }

    fn await_interrupt(&mut self, device: Device, seen: u64) {
        let until = Instant::now() + INTERRUPT_LIMIT;
        while self.interrupts(device).is_some_and(|now| now == seen) {
            if Instant::now() > until {
                return self.note(format!("{device:?}: no interrupt arrived")).unwrap_or(());
            }
            sleep(Duration::from_micros(200));
        }
        // The interrupt is counted before it is handled.
        sleep(Duration::from_millis(1));
    }

    /// Returns the number of first-vector MSIs that the kernel has counted; `None` if there is no
    /// counter.
    fn interrupts(&self, device: Device) -> Option<u64> {
        interrupts::first_msi(self.equipment.devices.get(&device)?.bdf?)
    }
}

impl Drop for HostTarget {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Target for HostTarget {
    fn lacks(&self, need: &Capability) -> Option<String> {
        self.equipment.lacks(need)
    }

    fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn clear(&mut self) {
        self.error = None;
        self.round += 1;
        let puppets: Vec<Worker> =
            std::mem::take(&mut self.puppets).into_iter().flatten().collect();
        let struck = puppets.iter().try_for_each(Worker::send_sigkill);
        let ended = puppets.into_iter().try_for_each(|mut puppet| puppet.kill());
        if let Err(error) = struck.and(ended) {
            self.error = Some(format!("killing a process: {error}"));
        }
    }

    fn spawn(&mut self, spec: ProcessSpec) -> Pid {
        let ProcessSpec { uid, cap_ipc_lock, memlock_bytes } = spec;
        let person = WorkerCredentials { uid: self.user_here(uid), cap_ipc_lock, memlock_bytes };
        let puppet = self.mother.spawn(person);
        self.join(puppet)
    }

    fn fork(&mut self, parent: Pid) -> Pid {
        match self.with(parent, Worker::fork) {
            Some(child) => self.join(Ok(child)),
            None => self.join(Err(WorkerError::Died)),
        }
    }

    fn call(&mut self, pid: Pid, call: &Call) -> CallResult {
        self.call_at(pid, call, None)
    }

    fn call_at(&mut self, pid: Pid, call: &Call, place: Option<Va>) -> CallResult {
        let here = self.call_here(call);
        let call = here.as_ref().unwrap_or(call);
        let answer = self.with(pid, |puppet| puppet.call(call, place));
        if matches!(call, Call::Process(ProcessCall::Exit { .. })) && answer.is_some() {
            self.kill(pid);
        }
        match answer.unwrap_or(Err(Errno::EIO)) {
            Ok(Reply::Uid(uid)) => Ok(Reply::Uid(Uid(uid.0 % USERS))),
            answer => answer,
        }
    }

    fn call_failing(&mut self, pid: Pid, call: &Call, nth: u32) -> (CallResult, bool) {
        let failed = self.with(pid, |puppet| puppet.call_failing(call, nth));
        failed.unwrap_or((Err(Errno::EIO), false))
    }

    fn locked(&mut self, pid: Pid) -> (i64, i64) {
        self.with(pid, |puppet| puppet.locked_pages()).unwrap_or_default()
    }

    fn kill(&mut self, pid: Pid) {
        if self.with(pid, Worker::kill).is_some() {
            self.puppets[pid.0 as usize - 1] = None;
        }
    }

    fn exec(&mut self, pid: Pid) {
        let _ = self.with(pid, Worker::exec);
    }

    fn socketpair(&mut self, a: Pid, b: Pid) -> (Fd, Fd) {
        let nothing = (Fd(-1), Fd(-1));
        let (ours, theirs) = match socket::pair() {
            Ok(pair) => pair,
            Err(errno) => return self.note(format!("socketpair: {errno}")).unwrap_or(nothing),
        };
        let a = self.with(a, |puppet| puppet.send_fd(&ours));
        let b = self.with(b, |puppet| puppet.send_fd(&theirs));
        a.zip(b).unwrap_or(nothing)
    }

    fn pidfd(&mut self, holder: Pid, target: Pid) -> Fd {
        let number = self.with(target, |puppet| Ok(puppet.pid()));
        let pidfd = number.and_then(|number| self.with(holder, |puppet| puppet.open_pidfd(number)));
        pidfd.unwrap_or(Fd(-1))
    }

    fn path(&self, device: Device) -> String {
        self.equipment.devices.get(&device).map(|place| place.path.clone()).unwrap_or_default()
    }

    fn group(&self, device: Device) -> (String, String) {
        self.equipment.devices.get(&device).map(Place::group).unwrap_or_default()
    }

    fn raise(&mut self, device: Device, pid: Pid, fd: Fd) {
        let before = self.interrupts(device);
        let answer = self.with(pid, |puppet| puppet.raise(fd));
        if let (Some(_), Some(before)) = (self.done("raise", answer), before) {
            self.await_interrupt(device, before);
        }
    }

    fn reaches(&mut self, _: Device, pid: Pid, fd: Fd, iova: Iova, page: (Fd, u64)) -> bool {
        let reach = Reach { device: fd, iova, memfd: page.0, offset_bytes: page.1 * PAGE_BYTES };
        let answer = self.with(pid, |puppet| puppet.reaches(reach));
        self.done("reach", answer) == Some(Reply::Flag(true))
    }
}
