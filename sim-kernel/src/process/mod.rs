//! Processes: their credentials and limits, their start, exec and death.
//!
//! A process is its thread group; its only activity is its calls. Its memory map (`mm`) has an
//! identity of its own: `execve` gives the process a new one, exit leaves it with none, and page
//! sets continue to name the old one ([`MmId`]).
//!
//! Death, in Linux's order: the memory map is dropped first, then the descriptors; the last
//! references are dropped from task work, in descending order of descriptors. An exec first
//! replaces the memory map, then closes the CLOEXEC descriptors.
//!
//! Capabilities: `CAP_IPC_LOCK` is a flag, and user 0 has all others (`CAP_SYS_RESOURCE`,
//! `CAP_SETUID`, `CAP_KILL`). User 0 regains `CAP_IPC_LOCK` at exec; for any other user an exec
//! leaves it unchanged, as with ambient capabilities.
//!
//! Absent: threads, signals except SIGKILL, zombies (a dead process is reaped at once).
//!
//! Other folders look up processes and memory maps, and deliver interrupts to guests.
//!
//! Mirrors `kernel/exit.c`, `fs/exec.c`, `kernel/sys.c`, `kernel/pid.c`, `security/commoncap.c`.

mod guest;
mod scripted;

use crate::fs::{Descriptor, File};
use crate::machine::Machine;
use crate::mm::{BarVma, MmId, Vma};
use crate::process::guest::Guest;
use crate::syscall::{Failure, SyscallResult, fail};
use crate::value::Shared;
use handoff_model::abi::call::{ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid, Uid};
use std::collections::BTreeMap;

/// The properties of a new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessSpec {
    /// Its user. User 0 has every capability, except that `CAP_IPC_LOCK` is as given here.
    pub uid: Uid,
    /// True if it has `CAP_IPC_LOCK`: its mappings are charged to no counter.
    pub cap_ipc_lock: bool,
    /// `RLIMIT_MEMLOCK` in bytes, soft and hard; [`handoff_model::abi::call::UNLIMITED`] for none.
    pub memlock_bytes: u64,
}

/// A process, alive or dead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) alive: bool,
    pub(crate) uid: Uid,
    pub(crate) cap_ipc_lock: bool,
    /// Read at each charge, also after death: page sets keep the task.
    pub(crate) memlock_bytes: u64,
    /// Number of earlier memory maps of the process.
    generation: u8,
    /// The image that it executes; `None` until its first exec.
    image: Option<u8>,
    pub(crate) descriptors: BTreeMap<Fd, Descriptor>,
    /// Sorted, disjoint.
    pub(crate) vmas: Vec<Vma>,
    /// Sorted, disjoint from one another and from `vmas`.
    pub(crate) bars: Vec<BarVma>,
    pub(crate) guest: Option<Guest>,
}

impl Process {
    pub(crate) fn new(spec: ProcessSpec) -> Self {
        Self {
            alive: true,
            uid: spec.uid,
            cap_ipc_lock: spec.cap_ipc_lock,
            memlock_bytes: spec.memlock_bytes,
            generation: 0,
            image: None,
            descriptors: BTreeMap::new(),
            vmas: Vec::new(),
            bars: Vec::new(),
            guest: None,
        }
    }

    /// Returns true if it has `CAP_SYS_RESOURCE`, `CAP_SETUID` and `CAP_KILL`.
    pub(crate) fn is_privileged(&self) -> bool {
        self.uid == Uid(0)
    }
}

impl Machine {
    fn index(pid: Pid) -> usize {
        pid.0.checked_sub(1).expect("pids begin at 1") as usize
    }

    pub(crate) fn process(&self, pid: Pid) -> &Process {
        &self.processes[Self::index(pid)]
    }

