//! The fixture of a fact: makes calls on a target and compares the answers with the expected ones.
//!
//! A mismatch ends the check of the fact. It is reported with all calls that the fact has made.

use crate::target::{Device, Target};
use handoff_model::abi::argument::IoctlOutcome;
use handoff_model::abi::call::{
    Call, CallResult, CompletedCall, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply, Rights,
    SocketCall, UNLIMITED,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_model::text;
use handoff_sim_kernel::ProcessSpec;
use std::fmt;

/// Result of a check.
pub type FactResult<T = ()> = Result<T, Mismatch>;

/// An answer or visible state that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The difference.
    pub what: String,
    /// The steps of the fact up to the difference, one line each.
    pub story: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "  wrong: {}", self.what)
    }
}

/// A target on which a fact is checked.
pub struct Fixture<'a> {
    arm: &'a mut dyn Target,
    story: Vec<String>,
}

impl fmt::Debug for Fixture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("story", &self.story).finish_non_exhaustive()
    }
}

/// An unprivileged process: user 1000, no capability, no limit.
pub const ORDINARY: ProcessSpec =
    ProcessSpec { uid: Uid(1000), cap_ipc_lock: false, memlock_bytes: UNLIMITED };

/// A root process with every capability.
pub const ROOT: ProcessSpec =
    ProcessSpec { uid: Uid(0), cap_ipc_lock: true, memlock_bytes: UNLIMITED };

/// Returns a process of a user with a limit on locked memory in pages.
pub const fn limited(uid: u32, limit_pages: u64) -> ProcessSpec {
    let memlock_bytes = limit_pages * PAGE_BYTES;
    ProcessSpec { uid: Uid(uid), cap_ipc_lock: false, memlock_bytes }
}

impl<'a> Fixture<'a> {
    /// Creates a fixture on a cleared target.
    pub fn new(arm: &'a mut dyn Target) -> Self {
        Self { arm, story: Vec::new() }
    }

    /// Returns the target, for operations that only a target has.
    pub fn arm(&mut self) -> &mut dyn Target {
        self.arm
    }

    /// Returns the error of the target itself, if there is one.
    pub fn error(&self) -> Option<Mismatch> {
        let what = self.arm.error()?.to_owned();
        Some(Mismatch { what, story: self.story.clone() })
    }

    pub(super) fn mismatch<T>(&self, what: String) -> FactResult<T> {
        Err(Mismatch { what, story: self.story.clone() })
    }

    /// Checks that two values are equal.
    pub fn same<T: PartialEq + fmt::Debug + ?Sized>(
        &self,
        what: &str,
        seen: &T,
        expected: &T,
    ) -> FactResult {
        if seen == expected {
            return Ok(());
        }
        self.mismatch(format!("{what}: {seen:?}, expected {expected:?}"))
    }

    // ---- processes -----------------------------------------------------------------------------

    /// Creates an unprivileged process.
    pub fn process(&mut self) -> Pid {
        self.spawn(ORDINARY)
    }

    /// Creates a process.
    pub fn spawn(&mut self, spec: ProcessSpec) -> Pid {
        let pid = self.arm.spawn(spec);
        self.log(&format!("process {pid}: {spec:?}"));
        pid
    }

    /// Forks a process.
    pub fn fork(&mut self, parent: Pid) -> Pid {
        let child = self.arm.fork(parent);
        self.log(&format!("process {child}: a child of {parent}"));
        child
    }

    /// Kills a process.
    pub fn kill(&mut self, pid: Pid) {
        self.arm.kill(pid);
        self.log(&format!("process {pid} is killed"));
    }

    /// Replaces a process's program.
    pub fn exec(&mut self, pid: Pid) {
        self.arm.exec(pid);
        self.log(&format!("process {pid} executes a new program"));
    }

    fn log(&mut self, line: &str) {
        self.story.push(line.to_owned());
    }

    // ---- calls ---------------------------------------------------------------------------------

    /// Makes a call, which may succeed or fail.
    pub fn call(&mut self, pid: Pid, call: &Call) -> CallResult {
        let answer = self.arm.call(pid, call);
        let said = text::call(call, &answer, &|fd| format!("fd {fd}"));
        self.log(&format!("{pid}: {said}"));
        answer
    }

    /// Makes a call that must succeed.
    pub fn ok(&mut self, pid: Pid, call: &Call) -> FactResult<Reply> {
        let answer = self.call(pid, call);
        match errno(call, &answer) {
            None => answer.or_else(|errno| self.mismatch(errno.to_string())),
            Some(errno) => self.mismatch(format!("{call:?}: {errno}, expected success")),
        }
    }

