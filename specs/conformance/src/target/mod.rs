//! A kernel on which facts are checked, simulated or real.
//!
//! On every target, processes are numbered from 1 in the order of their creation, and the
//! descriptors of a fact from 3, by the lowest free number. Each process makes one call at a time.

mod capabilities;
pub mod host;
pub mod simulated;

use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::ids::{Fd, Iova, Pid, Va};
use handoff_sim_kernel::ProcessSpec;

/// A kernel, with processes that make the calls that they are given.
pub trait Target {
    /// Returns the reason why this target lacks a capability; `None` if it has it.
    fn lacks(&self, need: &Capability) -> Option<String>;

    /// Returns the error of the target itself since it was cleared: a process died in a call, or
    /// did not return from it.
    fn error(&self) -> Option<&str> {
        None
    }

    /// Ends all processes. The next one is number 1 again.
    fn clear(&mut self);

    /// Creates a process with an empty descriptor table.
    fn spawn(&mut self, spec: ProcessSpec) -> Pid;

    /// Forks a process. The child has its descriptors, its memory, its user.
    fn fork(&mut self, parent: Pid) -> Pid;

    /// Makes a call in a process. [`Exit`](handoff_model::abi::call::ProcessCall::Exit) and
    /// [`Exec`](handoff_model::abi::call::ProcessCall::Exec) return the answer that a process that
    /// outlives them would see.
    fn call(&mut self, pid: Pid, call: &Call) -> CallResult;

    /// Makes a call, and places a new mapping at a free address.
    fn call_at(&mut self, pid: Pid, call: &Call, place: Option<Va>) -> CallResult;

    /// Makes an ioctl whose nth allocation or pin fails, counted from 1. Also returns true if there
    /// was an nth one. Requires [`Capability::FailNth`].
    fn call_failing(&mut self, pid: Pid, call: &Call, nth: u32) -> (CallResult, bool);

    /// Returns VmPin and VmLck of a living process in pages; negative if the kernel's counter has
    /// wrapped.
    fn locked(&mut self, pid: Pid) -> (i64, i64);

    /// Sends SIGKILL and waits until the process has exited.
    fn kill(&mut self, pid: Pid);

    /// Replaces a process's program by `execve`. The new program continues to make calls.
    fn exec(&mut self, pid: Pid);

    /// Creates a connected pair of sockets with one end in each process.
    fn socketpair(&mut self, a: Pid, b: Pid) -> (Fd, Fd);

    /// Opens a pidfd of `target` in `holder`.
    fn pidfd(&mut self, holder: Pid, target: Pid) -> Fd;

    /// Opens a program in a process with `O_PATH`; `None` if the target does not provide one.
    fn image(&mut self, _holder: Pid) -> Option<Fd> {
        None
    }

    /// Returns the path of a device file.
    fn path(&self, device: Device) -> String;

    /// Returns the path of the file of a device's group, and the name that the group has for the
    /// device.
    fn group(&self, device: Device) -> (String, String);

    /// Makes the device raise its first MSI. `pid` holds its bound file under `fd`. Only for an
    /// `edu`.
    fn raise(&mut self, device: Device, pid: Pid, fd: Fd);

    /// Returns true if DMA of the device to an address reaches this page of a memfd of `pid`, which
    /// holds the device's bound file under `fd`. Only for an `edu`.
    fn reaches(&mut self, device: Device, pid: Pid, fd: Fd, iova: Iova, page: (Fd, u64)) -> bool;
}

/// A device that a target can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// QEMU's `edu` on vfio-pci: does DMA, has one MSI, cannot be reset.
    Edu,
    /// A second `edu` in its own group.
    OtherEdu,
    /// The kernel's `mtty` sample: an mdev.
    Mtty,
    /// An `edu` alone behind a root port: can be reset.
    Alone,
    /// A PCI device in the IOMMU group of the first `edu`.
    Sibling,
    /// A PCI device with four vectors each of MSI and MSI-X.
    Many,
    /// An mdev that can be opened only with a KVM.
    Tied,
}

/// A capability that a fact needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// The target has this device.
    Has(Device),
    /// Mock domains and accesses (`CONFIG_IOMMUFD_TEST`).
    Mock,
    /// `/dev/kvm`.
    Kvm,
    /// `/dev/vfio/vfio` and group files, with a type1 IOMMU.
    Type1,
    /// Fault injection by `/proc/self/fail-nth`.
    FailNth,
    /// This kernel release and no other, by the name of its profile.
    Release(&'static str),
    /// A simulated kernel, for this reason.
    Simulated(&'static str),
}
