//! Builds a [`View`] of the real host from `/proc`, sysfs and the devices, for given processes.
//!
//! Observed exactly: the descriptors of a process, their kinds and CLOEXEC flags; which of them
//! share an open file description (`kcmp`); VmLck; bus mastering (the hardware's register); the
//! count of an eventfd; whether a device file is bound (checked through `pidfd_getfd`, so that the
//! observer briefly holds the file, too).
//!
//! Reported by the roles, because no other process can observe it ([`Expectation`]): guests, the
//! address space that a device is attached to, interrupts raised and delivered, resets that the
//! device's marker revealed.
//!
//! Absent: page sets, mappings and reach (iommufd does not expose them), descriptors in flight (the
//! kernel counts but does not list them), per-user accounts (`user_struct::locked_vm` is not
//! exposed). VmPin is not an account; [`pinned_pages`] returns it.
//!
//! Where permission is missing, [`Observed::blind`] records what was assumed.
//!
//! Mirrors: `proc_pid_status(5)`, `kcmp(2)`, `pidfd_getfd(2)` of Linux 7.3.

use crate::descriptors::{self, Descriptor, Identity, field, process_path};
use crate::sys;
use crate::sysfs::{Bdf, Sysfs};
use handoff_model::abi::call::{Call, DeviceCall};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, ObjectId, Pid, Uid};
use handoff_model::abi::view::{
    Account, DescriptorView, DeviceView, FileKind, FileRef, GuestView, InterruptView, ProcessView,
    View,
};
use rustix::fd::AsRawFd;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The facts that the roles report to the observer.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// The devices, by name.
    pub devices: BTreeMap<String, KnownDevice>,
    /// The guests, by the process that has one.
    pub guests: BTreeMap<Pid, GuestView>,
}

/// A device to observe.
#[derive(Clone, Debug)]
pub struct KnownDevice {
    /// Its PCI address.
    pub bdf: Bdf,
    /// The context and the address space that it is attached to.
    pub attached: Option<(u32, ObjectId)>,
    /// Number of times that its marker was found missing.
    pub upsets: u32,
    /// Its interrupt vectors, in order.
    pub interrupts: Vec<KnownInterrupt>,
}

/// An interrupt vector.
#[derive(Clone, Copy, Debug)]
pub struct KnownInterrupt {
    /// The eventfd that it triggers.
    pub trigger: Identity,
    /// Number of interrupts that the device raised.
    pub raised: u64,
    /// Number of interrupts that the guest received.
    pub delivered: u64,
}

/// A view, and its gaps.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The view.
    pub view: View,
    /// The facts that could not be observed.
    pub blind: BTreeSet<Blind>,
}

/// A fact that could not be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blind {
    /// Sharing of an open file description by two descriptors is unknown: assumed absent.
    Sharing,
    /// The state of a device file is unknown: assumed bound.
    Binding,
    /// The descriptors of a live process are unreadable: left out.
    Descriptors(Pid),
    /// The locked pages of a live process are unreadable: left out.
    Locked(Pid),
}

/// Observes the processes `pids` and the devices of `known`. Dead processes appear as dead.
pub fn observe(pids: &[Pid], known: &Expectation) -> Observed {
    let mut look = Scan { blind: BTreeSet::new(), files: Vec::new(), sysfs: Sysfs::default() };
    let mut tables = BTreeMap::new();
    let mut view = View::default();
    for pid in pids {
        let table = look.table(*pid);
        view.processes.insert(*pid, look.process(*pid, &table, known));
        tables.insert(*pid, table);
        if let Some(pages) = look.locked(*pid) {
            view.books.insert(Account::Process(*pid), pages);
        }
    }
    for (name, device) in &known.devices {
        view.devices.insert(name.clone(), look.device(device, &tables));
    }
    Observed { view, blind: look.blind }
}

