//! The player's side: puppets as handles.
//!
//! Trouble is told, never waited for: a puppet that dies under an order, or does not answer in
//! time, is killed.

use super::wire::{Heard, Link};
use super::{Order, PATIENCE, Person, Reach, Said};
use crate::sys;
use handoff_model::abi::call::{Answer, Call, ProcessCall, Reply};
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
pub enum Trouble {
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
pub struct Puppet {
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
pub struct Mother {
    process: Spawned,
    puppet: Puppet,
}

impl Mother {
    /// Starts `image` with `argv`, its name first: a program that calls [`live`](super::live) at
    /// once. The calling thread and all puppets share one CPU from now on: they only ever take
    /// turns, and on an emulated machine to wake another CPU takes ten times as long as a call.
    pub fn start(image: &Path, argv: &[OsString]) -> Result<Self, Trouble> {
        stay_on_this_cpu().map_err(system("sched_setaffinity"))?;
        let (ours, theirs) = pair()?;
        let process = spawn::spawn(image, argv, theirs).map_err(system("spawn"))?;
        let mut puppet = Puppet::new(process.pid, ours)?;
        puppet.hello()?;
        Ok(Self { process, puppet })
    }

    /// A puppet with no descriptors.
    pub fn bear(&mut self, person: Person) -> Result<Puppet, Trouble> {
        let mut child = self.puppet.fork()?;
        match child.answer(&Order::Become(person))? {
            Ok(_) => Ok(child),
            Err(errno) => Err(Trouble::System("to be of a user", errno)),
        }
    }
}

impl Drop for Mother {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process.pidfd, Signal::KILL);
        let _ = self.process.wait(PATIENCE);
    }
}

