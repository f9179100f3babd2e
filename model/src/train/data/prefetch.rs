//! Work done ahead by threads of the host while the device is busy, handed over in sequence.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Makes item after item ahead of their use; the items do not depend on the number of threads.
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    ahead: usize,
}

struct State<T> {
    /// The next item to begin.
    begin: usize,
    /// The next item to be taken.
    take: usize,
    done: BTreeMap<usize, T>,
    ended: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many threads prepare data: all cores but the one that trains.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).clamp(1, 8)
}

impl<T: Send + 'static> Prefetch<T> {
    /// Begins with item `first`.
    pub fn start(first: usize, threads: usize, make: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        let state = State { begin: first, take: first, done: BTreeMap::new(), ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), ahead: 2 * threads.max(1) });
        let make = Arc::new(make);
        let thread = |_| {
            let (shared, make) = (shared.clone(), make.clone());
            thread::spawn(move || {
                let _end = EndOnPanic(&shared);
                while let Some(index) = shared.begin() {
                    let item = make(index);
                    shared.lock().done.insert(index, item);
                    shared.changed.notify_all();
                }
            })
        };
        let threads = (0..threads.max(1)).map(thread).collect();
        Self { shared, threads, next: first }
    }
}

impl<T: Send + 'static> Iterator for Prefetch<T> {
    type Item = T;

    /// The next item; none if the making of an item failed.
    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        let item = loop {
            match state.done.remove(&self.next) {
                Some(item) => break item,
                None if state.ended => return None,
                None => state = self.shared.wait(state),
            }
        };
        self.next += 1;
        state.take = self.next;
        self.shared.changed.notify_all();
        Some(item)
    }
}

impl<T> Shared<T> {
    /// The next item to make, once it is near enough; none at the end.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.ended && state.begin >= state.take + self.ahead {
            state = self.wait(state);
        }
        if state.ended {
            return None;
        }
        state.begin += 1;
        Some(state.begin - 1)
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// Ends the whole when a thread panics, so that nobody waits for it.
struct EndOnPanic<'a, T>(&'a Shared<T>);

impl<T> Drop for EndOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.end();
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}