/// Pages pinned on behalf of a process (VmPin), as the kernel reports them. Negative after hazard
/// H2: a new owner is uncharged for pages that were never charged to it.
///
/// # Errors
/// `ENOENT` if the process does not exist, `EACCES`, `EIO` if it has no address space any more.
pub fn pinned_pages(pid: Pid) -> Result<i64, Errno> {
    status_pages(pid, "VmPin")
}

/// VmPin and VmLck, in pages, from the text of a process's status file. Fails with `EIO` if either
/// is missing.
pub fn pinned_and_locked_pages(status: &str) -> Result<(i64, i64), Errno> {
    Ok((pages_in(status, "VmPin")?, pages_in(status, "VmLck")?))
}

fn status_pages(pid: Pid, name: &str) -> Result<i64, Errno> {
    pages_in(&status(pid)?, name)
}

fn pages_in(status: &str, name: &str) -> Result<i64, Errno> {
    field(status, name).and_then(pages_of).ok_or(Errno::EIO)
}

fn status(pid: Pid) -> Result<String, Errno> {
    std::fs::read_to_string(status_path(pid)).map_err(|error| sys::io_errno(&error))
}

fn status_path(pid: Pid) -> PathBuf {
    process_path(pid).join("status")
}

/// Converts kB to pages: `64 kB` → 16. The kernel prints a negative number of kB as a huge one.
fn pages_of(text: &str) -> Option<i64> {
    let kilobytes: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes.cast_signed() / 4)
}

/// The effective user ID: the second number of the line.
fn user(pid: Pid) -> Option<Uid> {
    let status = status(pid).ok()?;
    field(&status, "Uid")?.split_whitespace().nth(1)?.parse().ok().map(Uid)
}

