//! Tables whose entries are numbered from 0 by the lowest free number, and the numbers.
//!
//! Invariant: no table ends in an empty slot, so tables with the same entries are equal, whatever
//! entries they had before.

use std::fmt::Debug;
use std::marker::PhantomData;

/// The number of an entry of a table.
pub(crate) trait SmallId: Copy + Debug {
    fn of(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! small_ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) $inner);

        impl SmallId for $name {
            fn of(index: usize) -> Self {
                Self(<$inner>::try_from(index).expect("more entries than a small world has"))
            }

            fn index(self) -> usize {
                self.0.into()
            }
        }
    )*};
}

small_ids! {
    /// An open file description.
    FileId(u16);
    /// A memory object: the pages of a memfd or an anonymous mapping.
    MemoryId(u16);
    /// An iommufd context.
    ContextId(u8);
    /// A page set of a context.
    SetId(u16);
    /// A device, in the order of plugging.
    DeviceId(u8);
    /// A virtual machine.
    VmId(u8);
    /// A VFIO container.
    ContainerId(u8);
}

/// A table of entries, numbered by the lowest free number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slots<I, T> {
    entries: Vec<Option<T>>,
    ids: PhantomData<I>,
}

impl<I, T> Default for Slots<I, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), ids: PhantomData }
    }
}

impl<I: SmallId, T> Slots<I, T> {
    /// Inserts an entry into the lowest free slot.
    pub(crate) fn insert(&mut self, entry: T) -> I {
        let index = self.entries.iter().position(Option::is_none).unwrap_or(self.entries.len());
        if index == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[index] = Some(entry);
        I::of(index)
    }

    /// Removes an entry.
    ///
    /// # Panics
    ///
    /// Panics if the slot is empty: the remover must hold the last reference.
    pub(crate) fn remove(&mut self, id: I) -> T {
        let entry = self.entries[id.index()].take().expect("an entry is removed once");
        while self.entries.last().is_some_and(Option::is_none) {
            self.entries.pop();
        }
        entry
    }

    pub(crate) fn get(&self, id: I) -> &T {
        self.entries[id.index()].as_ref().expect("whoever has an id holds a reference")
    }

    pub(crate) fn get_mut(&mut self, id: I) -> &mut T {
        self.entries[id.index()].as_mut().expect("whoever has an id holds a reference")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(index, entry)| Some((I::of(index), entry.as_ref()?)))
    }

    pub(crate) fn ids(&self) -> Vec<I> {
        self.iter().map(|(id, _)| id).collect()
    }
}
