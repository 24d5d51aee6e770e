//! Plain values to keep a machine in: parts that clones share until one writes, and numbered tables.

pub(crate) mod shared;
pub(crate) mod slots;
