//! An object that has a file (a fault queue, the events of a viommu), given up before anybody has
//! seen it.
//!
//! The file holds the object, and lets go of it when it is released. Dropping the last reference of
//! a file releases nothing yet: that is left to whoever comes to it, a worker or the task on its
//! way out. So an object may only be freed once the release of its file has been waited for.
//!
//! Mirrors `iommufd_object_abort_and_destroy` (`main.c`), `iommufd_eventq_fops_release`
//! (`eventq.c`), `fput` and `__fput_sync`.

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

/// How a file that is given up is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// `fput`: it is released later (before 4e034bf045b1).
    Later,
    /// `__fput_sync`: it is released at once.
    Now,
}

struct Object {
    /// Who made it, and its file.
    users: AtomicUsize,
    is_freed: AtomicBool,
}

#[derive(Default)]
struct Kernel {
    /// The objects of files that wait to be released.
    delayed: Mutex<Vec<Arc<Object>>>,
}

impl Object {
    /// What the release of its file does.
    fn release(&self) {
        assert!(!self.is_freed.load(SeqCst), "an object is used that has been freed");
        self.users.fetch_sub(1, SeqCst);
    }

    fn free(&self) {
        assert!(!self.is_freed.swap(true, SeqCst), "an object is freed twice");
    }
}

impl Kernel {
    /// An allocation that cannot tell its caller the new number; → the users that the object had
    /// when it went.
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

/// Gives an object up beside a worker, in every order; the task releases on its way out what is
/// left. Of a file that is released at once nothing is left for either.
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
