//! One wake-up of the reactor for many tasks.
//!
//! Waking a task from a thread that does not drive the reactor costs a system call and a lock. But an app thread answers
//! dozens of requests in a row, and a broadcast writes to thousands of clients. So tasks to be woken are put on a list,
//! and the driver, which is woken once, wakes them all on its own thread. While no thread drives, no system call is
//! needed: the next driver begins with the list.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use atomic_waker::AtomicWaker;

use super::lock::Lock;

thread_local! {
    /// This thread drives a reactor: waking its tasks costs it nothing.
    static DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// The list of tasks that have something new to look at.
#[derive(Debug, Default)]
pub struct Wakeups {
    list: Lock<List>,
}

#[derive(Debug, Default)]
struct List {
    tasks: Vec<Waker>,
    /// Wakes the driver; `None` while no thread drives, or when it has been woken already.
    driver: Option<Waker>,
}

impl Wakeups {
    /// Wakes `task` soon: at once, if this is a task of the driver that calls. Any thread; must not be called in a
    /// forked child.
    pub fn wake(&self, task: Waker) {
        if DRIVING.get() {
            return task.wake();
        }
        let mut list = self.lock();
        list.tasks.push(task);
        let driver = list.driver.take();
        drop(list);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Wakes what is on the list, on the driver's thread; `driver` is woken when there is more.
    /// `spare` is the list's other half: kept by the driver, so that neither is allocated each time.
    pub fn attend(&self, driver: &Waker, spare: &mut Vec<Waker>) {
        DRIVING.set(true);
        let mut list = self.lock();
        list.driver = Some(driver.clone());
        std::mem::swap(&mut list.tasks, spare);
        drop(list);
        for task in spare.drain(..) {
            task.wake();
        }
    }

    /// The thread does not drive any more.
    pub fn leave(&self) {
        DRIVING.set(false);
        self.lock().driver = None;
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock()
    }
}

/// One task of the reactor that other threads wake: the [`Waker`] it has left, and the [`Wakeups`] of its reactor.
#[derive(Debug)]
pub struct RemoteWaker {
    task: AtomicWaker,
    wakeups: Arc<Wakeups>,
}

impl RemoteWaker {
    /// Wakes nothing until a task is registered.
    pub fn new(wakeups: Arc<Wakeups>) -> Self {
        RemoteWaker { task: AtomicWaker::new(), wakeups }
    }

    /// The next [`RemoteWaker::wake`] wakes `task`. The task calls this before it looks for something to do: then no
    /// wake-up is lost between the two.
    pub fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Wakes the task, unless it was woken since it registered. Any thread; must not be called in a forked child.
    pub fn wake(&self) {
        if let Some(task) = self.task.take() {
            self.wakeups.wake(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    /// Wakes the task as an app thread does that does not drive.
    fn wake(wakeups: &Wakeups, task: &Waker) {
        std::thread::scope(|scope| {
            scope.spawn(|| wakeups.wake(task.clone()));
        });
    }

    #[test]
    fn a_driver_is_woken_once_for_many_tasks() {
        let (wakeups, mut spare) = (Wakeups::default(), Vec::new());
        let ((task, task_waker), (driver, driver_waker)) = (counted(), counted());
        wake(&wakeups, &task_waker);
        assert_eq!(driver.0.load(Ordering::SeqCst), 0, "no thread drives");
        wakeups.attend(&driver_waker, &mut spare);
        assert_eq!(task.0.load(Ordering::SeqCst), 1, "the list was waiting");
        wake(&wakeups, &task_waker);
        wake(&wakeups, &task_waker);
        assert_eq!((task.0.load(Ordering::SeqCst), driver.0.load(Ordering::SeqCst)), (1, 1));
        wakeups.attend(&driver_waker, &mut spare);
        assert_eq!(task.0.load(Ordering::SeqCst), 3);
        wakeups.leave();
        wake(&wakeups, &task_waker);
        assert_eq!(driver.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_remote_waker_wakes_once_for_each_registration() {
        let wakeups = Arc::new(Wakeups::default());
        let remote = RemoteWaker::new(Arc::clone(&wakeups));
        let ((task, task_waker), (_, driver_waker)) = (counted(), counted());
        let wake_and_attend = || {
            std::thread::scope(|scope| {
                scope.spawn(|| remote.wake());
            });
            wakeups.attend(&driver_waker, &mut Vec::new());
            wakeups.leave();
            task.0.load(Ordering::SeqCst)
        };
        assert_eq!(wake_and_attend(), 0, "no task is registered");
        remote.register(&task_waker);
        assert_eq!([wake_and_attend(), wake_and_attend()], [1, 1]);
        remote.register(&task_waker);
        assert_eq!(wake_and_attend(), 2);
    }
}
