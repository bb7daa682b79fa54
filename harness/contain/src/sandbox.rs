//! How a worker shuts itself in. Landlock: it reads libraries and what describes the machine, writes to its scratch folder, and
//! reaches no network. Seccomp: it starts no program, makes no socket, sends no signal, traces nobody and changes nobody's files.
//! What the kernel does not offer is left out, and said.
//!
//! A thread seals itself and the threads that it starts later. Code of others must not run on older threads.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};
use serde::{Deserialize, Serialize};

/// What a worker needs beside what every process needs.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Files and folders that it reads.
    pub read: Vec<PathBuf>,
    /// Folders that it may write to.
    pub write: Vec<PathBuf>,
    /// Whether it uses an NVIDIA GPU: its driver talks to devices and, over local sockets, to its services.
    pub gpu: bool,
}

/// What keeps a worker in, or could on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The version of Landlock; 0 where there is none.
    pub landlock: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl Sealed {
    /// Nothing.
    pub const NOT: Sealed = Sealed { landlock: 0, seccomp: false };
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.landlock, self.seccomp) {
            (0, false) => f.write_str("none"),
            (0, true) => f.write_str("seccomp"),
            (version, false) => write!(f, "Landlock {version}"),
            (version, true) => write!(f, "Landlock {version} and seccomp"),
        }
    }
}

/// What this kernel offers.
pub fn support() -> Sealed {
    // SAFETY: with this flag the call reads no attributes and returns the version of Landlock or an error.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, 1u32) };
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: asks whether an action is known; the action is only read.
    let known = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0u32, &raw const action) };
    Sealed { landlock: u32::try_from(version).unwrap_or(0), seccomp: known == 0 && arch().is_some() }
}

/// Seals this thread and those that it starts from now on.
///
/// # Errors
/// A clause: the kernel offers it and refuses, so that this worker must not go on.
pub fn seal(room: &Room) -> Result<Sealed, String> {
    let offered = support();
    let mut sealed = Sealed::NOT;
    if offered.landlock > 0 && restrict(room).map_err(|e| format!("Landlock refuses: {e}"))? {
        sealed.landlock = offered.landlock;
    }
    if offered.seccomp {
        for filter in filters(room).map_err(|e| format!("the filter of system calls is wrong: {e}"))? {
            apply_filter(&filter).map_err(|e| format!("seccomp refuses: {e}"))?;
        }
        sealed.seccomp = true;
    }
    Ok(sealed)
}

/// What every process reads: libraries, the machine, itself.
const READ: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// What the driver of an NVIDIA GPU reads …
const GPU_READ: &[&str] = &["/proc", "/sys", "/etc/nvidia", "/etc/OpenCL"];

/// … and the devices that it writes to, by the beginning of their names.
const GPU_DEVICES: &str = "nvidia";

/// The newest version of Landlock that the rules are written for; an older kernel keeps those that it knows.
const ABI_KNOWN: ABI = ABI::V6;

/// Whether the kernel keeps the rules, all of them or those that it knows.
fn restrict(room: &Room) -> Result<bool, RulesetError> {
    let reads = AccessFs::from_read(ABI_KNOWN);
    let all = AccessFs::from_all(ABI_KNOWN);
    let devices: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let gpu: &[&str] = if room.gpu { GPU_READ } else { &[] };
    let nodes = if room.gpu { gpu_devices() } else { Vec::new() };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(ABI_KNOWN))?
        .scope(Scope::from_all(ABI_KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(READ.iter().chain(gpu), reads))?
        .add_rules(path_beneath_rules(&room.read, reads))?
        .add_rules(path_beneath_rules(&room.write, all & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(["/dev/null"], devices))?
        .add_rules(path_beneath_rules(&nodes, devices | AccessFs::ReadDir))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn gpu_devices() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().to_string_lossy().starts_with(GPU_DEVICES)).map(|e| e.path()).collect()
}

fn arch() -> Option<seccompiler::TargetArch> {
    std::env::consts::ARCH.try_into().ok()
}

/// System calls that a worker has no use for, whatever their arguments: programs, networks, other processes, other people's files,
/// the machine.
const REFUSED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_shmget,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_vhangup,
];

/// The number is the same on every machine; the library of C names does not have it everywhere.
const SYS_FCHMODAT2: i64 = 452;

/// Older forms of these calls, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The bit that marks a call of the x32 convention, and the calls that are that convention's own.
const X32: i64 = 0x4000_0000;
const X32_OWN: std::ops::RangeInclusive<i64> = 512..=547;

/// `TIOCSTI` and `TIOCLINUX` type into a terminal, and so start programs by other hands.
const TYPING: [u64; 2] = [0x5412, 0x541C];

