//! Containers for the state of a machine: copy-on-write parts that clones share, and numbered
//! tables.
//!
//! All other folders use them.

mod shared;
mod slots;

pub(crate) use shared::Shared;
pub(crate) use slots::{
    ContainerId, ContextId, DeviceId, FileId, MemoryId, SetId, Slots, SmallId, VmId,
};
