//! A process's descriptor table, read from `/proc/PID/fd` and `/proc/PID/fdinfo`.
//!
//! An *identity* is the kernel's name for the object behind a descriptor: an inode, a device
//! number, an eventfd's ID. It is the same in every process, so it survives a handoff, which
//! descriptor numbers do not. Equal identities mean the same object, but not always the same open
//! file description: a device that was opened twice has one identity.
//!
//! Entries that vanish while the table is read are left out. Devices are recognized by their usual
//! paths.
//!
//! Mirrors: `proc_pid_fd(5)`, `proc_pid_fdinfo(5)`, `fs/eventfd.c` of Linux 7.3.

use crate::sys;
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::FileKind;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An entry of a descriptor table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub fd: Fd,
    /// The kind of file it refers to.
    pub kind: FileKind,
    /// The file it refers to.
    pub identity: Identity,
    /// True if `execve` closes it.
    pub cloexec: bool,
    /// The count of an eventfd; `None` for any other file.
    pub event_count: Option<u64>,
}

/// A system-wide identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The device number of the file system.
    pub device: u64,
    /// The inode in that file system.
    pub inode: u64,
    /// The device number of a device node; otherwise 0.
    pub special: u64,
    /// The ID of an eventfd; otherwise 0. Needed because all eventfds share one inode.
    pub event: u64,
}

/// Reads the complete descriptor table of a process, sorted by number.
///
/// # Errors
/// `ENOENT` if the process does not exist, `EACCES` if it may not be inspected.
pub fn table(pid: Pid) -> Result<Vec<Descriptor>, Errno> {
    let process = process_path(pid);
    let mut numbers = numbers(&process.join("fd"))?;
    numbers.sort_unstable();
    Ok(numbers.into_iter().filter_map(|number| read(&process, Fd(number))).collect())
}

/// For the calling process, this includes the descriptor used to read the directory, which is
/// closed before it is looked up.
fn numbers(directory: &Path) -> Result<Vec<i32>, Errno> {
    let entries = std::fs::read_dir(directory).map_err(|error| sys::io_errno(&error))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Reads one entry of the calling process's table. Fails with `EBADF`.
pub fn own(fd: Fd) -> Result<Descriptor, Errno> {
    read(&process_path(Pid(std::process::id())), fd).ok_or(Errno::EBADF)
}

pub(crate) fn process_path(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn read(process: &Path, fd: Fd) -> Option<Descriptor> {
    let link = process.join(format!("fd/{fd}"));
    let target = std::fs::read_link(&link).ok()?;
    let stat = rustix::fs::stat(&link).ok()?;
    let info = std::fs::read_to_string(process.join(format!("fdinfo/{fd}"))).ok()?;
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        special: stat.st_rdev,
        event: field(&info, "eventfd-id").and_then(|id| id.parse().ok()).unwrap_or(0),
    };
    Some(Descriptor {
        fd,
        kind: kind(&target.to_string_lossy(), stat.st_mode),
        identity,
        cloexec: has_cloexec(&info),
        event_count: hex_field(&info, "eventfd-count"),
    })
}

/// Prefixes of the link targets of a handoff's files. They are matched before the mode, because a
/// memfd's mode makes it look like a program.
const KINDS: [(&str, FileKind); 12] = [
    ("/dev/iommu", FileKind::Iommufd),
    ("/dev/vfio/devices/", FileKind::Device),
    ("/dev/vfio/vfio", FileKind::Container),
    ("/dev/vfio/", FileKind::Group),
    ("/memfd:", FileKind::Memfd),
    ("anon_inode:[eventfd]", FileKind::Eventfd),
    ("anon_inode:[pidfd]", FileKind::Pidfd),
    ("socket:", FileKind::Socket),
    ("/dev/kvm", FileKind::Kvm),
    ("anon_inode:kvm-vm", FileKind::Vm),
    ("anon_inode:kvm-vcpu", FileKind::Vcpu),
    ("anon_inode:kvm-vfio", FileKind::KvmVfio),
];

fn kind(target: &str, mode: u32) -> FileKind {
    let known = KINDS.iter().find(|(start, _)| target.starts_with(start));
    let executable = FileType::from_raw_mode(mode).is_file() && mode & 0o111 != 0;
    let other = if executable { FileKind::Image } else { FileKind::Other };
    known.map_or(other, |(_, kind)| *kind)
}

/// O_CLOEXEC, as fdinfo shows it.
const CLOEXEC: u32 = 0o2_000_000;

fn has_cloexec(info: &str) -> bool {
    let flags = field(info, "flags").and_then(|octal| u32::from_str_radix(octal, 8).ok());
    flags.is_some_and(|flags| flags & CLOEXEC != 0)
}

fn hex_field(info: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(info, name)?, 16).ok()
}

/// The value of a line `name: value`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_targets_determine_kinds() {
        let rows = [
            ("/dev/iommu", 0o020_600, FileKind::Iommufd),
            ("/dev/vfio/devices/vfio3", 0o020_600, FileKind::Device),
            ("/dev/vfio/vfio", 0o020_600, FileKind::Container),
            ("/memfd:ram (deleted)", 0o100_777, FileKind::Memfd),
            ("anon_inode:[eventfd]", 0o600, FileKind::Eventfd),
            ("anon_inode:[pidfd]", 0o600, FileKind::Pidfd),
            ("socket:[1234]", 0o140_777, FileKind::Socket),
            ("/bin/vmm", 0o100_755, FileKind::Image),
            ("/etc/passwd", 0o100_644, FileKind::Other),
            ("/tmp", 0o040_755, FileKind::Other),
        ];
        for (target, mode, expected) in rows {
            assert_eq!(kind(target, mode), expected, "{target}");
        }
    }

    #[test]
    fn fdinfo_shows_flags_and_counts() {
        let info = "pos:\t0\nflags:\t02004002\nmnt_id:\t16\neventfd-count:               \
                    1f\neventfd-id: 7\n";
        assert!(has_cloexec(info));
        assert!(!has_cloexec("flags:\t04002\n"));
        assert_eq!(hex_field(info, "eventfd-count"), Some(31));
        assert_eq!(field(info, "eventfd-id"), Some("7"));
        assert_eq!(field(info, "eventfd"), None, "only complete names match");
    }
}