/// Two filters: calls that are not permitted, and one of which libraries believe that this kernel does not have it (`clone3`, whose
/// arguments cannot be looked at), so that they take `clone`.
fn filters(room: &Room) -> Result<Vec<BpfProgram>, String> {
    let wrong = |e: seccompiler::BackendError| e.to_string();
    let own = u64::from(std::process::id());
    let when = |argument, op, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(wrong);
    let rule = |conditions| SeccompRule::new(conditions).map_err(wrong);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for &call in REFUSED.iter().chain(REFUSED_HERE) {
        rules.insert(call, Vec::new());
    }
    if cfg!(target_arch = "x86_64") {
        let twins: Vec<i64> = rules.keys().map(|call| call | X32).chain(X32_OWN.map(|call| call | X32)).collect();
        rules.extend(twins.into_iter().map(|call| (call, Vec::new())));
        for call in [libc::SYS_clone, libc::SYS_socket, libc::SYS_connect, libc::SYS_kill, libc::SYS_tgkill] {
            rules.insert(call | X32, Vec::new());
        }
    }
    // threads, no processes
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![rule(vec![when(0, SeccompCmpOp::MaskedEq(thread), 0)?])?]);
    // signals to itself alone
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![rule(vec![when(0, SeccompCmpOp::Ne, own)?])?]);
    }
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![when(0, SeccompCmpOp::Ne, 0)?, when(0, SeccompCmpOp::Ne, own)?])?]);
    // it stays the child of its parent
    rules.insert(libc::SYS_prctl, vec![rule(vec![when(0, SeccompCmpOp::Eq, libc::PR_SET_PDEATHSIG as u64)?])?]);
    let typing = TYPING.iter().map(|&request| rule(vec![when(1, SeccompCmpOp::Eq, request)?])).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, typing);
    if room.gpu {
        rules.insert(libc::SYS_socket, vec![rule(vec![when(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?])?]);
    } else {
        rules.insert(libc::SYS_socket, Vec::new());
        rules.insert(libc::SYS_connect, Vec::new());
    }
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let filter = |rules, error: i32| -> Result<BpfProgram, String> {
        let arch = arch().ok_or("this machine is not known to it")?;
        let errno = SeccompAction::Errno(error.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).and_then(TryInto::try_into).map_err(wrong)
    };
    Ok(vec![filter(absent, libc::ENOSYS)?, filter(rules, libc::EPERM)?])
}

/// The folder of a library and of the files that it really is (a link leads to another one).
pub fn folders_of(library: &Path) -> Vec<PathBuf> {
    let real = library.canonicalize().ok();
    [Some(library.to_owned()), real].into_iter().flatten().filter_map(|path| path.parent().map(Path::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// A thread that seals itself tries what it may and may not.
    #[test]
    fn a_sealed_thread_reads_libraries_writes_to_its_scratch_and_nothing_else() {
        let offered = support();
        if offered.landlock == 0 || !offered.seccomp {
            eprintln!("skipped: a sealed thread: this kernel offers {offered}");
            return;
        }
        let (scratch, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = other.path().join("secret");
        fs::write(&secret, "x").unwrap();
        let listener = std::os::unix::net::UnixListener::bind(other.path().join("socket")).unwrap();
        let parent = std::os::unix::process::parent_id();
        let tried = std::thread::spawn(move || {
            let room = Room { write: vec![scratch.path().to_owned()], ..Room::default() };
            assert_eq!(seal(&room).unwrap(), offered);
            let inside = scratch.path().join("file");
            fs::write(&inside, "x").unwrap();
            assert_eq!(fs::read(&inside).unwrap(), b"x");
            assert!(File::open("/proc/self/maps").is_ok() && fs::read_dir("/usr/lib").is_ok());
            File::create("/dev/null").unwrap();
            std::thread::spawn(|| ()).join().unwrap();
            let denied = |what: &str, error: std::io::Error| {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
            };
            denied("reading", fs::read(&secret).unwrap_err());
            denied("writing", fs::write(other.path().join("new"), "x").unwrap_err());
            denied("truncating", File::options().write(true).open(&secret).unwrap_err());
            denied("removing", fs::remove_file(&secret).unwrap_err());
            denied("chmod", fs::set_permissions(&secret, fs::Permissions::from_mode(0o777)).unwrap_err());
            denied("a program", Command::new("/bin/true").status().unwrap_err());
            denied("TCP", TcpStream::connect("127.0.0.1:9").unwrap_err());
            denied("UDP", UdpSocket::bind("127.0.0.1:0").unwrap_err());
            denied("a local socket", UnixStream::connect(other.path().join("socket")).unwrap_err());
            // SAFETY: signal 0 is never delivered; fork fails and makes no process.
            unsafe {
                assert_eq!(libc::kill(parent.cast_signed(), 0), -1, "a signal to the parent");
                assert_eq!(libc::kill(libc::getpid(), 0), 0, "a signal to itself");
                assert_eq!(libc::fork(), -1, "a fork");
            }
        });
        tried.join().unwrap();
        drop(listener);
    }

    #[test]
    fn what_keeps_a_worker_in_is_a_phrase() {
        assert_eq!(Sealed::NOT.to_string(), "none");
        assert_eq!(Sealed { landlock: 7, seccomp: true }.to_string(), "Landlock 7 and seccomp");
    }
}
