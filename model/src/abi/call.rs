//! Every system call that a handoff makes, as data.
//!
//! A [`Call`] is what a process asks, a [`Reply`] what it gets, and an [`Answer`] either that or
//! an [`Errno`]. Because calls are values they can be recorded, replayed, failed on purpose,
//! counted and compared, on either kernel, by code that knows nothing of the protocol.
//!
//! Each call says what it touches ([`Call::access`]); the rule that the new process only reads
//! until it has been told to commit is judged by that alone.
//!
//! Mirrors: `include/uapi/linux/iommufd.h` and `include/uapi/linux/vfio.h` of Linux 7.3, and the
//! system calls of their man pages. Errnos are listed where they matter to a handoff; the order in
//! which a kernel checks is kept in the simulated kernel.

use crate::abi::argument::{Ioctl, Outcome};
use crate::abi::errno::Errno;
use crate::abi::ids::{Fd, Iova, IovaRange, ObjectId, Pid, Uid, Va};
use serde::{Deserialize, Serialize};

/// A system call with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    // ---- files and descriptors -------------------------------------------------------------
    /// `open(path, O_RDWR | O_CLOEXEC)` → [`Reply::Fd`]. ENOENT, EACCES, EMFILE.
    Open {
        /// `/dev/iommu`, `/dev/vfio/devices/vfioN`, `/dev/vfio/vfio` or `/dev/vfio/N`.
        path: String,
    },
    /// `close(fd)`. EBADF. The last close of a bound device resets it (`vfio_df_device_last_close`).
    Close {
        /// The descriptor.
        fd: Fd,
    },
    /// `fcntl(fd, F_DUPFD_CLOEXEC)` → [`Reply::Fd`]. EBADF, EMFILE.
    Dup {
        /// The descriptor.
        fd: Fd,
    },
    /// `fcntl(fd, F_SETFD)`. EBADF. A property of the descriptor, not of the open file description.
    SetCloexec {
        /// The descriptor.
        fd: Fd,
        /// Close it at `execve`, or let it be inherited.
        on: bool,
    },
    /// `fcntl(fd, F_SETFL)` of O_NONBLOCK alone. EBADF. A property of the open file description: whoever shares it, in
    /// whatever process, waits no more, or waits again.
    SetNonblock {
        /// The descriptor.
        fd: Fd,
        /// EAGAIN instead of waiting.
        on: bool,
    },
    /// `fstat(fd)` → [`Reply::Stat`]. EBADF.
    Stat {
        /// The descriptor.
        fd: Fd,
    },

    // ---- memory ----------------------------------------------------------------------------
    /// `memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)` → [`Reply::Fd`].
    Memfd {
        /// Shown as `/memfd:name`.
        name: String,
    },
    /// `ftruncate(fd, length)`. EBADF, EINVAL, EPERM (sealed).
    Truncate {
        /// A memfd.
        fd: Fd,
        /// The new length.
        length_bytes: u64,
    },
    /// `fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)`. EBADF, EINVAL, EPERM.
    SealSize {
        /// A memfd.
        fd: Fd,
    },
    /// `fcntl(fd, F_ADD_SEALS, seals)`. EBADF; EPERM (read-only, sealed), EINVAL (unknown, no memfd), EBUSY
    /// (mapped writable, or pinned).
    AddSeals {
        /// A memfd.
        fd: Fd,
        /// `F_SEAL_SEAL` 1, `_SHRINK` 2, `_GROW` 4, `_WRITE` 8, `_FUTURE_WRITE` 16.
        seals: u32,
    },
    /// `open("/proc/self/fd/N", O_RDONLY | O_CLOEXEC)` → [`Reply::Fd`]: another open file of the same memfd.
    /// ENOENT, ENXIO.
    ReopenReadOnly {
        /// A memfd.
        fd: Fd,
    },
    /// `fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)`: the file's pages there are replaced
    /// by fresh ones, also under a device that has the old ones pinned. EBADF, EINVAL.
    PunchHole {
        /// A memfd.
        fd: Fd,
        /// First byte.
        offset_bytes: u64,
        /// How many.
        length_bytes: u64,
    },
    /// `pwrite(fd, bytes, offset)` → [`Reply::Length`]. EBADF, EFBIG, EPERM (sealed).
    WriteAt {
        /// A memfd or a device file.
        fd: Fd,
        /// First byte.
        offset_bytes: u64,
        /// What to write.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },
    /// `pread(fd, length, offset)` → [`Reply::Bytes`], shorter at the end of the file. EBADF.
    ReadAt {
        /// A memfd or a device file.
        fd: Fd,
        /// First byte.
        offset_bytes: u64,
        /// At most so many.
        length_bytes: u64,
    },
    /// `mmap(length, READ | WRITE, MAP_SHARED, fd, offset)` → [`Reply::Va`]; anonymous and private
    /// without a descriptor. EBADF, EINVAL, ENODEV, ENOMEM.
    Mmap {
        /// A memfd, or none.
        fd: Option<Fd>,
        /// Where in the file.
        offset_bytes: u64,
        /// How much.
        length_bytes: u64,
    },
    /// `munmap(addr, length)`. EINVAL.
    Munmap {
        /// The first address.
        va: Va,
        /// How much.
        length_bytes: u64,
    },

    // ---- events ----------------------------------------------------------------------------
    /// `eventfd2(0, EFD_CLOEXEC | EFD_NONBLOCK)` → [`Reply::Fd`].
    Eventfd,
    /// `read(fd)` of an eventfd → [`Reply::Count`], and the counter is zero. EAGAIN when it was; without O_NONBLOCK it waits.
    ReadEvent {
        /// An eventfd.
        fd: Fd,
    },
    /// `write(fd, count)` of an eventfd: adds to its counter. EINVAL (all ones), EAGAIN (too much).
    WriteEvent {
        /// An eventfd.
        fd: Fd,
        /// How much.
        count: u64,
    },

    /// `read(fd, length)` of a queue of page faults or of a viommu's events → [`Reply::Bytes`], as many whole
    /// ones as fit. ESPIPE (not whole faults), EINVAL.
    Read {
        /// The queue.
        fd: Fd,
        /// At most so many.
        length_bytes: u64,
    },
    /// `write(fd, bytes)` of answers to page faults → [`Reply::Length`]. ESPIPE (not whole answers), EINVAL.
    Write {
        /// The queue.
        fd: Fd,
        /// The answers.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
    },

    // ---- processes -------------------------------------------------------------------------
    /// `getrlimit(RLIMIT_MEMLOCK)` → [`Reply::Memlock`].
    GetMemlock,
    /// `setrlimit(RLIMIT_MEMLOCK)`, soft and hard. EPERM to raise the hard limit without CAP_SYS_RESOURCE.
    SetMemlock {
        /// [`UNLIMITED`] for none.
        limit_bytes: u64,
    },
    /// `geteuid()` → [`Reply::Uid`].
    GetUid,
    /// `setresuid(uid, uid, uid)`: gives up every capability unless `uid` is 0. EPERM.
    SetUid {
        /// The new user.
        uid: Uid,
    },
    /// `capget()`, the effective CAP_IPC_LOCK → [`Reply::Flag`].
    GetCapIpcLock,
    /// `capset()` without CAP_IPC_LOCK.
    DropCapIpcLock,
    /// `execve("/proc/self/fd/N")` of a program image: a new memory map, CLOEXEC descriptors closed,
    /// the rest inherited. Returns only where it fails. EBADF, ENOENT, EACCES, ENOMEM.
    Exec {
        /// The image.
        image: Fd,
    },
    /// `exit_group(status)`. Does not return.
    Exit {
        /// What the parent sees.
        status: u8,
    },
    /// `pidfd_send_signal(pidfd, SIGKILL)`. ESRCH when it is gone already, EPERM.
    Kill {
        /// A pidfd.
        pidfd: Fd,
    },

    /// `poll(pidfd, POLLIN)` without a deadline: returns when the process has exited and its
    /// descriptors are closed. EBADF.
    AwaitExit {
        /// A pidfd.
        pidfd: Fd,
    },

    // ---- unix sockets ----------------------------------------------------------------------
    /// `sendmsg(fd, bytes, SCM_RIGHTS fds)` on a SOCK_SEQPACKET socket, with MSG_NOSIGNAL. EPIPE when
    /// the peer has gone or has shut down its receiving side, EBADF, EMSGSIZE, EINVAL (over 253).
    SendMessage {
        /// A socket.
        fd: Fd,
        /// One packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// What goes with it.
        fds: Vec<Fd>,
    },
    /// `recvmsg(fd, MSG_CMSG_CLOEXEC)` → [`Reply::Message`]; empty bytes are the end of the stream.
    /// EAGAIN with `wait` off, or O_NONBLOCK on, and nothing there; EBADF, ECONNRESET.
    ReceiveMessage {
        /// A socket.
        fd: Fd,
        /// Block until there is something (no MSG_DONTWAIT).
        wait: bool,
    },
    /// [`Call::ReceiveMessage`] without waiting, with room for so many descriptors: the others are closed, and
    /// MSG_CTRUNC tells of it.
    ReceiveFew {
        /// A socket.
        fd: Fd,
        /// How many descriptors the control buffer has room for.
        fds_max: usize,
    },
    /// `shutdown(fd, SHUT_RD)`: from now on the peer's sends fail with EPIPE; what was sent before
    /// stays readable. One atomic cut (`unix_shutdown`, under the state locks of both ends).
    ShutdownReceive {
        /// A socket.
        fd: Fd,
    },

    // ---- the guest -------------------------------------------------------------------------
    /// Bring every vCPU out of `KVM_RUN` and keep it out; emulated devices stop with it.
    StopGuest,
    /// Serialize vCPUs and emulated devices into a memfd.
    SaveGuest {
        /// Where to.
        fd: Fd,
    },
    /// Build a stopped guest from what [`Call::SaveGuest`] wrote; touches nothing but this process. EINVAL.
    LoadGuest {
        /// Where from.
        fd: Fd,
    },
    /// Let the vCPUs run.
    StartGuest,

    // ---- iommufd ---------------------------------------------------------------------------
    /// `IOMMU_DESTROY`. ENOENT, EBUSY.
    Destroy {
        /// The context.
        iommufd: Fd,
        /// Any object but a device or an access.
        id: ObjectId,
    },
    /// `IOMMU_IOAS_ALLOC` → [`Reply::Object`]. ENOMEM.
    IoasAlloc {
        /// The context.
        iommufd: Fd,
    },
    /// `IOMMU_IOAS_IOVA_RANGES` → [`Reply::IovaRanges`]. ENOENT.
    IoasIovaRanges {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
    },
    /// `IOMMU_IOAS_MAP` at a fixed IOVA. ENOENT, EEXIST, EINVAL, EFAULT, ENOMEM.
    IoasMap {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// Memory of the calling process.
        user_va: Va,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_MAP_FILE` (6.13) at a fixed IOVA. As MAP, and EBADF, ENOTTY (older kernels).
    IoasMapFile {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// A memfd.
        fd: Fd,
        /// Where in the file.
        offset_bytes: u64,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_COPY` at a fixed IOVA: one more area over the same pages. ENOENT when the source is
    /// not fully mapped, EEXIST when the destination is taken.
    IoasCopy {
        /// The context.
        iommufd: Fd,
        /// Whose pages.
        source: ObjectId,
        /// Where they are.
        source_iova: Iova,
        /// The other address space; may be the same.
        destination: ObjectId,
        /// Where to.
        destination_iova: Iova,
        /// How much.
        length_bytes: u64,
        /// What a device may do there.
        rights: Rights,
    },
    /// `IOMMU_IOAS_UNMAP` of whole areas → [`Reply::Length`]. ENOENT, EBUSY. Not atomic.
    IoasUnmap {
        /// The context.
        iommufd: Fd,
        /// The address space.
        ioas: ObjectId,
        /// Where.
        iova: Iova,
        /// How much; `(0, u64::MAX)` is everything.
        length_bytes: u64,
    },
    /// `IOMMU_IOAS_CHANGE_PROCESS` (6.13): the caller becomes the owner of every page set of the
    /// context. EINVAL (an area that is not file-backed), EBUSY (an area in transition), ENOMEM
    /// (limit). With `reserved` other than 0 it is EOPNOTSUPP before anything else: a probe that
    /// touches nothing; ENOTTY there and always on an older kernel.
    ChangeProcess {
        /// The context.
        iommufd: Fd,
        /// The field `__reserved`.
        reserved: u32,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, GET → [`Reply::Flag`]: whether this context charges the memory
    /// map of the process (`true`) or its user (`false`).
    GetRlimitMode {
        /// The context.
        iommufd: Fd,
    },
    /// `IOMMU_OPTION`, `RLIMIT_MODE`, SET. EPERM without CAP_SYS_RESOURCE, EBUSY once an object exists.
    SetRlimitMode {
        /// The context.
        iommufd: Fd,
        /// Charge the memory map of the process.
        per_process: bool,
    },
    /// `IOMMU_HWPT_ALLOC` over an IOAS → [`Reply::Object`]; pins at once. ENOENT, EINVAL, EADDRINUSE, ENOMEM;
    /// EOPNOTSUPP for a nesting parent of an IOMMU that cannot nest.
    HwptAlloc {
        /// The context.
        iommufd: Fd,
        /// For the IOMMU of this device.
        device: ObjectId,
        /// The address space.
        ioas: ObjectId,
        /// `IOMMU_HWPT_ALLOC_NEST_PARENT`: a guest's page tables can lie over it.
        nest_parent: bool,
    },
    /// `IOMMU_HWPT_GET_DIRTY_BITMAP` of length 0: ENOENT when there is no such HWPT, and otherwise
    /// EOPNOTSUPP (no dirty tracking) or EINVAL. Changes nothing: a probe for an HWPT.
    ProbeHwpt {
        /// The context.
        iommufd: Fd,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// `IOMMU_HWPT_ALLOC` over an HWPT, with data of a type that no driver has: EINVAL when that is no nesting
    /// parent (or no HWPT), ENOENT when the device is not bound to this context, and otherwise EOPNOTSUPP. Changes
    /// nothing: a probe for a nesting parent. A driver whose nested HWPTs are all made through a viommu (Arm's,
    /// AMD's) answers EOPNOTSUPP for every HWPT, so that there it tells nothing.
    ProbeNesting {
        /// The context.
        iommufd: Fd,
        /// A device behind its IOMMU.
        device: ObjectId,
        /// The HWPT.
        hwpt: ObjectId,
    },
    /// `IOMMU_GET_HW_INFO` → [`Reply::HwInfo`]. ENOENT when the device is not bound to this context.
    GetHwInfo {
        /// The context.
        iommufd: Fd,
        /// The device.
        device: ObjectId,
    },

    // ---- VFIO device files -----------------------------------------------------------------
    /// `VFIO_DEVICE_BIND_IOMMUFD` → [`Reply::Object`]. EINVAL (bound already), EBUSY, EBADF, EBADFD.
    Bind {
        /// The device file.
        device: Fd,
        /// The context.
        iommufd: Fd,
    },
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` → [`Reply::Object`], the HWPT. ENOENT, EINVAL, EADDRINUSE, ENOMEM.
    Attach {
        /// The device file.
        device: Fd,
        /// An IOAS (the kernel makes or shares an HWPT) or an HWPT.
        page_table: ObjectId,
    },
    /// `VFIO_DEVICE_DETACH_IOMMUFD_PT`. Succeeds also when nothing is attached.
    Detach {
        /// The device file.
        device: Fd,
    },
    /// `VFIO_DEVICE_GET_INFO` → [`Reply::DeviceInfo`]. EINVAL before BIND.
    DeviceInfo {
        /// The device file.
        device: Fd,
    },
    /// `VFIO_DEVICE_GET_REGION_INFO` → [`Reply::RegionInfo`]. EINVAL.
    RegionInfo {
        /// The device file.
        device: Fd,
        /// Which.
        index: u32,
    },
    /// `VFIO_DEVICE_GET_IRQ_INFO` → [`Reply::IrqInfo`]. EINVAL.
    IrqInfo {
        /// The device file.
        device: Fd,
        /// Which.
        index: u32,
    },
    /// `VFIO_DEVICE_SET_IRQS`, eventfds as triggers of vectors from 0. EINVAL, EBADF. No eventfds: disable.
    SetIrqs {
        /// The device file.
        device: Fd,
        /// `VFIO_PCI_MSI_IRQ_INDEX` and so on.
        index: u32,
        /// One for each vector.
        eventfds: Vec<Fd>,
    },
    /// `VFIO_DEVICE_RESET`. EINVAL when the device cannot.
    Reset {
        /// The device file.
        device: Fd,
    },

    // ---- groups and containers -------------------------------------------------------------
    /// `VFIO_GROUP_SET_CONTAINER`. EBADF, EBADFD (no container), EINVAL (it has one), EPERM; EBUSY while a mapping of the
    /// container waits for an address.
    SetContainer {
        /// `/dev/vfio/N`.
        group: Fd,
        /// `/dev/vfio/vfio`.
        container: Fd,
    },
    /// `VFIO_SET_IOMMU` to type1, version 2. EINVAL (no group, or it is set), ENODEV.
    SetIommu {
        /// The container.
        container: Fd,
    },
    /// `VFIO_GROUP_GET_DEVICE_FD` → [`Reply::Fd`]. ENODEV, EINVAL (nothing translates its DMA), EMFILE.
    GroupDevice {
        /// The group.
        group: Fd,
        /// What it calls the device.
        address: String,
    },
    /// `VFIO_CHECK_EXTENSION` of `VFIO_UPDATE_VADDR` → [`Reply::Flag`]: whether mappings can be given new addresses. Not before
    /// Linux 5.12, and not with a mediated device in the container.
    CanUpdateVaddr {
        /// The container.
        container: Fd,
    },
    /// `VFIO_IOMMU_MAP_DMA` of memory of the calling process. EEXIST, EINVAL, ENOSPC, ENOMEM (limit), EFAULT.
    MapDma {
        /// The container.
        container: Fd,
        /// Memory of the calling process.
        user_va: Va,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
        /// What a device may do there.
        rights: Rights,
    },
    /// `VFIO_IOMMU_MAP_DMA` with `VADDR`: gives a mapping that waits for one its address in the calling process, which becomes
    /// its owner. ENOENT, EINVAL (it does not wait, or is another range), ENOMEM (limit).
    GiveVaddr {
        /// The container.
        container: Fd,
        /// Memory of the calling process.
        user_va: Va,
        /// How much.
        length_bytes: u64,
        /// Where.
        iova: Iova,
    },
    /// `VFIO_IOMMU_UNMAP_DMA` with `VADDR` and `ALL` → [`Reply::Length`]: every mapping waits for an address from here on; it
    /// stays mapped and pinned. EINVAL (one waits already), EBUSY (a mediated device). All or nothing.
    ForgetVaddrs {
        /// The container.
        container: Fd,
    },

    // ---- KVM -------------------------------------------------------------------------------
    /// `KVM_CREATE_VM`, of the default type → [`Reply::Fd`]. ENOMEM.
    CreateVm {
        /// `/dev/kvm`.
        kvm: Fd,
    },
    /// `KVM_CREATE_IRQCHIP`. EIO (not its maker), EEXIST, EINVAL (there is a vCPU).
    CreateIrqchip {
        /// The virtual machine.
        vm: Fd,
    },
    /// `KVM_IRQFD`: signals of an eventfd become interrupts of a virtual machine, or no longer do. Assigning: EBUSY
    /// where the eventfd has an irqfd (before 6.17: in the same VM), EBADF, EIO. Taking away what is not there succeeds.
    Irqfd {
        /// The virtual machine.
        vm: Fd,
        /// The eventfd.
        eventfd: Fd,
        /// Which interrupt of the virtual machine.
        gsi: u32,
        /// Or take it away.
        assign: bool,
    },

    // ---- anything else ---------------------------------------------------------------------
    /// Any ioctl on any file, as bytes → [`Reply::Ioctl`], also where it fails: what the kernel left in
    /// the argument is part of the answer.
    Ioctl {
        /// The file.
        fd: Fd,
        /// The request and its argument.
        ioctl: Ioctl,
    },
}

/// What a successful call gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// A new descriptor.
    Fd(Fd),
    /// The id of an object: new (alloc, bind) or the one in use (attach).
    Object(ObjectId),
    /// Where memory was mapped.
    Va(Va),
    /// A counter's value.
    Count(u64),
    /// Bytes moved or unmapped.
    Length(u64),
    /// What was read.
    Bytes(#[serde(with = "crate::abi::hex")] Vec<u8>),
    /// Yes or no.
    Flag(bool),
    /// A user.
    Uid(Uid),
    /// The soft RLIMIT_MEMLOCK in bytes, [`UNLIMITED`] for none.
    Memlock(u64),
    /// Of a file.
    Stat {
        /// The inode: same inode, same file (within the file system of memfds).
        inode: u64,
        /// Its length.
        length_bytes: u64,
    },
    /// A packet. Empty bytes: the peer is gone.
    Message {
        /// One packet.
        #[serde(with = "crate::abi::hex")]
        bytes: Vec<u8>,
        /// The descriptors that came with it, all CLOEXEC.
        fds: Vec<Fd>,
        /// MSG_CTRUNC: descriptors were lost.
        truncated: bool,
    },
    /// Where fixed mappings may go.
    IovaRanges {
        /// Sorted, disjoint.
        ranges: Vec<IovaRange>,
        /// 1 while no HWPT constrains it.
        alignment_bytes: u64,
    },
    /// Of the IOMMU in front of a device.
    HwInfo {
        /// `enum iommu_hw_info_type`.
        data_type: u32,
        /// `enum iommufd_hw_capabilities`.
        capabilities: u64,
    },
    /// Of a device.
    DeviceInfo {
        /// `VFIO_DEVICE_FLAGS_*`.
        flags: u32,
        /// How many regions.
        regions: u32,
        /// How many interrupt indexes.
        irqs: u32,
    },
    /// Of a region of a device.
    RegionInfo {
        /// `VFIO_REGION_INFO_FLAG_*`.
        flags: u32,
        /// Its size.
        length_bytes: u64,
        /// Where it is in the device file.
        offset_bytes: u64,
    },
    /// Of an interrupt index of a device.
    IrqInfo {
        /// `VFIO_IRQ_INFO_*`.
        flags: u32,
        /// How many vectors.
        count: u32,
    },
    /// What came of [`Call::Ioctl`], also where it failed.
    Ioctl(Outcome),
}

/// What a call comes back with.
pub type Answer = Result<Reply, Errno>;

/// RLIM_INFINITY.
pub const UNLIMITED: u64 = u64::MAX;

/// How many descriptors one message carries at most (SCM_MAX_FD).
pub const FDS_PER_MESSAGE_MAX: usize = 253;

/// The longest packet, in bytes: well below the default of `net.core.wmem_max`.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What a device may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// READABLE.
    Read,
    /// READABLE and WRITEABLE.
    ReadWrite,
}

/// What a call touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing.
    Reads,
    /// Only the calling process: its memory map, its descriptors, its own guest, messages to its peer.
    Own,
    /// Something that another process with the same descriptors sees.
    Mutates,
}

impl Call {
    /// What people call it.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Dup { .. } => "dup",
            Self::SetCloexec { .. } => "set CLOEXEC",
            Self::SetNonblock { .. } => "set O_NONBLOCK",
            Self::Stat { .. } => "fstat",
            Self::Memfd { .. } => "memfd_create",
            Self::Truncate { .. } => "ftruncate",
            Self::SealSize { .. } | Self::AddSeals { .. } => "seal",
            Self::ReopenReadOnly { .. } => "reopen",
            Self::PunchHole { .. } => "punch hole",
            Self::WriteAt { .. } => "pwrite",
            Self::ReadAt { .. } => "pread",
            Self::Mmap { .. } => "mmap",
            Self::Munmap { .. } => "munmap",
            Self::Eventfd => "eventfd",
            Self::ReadEvent { .. } => "read eventfd",
            Self::WriteEvent { .. } => "write eventfd",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::GetMemlock => "getrlimit",
            Self::SetMemlock { .. } => "setrlimit",
            Self::GetUid => "geteuid",
            Self::SetUid { .. } => "setresuid",
            Self::GetCapIpcLock => "capget",
            Self::DropCapIpcLock => "capset",
            Self::Exec { .. } => "execve",
            Self::Exit { .. } => "exit",
            Self::Kill { .. } => "kill",
            Self::AwaitExit { .. } => "poll pidfd",
            Self::SendMessage { .. } => "sendmsg",
            Self::ReceiveMessage { .. } | Self::ReceiveFew { .. } => "recvmsg",
            Self::ShutdownReceive { .. } => "shutdown",
            Self::StopGuest => "stop guest",
            Self::SaveGuest { .. } => "save guest",
            Self::LoadGuest { .. } => "load guest",
            Self::StartGuest => "start guest",
            Self::Destroy { .. } => "IOMMU_DESTROY",
            Self::IoasAlloc { .. } => "IOMMU_IOAS_ALLOC",
            Self::IoasIovaRanges { .. } => "IOMMU_IOAS_IOVA_RANGES",
            Self::IoasMap { .. } => "IOMMU_IOAS_MAP",
            Self::IoasMapFile { .. } => "IOMMU_IOAS_MAP_FILE",
            Self::IoasCopy { .. } => "IOMMU_IOAS_COPY",
            Self::IoasUnmap { .. } => "IOMMU_IOAS_UNMAP",
            Self::ChangeProcess { .. } => "IOMMU_IOAS_CHANGE_PROCESS",
            Self::GetRlimitMode { .. } => "IOMMU_OPTION get",
            Self::SetRlimitMode { .. } => "IOMMU_OPTION set",
            Self::HwptAlloc { .. } | Self::ProbeNesting { .. } => "IOMMU_HWPT_ALLOC",
            Self::ProbeHwpt { .. } => "IOMMU_HWPT_GET_DIRTY_BITMAP",
            Self::GetHwInfo { .. } => "IOMMU_GET_HW_INFO",
            Self::Bind { .. } => "VFIO_DEVICE_BIND_IOMMUFD",
            Self::Attach { .. } => "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
            Self::Detach { .. } => "VFIO_DEVICE_DETACH_IOMMUFD_PT",
            Self::DeviceInfo { .. } => "VFIO_DEVICE_GET_INFO",
            Self::RegionInfo { .. } => "VFIO_DEVICE_GET_REGION_INFO",
            Self::IrqInfo { .. } => "VFIO_DEVICE_GET_IRQ_INFO",
            Self::SetIrqs { .. } => "VFIO_DEVICE_SET_IRQS",
            Self::Reset { .. } => "VFIO_DEVICE_RESET",
            Self::SetContainer { .. } => "VFIO_GROUP_SET_CONTAINER",
            Self::SetIommu { .. } => "VFIO_SET_IOMMU",
            Self::GroupDevice { .. } => "VFIO_GROUP_GET_DEVICE_FD",
            Self::CanUpdateVaddr { .. } => "VFIO_CHECK_EXTENSION",
            Self::MapDma { .. } => "VFIO_IOMMU_MAP_DMA",
            Self::GiveVaddr { .. } => "VFIO_IOMMU_MAP_DMA VADDR",
            Self::ForgetVaddrs { .. } => "VFIO_IOMMU_UNMAP_DMA VADDR",
            Self::CreateVm { .. } => "KVM_CREATE_VM",
            Self::CreateIrqchip { .. } => "KVM_CREATE_IRQCHIP",
            Self::Irqfd { .. } => "KVM_IRQFD",
            Self::Ioctl { ioctl, .. } => {
                crate::abi::request::name(ioctl.request).unwrap_or("ioctl")
            }
        }
    }

    /// What the call touches, judged by its arguments, however it ends.
    ///
    /// Three mutating ioctls have forms that cannot succeed and so only read: CHANGE_PROCESS with a
    /// reserved field set, COPY of a range onto itself, and HWPT_ALLOC with data that no driver takes.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn access(&self) -> Access {
        match self {
            Self::ChangeProcess { reserved, .. } if *reserved != 0 => Access::Reads,
            Self::IoasCopy { source, source_iova, destination, destination_iova, .. }
                if source == destination && source_iova == destination_iova =>
            {
                Access::Reads
            }
            Self::Stat { .. }
            | Self::AwaitExit { .. }
            | Self::ReadAt { .. }
            | Self::GetMemlock
            | Self::GetUid
            | Self::GetCapIpcLock
            | Self::IoasIovaRanges { .. }
            | Self::GetRlimitMode { .. }
            | Self::ProbeHwpt { .. }
            | Self::ProbeNesting { .. }
            | Self::GetHwInfo { .. }
            | Self::DeviceInfo { .. }
            | Self::RegionInfo { .. }
            | Self::IrqInfo { .. }
            | Self::CanUpdateVaddr { .. } => Access::Reads,
            Self::Open { .. }
            | Self::Close { .. }
            | Self::Dup { .. }
            | Self::SetCloexec { .. }
            | Self::Memfd { .. }
            | Self::Mmap { .. }
            | Self::Munmap { .. }
            | Self::Eventfd
            | Self::SetMemlock { .. }
            | Self::SetUid { .. }
            | Self::DropCapIpcLock
            | Self::Exec { .. }
            | Self::Exit { .. }
            | Self::SendMessage { .. }
            | Self::ReceiveMessage { .. }
            | Self::ReceiveFew { .. }
            | Self::ReopenReadOnly { .. }
            | Self::ShutdownReceive { .. }
            | Self::StopGuest
            | Self::LoadGuest { .. }
            | Self::CreateVm { .. }
            | Self::CreateIrqchip { .. } => Access::Own,
            Self::SetNonblock { .. }
            | Self::Truncate { .. }
            | Self::SealSize { .. }
            | Self::PunchHole { .. }
            | Self::WriteAt { .. }
            | Self::ReadEvent { .. }
            | Self::WriteEvent { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::AddSeals { .. }
            | Self::Kill { .. }
            | Self::SaveGuest { .. }
            | Self::StartGuest
            | Self::Destroy { .. }
            | Self::IoasAlloc { .. }
            | Self::IoasMap { .. }
            | Self::IoasMapFile { .. }
            | Self::IoasCopy { .. }
            | Self::IoasUnmap { .. }
            | Self::ChangeProcess { .. }
            | Self::SetRlimitMode { .. }
            | Self::HwptAlloc { .. }
            | Self::Bind { .. }
            | Self::Attach { .. }
            | Self::Detach { .. }
            | Self::SetIrqs { .. }
            | Self::Reset { .. }
            | Self::SetContainer { .. }
            | Self::SetIommu { .. }
            | Self::GroupDevice { .. }
            | Self::MapDma { .. }
            | Self::GiveVaddr { .. }
            | Self::ForgetVaddrs { .. }
            | Self::Irqfd { .. }
            | Self::Ioctl { .. } => Access::Mutates,
        }
    }
}

/// Why a call failed; `None` where it did not. An ioctl that is made of bytes is always answered, and says there whether it failed.
pub fn errno_of(answer: &Answer) -> Option<Errno> {
    match answer {
        Err(errno) => Some(*errno),
        Ok(Reply::Ioctl(outcome)) => outcome.errno(),
        Ok(_) => None,
    }
}

impl Call {
    /// What a kernel answers that refuses it and does nothing.
    pub fn refused(&self, errno: Errno) -> Answer {
        match self {
            Self::Ioctl { ioctl, .. } => Ok(Reply::Ioctl(ioctl.argument.untouched(Err(errno)))),
            _ => Err(errno),
        }
    }
}

/// One call that was made, by whom, and its answer: the unit of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Who called.
    pub pid: Pid,
    /// What.
    pub call: Call,
    /// What came back; [`Call::Exec`] and [`Call::Exit`] that worked are [`Reply::Done`].
    pub answer: Answer,
}

impl Made {
    /// Why it failed; `None` where it did not.
    pub fn errno(&self) -> Option<Errno> {
        errno_of(&self.answer)
    }
}
