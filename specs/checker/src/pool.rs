//! A parallel map over a list of items.

use std::num::NonZeroUsize;
use std::sync::Mutex;

/// Maps items in order on several threads; each thread takes the next item from a shared queue.
pub(crate) fn in_parallel<T: Send, R: Send>(
    threads: NonZeroUsize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    if threads == NonZeroUsize::MIN {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let one = || {
        let next = || queue.lock().expect("no thread panics while it holds the lock").next();
        std::iter::from_fn(next).map(|(at, item)| (at, work(item))).collect::<Vec<_>>()
    };
    let mut done: Vec<Option<R>> = std::iter::repeat_with(|| None).take(count).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = (1..threads.get()).map(|_| scope.spawn(one)).collect();
        let mine = one();
        let others = running.into_iter().flat_map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        for (at, result) in mine.into_iter().chain(others) {
            done[at] = Some(result);
        }
    });
    done.into_iter().map(|result| result.expect("every item was taken")).collect()
}
