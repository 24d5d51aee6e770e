//! What a row needs of a kernel, simulated or real.
//!
//! Processes are numbered from 1 in the order of their making, on either arm; so are a row's
//! descriptors, from 3 on, by the lowest free number. A process of an arm makes one call at a time.

mod capabilities;
pub mod host;
pub mod simulated;

use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::ids::{Fd, Iova, Pid, Va};
use handoff_sim_kernel::ProcessSpec;

/// A kernel, and processes in it that make the calls that they are told to make.
pub trait Target {
    /// Why this arm cannot run a row with that need; `None` when it can.
    fn lacks(&self, need: &Capability) -> Option<String>;

    /// What went wrong with the arm itself since it was cleared: a process that died under a call,
    /// one that did not come back from it.
    fn error(&self) -> Option<&str> {
        None
    }

    /// Ends all processes: the next one is number 1 again.
    fn clear(&mut self);

    /// A new process with an empty descriptor table.
    fn spawn(&mut self, spec: ProcessSpec) -> Pid;

    /// A child of a process: its descriptors, its memory, its user.
    fn fork(&mut self, parent: Pid) -> Pid;

    /// Makes a call of a process. [`Exit`](handoff_model::abi::call::ProcessCall::Exit) and
    /// [`Exec`](handoff_model::abi::call::ProcessCall::Exec) return what a process that outlives
    /// them would see.
    fn call(&mut self, pid: Pid, call: &Call) -> CallResult;

    /// [`Target::call`], with the place where a new mapping should go, which is free.
    fn call_at(&mut self, pid: Pid, call: &Call, place: Option<Va>) -> CallResult;

    /// Makes an ioctl of which the nth allocation or pin fails, counted from 1; → whether it came
    /// to that. Only where an arm does not lack [`Capability::FailNth`].
    fn call_failing(&mut self, pid: Pid, call: &Call, nth: u32) -> (CallResult, bool);

    /// VmPin and VmLck of a living process, in pages; below zero where the kernel's counter has
    /// wrapped.
    fn locked(&mut self, pid: Pid) -> (i64, i64);

    /// SIGKILL, and waits until the process is gone.
    fn kill(&mut self, pid: Pid);

    /// Replaces a process's program by `execve`; the new one goes on taking calls.
    fn exec(&mut self, pid: Pid);

    /// A connected pair of sockets, one end in each process.
    fn socketpair(&mut self, a: Pid, b: Pid) -> (Fd, Fd);

    /// A pidfd of `target` in `holder`.
    fn pidfd(&mut self, holder: Pid, target: Pid) -> Fd;

    /// A program in a process's table, opened with `O_PATH`; `None` where the arm hands out none.
    fn image(&mut self, _holder: Pid) -> Option<Fd> {
        None
    }

    /// The device file of a device.
    fn path(&self, device: Device) -> String;

    /// The file of a device's group, and what the group calls the device.
    fn group(&self, device: Device) -> (String, String);

    /// The device raises its first MSI; `pid` holds its bound file under `fd`. Only of an `edu`.
    fn raise(&mut self, device: Device, pid: Pid, fd: Fd);

    /// Whether DMA of the device to an address reaches that page of a memfd of `pid`, which holds
    /// the device's bound file under `fd`. Only of an `edu`.
    fn reaches(&mut self, device: Device, pid: Pid, fd: Fd, iova: Iova, page: (Fd, u64)) -> bool;
}

/// A device that an arm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// QEMU's `edu` on vfio-pci: does DMA, has one MSI, cannot be reset.
    Edu,
    /// A second one, in a group of its own.
    OtherEdu,
    /// The kernel's `mtty` sample: an mdev.
    Mtty,
    /// An `edu` alone behind a root port: can be reset.
    Alone,
    /// A PCI device in the IOMMU group of the first `edu`.
    Sibling,
    /// A PCI device with four vectors each of MSI and MSI-X.
    Many,
    /// An mdev that can be opened only with KVM.
    Tied,
}

/// What a row takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// This device.
    Has(Device),
    /// `CONFIG_IOMMUFD_TEST`: mock domains and accesses.
    Mock,
    /// `/dev/kvm`.
    Kvm,
    /// `/dev/vfio/vfio` and group files, with a type1 IOMMU.
    Type1,
    /// `/proc/self/fail-nth`.
    FailNth,
    /// This release, and no other; by the name of its profile.
    Release(&'static str),
    /// A simulated kernel, for this reason.
    Simulated(&'static str),
}
