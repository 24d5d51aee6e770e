//! `struct rw_semaphore` for loom: any number of readers or one writer.
//!
//! Each thread has a slot. A reader locks its own, a writer all of them in order. A writer that
//! waits for a reader holds the slots before it, so reads of those threads wait behind it, as
//! readers queue behind a waiting writer in Linux. So deadlocks that need this queue are found,
//! too.

use loom::sync::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Maximum number of threads.
const THREADS: usize = 3;

pub(crate) struct RwSem<T> {
    slots: [Mutex<()>; THREADS],
    /// Its lock is never contended, because the slots serialize access.
    data: RwLock<T>,
}

/// A shared lock. (Fields are dropped in order: the data before its slot.)
pub(crate) struct Read<'a, T> {
    data: RwLockReadGuard<'a, T>,
    _slot: MutexGuard<'a, ()>,
}

/// An exclusive lock.
pub(crate) struct Write<'a, T> {
    data: RwLockWriteGuard<'a, T>,
    _slots: Vec<MutexGuard<'a, ()>>,
}

impl<T> RwSem<T> {
    pub(crate) fn new(data: T) -> Self {
        Self { slots: [(); THREADS].map(Mutex::new), data: RwLock::new(data) }
    }

    /// Locks for reading (`down_read`).
    pub(crate) fn read(&self, thread: usize) -> Read<'_, T> {
        let slot = self.slots[thread].lock().expect("no poison");
        Read { data: self.data.try_read().expect("the slot keeps writers out"), _slot: slot }
    }

    /// Locks for writing (`down_write`).
    pub(crate) fn write(&self) -> Write<'_, T> {
        let slots = self.slots.iter().map(|slot| slot.lock().expect("no poison")).collect();
        Write { data: self.data.try_write().expect("the slots keep others out"), _slots: slots }
    }

    /// Locks for reading if no writer holds the lock.
    pub(crate) fn try_read(&self, thread: usize) -> Option<Read<'_, T>> {
        let slot = self.slots[thread].try_lock().ok()?;
        Some(Read { data: self.data.try_read().expect("the slot keeps writers out"), _slot: slot })
    }

    /// Locks for writing if no thread holds the lock.
    pub(crate) fn try_write(&self) -> Option<Write<'_, T>> {
        let slots = self.slots.iter().map(|slot| slot.try_lock().ok()).collect::<Option<_>>()?;
        Some(Write {
            data: self.data.try_write().expect("the slots keep others out"),
            _slots: slots,
        })
    }
}

impl<T> Deref for Read<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> Deref for Write<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Write<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
