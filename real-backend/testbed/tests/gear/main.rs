//! Tests of the test support on any Linux: without iommufd, devices or privileges.

#[path = "../../../tests/host/calls.rs"]
mod calls;
mod guest;
