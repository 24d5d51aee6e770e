//! The player's side: puppets as handles.
//!
//! Trouble is told, never waited for: a puppet that dies under an order, or does not answer in
//! time, is killed.

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

/// What goes wrong between a player and a puppet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// It is gone.
    #[error("the process died under it")]
    Died,
    /// It does not come back.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// A packet that should not be.
    #[error("an answer that fits no order: {0}")]
    Strange(String),
    /// A system call of either that must work.
    #[error("{0}: {1}")]
    System(&'static str, Errno),
}

/// A puppet, alive until it is killed or exits.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    pidfd: OwnedFd,
    /// Kept open: it is read after every call.
    status: File,
    link: Link,
    /// Its other end is the puppet's.
    _socket: OwnedFd,
}

/// Room for a status file.
const STATUS_BYTES: usize = 8192;

/// The first puppet, from which the others are forked.
#[derive(Debug)]
pub struct Zygote {
    process: Spawned,
    puppet: Worker,
}

impl Zygote {
    /// Starts `image` with `argv`, its name first: a program that calls [`live`](super::live) at
    /// once. The calling thread and all puppets share one CPU from now on: they only ever take
    /// turns, and on an emulated machine to wake another CPU takes ten times as long as a call.
    pub fn start(image: &Path, argv: &[OsString]) -> Result<Self, WorkerError> {
        stay_on_this_cpu().map_err(system("sched_setaffinity"))?;
        let (ours, theirs) = pair()?;
        let process = spawn::spawn(image, argv, theirs).map_err(system("spawn"))?;
        let mut puppet = Worker::new(process.pid, ours)?;
        puppet.hello()?;
        Ok(Self { process, puppet })
    }

