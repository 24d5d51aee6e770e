//! Tests of the real backend on any Linux: without iommufd, devices or privileges.
//!
//! A test that changes its own process (limits, user, `execve`, a full descriptor table) runs in a
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
