//! The test gear on any Linux: no iommufd, no device, no privilege is needed.

#[path = "../../../tests/host/calls.rs"]
mod calls;
mod guest;
