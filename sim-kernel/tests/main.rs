//! Tests of the simulated kernel, by topic.

mod common;

mod access;
mod any_bytes;
mod any_calls;
mod canonical;
mod change_process;
mod death;
mod devices;
mod fail_nth;
mod files_and_eventfds;
mod ioas;
mod iommufd;
mod many_mappings;
mod memory;
mod mock_devices;
mod pinning;
mod processes;
mod scripted_processes;
mod sockets;
