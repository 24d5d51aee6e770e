//! The handoff of passed-through devices from one VMM process to another, written once.
//!
//! An old process owns an open iommufd, VFIO devices bound to it, mappings of guest RAM for their
//! DMA, and the eventfds of their interrupts. A new process, or the same process with a new program,
//! takes all of it over while the devices go on. The kernel helps with one call,
//! `IOMMU_IOAS_CHANGE_PROCESS`; everything else is a protocol between the two, and that is here:
//!
//! * [`vm`]: the inventory, what is handed over, and [`stream`], how it crosses;
//! * [`outgoing`] and [`incoming`]: the two roles, step machines that make one call a step;
//! * [`phase`] and [`protocol`]: the order of their phases and every way back, as a table;
//! * [`blocker`]: what makes a handoff impossible, known before anything is touched;
//! * [`left`]: how much of a role is left, which every step makes less;
//! * [`defect`]: known ways to get it wrong, as edits of the table;
//! * [`launch`]: how a VMM comes to own all that in the first place.
//!
//! Below the roles is one boundary, [`kernel::Kernel`]: every system call is a value
//! ([`call::Call`]) that a simulated or a real kernel answers. Messages to the peer are calls, too
//! (`sendmsg`, `recvmsg`), so that whatever fails, records or replays calls has them all.
//! Judgement looks at a [`view::View`] and at nothing else. [`uapi`] has the ioctls as bytes, [`request`] their
//! numbers, [`argument`] what they are made with. [`text`] renders calls and views for people.
//!
//! This crate has no `unsafe`, no operating system, no clock, no thread and no I/O.

pub mod argument;
pub mod blocker;
pub mod call;
pub mod check;
pub mod defect;
pub mod errno;
pub mod hex;
pub mod ids;
pub mod incoming;
pub mod kernel;
pub mod launch;
pub mod left;
pub mod mutant;
pub mod outgoing;
pub mod phase;
pub mod protocol;
pub mod request;
pub mod role;
pub mod shared;
pub mod slip;
pub mod stream;
pub mod text;
pub mod trace;
pub mod uapi;
pub mod variant;
pub mod view;
pub mod vm;
