//! Known behaviour of the kernel that the suite does not check, with reasons.
//!
//! All of it was observed on a real kernel. A fact that the suite covers leaves this table.

/// A fact that the suite does not check.
#[derive(Clone, Copy, Debug)]
pub struct Untested {
    /// One clause that states the kernel's behaviour.
    pub fact: &'static str,
    /// The reason why the suite does not check it.
    pub reason: &'static str,
}

const TWO_THREADS: &str = "needs two concurrent calls in one context; here a call is atomic";
const NO_CALL: &str = "needs a system call that a handoff does not make";
const LUO: &str = "out of scope: live update of the kernel itself (LUO, KHO)";
const OTHER_BUILD: &str = "needs a kernel built with the other configuration";

const fn untested(fact: &'static str, reason: &'static str) -> Untested {
    Untested { fact, reason }
}

/// The untested facts, by topic.
pub const UNTESTED: &[Untested] = &[
    untested("MAP fails with EFAULT if the process may not write the memory", NO_CALL),
    untested("MAP_FILE pins files of tmpfs and of the root file system like memfds", NO_CALL),
    untested("MAP_FILE of a hugetlb memfd pins single pages and leaks no reservation", NO_CALL),
    untested(
        "CHANGE_PROCESS fails with EBUSY during a MAP or UNMAP of another thread (H7)",
        TWO_THREADS,
    ),
    untested("COPY fails with ENOENT while another thread maps or unmaps its source", TWO_THREADS),
    untested(
        "a call fails with ENOENT for an object that another thread is destroying",
        TWO_THREADS,
    ),
    untested(
        "MADV_DONTNEED on a shared mapping does not disconnect it from the device's memory",
        NO_CALL,
    ),
    untested(
        "with CONFIG_IOMMUFD_VFIO_CONTAINER an iommufd also serves as a container",
        OTHER_BUILD,
    ),
    untested("/dev/liveupdate is exclusive; an unknown request fails with EINVAL", LUO),
    untested("session names fail with EINVAL, EEXIST or ENOENT; session files are CLOEXEC", LUO),
    untested(
        "PRESERVE_FD fails with EBADF, EEXIST or EBUSY, and with ENOENT for all but memfds",
        LUO,
    ),
    untested(
        "RETRIEVE_FD and FINISH fail with EINVAL in an outgoing session; its close unpreserves",
        LUO,
    ),
    untested(
        "a preserved memfd refuses ftruncate and fallocate, accepts writes within its size and \
        stores through mappings, and can be mapped for DMA, before and after a live update",
        LUO,
    ),
    untested("the kernel's own live update selftest (15 cases) passes", LUO),
];