    /// Makes a call that must fail with this errno.
    pub fn refuses(&mut self, pid: Pid, call: &Call, expected: Errno) -> FactResult {
        let answer = self.call(pid, call);
        match errno(call, &answer) {
            Some(errno) if errno == expected => Ok(()),
            Some(errno) => self.mismatch(format!("{call:?}: {errno}, expected {expected}")),
            None => self.mismatch(format!("{call:?}: success, expected {expected}")),
        }
    }

    /// Makes calls that must all fail, each with its errno.
    pub fn all_refused(&mut self, pid: Pid, table: &[(Call, Errno)]) -> FactResult {
        table.iter().try_for_each(|(call, errno)| self.refuses(pid, call, *errno))
    }

    /// Makes an ioctl whose nth allocation fails. Returns the answer, in which a failure of an
    /// ioctl as bytes is an errno, and true if there was an nth allocation.
    pub fn failing(&mut self, pid: Pid, call: &Call, nth: u32) -> FactResult<(CallResult, bool)> {
        let (answer, came_to_it) = self.arm.call_failing(pid, call, nth);
        let said = text::call(call, &answer, &|fd| format!("fd {fd}"));
        self.log(&format!("{pid}: {said}, its allocation {nth} fails: {came_to_it}"));
        Ok((errno(call, &answer).map_or(answer, Err), came_to_it))
    }

    /// Makes an ioctl as bytes that must succeed.
    pub fn ioctl(&mut self, pid: Pid, call: &Call) -> FactResult<IoctlOutcome> {
        match self.ok(pid, call)? {
            Reply::Ioctl(outcome) => Ok(outcome),
            other => self.mismatch(format!("no ioctl as bytes: {other:?}")),
        }
    }

    /// Makes an ioctl as bytes that must fail, and returns the argument that the kernel wrote.
    pub fn ioctl_refused(
        &mut self,
        pid: Pid,
        call: &Call,
        expected: Errno,
    ) -> FactResult<IoctlOutcome> {
        match self.call(pid, call) {
            Ok(Reply::Ioctl(outcome)) if outcome.errno() == Some(expected) => Ok(outcome),
            other => self.mismatch(format!("{call:?}: {other:?}, expected {expected}")),
        }
    }

    /// Makes a call that must return a descriptor.
    pub fn fd(&mut self, pid: Pid, call: &Call) -> FactResult<Fd> {
        match self.ok(pid, call)? {
            Reply::Fd(fd) => Ok(fd),
            other => self.mismatch(format!("no descriptor: {other:?}")),
        }
    }

    /// Makes a call that must return an object.
    pub fn id(&mut self, pid: Pid, call: &Call) -> FactResult<ObjectId> {
        match self.ok(pid, call)? {
            Reply::Object(id) => Ok(id),
            other => self.mismatch(format!("no object: {other:?}")),
        }
    }

    // ---- common beginnings of facts ------------------------------------------------------------

    /// Opens an iommufd.
    pub fn iommufd(&mut self, pid: Pid) -> FactResult<Fd> {
        self.fd(pid, &Call::File(FileCall::Open { path: "/dev/iommu".to_owned() }))
    }

    /// Allocates an IOAS.
    pub fn ioas(&mut self, pid: Pid, iommufd: Fd) -> FactResult<ObjectId> {
        self.id(pid, &Call::Iommufd(IommufdCall::IoasAlloc { iommufd }))
    }

    /// Creates a memfd of `pages` pages.
    pub fn memfd(&mut self, pid: Pid, pages: u64) -> FactResult<Fd> {
        let fd = self.fd(pid, &Call::Memory(MemoryCall::Memfd { name: "ram".to_owned() }))?;
        self.ok(pid, &Call::Memory(MemoryCall::Truncate { fd, length_bytes: pages * PAGE_BYTES }))?;
        Ok(fd)
    }

    /// Maps a memfd, or anonymous memory.
    pub fn mmap(&mut self, pid: Pid, fd: Option<Fd>, pages: u64) -> FactResult<Va> {
        let call = MemoryCall::mmap(fd, 0, pages * PAGE_BYTES);
        match self.ok(pid, &call)? {
            Reply::Va(va) => Ok(va),
            other => self.mismatch(format!("no mapping: {other:?}")),
        }
    }

    /// Opens a device file.
    pub fn open(&mut self, pid: Pid, device: Device) -> FactResult<Fd> {
        let path = self.arm.path(device);
        self.fd(pid, &Call::File(FileCall::Open { path }))
    }