fn is_alive(pid: Pid) -> bool {
    let state = status(pid).ok();
    let state = state.as_deref().and_then(|status| field(status, "State"));
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

type Tables = BTreeMap<Pid, Vec<Descriptor>>;

/// State of one observation: the files seen so far, each with the first descriptor that referred to
/// it.
struct Scan {
    blind: BTreeSet<Blind>,
    files: Vec<(Identity, (Pid, Fd))>,
    sysfs: Sysfs,
}

impl Scan {
    fn table(&mut self, pid: Pid) -> Vec<Descriptor> {
        let alive = is_alive(pid);
        match descriptors::table(pid) {
            Ok(table) if alive => table,
            Err(_) if alive => {
                self.blind.insert(Blind::Descriptors(pid));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn process(&mut self, pid: Pid, table: &[Descriptor], known: &Expectation) -> ProcessView {
        let descriptors = table.iter().map(|entry| {
            let Descriptor { fd, kind, cloexec, .. } = *entry;
            let file = self.file(entry.identity, (pid, fd));
            (fd, DescriptorView { file, kind, cloexec })
        });
        ProcessView {
            descriptors: descriptors.collect(),
            alive: is_alive(pid),
            uid: user(pid),
            guest: known.guests.get(&pid).cloned(),
            vm_pin_pages: pinned_pages(pid).ok(),
        }
    }

    /// The number of the open file description: its index among those seen.
    fn file(&mut self, identity: Identity, holder: (Pid, Fd)) -> FileRef {
        let known = (0..self.files.len())
            .find(|at| self.files[*at].0 == identity && self.shares(self.files[*at].1, holder));
        let at = known.unwrap_or_else(|| {
            self.files.push((identity, holder));
            self.files.len() - 1
        });
        FileRef(u32::try_from(at).expect("open files are few"))
    }

    /// A descriptor that was closed in the meantime shares with no other.
    fn shares(&mut self, left: (Pid, Fd), right: (Pid, Fd)) -> bool {
        let shared = sys::same_file(left, right);
        if !matches!(shared, Ok(_) | Err(Errno::EBADF | Errno::ESRCH)) {
            self.blind.insert(Blind::Sharing);
        }
        shared.unwrap_or(false)
    }

    /// The locked pages; `None` if zero or if the process has no address space.
    fn locked(&mut self, pid: Pid) -> Option<i64> {
        if !is_alive(pid) {
            return None;
        }
        let pages = status_pages(pid, "VmLck");
        if pages.is_err() {
            self.blind.insert(Blind::Locked(pid));
        }
        pages.ok().filter(|pages| *pages != 0)
    }

    fn device(&mut self, known: &KnownDevice, tables: &Tables) -> DeviceView {
        let holders = self.holders(known.bdf, tables);
        let interrupts = known.interrupts.iter().map(|vector| self.interrupt(*vector, tables));
        DeviceView {
            interrupts: interrupts.collect(),
            attached: known.attached,
            bound: !holders.is_empty(),
            bus_master: self.sysfs.command(known.bdf).map(|command| command & BUS_MASTER != 0),
            disruptions: known.upsets,
            reach: None,
            holders,
        }
    }

    fn holders(&mut self, bdf: Bdf, tables: &Tables) -> BTreeSet<Pid> {
        let entries = tables.iter().flat_map(|(pid, table)| table.iter().map(|one| (*pid, one)));
        let of_device: Vec<(Pid, Fd)> = entries
            .filter(|(_, entry)| entry.kind == FileKind::Device)
            .filter(|(_, entry)| self.owner(entry.identity) == Some(bdf))
            .map(|(pid, entry)| (pid, entry.fd))
            .collect();
        of_device.into_iter().filter(|holder| self.is_bound(*holder)).map(|(pid, _)| pid).collect()
    }

    fn owner(&self, node: Identity) -> Option<Bdf> {
        let special = node.special;
        self.sysfs.owner_of(rustix::fs::major(special), rustix::fs::minor(special))
    }

    fn is_bound(&mut self, (pid, fd): (Pid, Fd)) -> bool {
        match query_device_info(pid, fd) {
            Ok(()) => true,
            Err(Errno::EINVAL | Errno::EBADF | Errno::ESRCH) => false,
            Err(_) => {
                self.blind.insert(Blind::Binding);
                true
            }
        }
    }

    fn interrupt(&mut self, vector: KnownInterrupt, tables: &Tables) -> InterruptView {
        let holder = tables.iter().find_map(|(pid, table)| {
            Some((*pid, table.iter().find(|entry| entry.identity == vector.trigger)?))
        });
        InterruptView {
            trigger: holder.map(|(pid, entry)| self.file(vector.trigger, (pid, entry.fd))),
            raised: vector.raised,
            delivered: vector.delivered,
            pending: holder.and_then(|(_, entry)| entry.event_count).unwrap_or(0),
            irqfd: None,
        }
    }
}

/// Bus Master Enable, a bit of the PCI command register.
const BUS_MASTER: u16 = 1 << 2;

/// `VFIO_DEVICE_GET_INFO` on another process's device file. Fails with `EINVAL` before BIND; also
/// with `EPERM`, `ENOSYS`.
fn query_device_info(pid: Pid, fd: Fd) -> Result<(), Errno> {
    let number = rustix::process::Pid::from_raw(pid.0.cast_signed()).ok_or(Errno::ESRCH)?;
    let process = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(sys::errno)?;
    let file = rustix::process::pidfd_getfd(process, fd.0, PidfdGetfdFlags::empty())
        .map_err(sys::errno)?;
    sys::ioctl(&Call::Device(DeviceCall::Info { device: Fd(file.as_raw_fd()) })).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::pages_of;

    #[test]
    fn kilobytes_convert_to_pages_even_if_negative() {
        let rows = [
            ("0 kB", Some(0)),
            ("   65536 kB", Some(16384)),
            ("18446744073709551360 kB", Some(-64)),
            ("12", None),
            ("kB", None),
        ];
        for (text, expected) in rows {
            assert_eq!(pages_of(text), expected, "{text:?}");
        }
    }
}