    pub(crate) fn process_mut(&mut self, pid: Pid) -> &mut Process {
        &mut self.processes[Self::index(pid)]
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = (Pid, &Process)> {
        (1..).map(Pid).zip(self.processes.iter().map(|process| &**process))
    }

    /// Returns true if a process lives.
    ///
    /// # Panics
    ///
    /// Panics if no process ever had this pid.
    pub fn alive(&self, pid: Pid) -> bool {
        self.process(pid).alive
    }

    /// Returns the tag of the program image that a process has executed; `None` before its first
    /// exec.
    pub fn running_image(&self, pid: Pid) -> Option<u8> {
        self.process(pid).image
    }

    /// Returns the memory map that a process has now.
    pub(crate) fn mm(&self, pid: Pid) -> MmId {
        MmId { pid, generation: self.process(pid).generation }
    }

    pub(crate) fn is_mm_alive(&self, mm: MmId) -> bool {
        let process = self.process(mm.pid);
        process.alive && process.generation == mm.generation
    }

    /// Kills a process from outside (SIGKILL, or the OOM killer). Has no effect on a dead process.
    pub fn kill(&mut self, pid: Pid) {
        if self.alive(pid) {
            self.die(pid);
        }
    }

    /// Creates a pidfd of `target` in `holder`'s table, CLOEXEC, as `pidfd_open` does.
    ///
    /// # Panics
    ///
    /// Panics if `target` is dead.
    pub fn pidfd(&mut self, holder: Pid, target: Pid) -> Fd {
        assert!(self.alive(target), "pidfd_open finds living processes");
        self.install_new(holder, File::Pidfd(target), None).expect("a free descriptor")
    }

    /// Opens a program image in `holder`'s table with `O_PATH | O_CLOEXEC`. `tag` identifies the
    /// program.
    pub fn image(&mut self, holder: Pid, tag: u8) -> Fd {
        self.install_new(holder, File::Image(tag), None).expect("a free descriptor")
    }

    pub(crate) fn process_call(&mut self, pid: Pid, call: &ProcessCall) -> SyscallResult {
        match call {
            ProcessCall::GetMemlock => Ok(Reply::Memlock(self.process(pid).memlock_bytes)),
            ProcessCall::SetMemlock { limit_bytes } => self.set_memlock(pid, *limit_bytes),
            ProcessCall::GetUid => Ok(Reply::Uid(self.process(pid).uid)),
            ProcessCall::SetUid { uid } => self.set_uid(pid, *uid),
            ProcessCall::GetCapIpcLock => Ok(Reply::Flag(self.process(pid).cap_ipc_lock)),
            ProcessCall::DropCapIpcLock => Ok(self.drop_cap_ipc_lock(pid)),
            ProcessCall::Exec { image } => self.exec(pid, *image),
            ProcessCall::Exit { .. } => Ok(self.exit(pid)),
            ProcessCall::Kill { pidfd } => self.send_kill(pid, *pidfd),
            ProcessCall::AwaitExit { pidfd } => self.await_exit(pid, *pidfd),
        }
    }

    /// Returns true if the call would wait: for the end of a living process.
    pub(crate) fn process_call_waits(&self, pid: Pid, call: &ProcessCall) -> bool {
        match *call {
            ProcessCall::AwaitExit { pidfd } => {
                self.target_of(pid, pidfd).is_ok_and(|target| self.alive(target))
            }
            ProcessCall::GetMemlock
            | ProcessCall::SetMemlock { .. }
            | ProcessCall::GetUid
            | ProcessCall::SetUid { .. }
            | ProcessCall::GetCapIpcLock
            | ProcessCall::DropCapIpcLock
            | ProcessCall::Exec { .. }
            | ProcessCall::Exit { .. }
            | ProcessCall::Kill { .. } => false,
        }
    }

    /// Drops `CAP_IPC_LOCK` (`capset`).
    fn drop_cap_ipc_lock(&mut self, pid: Pid) -> Reply {
        self.process_mut(pid).cap_ipc_lock = false;
        Reply::Done
    }

    /// Exits (`exit_group`).
    fn exit(&mut self, pid: Pid) -> Reply {
        self.die(pid);
        Reply::Done
    }

    /// Sets the limit (`do_prlimit`): only a privileged process may raise the hard limit, else
    /// `EPERM`.
    fn set_memlock(&mut self, pid: Pid, limit_bytes: u64) -> SyscallResult {
        let process = self.process_mut(pid);
        if limit_bytes > process.memlock_bytes && !process.is_privileged() {
            return Err(fail(Errno::EPERM));
        }
        process.memlock_bytes = limit_bytes;
        Ok(Reply::Done)
    }

    /// Changes the user (`__sys_setresuid`, `cap_emulate_setxuid`): a process that leaves user 0
    /// loses all capabilities. Fails with `EPERM`.
    fn set_uid(&mut self, pid: Pid, uid: Uid) -> SyscallResult {
        let process = self.process_mut(pid);
        if uid != process.uid && !process.is_privileged() {
            return Err(fail(Errno::EPERM));
        }
        process.cap_ipc_lock &= uid == process.uid;
        process.uid = uid;
        Ok(Reply::Done)
    }

    /// Returns the process that a pidfd names. Fails with `EBADF`.
    fn target_of(&self, pid: Pid, pidfd: Fd) -> Result<Pid, Failure> {
        match self.file(self.usable(pid, pidfd)?) {
            File::Pidfd(target) => Ok(*target),
            _ => Err(fail(Errno::EBADF)),
        }
    }

    /// Waits for a process (`poll` of a pidfd). Fails with `EBADF`, and with `EINTR` while it lives
    /// (see `would_block`).
    fn await_exit(&self, pid: Pid, pidfd: Fd) -> SyscallResult {
        let target = self.target_of(pid, pidfd)?;
        if self.alive(target) { Err(fail(Errno::EINTR)) } else { Ok(Reply::Done) }
    }

    /// Sends SIGKILL (`pidfd_send_signal`). Fails with `EBADF` if it is no pidfd, `ESRCH`, `EPERM`.
    fn send_kill(&mut self, pid: Pid, pidfd: Fd) -> SyscallResult {
        let target = self.target_of(pid, pidfd)?;
        if !self.alive(target) {
            return Err(fail(Errno::ESRCH));
        }
        let (killer, victim) = (self.process(pid), self.process(target));
        if killer.uid != victim.uid && !killer.is_privileged() {
            return Err(fail(Errno::EPERM));
        }
        self.die(target);
        Ok(Reply::Done)
    }

    /// Executes an image (`execve` of `/proc/self/fd/N`). Fails with `ENOENT` without the
    /// descriptor, `EACCES` if it is no regular file, `ENOEXEC` for memory that holds no program.
    fn exec(&mut self, pid: Pid, image: Fd) -> SyscallResult {
        const ENOEXEC: Errno = Errno::Other(8);
        let file = self.descriptor(pid, image).map_err(|_| fail(Errno::ENOENT))?.file;
        let tag = match *self.file(file) {
            File::Image(tag) => tag,
            File::Memfd(_) | File::ReadOnlyMemfd(_) => return Err(fail(ENOEXEC)),
            File::Iommufd(_)
            | File::Device(_)
            | File::Group(_)
            | File::Container(_)
            | File::Eventfd
            | File::Socket
            | File::Pidfd(_)
            | File::MockAccess(_)
            | File::DmaBuf
            | File::Queue(_)
            | File::Kvm
            | File::Vm(_)
            | File::Vcpu(_)
            | File::KvmVfio(_)
            | File::Migration(_) => return Err(fail(Errno::EACCES)),
        };
        let process = self.process_mut(pid);
        process.generation = process.generation.checked_add(1).expect("a process execs rarely");
        process.vmas.clear();
        process.guest = None;
        process.image = Some(tag);
        process.cap_ipc_lock |= process.is_privileged();
        self.unmap_bars(pid, 0..u64::MAX);
        self.close_descriptors(pid, |descriptor| descriptor.cloexec);
        self.reclaim();
        Ok(Reply::Done)
    }

    fn die(&mut self, pid: Pid) {
        let process = self.process_mut(pid);
        process.alive = false;
        process.vmas.clear();
        process.guest = None;
        self.unmap_bars(pid, 0..u64::MAX);
        self.close_descriptors(pid, |_| true);
        let Process { uid, memlock_bytes, generation, image, .. } = *self.process(pid);
        let spec = ProcessSpec { uid, cap_ipc_lock: false, memlock_bytes };
        let remains = Process { alive: false, generation, image, ..Process::new(spec) };
        self.processes[Self::index(pid)] = Shared::new(remains);
        self.reclaim();
    }

    /// Closes the descriptors that `which` selects, in the order in which task work drops the
    /// references.
    fn close_descriptors(&mut self, pid: Pid, which: impl Fn(&Descriptor) -> bool) {
        let descriptors = self.process(pid).descriptors.iter().rev();
        let picked: Vec<Fd> =
            descriptors.filter(|(_, descriptor)| which(descriptor)).map(|(fd, _)| *fd).collect();
        for fd in picked {
            self.close_descriptor(pid, fd);
        }
    }
}
