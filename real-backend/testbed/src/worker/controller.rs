//! The controller's side: workers as handles.
//!
//! Failures are reported, never waited for: a worker that does not answer in time is killed.

use super::wire::{Link, Received};
use super::{PATIENCE, Reach, Request, Response, WorkerCredentials};
use crate::sys;
use handoff_model::abi::call::{Call, CallResult, ProcessCall, Reply};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid, Va};
use handoff_real_backend::spawn::{self, Spawned};
use handoff_real_backend::{observe, socket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{PidfdFlags, Signal};
use rustix::thread::CpuSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// A failure between a controller and a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The worker exited during the request.
    #[error("the worker exited during the request")]
    Died,
    /// The worker did not answer in time.
    #[error("the worker did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The worker sent a packet that does not fit the request.
    #[error("unexpected response: {0}")]
    Strange(String),
    /// A system call of either side failed that must succeed.
    #[error("{0}: {1}")]
    System(&'static str, Errno),
}

/// A worker, alive until it is killed or exits.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    pidfd: OwnedFd,
    /// Kept open, because it is read after every call.
    status: File,
    link: Link,
    /// The controller's end; the worker has the other.
    _socket: OwnedFd,
}

/// Buffer size for a status file, in bytes.
const STATUS_BYTES: usize = 8192;

/// The first worker, from which the others are forked.
#[derive(Debug)]
pub struct Zygote {
    process: Spawned,
    worker: Worker,
}

impl Zygote {
    /// Starts `image` with `argv`, program name first: a program that calls [`live`](super::live)
    /// at once. From then on the calling thread and all workers share one CPU: they only ever take
    /// turns, and on an emulated machine waking another CPU takes ten times as long as a call.
    pub fn start(image: &Path, argv: &[OsString]) -> Result<Self, WorkerError> {
        stay_on_this_cpu().map_err(system("sched_setaffinity"))?;
        let (ours, theirs) = pair()?;
        let process = spawn::spawn(image, argv, theirs).map_err(system("spawn"))?;
        let mut worker = Worker::new(process.pid, ours)?;
        worker.hello()?;
        Ok(Self { process, worker })
    }

    /// Forks a worker without descriptors.
    pub fn spawn(&mut self, credentials: WorkerCredentials) -> Result<Worker, WorkerError> {
        let mut child = self.worker.fork()?;
        match child.answer(&Request::Become(credentials))? {
            Ok(_) => Ok(child),
            Err(errno) => Err(WorkerError::System("take on credentials", errno)),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process.pidfd, Signal::KILL);
        let _ = self.process.wait(PATIENCE);
    }
}

