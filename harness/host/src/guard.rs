//! Looking at a plugin file before anything of it is loaded: who may have written it, and whether it is a library for this
//! machine at all. Opens files, loads nothing.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flatscape_graph::hash::sha256;

use crate::error::{HostError, file_name, shown};

const LARGEST: u64 = 1 << 30;

/// Looks at a file (a canonical path) and returns its SHA-256.
pub(crate) fn inspect(path: &Path, insecure_permissions: bool) -> Result<String, HostError> {
    let refuse = |id, what: String| HostError::plugin(id, path, format!("plugin {} {what}", file_name(path)));
    let meta = std::fs::metadata(path).map_err(|e| refuse("P01", format!("cannot be read: {e}")))?;
    if meta.is_dir() {
        return Err(refuse("P02", "is a directory".into()));
    }
    if !meta.is_file() {
        return Err(refuse("P02", "is not a regular file".into()));
    }
    if !insecure_permissions {
        permissions(path).map_err(|clause| {
            refuse("P03", clause)
                .help("take the right to write away from others (chmod go-w), or allow it with --insecure-plugin-perms")
        })?;
    }
    if meta.len() > LARGEST {
        return Err(refuse("P02", format!("has {} bytes; at most {LARGEST} are possible", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|e| refuse("P01", format!("cannot be read: {e}")))?;
    library(&bytes).map_err(|clause| refuse("P02", clause))?;
    Ok(sha256(&bytes))
}

/// The file and every folder above it belong to the user, to root or to the owner of this executable, and no other user may write
/// to them: neither everybody nor a group other than the owner's private one (whose number is the owner's). In a folder with
/// the sticky bit others cannot replace what is not theirs. The error is a clause.
fn permissions(path: &Path) -> Result<(), String> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    let executable = std::env::current_exe().and_then(std::fs::metadata).map_or(me, |m| m.uid());
    for (depth, place) in path.ancestors().enumerate() {
        let meta = std::fs::metadata(place)
            .map_err(|e| format!("lies in {}, whose permissions cannot be read: {e}", place.display()))?;
        let what = if depth == 0 { String::new() } else { format!("lies in {}, which ", shown(&place.display().to_string())) };
        let (uid, gid, mode) = (meta.uid(), meta.gid(), meta.mode());
        let sticky = depth > 0 && mode & 0o1000 != 0;
        if ![me, 0, executable].contains(&uid) {
            return Err(format!("{what}belongs to another user ({uid})"));
        }
        if mode & 0o002 != 0 && !sticky {
            return Err(format!("{what}may be written to by everybody (mode {:03o})", mode & 0o777));
        }
        if mode & 0o020 != 0 && gid != uid && gid != 0 && !sticky {
            return Err(format!("{what}may be written to by the group {gid} (mode {:03o})", mode & 0o777));
        }
    }
    Ok(())
}

/// Whether these bytes are a shared library for this machine. The error is a clause.
fn library(bytes: &[u8]) -> Result<(), String> {
    let here = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    match Format::of(bytes) {
        Some(Format::Elf) if cfg!(target_os = "macos") => Err(format!("is a library for Linux or BSD (ELF); this is {here}")),
        Some(Format::Elf) => elf(bytes, &here),
        Some(Format::MachO) if cfg!(target_os = "macos") => Ok(()),
        Some(Format::MachO) => Err(format!("is a library for macOS (Mach-O); this is {here}")),
        Some(Format::Pe) => Err(format!("is a library for Windows (PE); this is {here}")),
        None if bytes.is_empty() => Err("is an empty file".into()),
        None if bytes.starts_with(b"version https://git-lfs") => Err("is a git-LFS pointer; run git lfs pull".into()),
        None if bytes.starts_with(b"!<arch>") => Err("is a static library; a plugin is a shared one".into()),
        None if bytes.starts_with(b"#!") || bytes.iter().take(512).all(|b| b.is_ascii() && *b != 0) => {
            Err("is a text file, not a shared library".into())
        }
        None => Err("is not a shared library".into()),
    }
}

enum Format {
    Elf,
    MachO,
    Pe,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Format> {
        match bytes.get(..4)? {
            [0x7f, b'E', b'L', b'F'] => Some(Format::Elf),
            [0xcf | 0xce, 0xfa, 0xed, 0xfe] | [0xca, 0xfe, 0xba, 0xbe] => Some(Format::MachO),
            [b'M', b'Z', ..] => Some(Format::Pe),
            _ => None,
        }
    }
}

/// ELF, 64 bits: class, byte order, machine, kind, and tables and segments that end inside the file.
fn elf(bytes: &[u8], here: &str) -> Result<(), String> {
    let truncated = || "is truncated".to_owned();
    let head = bytes.get(..64).ok_or_else(truncated)?;
    if head[4] != 2 {
        return Err(format!("is a 32-bit library; this is {here}"));
    }
    let little = head[5] == 1;
    if little != cfg!(target_endian = "little") {
        return Err(format!("is a library for the other byte order; this is {here}"));
    }
    let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
    let long = |from: &[u8], at: usize| from.get(at..at + 8).map(|b| u64::from_ne_bytes(b.try_into().unwrap_or_default()));
    let machine = short(18);
    let known = [("x86", 3), ("arm", 40), ("x86_64", 62), ("aarch64", 183), ("riscv64", 243), ("powerpc64", 21), ("s390x", 22)];
    let ours = known.iter().find(|(name, _)| *name == std::env::consts::ARCH).map(|(_, number)| *number);
    if ours.is_some_and(|ours| ours != machine) {
        let theirs = known.iter().find(|(_, number)| *number == machine).map_or("another machine", |(name, _)| *name);
        return Err(format!("is a library for {theirs}; this is {here}"));
    }
    if short(16) != 3 {
        return Err("is an ELF file that is not a shared library".into());
    }
    let inside = |from: u64, length: u64| from.checked_add(length).is_some_and(|end| end <= bytes.len() as u64);
    let segments = long(head, 32).ok_or_else(truncated)?;
    let (size, count) = (u64::from(short(54)), u64::from(short(56)));
    if size < 56 || count == 0 || !inside(segments, size * count) {
        return Err(truncated());
    }
    for index in 0..count {
        let at = usize::try_from(segments + index * size).map_err(|_| truncated())?;
        let (offset, length) = (long(bytes, at + 8).ok_or_else(truncated)?, long(bytes, at + 32).ok_or_else(truncated)?);
        if !inside(offset, length) {
            return Err(truncated());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A small valid ELF: header and one segment that covers 32 bytes.
    fn small_elf() -> Vec<u8> {
        let mut bytes = vec![0u8; 64 + 56 + 32];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }]);
        let machine: u16 = match std::env::consts::ARCH {
            "x86_64" => 62,
            "aarch64" => 183,
            _ => 0,
        };
        bytes[16..18].copy_from_slice(&3u16.to_ne_bytes());
        bytes[18..20].copy_from_slice(&machine.to_ne_bytes());
        bytes[32..40].copy_from_slice(&64u64.to_ne_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_ne_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_ne_bytes());
        bytes[64 + 8..64 + 16].copy_from_slice(&120u64.to_ne_bytes());
        bytes[64 + 32..64 + 40].copy_from_slice(&32u64.to_ne_bytes());
        bytes
    }

    #[test]
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn files_that_are_no_library_for_this_machine() {
        let good = small_elf();
        assert_eq!(library(&good), Ok(()));
        for end in 4..good.len() {
            assert!(library(&good[..end]).is_err(), "the first {end} bytes pass");
        }
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            library(&bytes).unwrap_err()
        };
        assert!(with(4, 1).starts_with("is a 32-bit library"));
        assert!(with(5, 2).starts_with("is a library for the other byte order"));
        assert!(with(18, 22).starts_with("is a library for s390x"));
        assert_eq!(with(16, 2), "is an ELF file that is not a shared library");
        assert_eq!(library(b"").unwrap_err(), "is an empty file");
        assert_eq!(library(b"hello, I am a plugin\n").unwrap_err(), "is a text file, not a shared library");
        assert!(library(b"MZ\x90\0").unwrap_err().starts_with("is a library for Windows"));
        assert!(library(&[0xcf, 0xfa, 0xed, 0xfe, 0, 0]).unwrap_err().starts_with("is a library for macOS"));
    }

    #[test]
    fn files_that_others_may_write_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugin.so");
        std::fs::write(&file, small_elf()).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o644);
        inspect(&file, false).unwrap();
        mode(&file, 0o646);
        let error = inspect(&file, false).unwrap_err();
        assert_eq!(error.sentence, "plugin plugin.so may be written to by everybody (mode 646)");
        assert_eq!((error.id, error.exit_code()), ("P03", 5));
        inspect(&file, true).unwrap();
        mode(&file, 0o644);
        mode(dir.path(), 0o777);
        assert!(inspect(&file, false).unwrap_err().sentence.contains("lies in"));
        mode(dir.path(), 0o1777);
        inspect(&file, false).unwrap();
    }
}
