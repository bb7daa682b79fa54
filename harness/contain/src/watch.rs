//! What the kernel says about a process and about this machine: memory, state, processor time. Read from `/proc`, by number.

use std::fs;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `R` running, `S` sleeping, `D` waiting for a device, `T` stopped, `Z` dead and not waited for.
    pub state: char,
    /// The parent.
    pub parent: u32,
    /// Processor time so far, in ticks of the kernel.
    pub ticks: u64,
    /// Memory that it holds, in bytes.
    pub resident: u64,
}

/// Looks at a process; `None` when it is gone.
pub(crate) fn seen(pid: u32) -> Option<Seen> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&text)
}

/// The second field is the name in parentheses, which may hold anything.
fn parse(text: &str) -> Option<Seen> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Seen {
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        resident: number(21)? * page(),
    })
}

fn page() -> u64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// Bytes of memory that this process may use together with its children: those of the machine, or fewer where a control group
/// limits them. `None` where neither can be read.
pub fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limited = limits.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    Some(limited.fold(total, u64::min))
}

/// Bytes of memory that can be had now without taking them from others. `None` where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        let me = seen(std::process::id()).expect("this process is there");
        assert!(me.resident > 64 << 20 && me.resident < machine_memory().expect("Linux says"), "{me:?}");
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        assert_eq!(std::hint::black_box(&held)[1 << 20], 1);
        assert_eq!(seen(u32::MAX), None);
    }

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let line = "7 (a) S 1 (b)) R 3 7 7 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 1 0 100 4096 2 18446744073709551615";
        let found = parse(line).expect("it is a line");
        assert_eq!((found.state, found.parent, found.ticks, found.resident), ('R', 3, 11, 2 * page()));
        assert_eq!(parse("nonsense"), None);
    }
}
