//! The child process: loads one plugin, does what the host asks over the socket that is its standard input, and ends. Whatever
//! the plugin does to this process stays here.

mod native;
mod port;
mod reading;

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Mutex;

pub(crate) use native::Loaded;
pub(crate) use port::{Port, Samples};

use crate::wire::{self, Reply, Request};

/// Bytes of address space that a worker may have.
const MEMORY: u64 = 16 << 30;

/// The whole life of a worker. The hidden command `plugin-worker` calls it and nothing else.
pub fn worker_main() -> ExitCode {
    close_inherited();
    match take_socket().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("this command is started by flatscape itself, with a connection to it as standard input ({e})");
            ExitCode::from(2)
        }
    }
}

/// Closes every descriptor but the three standard ones: a file that whoever started the host left open (a log, a lock, a file of
/// the run directory) does not reach the plugin.
fn close_inherited() {
    let listed = std::fs::read_dir("/dev/fd")
        .map(|entries| entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok()).collect::<Vec<i32>>());
    for descriptor in listed.unwrap_or_else(|_| (3..4096).collect()) {
        if descriptor > 2 {
            // SAFETY: this process has opened nothing yet, so no owner of a descriptor above 2 exists; the one with which the
            // folder was listed is closed already, and closing it again fails without effect.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// Standard input is the connection. It moves to a number that a plugin does not touch by accident, and reading standard input
/// gives nothing from now on.
fn take_socket() -> io::Result<UnixStream> {
    // SAFETY: nothing else in this process uses file descriptor 0, which the host opened for this.
    let given = unsafe { OwnedFd::from_raw_fd(0) };
    let socket = UnixStream::from(given.try_clone()?);
    drop(given);
    // the lowest free number is the one just closed
    let _ = File::open("/dev/null")?.into_raw_fd();
    socket.peer_addr()?;
    Ok(socket)
}

fn serve(mut socket: UnixStream) -> io::Result<()> {
    limit_this_process();
    let (Request::Load { path, sha256 }, _) = wire::receive(&mut socket)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first request is not to load"));
    };
    let log = Mutex::new(socket.try_clone()?);
    let logger = move |level: i32, words: &str| {
        if let Ok(mut socket) = log.lock() {
            let _ = wire::send(&mut *socket, &Reply::Log { level, words: words.to_owned() }, &[]);
        }
    };
    let loaded = match Loaded::open(&path, &sha256) {
        Ok(loaded) => loaded,
        Err((id, clause)) => return wire::send(&mut socket, &Reply::Refused { id, clause }, &[]),
    };
    match loaded.describe() {
        Ok(description) => wire::send(&mut socket, &Reply::Loaded(description), &[])?,
        Err(clause) => {
            return wire::send(&mut socket, &Reply::Refused { id: wire::Refusal::Malformed, clause }, &[]);
        }
    }
    loop {
        match wire::receive::<Request>(&mut socket)?.0 {
            Request::Build { component, arguments, task } => match loaded.build(&component, &arguments, &task, &logger) {
                Ok(program) => {
                    let lengths = program.graphs.iter().map(|g| g.bytes.len() as u64).collect();
                    let bytes: Vec<u8> = program.graphs.iter().flat_map(|g| g.bytes.iter().copied()).collect();
                    wire::send(&mut socket, &Reply::Built { program, lengths }, &bytes)?;
                }
                Err(fault) => wire::send(&mut socket, &Reply::Fault(fault), &[])?,
            },
            Request::Run { component, arguments, task, memory } => {
                let mut port = port::SharedPort::open(&memory, &task, socket.try_clone()?)?;
                match loaded.run(&component, &arguments, &task, &mut port, &logger) {
                    Ok(()) => wire::send(&mut socket, &Reply::Finished, &[])?,
                    Err(fault) => wire::send(&mut socket, &Reply::Fault(fault), &[])?,
                }
            }
            Request::Load { .. } | Request::Answer(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a request out of order"));
            }
        }
    }
}

/// A plugin that eats all memory meets a limit, leaves no core file, and dies with the host.
fn limit_this_process() {
    let limit = |resource, most: u64| {
        let limits = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: `limits` is a valid rlimit, which is only read; a refusal by the system changes nothing.
        unsafe { libc::setrlimit(resource, &limits) };
    };
    limit(libc::RLIMIT_CORE, 0);
    limit(libc::RLIMIT_AS, MEMORY);
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}
