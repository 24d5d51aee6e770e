//! iommufd, VFIO, processes and memory accounting of Linux, as a plain value.
//!
//! [`Machine`] is a kernel with its processes and devices: cloned, compared and hashed by a model
//! checker, driven through [`handoff_model::kernel::Kernel`] like a real one, and looked at through
//! [`handoff_model::view::View`]. It answers every [`handoff_model::call::Call`] as Linux does, errno
//! by errno and in Linux's order of checks; where it does not, that is a bug.
//!
//! # Modelled
//!
//! | what | where |
//! |---|---|
//! | open files, descriptors, CLOEXEC, O_NONBLOCK, last close | `file` |
//! | memfds, seals, holes, anonymous memory | `memory` |
//! | mappings, of BARs, too | `mapping` |
//! | eventfds, and who in the kernel waits for them | `eventfd` |
//! | `SOCK_SEQPACKET`, descriptors in flight, `SHUT_RD`, resets | `socket` |
//! | exec, exit, kill, users, capabilities, `RLIMIT_MEMLOCK` | `process` |
//! | fork, and what else a replay is told of processes | `follow` |
//! | guests: stop, save, load, start; interrupts delivered and lost | `guest` |
//! | contexts, object ids, DESTROY, options | `iommufd` |
//! | address spaces: alignment, `IOVA_RANGES`, `ALLOW_IOVAS`, `HUGE_PAGES` | `ioas` |
//! | where a mapping goes: free, allowed, reserved, chosen addresses | `iova` |
//! | MAP, `MAP_FILE`, COPY, UNMAP | `area` |
//! | kernel accesses: pins, reads, writes | `access`, `mock_access` |
//! | dma-bufs of the mock exporter | `dma_buf` |
//! | an iommufd as a type1 container, `VFIO_IOAS` | `compat` |
//! | groups and the device files that they give, containers | `group`, `container` |
//! | type1: mappings, new addresses (`UPDATE_VADDR`), pins and charges, dirty pages | `type1`, `type1_map`, `type1_pin`, `type1_dirty` |
//! | type1: what it tells of itself, what is seen of it | `type1_info`, `type1_view` |
//! | page sets, lazy and shared pinning | `pages` |
//! | VmPin, VmLck, `user_struct::locked_vm` | `account` |
//! | `CHANGE_PROCESS` with its hazards | `change_process`, `hazard` |
//! | auto and manual HWPTs, nested ones and their invalidation | `hwpt`, `nested` |
//! | which domain a device or a PASID of it is attached to | `change_pt`, `mock_pasid` |
//! | dirty tracking and its bitmaps | `dirty` |
//! | what an IOMMU tells of itself | `hw_info` |
//! | fault queues, and their files | `fault`, `queue_file` |
//! | viommus, vdevices, their events, hardware queues | `viommu`, `veventq`, `hw_queue` |
//! | device files: BIND, DMA ownership, last close | `vfio` |
//! | ATTACH, DETACH | `attach` |
//! | vfio-pci: information, resets | `vfio_pci` |
//! | INTx, MSI, MSI-X, error and request notifiers, by eventfd and by software | `irqs` |
//! | FEATURE: low power | `feature` |
//! | ioeventfds | `ioeventfd` |
//! | regions, configuration space | `region`, `config` |
//! | the `mtty` mdev: information, interrupts, migration states, DMA logging | `mtty`, `migration`, `logging` |
//! | devices, DMA, bus mastering | `hardware` |
//! | KVM: VMs, vCPUs, its VFIO device; irqfds | `kvm`, `irqfd` |
//! | IOMMUs: apertures, page sizes, reserved windows | `iommu` |
//! | mock devices and domains (`IOMMU_TEST_CMD`) | `mock` |
//! | calls that run out of memory | `fail_nth` |
//! | the machine's own invariants, checked | `audit` |
//!
//! # Refused, as Linux refuses it
//!
//! | what | errno |
//! |---|---|
//! | an ioctl of iommufd or VFIO on another kind of file | ENOTTY |
//! | an ioctl on a device file before BIND | EINVAL |
//! | a mapping of a container before `SET_IOMMU` | EINVAL |
//! | the file of a device before 6.6 | ENOENT |
//! | `MAP_FILE` before 6.13, `CHANGE_PROCESS` before 6.13 | ENOTTY |
//! | `CHANGE_PROCESS` with a reserved field set | EOPNOTSUPP |
//! | dirty tracking, nesting and viommus on the IOMMU of QEMU | EOPNOTSUPP |
//! | nested domains on one of Intel's that can nest: only its nesting parents are modelled | EOPNOTSUPP |
//! | physical addresses for devices without an IOMMU: there are none | EOPNOTSUPP |
//! | an mdev that needs KVM, whose file no VM knows | ESRCH at BIND |
//! | a VF token where there is none; features that need hardware | EINVAL; ENOTTY |
//!
//! # Absent
//!
//! Groups without an IOMMU; the pages of viommus that can be mapped; what is in BARs and in migration data; threads (a call is atomic,
//! so nothing answers EBUSY for being in transition, and a COPY cannot carry a set past `CHANGE_PROCESS`; `tests/locking`
//! explores what Linux's locks admit besides); permissions of paths.
//!
//! # Cost
//!
//! Of a machine with two processes, a context and an attached device, by its number of mappings. Medians
//! on one core of an AMD EPYC that was not idle; `cargo bench -p handoff-sim-kernel` makes them anew.
//!
//! | what | 2 | 10,000 |
//! |---|---|---|
//! | bytes it holds | 5.4 kB | 3.0 MB |
//! | clone | 80 ns | 80 ns |
//! | hash: nothing changed; after a MAP | 110 ns; 425 ns | 110 ns; 464 µs |
//! | MAP and UNMAP, calls a second | 1,900,000 | 85,000 |
//! | `CHANGE_PROCESS`, calls a second | 1,900,000 | 1,500 |
//! | MAP, UNMAP, `CHANGE_PROCESS` on a fresh clone | 0.9 µs, 0.8 µs, 1.2 µs | 203 µs, 200 µs, 1.2 ms |
//!
//! # Profiles
//!
//! [`Profile`]: `6.2`, `6.12`, `6.13`, `7.2`, `7.3`, and `fixed`, where the hazards K1, K2 and K3 are mended.
//! Facts are those of Linux 7.3.4, 7.2.13 and 6.12.107; of 6.2 only what became of containers and of device files
//! was read.

