//! Which cores the threads of this process run on.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};

/// A thread that works beside others, and not on the core of the one that gives it work.
///
/// Linux wakes a thread on the core of the one that wakes it, and looks for a free core only when milliseconds have passed: work that
/// takes less is then done by one core, thread after thread.
pub struct Beside {
    thread: libc::pid_t,
    /// The core that it keeps off, or a negative number.
    avoided: AtomicI32,
}

impl Beside {
    /// The calling thread.
    pub fn this_thread() -> Beside {
        // SAFETY: it touches no memory.
        Beside { thread: unsafe { libc::gettid() }, avoided: AtomicI32::new(-1) }
    }

    /// Allows the thread every core that the calling thread may use, but the one on which that runs now; does nothing if there is no
    /// other one. A system that refuses changes nothing but the time that work takes.
    pub fn keep_off_this_core(&self) {
        // SAFETY: it touches no memory.
        let core = unsafe { libc::sched_getcpu() };
        let Ok(place) = usize::try_from(core) else { return };
        if self.avoided.swap(core, Ordering::Relaxed) == core || place >= libc::CPU_SETSIZE as usize {
            return;
        }
        let size = size_of::<libc::cpu_set_t>();
        let mut cores = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: the kernel writes at most `size` bytes, and every bit pattern is a set of cores.
        let mut cores = unsafe {
            if libc::sched_getaffinity(0, size, cores.as_mut_ptr()) != 0 {
                return;
            }
            cores.assume_init()
        };
        // SAFETY: `place` is inside the set, which the kernel only reads; a thread that has ended is refused.
        unsafe {
            libc::CPU_CLR(place, &mut cores);
            if libc::CPU_COUNT(&cores) > 0 {
                libc::sched_setaffinity(self.thread, size, &cores);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_the_core_of_the_one_that_asks_it_to() {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
            println!("skipped: there is one core");
            return;
        }
        let (ready, took) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            ready.send(Beside::this_thread()).unwrap();
            wait.recv().unwrap();
            // SAFETY: it touches no memory.
            unsafe { libc::sched_getcpu() }
        });
        let beside = took.recv().unwrap();
        beside.keep_off_this_core();
        let avoided = beside.avoided.load(Ordering::Relaxed);
        go.send(()).unwrap();
        assert_ne!(other.join().unwrap(), avoided);
    }
}
