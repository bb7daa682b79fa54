//! A child process and what it took: time on the processor and the most memory at once. One that does not end is killed.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::provision::command;

/// A child that has ended.
pub struct Ended {
    /// `None` if it was killed because it took too long.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Seconds on the processor, its own children included; on a busy machine much less than on the clock.
    pub seconds: f64,
    /// The most memory it held at once, in bytes.
    pub memory: u64,
}

impl Ended {
    /// The exit code; −1 for one that was killed, whoever did it.
    pub fn code(&self) -> i32 {
        self.status.and_then(|s| s.code()).unwrap_or(-1)
    }
}

/// The program with these arguments in `folder`.
pub fn flatscape(folder: &Path, arguments: &[&str]) -> Ended {
    run(command(folder, arguments), Duration::from_secs(120))
}

/// Runs a command to its end, or until the time on the clock is over.
pub fn run(mut command: Command, most: Duration) -> Ended {
    let [mut stdout, mut stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let copy = |file: &File| Stdio::from(file.try_clone().expect("a file has another handle"));
    command.stdin(Stdio::null()).stdout(copy(&stdout)).stderr(copy(&stderr));
    let mut child = command.spawn().expect("the program starts");
    let start = Instant::now();
    let mut held = 0;
    let (status, seconds, memory) = loop {
        held = held.max(most_held(child.id()).unwrap_or(0));
        if let Some((status, seconds, memory)) = reap(&mut child) {
            break (status, seconds, if cfg!(target_os = "linux") { held } else { memory });
        }
        if start.elapsed() > most {
            let _ = child.kill();
            while reap(&mut child).is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            break (None, start.elapsed().as_secs_f64(), 0);
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let all = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
        bytes
    };
    Ended { status, stdout: all(&mut stdout), stderr: all(&mut stderr), seconds, memory }
}

/// The most memory that a running program has held, in bytes, where the system says. What `wait4` says on Linux begins with what
/// held the process that started it; so does this until the child has become another program.
fn most_held(id: u32) -> Option<u64> {
    let program = |id: &str| std::fs::read_link(format!("/proc/{id}/exe"));
    if program(&id.to_string()).ok()? == program("self").ok()? {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// What became of a child, if it has ended.
#[cfg(unix)]
fn reap(child: &mut std::process::Child) -> Option<(Option<ExitStatus>, f64, u64)> {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zero is a value; `wait4` writes only into the two places that it is given, and
    // the child has not been waited for: nobody but this function does, and not again once it has ended.
    let (ended, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &mut status, libc::WNOHANG, &mut usage), usage)
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    // kilobytes on Linux, bytes on macOS
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let took = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    (ended != 0).then(|| (Some(ExitStatus::from_raw(status)), took, usage.ru_maxrss as u64 * unit))
}

/// What became of a child, if it has ended; what it took is not known here.
#[cfg(not(unix))]
fn reap(child: &mut std::process::Child) -> Option<(Option<ExitStatus>, f64, u64)> {
    child.try_wait().expect("a child can be waited for").map(|status| (Some(status), 0.0, 0))
}