    /// Opens and binds a device. Returns its file and its object.
    pub fn bind(&mut self, pid: Pid, device: Device, iommufd: Fd) -> FactResult<(Fd, ObjectId)> {
        let file = self.open(pid, device)?;
        let id = self.id(pid, &Call::Device(DeviceCall::Bind { device: file, iommufd }))?;
        Ok((file, id))
    }

    /// Attaches a bound device.
    pub fn attach(&mut self, pid: Pid, device: Fd, page_table: ObjectId) -> FactResult<ObjectId> {
        self.id(pid, &Call::Device(DeviceCall::Attach { device, page_table }))
    }

    /// Sends descriptors from one process to another. Returns their numbers there.
    pub fn pass(&mut self, from: Pid, to: Pid, fds: &[Fd]) -> FactResult<Vec<Fd>> {
        let (there, here) = self.arm.socketpair(from, to);
        let message = SocketCall::send(there, vec![1], fds.to_vec());
        self.ok(from, &message)?;
        let reply = self.ok(to, &Call::Socket(SocketCall::Receive { fd: here, wait: true }))?;
        self.ok(from, &Call::File(FileCall::Close { fd: there }))?;
        self.ok(to, &Call::File(FileCall::Close { fd: here }))?;
        match reply {
            Reply::Message { fds, truncated: false, .. } => Ok(fds),
            other => self.mismatch(format!("no message: {other:?}")),
        }
    }

    /// Checks the VmPin of a process in pages.
    pub fn vm_pin(&mut self, pid: Pid, expected_pages: i64) -> FactResult {
        let seen = self.arm.locked(pid).0;
        self.same(&format!("VmPin of {pid} in pages"), &seen, &expected_pages)
    }

    /// Checks the VmLck of a process in pages.
    pub fn vm_lck(&mut self, pid: Pid, expected_pages: i64) -> FactResult {
        let seen = self.arm.locked(pid).1;
        self.same(&format!("VmLck of {pid} in pages"), &seen, &expected_pages)
    }
}

/// Returns the errno of a failed call, including one as bytes.
fn errno(call: &Call, answer: &CallResult) -> Option<Errno> {
    CompletedCall { pid: Pid(0), call: call.clone(), answer: answer.clone() }.errno()
}

/// A context with an IOAS, a memfd mapped there at [`BASE`], and an attached device.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The iommufd.
    pub iommufd: Fd,
    /// The IOAS.
    pub ioas: ObjectId,
    /// The mapped memfd.
    pub memfd: Fd,
    /// The bound device file.
    pub device: Fd,
    /// The device's object.
    pub device_id: ObjectId,
    /// The automatic HWPT.
    pub hwpt: ObjectId,
}

/// The IOVA at which [`Setup`] maps.
pub const BASE: Iova = Iova(0x10000);

impl Fixture<'_> {
    /// Creates a [`Setup`] with an `edu` in a process, with `pages` mapped pages.
    pub fn set_up(&mut self, pid: Pid, pages: u64) -> FactResult<Setup> {
        let iommufd = self.iommufd(pid)?;
        let ioas = self.ioas(pid, iommufd)?;
        let memfd = self.memfd(pid, pages)?;
        self.ok(pid, &map_file(iommufd, ioas, memfd, BASE, pages))?;
        let (device, device_id) = self.bind(pid, Device::Edu, iommufd)?;
        let hwpt = self.attach(pid, device, ioas)?;
        Ok(Setup { iommufd, ioas, memfd, device, device_id, hwpt })
    }
}

/// Returns a MAP_FILE from the start of a file, writable, at a fixed IOVA.
pub fn map_file(iommufd: Fd, ioas: ObjectId, fd: Fd, iova: Iova, pages: u64) -> Call {
    IommufdCall::map_file(iommufd, ioas, (fd, 0), iova, pages * PAGE_BYTES, Rights::ReadWrite)
}

/// Returns a MAP, writable, at a fixed IOVA.
pub fn map(iommufd: Fd, ioas: ObjectId, user_va: Va, iova: Iova, pages: u64) -> Call {
    IommufdCall::map(iommufd, ioas, user_va, iova, pages * PAGE_BYTES, Rights::ReadWrite)
}

/// Returns a COPY, writable, to a fixed IOVA.
pub fn copy(iommufd: Fd, from: (ObjectId, Iova), to: (ObjectId, Iova), pages: u64) -> Call {
    IommufdCall::copy(iommufd, from, to, pages * PAGE_BYTES, Rights::ReadWrite)
}

/// Returns an UNMAP of whole pages.
pub fn unmap(iommufd: Fd, ioas: ObjectId, iova: Iova, pages: u64) -> Call {
    IommufdCall::unmap(iommufd, ioas, iova, pages * PAGE_BYTES)
}
