//! Containers for the state of a machine: parts that clones share until one writes, numbered
//! tables.
//!
//! Every other folder uses them.

mod shared;
mod slots;

pub(crate) use shared::Shared;
pub(crate) use slots::{
    ContainerId, ContextId, DeviceId, FileId, MemoryId, SetId, Slots, SmallId, VmId,
};
