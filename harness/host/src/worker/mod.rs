//! The child process: loads one plugin, does what the host asks over the socket that is its standard input, and ends. Whatever
//! the plugin does to this process stays here.

mod native;
mod port;
mod reading;
mod reduction;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use flatscape_contain::sandbox::{self, Room, Sealed};
use flatscape_contain::{Most, ReadOnly, Writable, limit_this_process, receive, receive_file, send, take_socket};

pub(crate) use native::Loaded;
pub(crate) use port::{Port, Samples};

use crate::reduction::Table;
use crate::wire::{self, Reply, Request};

/// The whole life of a worker. The hidden command `plugin-worker` calls it and nothing else.
pub fn worker_main() -> ExitCode {
    match take_socket().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("this command is started by flatscape itself, with a connection to it as standard input ({e})");
            ExitCode::from(2)
        }
    }
}

fn serve(mut socket: UnixStream) -> io::Result<()> {
    limit_this_process();
    let (Request::Load { path, sha256, sandbox }, _) = receive(&mut socket, Most::TRUSTED)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first request is not to load"));
    };
    let log = Mutex::new(socket.try_clone()?);
    let logger = move |level: i32, words: &str| {
        if let Ok(mut socket) = log.lock() {
            let _ = send(&mut *socket, &Reply::Log { level, words: words.to_owned() }, &[]);
        }
    };
    let sealed = match if sandbox { shut_in(&path) } else { Ok(Sealed::NOT) } {
        Ok(sealed) => sealed,
        Err(clause) => return send(&mut socket, &Reply::Refused { id: wire::Refusal::Open, clause }, &[]),
    };
    let loaded = match Loaded::open(&path, &sha256) {
        Ok(loaded) => loaded,
        Err((id, clause)) => return send(&mut socket, &Reply::Refused { id, clause }, &[]),
    };
    match loaded.describe() {
        Ok(description) => send(&mut socket, &Reply::Loaded { description, sealed }, &[])?,
        Err(clause) => {
            return send(&mut socket, &Reply::Refused { id: wire::Refusal::Malformed, clause }, &[]);
        }
    }
    loop {
        let (request, bytes) = receive::<Request>(&mut socket, Most::TRUSTED)?;
        match request {
            Request::Build { kind, component, arguments, task } => {
                match loaded.build(kind, &component, &arguments, &task, &logger) {
                    Ok(program) => {
                        let lengths = program.graphs.iter().map(|g| g.bytes.len() as u64).collect();
                        let bytes: Vec<u8> = program.graphs.iter().flat_map(|g| g.bytes.iter().copied()).collect();
                        send(&mut socket, &Reply::Built { program, lengths }, &[&bytes])?;
                    }
                    Err(fault) => send(&mut socket, &Reply::Fault(fault), &[])?,
                }
            }
            Request::Run { kind, component, arguments, task, memory } => {
                let inward = ReadOnly::map(&receive_file(&socket)?)?;
                let outward = Writable::map(&receive_file(&socket)?)?;
                let mut port = port::SharedPort::new(inward, outward, &memory, &task, socket.try_clone()?);
                match loaded.run(kind, &component, &arguments, &task, &mut port, &logger) {
                    Ok(()) => send(&mut socket, &Reply::Finished, &[])?,
                    Err(fault) => send(&mut socket, &Reply::Fault(fault), &[])?,
                }
            }
            Request::Reduce { kind, component, arguments, task, table } => {
                let table = Table::decode(&table, &bytes)
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a table without its numbers"))?;
                match loaded.reduce(kind, &component, &arguments, &task, &table, &logger) {
                    Ok(reduced) => {
                        let (shape, numbers) = reduced.encode();
                        send(&mut socket, &Reply::Reduced(shape), &[&numbers])?;
                    }
                    Err(fault) => send(&mut socket, &Reply::Fault(fault), &[])?,
                }
            }
            Request::Load { .. } | Request::Answer(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a request out of order"));
            }
        }
    }
}

/// Shuts this thread in, before any code of the plugin runs: the plugin's own folder is readable, this folder can be written to.
fn shut_in(plugin: &Path) -> Result<Sealed, String> {
    let scratch = std::env::current_dir().map_err(|e| format!("it has no working directory: {e}"))?;
    sandbox::seal(&Room { read: sandbox::folders_of(plugin), write: vec![scratch], gpu: false })
}
