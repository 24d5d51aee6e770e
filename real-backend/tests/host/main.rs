//! The real backend on any Linux: no iommufd, no device, no privilege is needed.
//!
//! What changes its own process (limits, user, `execve`, a full descriptor table) runs alone, in a
//! process of its own: see [`common::alone`].

mod calls;
mod common;
mod doctor;
mod files;
mod guest;
mod mapping;
mod observe;
mod processes;
mod sockets;
mod spawning;
