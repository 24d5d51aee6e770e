//! Plain values to keep a machine in: parts that clones share until one writes, and numbered tables.
//!
//! Every other folder uses them.

mod shared;
mod slots;

pub(crate) use shared::Shared;
pub(crate) use slots::{
    ContainerId, ContextId, DeviceId, FileId, MemoryId, SetId, Slots, SmallId, VmId,
};
