//! The records of events, by their `sys`: one variant per kind, with its own fields.
//!
//! The first part is version 1 of the format as any recorder writes it. The second part is written
//! only by our own runs: calls and circumstances that a recorder of other programs does not need.
//! Unknown fields are ignored; an unknown `sys` is read as [`Record::Other`].

use crate::abi::ids::{Fd, Pid, Uid};
use serde::{Deserialize, Serialize};

/// An action of a process, or a fact about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sys", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are those of the system call that the variant names")]
pub enum Record {
    /// The first event of a process. It may precede its parent's `clone`.
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
    /// `open`, `openat`.
    Open { path: String, flags: u32 },
    /// `close`.
    Close { fd: Fd },
    /// `close_range`: both ends inclusive.
    CloseRange { first: u32, last: u32, flags: u32 },
    /// `dup`, `dup2`, `dup3`, `F_DUPFD`, `F_DUPFD_CLOEXEC`; `ret` is the new descriptor.
    Dup { fd: Fd, cloexec: bool },
    /// `F_SETFD`.
    Setfd { fd: Fd, cloexec: bool },
    /// `F_SETFL` or `FIONBIO`.
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
    /// `eventfd`, `eventfd2`.
    Eventfd { count: u64, flags: u32 },
    /// `ftruncate`.
    Truncate { fd: Fd, length: u64 },
    /// `fallocate`.
    Fallocate { fd: Fd, mode: u32, offset: u64, length: u64 },
    /// `read`; `pread` if there is an offset.
    Read {
        fd: Fd,
        length: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// `write`; `pwrite` if there is an offset.
    Write {
        fd: Fd,
        length: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// `mmap`; `fd` is -1 for anonymous memory.
    Mmap { addr: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64 },
    /// `munmap`.
    Munmap { addr: u64, length: u64 },
    /// `mremap`.
    Mremap { addr: u64, old_length: u64, new_length: u64, flags: u32 },
    /// `socket(AF_UNIX)`.
    Socket {
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// `socketpair(AF_UNIX)`.
    Socketpair {
        fds: Vec<Fd>,
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// `connect`.
    Connect {
        fd: Fd,
        #[serde(default)]
        path: String,
    },
    /// `bind`.
    Bind {
        fd: Fd,
        #[serde(default)]
        path: String,
    },
    /// `listen`.
    Listen { fd: Fd },
    /// `accept`, `accept4`.
    Accept {
        fd: Fd,
        #[serde(default)]
        cloexec: bool,
        #[serde(default)]
        nonblock: bool,
    },
    /// `shutdown` of a socket.
    Shutdown { fd: Fd, how: u32 },
    /// `sendmsg`; and `write`, `send` and `sendto` on a unix socket.
    Sendmsg {
        fd: Fd,
        #[serde(default, with = "crate::abi::hex")]
        bytes: Vec<u8>,
        #[serde(default)]
        fds: Vec<Fd>,
    },
    /// `recvmsg`.
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
        /// `MSG_DONTWAIT`; recorded only by our own runs.
        #[serde(default, skip_serializing_if = "is_false")]
        dontwait: bool,
        /// Number of descriptors that the control buffer has room for; recorded only by our own
        /// runs, and only if it is less than the maximum of a message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fds_max: Option<usize>,
    },
    /// `fork`, `vfork`, `clone`.
    Clone { child: Pid, flags: u64, thread: bool },
    /// `execve`; with the credentials after it if it succeeded.
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
    /// The process has exited or was killed by a signal.
    Exit {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// `setrlimit`, `prlimit`; `target` if it is another process.
    Rlimit {
        resource: String,
        #[serde(with = "super::limit")]
        cur: u64,
        #[serde(with = "super::limit")]
        max: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Pid>,
    },
    /// The credentials after a change. `call` is the call that changed them; recorded only by our
    /// own runs.
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
    /// `ioctl`: the argument structure before and after the call, and the memory it points to;
    /// `arg` if the argument is a value.
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

    // ---- written only by our own runs ------------------------------------------------------
    /// A descriptor that a process has from the start and that no recorded call created.
    Given {
        fd: Fd,
        #[serde(flatten)]
        what: PassedFd,
        #[serde(default)]
        cloexec: bool,
    },
    /// `fstat`.
    Stat { fd: Fd, inode: u64, size: u64 },
    /// `getrlimit`.
    Getrlimit {
        resource: String,
        #[serde(with = "super::limit")]
        cur: u64,
    },
    /// `geteuid`; `ret` is the user.
    Getuid,
    /// `capget`, the effective set.
    Capget { cap_ipc_lock: bool },
    /// `pidfd_send_signal`.
    Kill { fd: Fd, signal: String },
    /// `poll` of a pidfd until its process has exited.
    Wait { fd: Fd },
    /// An operation of a VMM on its guest: `boot`, `stop`, `save`, `load`, `start`; `fd` is the
    /// file of the saved state.
    Guest {
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fd: Option<Fd>,
    },

    /// A record that this reader does not know.
    #[serde(other)]
    Other,
}

/// Memory that an ioctl's argument points to, before and after the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The name of the pointer field.
    pub field: String,
    /// The bytes before the call.
    #[serde(default, rename = "in", with = "crate::abi::hex")]
    pub input: Vec<u8>,
    /// The bytes after the call.
    #[serde(default, rename = "out", with = "crate::abi::hex")]
    pub output: Vec<u8>,
}

/// The kind of a descriptor that a process has from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum PassedFd {
    /// One end of a pair of `SOCK_SEQPACKET` sockets; recorded once for both ends.
    Socket {
        /// The process that holds the other end.
        peer: Pid,
        /// The other end's descriptor in that process.
        peer_fd: Fd,
    },
    /// A pidfd.
    Pidfd {
        /// The process it refers to.
        target: Pid,
    },
    /// A program that can be executed.
    Image {
        /// The path of the program.
        path: String,
    },
}

impl Record {
    /// Returns the `sys` of the record.
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
