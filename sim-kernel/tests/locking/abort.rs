//! Abort of an object that has a file (a fault queue, a viommu's event queue) before user space has
//! seen it.
//!
//! The file holds a reference to the object, and drops it when the file is released. Dropping the
//! last reference of a file does not release it immediately: a worker does, or the task on its
//! return to user space. So an object may be freed only after the release of its file.
//!
//! Mirrors `iommufd_object_abort_and_destroy` (`main.c`), `iommufd_eventq_fops_release`
//! (`eventq.c`), `fput` and `__fput_sync`.

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

/// The function that puts the file on abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// `fput`: the file is released later (before 4e034bf045b1).
    Later,
    /// `__fput_sync`: the file is released immediately.
    Now,
}

struct Object {
    /// References: the creating call's, and the file's.
    users: AtomicUsize,
    is_freed: AtomicBool,
}

#[derive(Default)]
struct Kernel {
    /// Objects whose files wait to be released.
    delayed: Mutex<Vec<Arc<Object>>>,
}

impl Object {
    /// Releases the file: drops its reference to the object.
    fn release(&self) {
        assert!(!self.is_freed.load(SeqCst), "an object is used that has been freed");
        self.users.fetch_sub(1, SeqCst);
    }

    fn free(&self) {
        assert!(!self.is_freed.swap(true, SeqCst), "an object is freed twice");
    }
}

impl Kernel {
    /// Aborts an allocation that cannot write the new id to its caller. Returns the number of
    /// references that the object had when it was freed.
    fn give_up(&self, put: Put) -> usize {
        let object =
            Arc::new(Object { users: AtomicUsize::new(2), is_freed: AtomicBool::new(false) });
        match put {
            Put::Later => self.delayed.lock().expect("no poison").push(Arc::clone(&object)),
            Put::Now => object.release(),
        }
        let users = object.users.load(SeqCst);
        object.free();
        users
    }

    /// Releases the files that wait for it.
    fn release_delayed(&self) {
        let due = std::mem::take(&mut *self.delayed.lock().expect("no poison"));
        for object in due {
            object.release();
        }
    }
}

/// Aborts an object concurrently with a worker, in every order. The task itself releases the
/// remaining files on its return; with `Put::Now` there are none.
pub(crate) fn explore(put: Put) {
    loom::model(move || {
        let kernel = Arc::new(Kernel::default());
        let other = Arc::clone(&kernel);
        let worker = loom::thread::spawn(move || other.release_delayed());
        let users = kernel.give_up(put);
        kernel.release_delayed();
        worker.join().expect("no panic");
        assert_eq!(users, 1, "nobody but its maker has it");
    });
}
