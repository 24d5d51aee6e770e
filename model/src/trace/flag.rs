//! Flags of the calls, as numbered by Linux, and the keywords of records.

pub(super) const O_NONBLOCK: u32 = 0x800;
pub(super) const O_RDWR_CLOEXEC: u32 = 0x8_0002;
pub(super) const O_RDONLY_CLOEXEC: u32 = 0x8_0000;
pub(super) const EFD_CLOEXEC_NONBLOCK: u32 = 0x8_0800;
pub(super) const EFD_SEMAPHORE: u32 = 1;
pub(super) const EVENT_BYTES: u64 = 8;
pub(super) const MFD_CLOEXEC_SEALING: u32 = 3;
pub(super) const MFD_HUGETLB: u32 = 4;
pub(super) const F_SEAL_SEAL: u32 = 1;
pub(super) const F_SEAL_SIZE: u32 = 6;
pub(super) const PUNCH_HOLE_KEEP_SIZE: u32 = 3;
pub(super) const PROT_READ_WRITE: u32 = 3;
pub(super) const MAP_SHARED: u32 = 1;
pub(super) const MAP_PRIVATE: u32 = 2;
pub(super) const MAP_ANONYMOUS: u32 = 0x20;
pub(super) const MAP_SHARED_ANONYMOUS: u32 = MAP_SHARED | MAP_ANONYMOUS;
pub(super) const MAP_PRIVATE_ANONYMOUS: u32 = MAP_PRIVATE | MAP_ANONYMOUS;
/// `MAP_FIXED`, `_DENYWRITE`, `_NORESERVE`, `_POPULATE`, `_STACK`, `_FIXED_NOREPLACE`: flags that
/// affect only the placement and the time of a mapping, and are ignored.
pub(super) const MAP_PLACEMENT: u32 = 0x10 | 0x800 | 0x4000 | 0x8000 | 0x2_0000 | 0x10_0000;
pub(super) const SHUT_RD: u32 = 0;
pub(super) const SIGKILL: &str = "SIGKILL";
pub(super) const MEMLOCK: &str = "MEMLOCK";
pub(super) const SETRESUID: &str = "setresuid";
pub(super) const CAPSET: &str = "capset";
pub(super) const SELF_FD: &str = "/proc/self/fd/";
pub(super) const STOP: &str = "stop";
pub(super) const SAVE: &str = "save";
pub(super) const LOAD: &str = "load";
pub(super) const START: &str = "start";
