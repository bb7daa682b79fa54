//! The end of memory: a sentence and an exit code in place of an abort.

use std::alloc::{GlobalAlloc, Layout};

/// An allocator that ends the program with a sentence where another one has no memory to give.
pub struct OrEnd<A> {
    /// The other one.
    pub inner: A,
    /// What is said on standard error, with its new line.
    pub sentence: &'static str,
    /// The exit code.
    pub code: i32,
}

impl<A> OrEnd<A> {
    fn given(&self, memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            let words = self.sentence.as_bytes();
            // SAFETY: writes bytes that are there, and ends the process; neither needs memory.
            unsafe {
                libc::write(2, words.as_ptr().cast(), words.len());
                libc::_exit(self.code);
            }
        }
        memory
    }
}

// SAFETY: every call goes to the other allocator with the layout and the memory that came; what it gives is passed on.
unsafe impl<A: GlobalAlloc> GlobalAlloc for OrEnd<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the contract of the caller.
        self.given(unsafe { self.inner.alloc(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the contract of the caller.
        unsafe { self.inner.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the contract of the caller.
        self.given(unsafe { self.inner.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the contract of the caller.
        self.given(unsafe { self.inner.realloc(memory, layout, size) })
    }
}
