//! iommufd, VFIO, processes and memory accounting of Linux, as a plain value.
//!
//! [`Machine`] is a kernel with its processes and devices. A model checker clones, compares and
//! hashes it, drives it through [`handoff_model::abi::kernel::Kernel`] like a real kernel, and
//! observes it through [`handoff_model::abi::view::View`]. It answers every
//! [`handoff_model::abi::call::Call`] as Linux does: the same errnos, from the same order of
//! checks. Any difference is a bug.
//!
//! # Example
//!
//! The probe for `IOMMU_IOAS_CHANGE_PROCESS` has no effect, and its errno shows whether a kernel
//! has the call:
//!
//! ```
//! use handoff_model::abi::call::{Call, FileCall, IommufdCall, Reply};
//! use handoff_model::abi::errno::Errno;
//! use handoff_model::abi::ids::Uid;
//! use handoff_sim_kernel::{Machine, ProcessSpec, Profile};
//!
//! for (kernel, errno) in [("6.12", Errno::ENOTTY), ("7.3", Errno::EOPNOTSUPP)] {
//!     let mut machine = Machine::new(Profile::by_name(kernel).expect("a profile"));
//!     let spec = ProcessSpec { uid: Uid(1000), cap_ipc_lock: false, memlock_bytes: 0 };
//!     let vmm = machine.spawn(spec);
//!     let open = Call::File(FileCall::Open { path: "/dev/iommu".to_owned() });
//!     let Ok(Reply::Fd(iommufd)) = machine.call(vmm, &open) else { panic!("it opens") };
//!     let before = machine.clone();
//!     let probe = IommufdCall::probe_change_process(iommufd);
//!     assert_eq!(machine.call(vmm, &probe), Err(errno));
//!     assert_eq!(machine, before);
//! }
//! ```
//!
//! # Modelled
//!
//! The folders mirror Linux's tree. Imports go in one direction: a folder uses only folders that
//! are listed before it, `profile`, and [`Machine`].
//!
//! * `value`: copy-on-write parts that clones share, numbered tables.
//! * `syscall`: refusals, the caller's memory, failing allocations.
//! * `fs`: open file descriptions, descriptors, CLOEXEC, O_NONBLOCK, last close; eventfds;
//!   `SOCK_SEQPACKET` and descriptors in flight; dma-bufs.
//! * `mm`: memory objects, memfds, seals, holes; mappings, also of BARs; VmPin, VmLck,
//!   `user_struct::locked_vm`.
//! * `process`: exec, exit, kill, users, capabilities, `RLIMIT_MEMLOCK`; guests and their
//!   interrupts; state changes of a replay that no call makes.
//! * `hardware`: devices to plug in, their DMA and interrupts; IOMMUs: apertures, page sizes,
//!   reserved windows.
//! * `iommufd`: contexts and objects; address spaces, MAP, COPY, UNMAP, page sets, pins;
//!   `CHANGE_PROCESS` with its hazards; HWPTs, also nested ones; attaching, PASIDs; dirty tracking;
//!   fault queues; viommus, their events and queues; kernel accesses; an iommufd as a type1
//!   container.
//! * `iommufd/selftest`: mock devices and domains (`IOMMU_TEST_CMD`).
//! * `vfio/type1`: mappings, new addresses (`UPDATE_VADDR`), pins and charges, dirty pages.
//! * `vfio`: device files, BIND, ATTACH, last close; groups, containers; FEATURE, SET_IRQS,
//!   migration states.
//! * `vfio/pci`: information, resets, interrupts, ioeventfds, regions, configuration space, low
//!   power.
//! * `vfio/mdev`: the `mtty` mdev: information, interrupts, migration, DMA logging.
//! * `kvm`: VMs, vCPUs, its VFIO device; irqfds.
//!
//! Above all folders are `dispatch`, the system call table; `view`, the state as seen from outside;
//! and `audit`, which checks the machine's own invariants. `profile` and `hazard` select the kernel
//! that is simulated.
//!
//! # Refused, as Linux refuses it
//!
//! | request | errno |
//! |---|---|
//! | an ioctl of iommufd or VFIO on another kind of file | ENOTTY |
//! | an ioctl on a device file before BIND | EINVAL |
//! | a mapping of a container before `SET_IOMMU` | EINVAL |
//! | the file of a device before 6.6 | ENOENT |
//! | `MAP_FILE` before 6.13, `CHANGE_PROCESS` before 6.13 | ENOTTY |
//! | `CHANGE_PROCESS` with a reserved field set | EOPNOTSUPP |
//! | dirty tracking, nesting and viommus on the IOMMU of QEMU | EOPNOTSUPP |
//! | nested domains on VT-d that can nest: only nesting parents are modelled | EOPNOTSUPP |
//! | physical addresses for devices without an IOMMU: there are none | EOPNOTSUPP |
//! | an mdev that needs KVM, if no VM knows its file | ESRCH at BIND |
//! | a VF token for a device that takes none; features that need hardware | EINVAL; ENOTTY |
//!
//! # Absent
//!
//! Groups without an IOMMU; mappable pages of viommus; the content of BARs and of migration data;
//! permissions of paths; threads. A call is atomic, so no call fails with EBUSY because another is
//! in progress, and no COPY can carry a page set past `CHANGE_PROCESS`; `tests/locking` explores
//! what else Linux's locks admit.
//!
//! # Cost
//!
//! Measured on a machine with two processes, a context and an attached device, with 2 and with
//! 10,000 mappings. Medians on one core of an AMD EPYC that was not idle; `cargo bench -p
//! handoff-sim-kernel` repeats the measurement.
//!
//! | measurement | 2 | 10,000 |
//! |---|---|---|
//! | bytes per machine | 5.4 kB | 3.0 MB |
//! | clone | 80 ns | 80 ns |
//! | hash: unchanged; after a MAP | 110 ns; 425 ns | 110 ns; 464 µs |
//! | MAP and UNMAP, calls per second | 1,900,000 | 85,000 |
//! | `CHANGE_PROCESS`, calls per second | 1,900,000 | 1,500 |
//! | MAP, UNMAP, `CHANGE_PROCESS`, fresh clone | 0.9 µs, 0.8 µs, 1.2 µs | 203 µs, 200 µs, 1.2 ms |
//!
//! # Profiles
//!
//! [`Profile`]: `6.2`, `6.12`, `6.13`, `7.2`, `7.3`, and `fixed`, in which the hazards H1, H2 and
//! H3 are fixed. The facts are those of Linux 7.3.4, 7.2.13 and 6.12.107; of 6.2, only the code for
//! containers and device files was read.

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
pub use machine::{Machine, Placement, ProcessHandle};
pub use process::ProcessSpec;
pub use profile::{Profile, Quirk};
pub use syscall::Failure;
pub use vfio::BUS_MASTER;
pub use vfio::pci::COMMAND_OFFSET;