impl Puppet {
    fn new(pid: Pid, socket: OwnedFd) -> Result<Self, Trouble> {
        let number = rustix::process::Pid::from_raw(pid.0.cast_signed()).ok_or(Trouble::Died)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| Trouble::System("pidfd_open", sys::errno(error)))?;
        let status = File::open(format!("/proc/{pid}/status"));
        let status =
            status.map_err(|error| Trouble::System("its status", sys::io_errno(&error)))?;
        Ok(Self { pid, pidfd, status, link: Link::new(Fd(socket.as_raw_fd())), _socket: socket })
    }

    /// Its number in the system.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its VmPin and VmLck in pages, while it lives.
    pub fn locked_pages(&self) -> Result<(i64, i64), Trouble> {
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
    pub fn call(&mut self, call: &Call, place: Option<Va>) -> Result<Answer, Trouble> {
        self.link.say(&Order::Call(call, place), None).map_err(system("an order"))?;
        match (self.hear(), call) {
            (Err(Trouble::Died), Call::Process(ProcessCall::Exit { .. })) => {
                self.await_end().map(|()| Ok(Reply::Done))
            }
            (Ok(Said::Hello), Call::Process(ProcessCall::Exec { .. })) => Ok(Ok(Reply::Done)),
            (said, _) => answer_in(said?),
        }
    }

    /// Makes an ioctl of which the nth allocation fails, counted from 1; whether it came to that.
    pub fn call_failing(&mut self, call: &Call, nth: u32) -> Result<(Answer, bool), Trouble> {
        match self.told(&Order::Fail(call, nth), None)? {
            Said::Failed(answer, came_to_it) => Ok((answer, came_to_it)),
            Said::Answer(Err(errno)) => Err(Trouble::System("fail-nth", errno)),
            other => Err(strange(&other)),
        }
    }

    /// A child.
    pub fn fork(&mut self) -> Result<Self, Trouble> {
        let (ours, theirs) = pair()?;
        match self.told(&Order::Fork, Some(&theirs))? {
            Said::Child(pid) => Self::new(pid, ours),
            other => Err(strange(&other)),
        }
    }

    /// Executes the puppets' program anew.
    pub fn exec(&mut self) -> Result<(), Trouble> {
        self.link.say(&Order::<&Call>::Exec, None).map_err(system("an order"))?;
        self.hello()
    }

    /// Gives it a descriptor; → its number there.
    pub fn give(&mut self, fd: &OwnedFd) -> Result<Fd, Trouble> {
        fd_in(self.told(&Order::Keep, Some(fd))?)
    }

    /// Has it open a pidfd of another.
    pub fn open_pidfd(&mut self, target: Pid) -> Result<Fd, Trouble> {
        fd_in(self.told(&Order::Pidfd(target), None)?)
    }

    /// Has the test device behind a bound file raise an interrupt, and take it back.
    pub fn raise(&mut self, device: Fd) -> Result<Answer, Trouble> {
        self.answer(&Order::Raise(device))
    }

    /// Whether a test device reaches a page; a flag. Only of a device that is a bus master.
    pub fn reaches(&mut self, reach: Reach) -> Result<Answer, Trouble> {
        self.answer(&Order::Reach(reach))
    }

    /// SIGKILL; returns when it is gone, its descriptors are closed, and it is reaped.
    pub fn kill(&mut self) -> Result<(), Trouble> {
        self.strike()?;
        self.await_end()
    }

    /// SIGKILL, without waiting, for whoever has several to kill.
    pub fn strike(&self) -> Result<(), Trouble> {
        match rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).map_err(sys::errno) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Trouble::System("pidfd_send_signal", errno)),
        }
    }

    fn await_end(&self) -> Result<(), Trouble> {
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut ended, Some(&timeout)).map_err(sys::errno) {
            Ok(0) => Err(Trouble::Silent),
            Ok(_) => self.await_reaping(),
            Err(errno) => Err(Trouble::System("poll", errno)),
        }
    }

    /// Nobody waits for the children of those who ignore SIGCHLD: it is a matter of a moment.
    fn await_reaping(&self) -> Result<(), Trouble> {
        let until = Instant::now() + PATIENCE;
        while rustix::process::pidfd_send_signal(&self.pidfd, Signal::CONT).is_ok() {
            if Instant::now() > until {
                return Err(Trouble::Silent);
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn answer(&mut self, order: &Order<&Call>) -> Result<Answer, Trouble> {
        answer_in(self.told(order, None)?)
    }

    fn told(&mut self, order: &Order<&Call>, fd: Option<&OwnedFd>) -> Result<Said, Trouble> {
        let fd: Option<BorrowedFd<'_>> = fd.map(AsFd::as_fd);
        self.link.say(order, fd).map_err(system("an order"))?;
        self.hear()
    }

    fn hello(&mut self) -> Result<(), Trouble> {
        match self.hear()? {
            Said::Hello => Ok(()),
            other => Err(strange(&other)),
        }
    }

    fn hear(&mut self) -> Result<Said, Trouble> {
        let heard = match self.link.hear() {
            Ok(Heard::Value(said, _)) => return Ok(said),
            Ok(Heard::End) => Trouble::Died,
            Err(Errno::EAGAIN) => Trouble::Silent,
            Err(errno) => Trouble::System("an answer", errno),
        };
        if heard != Trouble::Died {
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

fn system(what: &'static str) -> impl Fn(Errno) -> Trouble {
    move |errno| Trouble::System(what, errno)
}

fn strange(said: &Said) -> Trouble {
    Trouble::Strange(format!("{said:?}"))
}

fn answer_in(said: Said) -> Result<Answer, Trouble> {
    match said {
        Said::Answer(answer) => Ok(answer),
        other => Err(strange(&other)),
    }
}

fn fd_in(said: Said) -> Result<Fd, Trouble> {
    match said {
        Said::Answer(Ok(Reply::Fd(fd))) => Ok(fd),
        other => Err(strange(&other)),
    }
}

/// The player's end, on which nothing is waited for longer than [`PATIENCE`], and a puppet's.
fn pair() -> Result<(OwnedFd, OwnedFd), Trouble> {
    let (ours, theirs) = socket::pair().map_err(system("socketpair"))?;
    set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))
        .map_err(|error| Trouble::System("SO_RCVTIMEO", sys::errno(error)))?;
    Ok((ours, theirs))
}
