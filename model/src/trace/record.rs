//! What an event tells, by its `sys`: one variant a kind of record, with the fields of its own.
//!
//! The first part is version 1 of the format as any recorder writes it; the second part is what
//! our own runs add (calls and circumstances that a recorder of foreign programs has no need of).
//! Fields that a reader does not know are ignored; a `sys` that it does not know is
//! [`Record::Other`].

use crate::abi::ids::{Fd, Pid, Uid};
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sys", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the system call that the variant names")]
pub enum Record {
    /// First sight of a process. It may stand before its parent's `clone`.
    Start {
        uid: Uid,
        euid: Uid,
        cap_ipc_lock: bool,
        #[serde(with = "super::limit")]
        memlock_cur: u64,
        #[serde(with = "super::limit")]
        memlock_max: u64,
        #[serde(default)]
        parent: Pid,
    },
    /// open, openat.
    Open { path: String, flags: u32 },
    /// close.
    Close { fd: Fd },
    /// `close_range`: both ends inclusive.
    CloseRange { first: u32, last: u32, flags: u32 },
    /// dup, dup2, dup3, `F_DUPFD`, `F_DUPFD_CLOEXEC`; `ret` is the new descriptor.
    Dup { fd: Fd, cloexec: bool },
    /// `F_SETFD`.
    Setfd { fd: Fd, cloexec: bool },
    /// `F_SETFL`, or FIONBIO.
    Setfl {
        fd: Fd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonblock: Option<bool>,
    },
    /// `F_ADD_SEALS`.
    Seal { fd: Fd, seals: u32 },
    /// `memfd_create`.
    Memfd { name: String, flags: u32 },
    /// eventfd, eventfd2.
    Eventfd { count: u64, flags: u32 },
    /// ftruncate.
    Truncate { fd: Fd, length: u64 },
    /// fallocate.
    Fallocate { fd: Fd, mode: u32, offset: u64, length: u64 },
    /// read, and pread where there is an offset.
    Read {
        fd: Fd,
        length: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// write, and pwrite where there is an offset.
    Write {
        fd: Fd,
        length: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// mmap; `fd` is -1 where there is none.
    Mmap { addr: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64 },
    /// munmap.
    Munmap { addr: u64, length: u64 },
    /// mremap.
    Mremap { addr: u64, old_length: u64, new_length: u64, flags: u32 },
    /// socket(`AF_UNIX`).
    Socket {
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// socketpair(`AF_UNIX`).
    Socketpair {
        fds: Vec<Fd>,
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// connect.
    Connect {
        fd: Fd,
        #[serde(default)]
        path: String,
    },
    /// bind.
    Bind {
        fd: Fd,
        #[serde(default)]
        path: String,
    },
    /// listen.
    Listen { fd: Fd },
    /// accept, accept4.
    Accept {
        fd: Fd,
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// shutdown of a socket.
    Shutdown { fd: Fd, how: u32 },
    /// sendmsg, and write, send and sendto on a unix socket.
    Sendmsg {
        fd: Fd,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
        #[serde(default)]
        fds: Vec<Fd>,
    },
    /// recvmsg.
    Recvmsg {
        fd: Fd,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
        #[serde(default)]
        fds: Vec<Fd>,
        #[serde(default)]
        cloexec: bool,
        /// `MSG_PEEK`.
        #[serde(default, skip_serializing_if = "is_false")]
        peek: bool,
        /// `MSG_CTRUNC`.
        #[serde(default, skip_serializing_if = "is_false")]
        truncated: bool,
        /// `MSG_DONTWAIT`; only our own runs say so.
        #[serde(default, skip_serializing_if = "is_false")]
        dontwait: bool,
        /// How many descriptors there was room for; only our own runs say so, where it was not
        /// enough for all that can come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fds_max: Option<usize>,
    },
    /// fork, vfork, clone.
    Clone { child: Pid, flags: u64, thread: bool },
    /// execve; the credentials after it where it succeeded.
    Exec {
        path: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        argv: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<Uid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        euid: Option<Uid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cap_ipc_lock: Option<bool>,
    },
    /// The process has ended, by itself or by a signal.
    Exit {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// setrlimit, prlimit; `target` where it is another process.
    Rlimit {
        resource: String,
        #[serde(with = "super::limit")]
        cur: u64,
        #[serde(with = "super::limit")]
        max: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Pid>,
    },
    /// The credentials after a change. `call` says by what; only our own runs do.
    Cred {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<Uid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        euid: Option<Uid>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cap_ipc_lock: Option<bool>,
    },
    /// ioctl: the argument structure before and after, and what it points to; `arg` where the
    /// argument is a value.
    Ioctl {
        fd: Fd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        req: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(
            default,
            rename = "in",
            with = "crate::abi::hex",
            skip_serializing_if = "Vec::is_empty"
        )]
        input: Vec<u8>,
        #[serde(
            default,
            rename = "out",
            with = "crate::abi::hex",
            skip_serializing_if = "Vec::is_empty"
        )]
        output: Vec<u8>,
        #[serde(default, rename = "mem", skip_serializing_if = "Vec::is_empty")]
        memory: Vec<Memory>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arg: Option<u64>,
    },

    // ---- what our own runs add -------------------------------------------------------------
    /// A descriptor that a process starts with and that no recorded call made.
    Given {
        fd: Fd,
        #[serde(flatten)]
        what: PassedFd,
        #[serde(default)]
        cloexec: bool,
    },
    /// fstat.
    Stat { fd: Fd, inode: u64, size: u64 },
    /// getrlimit.
    Getrlimit {
        resource: String,
        #[serde(with = "super::limit")]
        cur: u64,
    },
    /// geteuid; `ret` is the user.
    Getuid,
    /// capget, the effective set.
    Capget { cap_ipc_lock: bool },
    /// `pidfd_send_signal`.
    Kill { fd: Fd, signal: String },
    /// poll of a pidfd until its process has ended.
    Wait { fd: Fd },
    /// A VMM's own doings with its guest: `boot`, `stop`, `save`, `load`, `start`; `fd` where its
    /// state goes.
    Guest {
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fd: Option<Fd>,
    },

    /// A record that this reader does not know.
    #[serde(other)]
    Other,
}

/// Memory that an ioctl's argument points to, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The field that points there.
    pub field: String,
    /// Before.
    #[serde(default, rename = "in", with = "crate::abi::hex")]
    pub input: Vec<u8>,
    /// After.
    #[serde(default, rename = "out", with = "crate::abi::hex")]
    pub output: Vec<u8>,
}

/// What a given descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum PassedFd {
    /// One end of a pair of `SOCK_SEQPACKET` sockets; told once for both ends.
    Socket {
        /// Who holds the other end.
        peer: Pid,
        /// And as what.
        peer_fd: Fd,
    },
    /// A process.
    Pidfd {
        /// Which.
        target: Pid,
    },
    /// A program that can be executed.
    Image {
        /// Which.
        path: String,
    },
}

impl Record {
    /// Its `sys`.
    pub fn sys(&self) -> String {
        #[derive(Deserialize)]
        struct Tag {
            sys: String,
        }
        let tag = serde_json::to_value(self).and_then(Tag::deserialize);
        tag.expect("a record is an object with a `sys`").sys
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
