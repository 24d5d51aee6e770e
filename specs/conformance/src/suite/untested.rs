//! What is known of the kernel and is no row: each fact, and why.
//!
//! All were observed on a real kernel. A fact that becomes a row leaves this table.

/// A fact that no row shows.
#[derive(Clone, Copy, Debug)]
pub struct Untested {
    /// The fact, as a sentence.
    pub fact: &'static str,
    /// Why it is no row.
    pub reason: &'static str,
}

const TWO_THREADS: &str = "takes two calls at once in one context; here a call is atomic";
const NO_CALL: &str = "takes a system call that a handoff does not make";
const LUO: &str = "out of scope: live update of the kernel itself (LUO, KHO)";
const OTHER_BUILD: &str = "takes a kernel that is built the other way";

const fn untested(fact: &'static str, reason: &'static str) -> Untested {
    Untested { fact, reason }
}

/// By topic.
pub const UNTESTED: &[Untested] = &[
    untested("MAP of memory without the right to write it is EFAULT", NO_CALL),
    untested("MAP_FILE pins files of tmpfs and of the root file system like memfds", NO_CALL),
    untested("MAP_FILE of a hugetlb memfd pins single pages and leaks no reservation", NO_CALL),
    untested("CHANGE_PROCESS during a MAP or UNMAP of another thread is EBUSY (H7)", TWO_THREADS),
    untested("a COPY of what another thread is about to map or unmap is ENOENT", TWO_THREADS),
    untested("an object that another thread is about to destroy is ENOENT", TWO_THREADS),
    untested("MADV_DONTNEED on a shared mapping keeps it the device's memory", NO_CALL),
    untested("with CONFIG_IOMMUFD_VFIO_CONTAINER an iommufd is a container, too", OTHER_BUILD),
    untested("/dev/liveupdate is exclusive; an unknown number there is EINVAL", LUO),
    untested("sessions: names EINVAL, EEXIST, ENOENT; their files are CLOEXEC", LUO),
    untested("PRESERVE_FD: EBADF, EEXIST, EBUSY, ENOENT for all but memfds", LUO),
    untested(
        "RETRIEVE_FD and FINISH of an outgoing session are EINVAL; its close unpreserves",
        LUO,
    ),
    untested(
        "a preserved memfd refuses ftruncate and fallocate, takes writes within its size and \
         stores through mappings, and can be mapped for DMA, before as well as after",
        LUO,
    ),
    untested("the kernel's own test of live update (15 cases) passes", LUO),
];
