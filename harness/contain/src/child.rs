//! One worker process, seen from its parent: started in a process group and an empty folder of its own, asked over a socket with a
//! clock, watched while it works, and ended with everything that it has started.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::frame::{self, Most};
use crate::memory::send_file;
use crate::orphans;
use crate::watch::{self, Seen};

/// How a worker is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The program that becomes a worker.
    pub program: &'a Path,
    /// With these arguments.
    pub arguments: &'a [OsString],
    /// Variables beside those that every worker has (`PATH`, `LANG` and a few more).
    pub variables: &'a [&'a str],
    /// Bytes of memory that it may hold.
    pub memory: u64,
}

/// How long a worker is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// On the clock.
    pub limit: Duration,
    /// Without using the processor.
    pub idle: Option<Duration>,
}

/// Set when the program is asked to stop.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Names the flag that is set when the program is asked to stop: no worker is then waited for much longer.
pub fn heed(stop: Arc<AtomicBool>) {
    // a program has one such flag, and the first one that is named is it
    let _ = STOP.set(stop);
}

/// The reason why a worker gave no answer. The worker has been stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It gave no answer within this time.
    Silent(Duration),
    /// It did not read what it was sent within this time.
    Deaf(Duration),
    /// It gave no answer and used no processor for this long.
    Idle(Duration),
    /// It was stopped by a signal, perhaps its own.
    Frozen,
    /// It holds more memory than it may.
    Memory {
        /// Bytes.
        held: u64,
        /// Bytes that it may hold.
        most: u64,
    },
    /// It sent bytes that are not a message.
    Babbles,
    /// It ended, or (`None`) closed its connection and had to be ended.
    Ended(Option<ExitStatus>),
    /// The program was asked to stop and did not want to wait for the answer any longer.
    Interrupted,
    /// The message is too long to be sent: the worker is not at fault.
    TooLong,
}

impl Lost {
    /// A clause that begins with a verb: `died (SIGSEGV)`.
    pub fn clause(&self) -> String {
        match self {
            Lost::Silent(limit) => format!("gave no answer within {} s and was stopped", limit.as_secs_f64()),
            Lost::Deaf(limit) => format!("did not read for {} s what it was sent and was stopped", limit.as_secs_f64()),
            Lost::Idle(limit) => format!("gave no answer, used no processor for {} s and was stopped", limit.as_secs_f64()),
            Lost::Frozen => "was halted by a signal".to_owned(),
            Lost::Memory { held, most } => {
                format!("held {} MB of memory, of {} MB that it may have, and was stopped", held >> 20, most >> 20)
            }
            Lost::Babbles => "wrote into the connection between the processes".to_owned(),
            Lost::Ended(None) => "closed its connection".to_owned(),
            Lost::Ended(Some(status)) => ending(*status),
            Lost::Interrupted => "was stopped because the program was asked to stop".to_owned(),
            Lost::TooLong => "cannot be sent a message of that length".to_owned(),
        }
    }
}

/// How a process ended, as a clause: `died (SIGSEGV)`, `ended the process (exit code 3)`.
pub fn ending(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("ended the process (exit code {})", status.code().unwrap_or(0));
    };
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        other => return format!("died (signal {other})"),
    };
    format!("died ({name})")
}

