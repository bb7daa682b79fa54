//! Processes that may crash, hang or hold hostile code, seen from both sides: how they are started, asked, watched and ended, what
//! memory they share, and how they seal themselves.
//!
//! This crate knows processes, sockets and the kernel. It knows no plugins, engines or models: what is asked is the business of the
//! crates that use it. It is written for Linux.

mod allocator;
mod child;
mod cores;
mod frame;
mod inside;
mod memory;
mod orphans;
pub mod sandbox;
mod watch;

pub use allocator::OrEnd;
pub use child::{Lost, Patience, Start, Worker, ending, heed};
pub use cores::Beside;
pub use frame::{Most, receive, send};
pub use inside::{limit_this_process, take_socket};
pub use memory::{Inward, Outward, ReadOnly, Writable, receive_file, send_file};
pub use orphans::{adopt_orphans, known};
pub use watch::machine_memory;