impl Worker {
    fn new(pid: Pid, socket: OwnedFd) -> Result<Self, WorkerError> {
        let number =
            rustix::process::Pid::from_raw(pid.0.cast_signed()).ok_or(WorkerError::Died)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| WorkerError::System("pidfd_open", sys::errno(error)))?;
        let status = File::open(format!("/proc/{pid}/status"));
        let status =
            status.map_err(|error| WorkerError::System("open status", sys::io_errno(&error)))?;
        Ok(Self { pid, pidfd, status, link: Link::new(Fd(socket.as_raw_fd())), _socket: socket })
    }

    /// Its process ID.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its VmPin and VmLck in pages, while it is alive.
    pub fn locked_pages(&self) -> Result<(i64, i64), WorkerError> {
        let mut text = [0; STATUS_BYTES];
        let read = self.status.read_at(&mut text, 0).map_err(|error| sys::io_errno(&error));
        let pages = read.and_then(|length| {
            let text = str::from_utf8(&text[..length]).map_err(|_| Errno::EIO)?;
            observe::pinned_and_locked_pages(text)
        });
        pages.map_err(system("read status"))
    }

    /// Makes a call. A successful exit or `execve` returns [`Reply::Done`]. A new mapping is placed
    /// at `place`.
    pub fn call(&mut self, call: &Call, place: Option<Va>) -> Result<CallResult, WorkerError> {
        self.link.send(&Request::Call(call, place), None).map_err(system("send request"))?;
        match (self.receive(), call) {
            (Err(WorkerError::Died), Call::Process(ProcessCall::Exit { .. })) => {
                self.await_end().map(|()| Ok(Reply::Done))
            }
            (Ok(Response::Hello), Call::Process(ProcessCall::Exec { .. })) => Ok(Ok(Reply::Done)),
            (response, _) => answer_in(response?),
        }
    }

    /// Makes an ioctl whose nth allocation fails, counted from 1. The flag is true if it reached
    /// that.
    pub fn call_failing(
        &mut self,
        call: &Call,
        nth: u32,
    ) -> Result<(CallResult, bool), WorkerError> {
        match self.reply(&Request::Fail(call, nth), None)? {
            Response::Failed(answer, reached) => Ok((answer, reached)),
            Response::Answer(Err(errno)) => Err(WorkerError::System("fail-nth", errno)),
            other => Err(strange(&other)),
        }
    }

    /// Forks a child of the worker.
    pub fn fork(&mut self) -> Result<Self, WorkerError> {
        let (ours, theirs) = pair()?;
        match self.reply(&Request::Fork, Some(&theirs))? {
            Response::Child(pid) => Self::new(pid, ours),
            other => Err(strange(&other)),
        }
    }

    /// Makes the worker execute its own program again.
    pub fn exec(&mut self) -> Result<(), WorkerError> {
        self.link.send(&Request::<&Call>::Exec, None).map_err(system("send request"))?;
        self.hello()
    }

    /// Sends a descriptor to the worker; returns its number there.
    pub fn send_fd(&mut self, fd: &OwnedFd) -> Result<Fd, WorkerError> {
        fd_in(self.reply(&Request::Keep, Some(fd))?)
    }

    /// Makes the worker open a pidfd of another process.
    pub fn open_pidfd(&mut self, target: Pid) -> Result<Fd, WorkerError> {
        fd_in(self.reply(&Request::Pidfd(target), None)?)
    }

    /// Makes the test device behind a bound file raise an interrupt, and acknowledge it.
    pub fn raise(&mut self, device: Fd) -> Result<CallResult, WorkerError> {
        self.answer(&Request::Raise(device))
    }

    /// Checks whether a test device reaches a page; the answer is a flag. The device must be a bus
    /// master.
    pub fn reaches(&mut self, reach: Reach) -> Result<CallResult, WorkerError> {
        self.answer(&Request::Reach(reach))
    }

    /// Sends SIGKILL; returns once the worker has exited, its descriptors are closed, and it is
    /// reaped.
    pub fn kill(&mut self) -> Result<(), WorkerError> {
        self.send_sigkill()?;
        self.await_end()
    }

    /// Sends SIGKILL without waiting, for callers that kill several workers.
    pub fn send_sigkill(&self) -> Result<(), WorkerError> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).map_err(sys::errno) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(WorkerError::System("pidfd_send_signal", errno)),
        }
    }

    fn await_end(&self) -> Result<(), WorkerError> {
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut ended, Some(&timeout)).map_err(sys::errno) {
            Ok(0) => Err(WorkerError::Silent),
            Ok(_) => self.await_reaping(),
            Err(errno) => Err(WorkerError::System("poll", errno)),
        }
    }

    /// Waits until the process is reaped, which is soon, because its parent ignores SIGCHLD.
    fn await_reaping(&self) -> Result<(), WorkerError> {
        let until = Instant::now() + PATIENCE;
        while rustix::process::pidfd_send_signal(&self.pidfd, Signal::CONT).is_ok() {
            if Instant::now() > until {
                return Err(WorkerError::Silent);
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn answer(&mut self, request: &Request<&Call>) -> Result<CallResult, WorkerError> {
        answer_in(self.reply(request, None)?)
    }

    fn reply(
        &mut self,
        request: &Request<&Call>,
        fd: Option<&OwnedFd>,
    ) -> Result<Response, WorkerError> {
        let fd: Option<BorrowedFd<'_>> = fd.map(AsFd::as_fd);
        self.link.send(request, fd).map_err(system("send request"))?;
        self.receive()
    }

    fn hello(&mut self) -> Result<(), WorkerError> {
        match self.receive()? {
            Response::Hello => Ok(()),
            other => Err(strange(&other)),
        }
    }

    fn receive(&mut self) -> Result<Response, WorkerError> {
        let error = match self.link.receive() {
            Ok(Received::Value(response, _)) => return Ok(response),
            Ok(Received::End) => WorkerError::Died,
            Err(Errno::EAGAIN) => WorkerError::Silent,
            Err(errno) => WorkerError::System("receive response", errno),
        };
        if error != WorkerError::Died {
            self.kill()?;
        }
        Err(error)
    }
}

fn stay_on_this_cpu() -> Result<(), Errno> {
    let mut here = CpuSet::new();
    here.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &here).map_err(sys::errno)
}

fn system(what: &'static str) -> impl Fn(Errno) -> WorkerError {
    move |errno| WorkerError::System(what, errno)
}

fn strange(response: &Response) -> WorkerError {
    WorkerError::Strange(format!("{response:?}"))
}

fn answer_in(response: Response) -> Result<CallResult, WorkerError> {
    match response {
        Response::Answer(answer) => Ok(answer),
        other => Err(strange(&other)),
    }
}

fn fd_in(response: Response) -> Result<Fd, WorkerError> {
    match response {
        Response::Answer(Ok(Reply::Fd(fd))) => Ok(fd),
        other => Err(strange(&other)),
    }
}

/// Creates the controller's end, whose receives time out after [`PATIENCE`], and the worker's end.
fn pair() -> Result<(OwnedFd, OwnedFd), WorkerError> {
    let (ours, theirs) = socket::pair().map_err(system("socketpair"))?;
    set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))
        .map_err(|error| WorkerError::System("SO_RCVTIMEO", sys::errno(error)))?;
    Ok((ours, theirs))
}