mod access;
mod account;
mod area;
mod attach;
mod audit;
mod change_process;
mod change_pt;
mod compat;
mod config;
mod container;
mod dirty;
mod dma_buf;
mod eventfd;
mod fail_nth;
mod fault;
mod feature;
mod file;
mod follow;
mod group;
mod guest;
mod hardware;
mod hazard;
mod hw_info;
mod hw_queue;
mod hwpt;
mod ioas;
mod ioctl;
mod ioeventfd;
mod iommu;
mod iommufd;
mod iova;
mod irqfd;
mod irqs;
mod kvm;
mod logging;
mod machine;
mod mapping;
mod memory;
mod migration;
mod mock;
mod mock_access;
mod mock_pasid;
mod mtty;
mod nested;
mod noiommu;
mod pages;
mod process;
mod profile;
mod queue_file;
mod refusal;
mod region;
mod shared;
mod slots;
mod socket;
mod type1;
mod type1_dirty;
mod type1_info;
mod type1_map;
mod type1_pin;
mod type1_view;
mod ucmd;
mod user;
mod veventq;
mod vfio;
mod vfio_pci;
mod view;
mod viommu;

pub use config::{BUS_MASTER, COMMAND_OFFSET};
pub use hardware::{DeviceKind, DeviceSpec, DmaFault};
pub use hazard::Hazard;
pub use ioctl::is_modelled;
pub use iommu::{Iommu, IommuDriver};
pub use machine::{Door, Machine, Placement};
pub use process::ProcessSpec;
pub use profile::{Profile, Quirk};
pub use refusal::Refusal;
