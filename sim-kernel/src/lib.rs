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
//! | open files, descriptors, CLOEXEC, O_NONBLOCK, last close | `fs` |
//! | memfds, seals, holes, anonymous memory | `mm` |
//! | mappings, of BARs, too | `mm::vma` |
//! | eventfds, and who in the kernel waits for them | `fs::eventfd` |
//! | `SOCK_SEQPACKET`, descriptors in flight, `SHUT_RD`, resets | `fs::socket` |
//! | exec, exit, kill, users, capabilities, `RLIMIT_MEMLOCK` | `process` |
//! | fork, and what else a replay is told of processes | `process::scripted` |
//! | guests: stop, save, load, start; interrupts delivered and lost | `process::guest` |
//! | contexts, object ids, DESTROY, options | `iommufd` |
//! | address spaces: alignment, `IOVA_RANGES`, `ALLOW_IOVAS`, `HUGE_PAGES` | `iommufd::ioas` |
//! | where a mapping goes: free, allowed, reserved, chosen addresses | `iommufd::iova` |
//! | MAP, `MAP_FILE`, COPY, UNMAP | `iommufd::map` |
//! | kernel accesses: pins, reads, writes | `iommufd::access`, `iommufd::selftest::access` |
//! | dma-bufs of the mock exporter | `iommufd::dma_buf` |
//! | an iommufd as a type1 container, `VFIO_IOAS` | `iommufd::vfio_compat` |
//! | groups and the device files that they give, containers | `vfio::group`, `vfio::container` |
//! | type1: mappings, new addresses (`UPDATE_VADDR`), pins and charges, dirty pages | `vfio::type1`, `vfio::type1::map`, `vfio::type1::pin`, `vfio::type1::dirty` |
//! | type1: what it tells of itself, what is seen of it | `vfio::type1::info`, `vfio::type1::view` |
//! | page sets, lazy and shared pinning | `iommufd::pages` |
//! | VmPin, VmLck, `user_struct::locked_vm` | `mm::accounting` |
//! | `CHANGE_PROCESS` with its hazards | `iommufd::change_process`, `hazard` |
//! | auto and manual HWPTs, nested ones and their invalidation | `iommufd::hw_pagetable`, `iommufd::nested` |
//! | which domain a device or a PASID of it is attached to | `iommufd::attach`, `iommufd::selftest::pasid` |
//! | dirty tracking and its bitmaps | `iommufd::dirty` |
//! | what an IOMMU tells of itself | `iommufd::hw_info` |
//! | fault queues, and their files | `iommufd::fault_queue`, `iommufd::queue_file` |
//! | viommus, vdevices, their events, hardware queues | `iommufd::viommu`, `iommufd::veventq`, `iommufd::hw_queue` |
//! | device files: BIND, DMA ownership, last close | `vfio` |
//! | ATTACH, DETACH | `vfio::attach` |
//! | vfio-pci: information, resets | `vfio::pci` |
//! | INTx, MSI, MSI-X, error and request notifiers, by eventfd and by software | `vfio::pci::irqs` |
//! | FEATURE: low power | `vfio::feature` |
//! | ioeventfds | `vfio::pci::ioeventfd` |
//! | regions, configuration space | `vfio::pci::region`, `vfio::pci::config` |
//! | the `mtty` mdev: information, interrupts, migration states, DMA logging | `vfio::mdev::mtty`, `vfio::mdev::migration`, `vfio::mdev::dma_logging` |
//! | devices, DMA, bus mastering | `hardware` |
//! | KVM: VMs, vCPUs, its VFIO device; irqfds | `kvm`, `kvm::irqfd` |
//! | IOMMUs: apertures, page sizes, reserved windows | `hardware::iommu` |
//! | mock devices and domains (`IOMMU_TEST_CMD`) | `iommufd::selftest` |
//! | calls that run out of memory | `syscall::fail_nth` |
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

mod audit;
mod dispatch;
mod fs;
mod hardware;
mod hazard;
mod iommufd;
mod kvm;
mod machine;
mod mm;
mod process;
mod profile;
mod syscall;
mod value;
mod vfio;
mod view;

pub use dispatch::is_modelled;
pub use hardware::{DeviceKind, DeviceSpec, DmaFault, Iommu, IommuDriver};
pub use hazard::Hazard;
pub use machine::{Door, Machine, Placement};
pub use process::ProcessSpec;
pub use profile::{Profile, Quirk};
pub use syscall::Refusal;
pub use vfio::BUS_MASTER;
pub use vfio::pci::COMMAND_OFFSET;