/// Variables that a worker inherits. Everything else is withheld, above all what steers the dynamic loader or names a folder of
/// the user (`PWD`, `HOME`).
const INHERITED: &[&str] = &["PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "RUST_BACKTRACE"];

/// Bytes that are kept of what a worker prints.
const PRINTED: usize = 1 << 20;

/// How often a worker is looked at while it is waited for.
const SLICE: Duration = Duration::from_millis(50);

/// How long an answer is still waited for once the program was asked to stop.
const GRACE: Duration = Duration::from_secs(3);

/// How long a worker may be halted by a signal.
const HALT: Duration = Duration::from_secs(1);

/// A worker process.
pub struct Worker {
    child: Child,
    socket: UnixStream,
    printed: Arc<Mutex<Vec<u8>>>,
    memory: u64,
    reaped: Option<ExitStatus>,
    /// When it was last looked at.
    looked: Instant,
    /// The most memory that it was seen to hold, in bytes.
    pub peak: u64,
    /// Its working directory: empty, its own, removed with the worker. A relative path never leads to the run directory.
    scratch: Option<TempDir>,
}

impl Worker {
    /// Starts a worker; nothing has been said yet.
    ///
    /// # Errors
    /// A sentence that says what failed: the socket, the empty folder or the start of the program.
    pub fn start(start: &Start) -> Result<Worker, String> {
        orphans::sweep();
        let (socket, theirs) = UnixStream::pair().map_err(|e| format!("no socket can be made: {e}"))?;
        let timeouts = socket.set_read_timeout(Some(SLICE)).and_then(|()| socket.set_write_timeout(Some(SLICE)));
        timeouts.map_err(|e| format!("no socket can be made: {e}"))?;
        let scratch = tempfile::Builder::new().prefix(&orphans::scratch_prefix()).tempdir();
        let scratch = scratch.map_err(|e| format!("no empty working directory can be made: {e}"))?;
        let mut command = Command::new(start.program);
        command.args(start.arguments).env_clear().current_dir(scratch.path());
        let names = INHERITED.iter().chain(start.variables);
        command.envs(names.filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        // a group of its own: an interrupt at the terminal is for the parent, which then ends its children
        command.process_group(0);
        let mut child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", start.program.display()))?;
        orphans::known(child.id());
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let looked = Instant::now();
        let memory = start.memory;
        // from here on the child ends with this value, however the function ends
        let worker = Worker { child, socket, printed, memory, reaped: None, looked, peak: 0, scratch: Some(scratch) };
        if let Some(out) = out {
            keep_printed(out, worker.printed.clone())?;
        }
        if let Some(err) = err {
            keep_printed(err, worker.printed.clone())?;
        }
        Ok(worker)
    }

    /// Its working directory.
    pub fn scratch(&self) -> PathBuf {
        self.scratch.as_ref().map_or_else(PathBuf::new, |scratch| scratch.path().to_owned())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// It does not read within the limit, or is gone.
    pub fn send(&mut self, message: &impl Serialize, parts: &[&[u8]], patience: &Patience) -> Result<(), Lost> {
        let mut line = Line::new(self, patience);
        let sent = frame::send(&mut line, message, parts);
        let lost = line.lost.take();
        (self.peak, self.looked) = (line.peak, line.looked);
        match sent {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(Lost::TooLong),
            Err(_) => Err(self.lose(lost.map(|lost| match lost {
                Lost::Silent(limit) => Lost::Deaf(limit),
                other => other,
            }))),
        }
    }

    /// Sends a descriptor; the worker expects it.
    ///
    /// # Errors
    /// It is gone.
    pub fn send_file(&mut self, file: &std::fs::File) -> Result<(), Lost> {
        send_file(&self.socket, file).map_err(|_| self.lose(None))
    }

    /// Waits for a message of at most this length.
    ///
    /// # Errors
    /// There is none.
    pub fn receive<T: DeserializeOwned>(&mut self, most: Most, patience: &Patience) -> Result<(T, Vec<u8>), Lost> {
        let mut line = Line::new(self, patience);
        let received = frame::receive(&mut line, most);
        let lost = line.lost.take();
        (self.peak, self.looked) = (line.peak, line.looked);
        received.map_err(|e| match lost {
            None if e.kind() == io::ErrorKind::InvalidData => self.lose(Some(Lost::Babbles)),
            lost => self.lose(lost),
        })
    }

    /// Lets the worker go: it may end by itself, and is ended otherwise, with everything that it has started.
    pub fn end(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.wait(Duration::from_millis(500));
        self.kill();
    }

    /// The beginning of what it has printed since the last time.
    pub fn printed(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lose(&mut self, lost: Option<Lost>) -> Lost {
        if let Some(lost) = lost {
            self.kill();
            return lost;
        }
        // it is gone, or it closed its end and goes on
        let ended = self.wait(Duration::from_secs(2));
        self.kill();
        Lost::Ended(self.reaped.filter(|_| ended))
    }

    /// Whether the worker ends within this time; it is not reaped, so that its number stays its own.
    fn wait(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.reaped.is_some() || self.has_ended() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn has_ended(&self) -> bool {
        // SAFETY: siginfo is plain numbers, for which zero is a value, and the call writes into it alone; the child has not been
        // waited for, and WNOWAIT leaves it so.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.child.id(), &raw mut info, options) == 0 && info.si_pid() != 0
        }
    }

    /// Kills the worker and its group, unless that was done already, and what else it has left.
    fn kill(&mut self) {
        if self.reaped.is_some() {
            return;
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // SAFETY: kill touches no memory; the group is that of a child which has not been waited for.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.kill();
        // a process in the hands of a device cannot be killed; it is not waited for
        if self.wait(Duration::from_secs(5)) {
            self.reaped = self.child.wait().ok();
        }
        orphans::forgotten(self.child.id());
        orphans::kill_strangers();
        if let Some(scratch) = self.scratch.take() {
            orphans::clear(&scratch.keep());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The socket of a worker, read and written until a moment, with an eye on the worker.
struct Line<'a> {
    socket: &'a UnixStream,
    pid: u32,
    memory: u64,
    patience: Patience,
    began: Instant,
    /// When it was first seen that the program was asked to stop, …
    asked: Option<Instant>,
    /// … that the worker was halted, …
    halted: Option<Instant>,
    /// … and the processor time that it has used, with the moment since which that is so.
    used: Option<(u64, Instant)>,
    looked: Instant,
    peak: u64,
    lost: Option<Lost>,
}

impl<'a> Line<'a> {
    fn new(worker: &'a Worker, patience: &Patience) -> Line<'a> {
        Line {
            socket: &worker.socket,
            pid: worker.child.id(),
            memory: worker.memory,
            patience: *patience,
            began: Instant::now(),
            asked: None,
            halted: None,
            used: None,
            looked: worker.looked,
            peak: worker.peak,
            lost: None,
        }
    }

    /// Ends the wait when there is a reason.
    fn look(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.looked = now;
        let lost = if now.duration_since(self.began) >= self.patience.limit {
            Some(Lost::Silent(self.patience.limit))
        } else if STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
            && now.duration_since(*self.asked.get_or_insert(now)) >= GRACE
        {
            Some(Lost::Interrupted)
        } else {
            watch::seen(self.pid).and_then(|seen| self.judge(&seen, now))
        };
        match lost {
            None => Ok(()),
            Some(lost) => self.give_up(lost),
        }
    }

    fn give_up(&mut self, lost: Lost) -> io::Result<()> {
        self.lost = Some(lost);
        Err(io::ErrorKind::TimedOut.into())
    }

    fn judge(&mut self, seen: &Seen, now: Instant) -> Option<Lost> {
        self.peak = self.peak.max(seen.resident);
        if seen.resident > self.memory {
            return Some(Lost::Memory { held: seen.resident, most: self.memory });
        }
        if matches!(seen.state, 'T' | 't') {
            return (now.duration_since(*self.halted.get_or_insert(now)) >= HALT).then_some(Lost::Frozen);
        }
        self.halted = None;
        let since = match self.used {
            Some((ticks, since)) if ticks == seen.ticks => since,
            _ => {
                self.used = Some((seen.ticks, now));
                now
            }
        };
        let idle = self.patience.idle?;
        (now.duration_since(since) >= idle).then_some(Lost::Idle(idle))
    }

    /// One that sends or reads all the time is looked at as often as one that is silent.
    fn passed(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < SLICE { Ok(()) } else { self.look() }
    }
}

fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Read for Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&mut &*self.socket).read(buffer) {
                Err(e) if is_slow(&e) => self.look()?,
                other => {
                    self.passed()?;
                    return other;
                }
            }
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match (&mut &*self.socket).write(buffer) {
                Err(e) if is_slow(&e) => self.look()?,
                other => {
                    self.passed()?;
                    return other;
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Drains a pipe to its end and keeps the beginning.
fn keep_printed(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> Result<(), String> {
    let drain = move || {
        let mut chunk = [0; 8192];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            if let Ok(mut kept) = into.lock() {
                let room = PRINTED.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..read.min(room)]);
            }
        }
    };
    let started = std::thread::Builder::new().name("printed".to_owned()).spawn(drain);
    started.map(drop).map_err(|e| format!("no thread can be started: {e}"))
}