    /// A puppet with no descriptors.
    pub fn spawn(&mut self, person: WorkerCredentials) -> Result<Worker, WorkerError> {
        let mut child = self.puppet.fork()?;
        match child.answer(&Request::Become(person))? {
            Ok(_) => Ok(child),
            Err(errno) => Err(WorkerError::System("to be of a user", errno)),
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
            status.map_err(|error| WorkerError::System("its status", sys::io_errno(&error)))?;
        Ok(Self { pid, pidfd, status, link: Link::new(Fd(socket.as_raw_fd())), _socket: socket })
    }

    /// Its number in the system.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its VmPin and VmLck in pages, while it lives.
    pub fn locked_pages(&self) -> Result<(i64, i64), WorkerError> {
        let mut text = [0; STATUS_BYTES];
        let read = self.status.read_at(&mut text, 0).map_err(|error| sys::io_errno(&error));
        let pages = read.and_then(|length| {
            let text = str::from_utf8(&text[..length]).map_err(|_| Errno::EIO)?;
            observe::pinned_and_locked_pages(text)
        });
        pages.map_err(system("its status"))
    }

    /// Makes a call. An exit or an `execve` that works is [`Reply::Done`]. A new mapping goes to
    /// `place`.
    pub fn call(&mut self, call: &Call, place: Option<Va>) -> Result<CallResult, WorkerError> {
        self.link.say(&Request::Call(call, place), None).map_err(system("an order"))?;
        match (self.receive(), call) {
            (Err(WorkerError::Died), Call::Process(ProcessCall::Exit { .. })) => {
                self.await_end().map(|()| Ok(Reply::Done))
            }
            (Ok(Response::Hello), Call::Process(ProcessCall::Exec { .. })) => Ok(Ok(Reply::Done)),
            (said, _) => answer_in(said?),
        }
    }

    /// Makes an ioctl of which the nth allocation fails, counted from 1; whether it came to that.
    pub fn call_failing(
        &mut self,
        call: &Call,
        nth: u32,
    ) -> Result<(CallResult, bool), WorkerError> {
        match self.reply(&Request::Fail(call, nth), None)? {
            Response::Failed(answer, came_to_it) => Ok((answer, came_to_it)),
            Response::Answer(Err(errno)) => Err(WorkerError::System("fail-nth", errno)),
            other => Err(strange(&other)),
        }
    }

    /// A child.
    pub fn fork(&mut self) -> Result<Self, WorkerError> {
        let (ours, theirs) = pair()?;
        match self.reply(&Request::Fork, Some(&theirs))? {
            Response::Child(pid) => Self::new(pid, ours),
            other => Err(strange(&other)),
        }
    }

    /// Executes the puppets' program anew.
    pub fn exec(&mut self) -> Result<(), WorkerError> {
        self.link.say(&Request::<&Call>::Exec, None).map_err(system("an order"))?;
        self.hello()
    }

    /// Gives it a descriptor; → its number there.
    pub fn send_fd(&mut self, fd: &OwnedFd) -> Result<Fd, WorkerError> {
        fd_in(self.reply(&Request::Keep, Some(fd))?)
    }

    /// Has it open a pidfd of another.
    pub fn open_pidfd(&mut self, target: Pid) -> Result<Fd, WorkerError> {
        fd_in(self.reply(&Request::Pidfd(target), None)?)
    }

    /// Has the test device behind a bound file raise an interrupt, and take it back.
    pub fn raise(&mut self, device: Fd) -> Result<CallResult, WorkerError> {
        self.answer(&Request::Raise(device))
    }

    /// Whether a test device reaches a page; a flag. Only of a device that is a bus master.
    pub fn reaches(&mut self, reach: Reach) -> Result<CallResult, WorkerError> {
        self.answer(&Request::Reach(reach))
    }

    /// SIGKILL; returns when it is gone, its descriptors are closed, and it is reaped.
    pub fn kill(&mut self) -> Result<(), WorkerError> {
        self.send_sigkill()?;
        self.await_end()
    }

    /// SIGKILL, without waiting, for whoever has several to kill.
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

    /// Nobody waits for the children of those who ignore SIGCHLD: it is a matter of a moment.
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

    fn answer(&mut self, order: &Request<&Call>) -> Result<CallResult, WorkerError> {
        answer_in(self.reply(order, None)?)
    }

    fn reply(
        &mut self,
        order: &Request<&Call>,
        fd: Option<&OwnedFd>,
    ) -> Result<Response, WorkerError> {
        let fd: Option<BorrowedFd<'_>> = fd.map(AsFd::as_fd);
        self.link.say(order, fd).map_err(system("an order"))?;
        self.receive()
    }

    fn hello(&mut self) -> Result<(), WorkerError> {
        match self.receive()? {
            Response::Hello => Ok(()),
            other => Err(strange(&other)),
        }
    }

    fn receive(&mut self) -> Result<Response, WorkerError> {
        let heard = match self.link.hear() {
            Ok(Received::Value(said, _)) => return Ok(said),
            Ok(Received::End) => WorkerError::Died,
            Err(Errno::EAGAIN) => WorkerError::Silent,
            Err(errno) => WorkerError::System("an answer", errno),
        };
        if heard != WorkerError::Died {
            self.kill()?;
        }
        Err(heard)
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

fn strange(said: &Response) -> WorkerError {
    WorkerError::Strange(format!("{said:?}"))
}

fn answer_in(said: Response) -> Result<CallResult, WorkerError> {
    match said {
        Response::Answer(answer) => Ok(answer),
        other => Err(strange(&other)),
    }
}

fn fd_in(said: Response) -> Result<Fd, WorkerError> {
    match said {
        Response::Answer(Ok(Reply::Fd(fd))) => Ok(fd),
        other => Err(strange(&other)),
    }
}

/// The player's end, on which nothing is waited for longer than [`PATIENCE`], and a puppet's.
fn pair() -> Result<(OwnedFd, OwnedFd), WorkerError> {
    let (ours, theirs) = socket::pair().map_err(system("socketpair"))?;
    set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))
        .map_err(|error| WorkerError::System("SO_RCVTIMEO", sys::errno(error)))?;
    Ok((ours, theirs))
}
