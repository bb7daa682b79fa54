//! The first things that a worker process does: it takes its connection, closes everything else, and limits itself.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The largest file that a worker may write into its scratch folder.
const LARGEST_FILE: u64 = 1 << 30;

/// Standard input is the connection to the parent. It moves to a number that foreign code does not touch by accident, and reading
/// standard input gives nothing from now on. Every descriptor above the three standard ones is closed first: a file that whoever
/// started the parent left open (a log, a lock, a file of the run directory) does not reach the worker.
///
/// Called once, before this process opens anything.
///
/// # Errors
/// Standard input is not a socket: the process was not started by [`crate::Worker::start`].
pub fn take_socket() -> io::Result<UnixStream> {
    close_inherited();
    // SAFETY: nothing else in this process uses file descriptor 0, which the parent opened for this.
    let given = unsafe { OwnedFd::from_raw_fd(0) };
    let socket = UnixStream::from(given.try_clone()?);
    drop(given);
    // the lowest free number is the one just closed
    let _ = File::open("/dev/null")?.into_raw_fd();
    socket.peer_addr()?;
    Ok(socket)
}

fn close_inherited() {
    let listed = std::fs::read_dir("/proc/self/fd")
        .map(|entries| entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok()).collect::<Vec<i32>>());
    for descriptor in listed.unwrap_or_else(|_| (3..4096).collect()) {
        if descriptor > 2 {
            // SAFETY: this process has opened nothing yet, so no owner of a descriptor above 2 exists; the one with which the
            // folder was listed is closed already, and closing it again fails without effect.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// No core file, no large files, the first to go when the machine runs out of memory, and dead when the thread that started this
/// process is.
pub fn limit_this_process() {
    let limit = |resource, most: u64| {
        let limits = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: `limits` is a valid rlimit, which is only read; a refusal by the system changes nothing.
        unsafe { libc::setrlimit(resource, &limits) };
    };
    limit(libc::RLIMIT_CORE, 0);
    limit(libc::RLIMIT_FSIZE, LARGEST_FILE);
    // a system that refuses this prefers somebody else
    let _ = std::fs::write("/proc/self/oom_score_adj", "600");
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
