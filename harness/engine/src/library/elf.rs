//! As much of the ELF format as tells which machine a shared library is for and which names its dynamic table mentions.
//! Reads; loads nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The dynamic string table of a library.
pub(super) struct Library {
    strings: Vec<u8>,
}

impl Library {
    /// Whether the dynamic table holds exactly this name.
    pub fn mentions(&self, name: &str) -> bool {
        self.strings.split(|&b| b == 0).any(|s| s == name.as_bytes())
    }

    /// What follows a prefix, in every string that begins with it, followed by a digit.
    pub fn strings_after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = String> + 'a {
        self.strings
            .split(|&b| b == 0)
            .filter_map(move |s| s.strip_prefix(prefix.as_bytes()))
            .filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))
            .filter_map(|rest| String::from_utf8(rest.to_vec()).ok())
    }
}

/// The longest string table that is read: that of ONNX Runtime has some kilobytes.
const LONGEST: u64 = 64 << 20;

/// Reads a shared library of this machine. The error is a clause that begins with a verb.
pub(super) fn read(path: &Path) -> Result<Library, String> {
    let unreadable = |e: std::io::Error| format!("cannot be read: {e}");
    let mut file = File::open(path).map_err(unreadable)?;
    let mut header = [0u8; 64];
    let no_library = || "is not a shared library of this system".to_owned();
    file.read_exact(&mut header).map_err(|_| no_library())?;
    if header[..4] != *b"\x7fELF" {
        return Err(no_library());
    }
    let (class, order, kind, machine) = (header[4], header[5], u16_at(&header, 16), u16_at(&header, 18));
    if class != 2 || order != 1 || machine != MACHINE.0 {
        return Err(format!("is built for {}, and this program runs on {}", machine_name(class, machine), MACHINE.1));
    }
    if kind != 3 {
        return Err("is an ELF file and not a shared library".to_owned());
    }
    let cut_short = || "is cut short or damaged".to_owned();
    let mut at = |offset: u64, length: u64| -> Result<Vec<u8>, String> {
        if length > LONGEST {
            return Err(cut_short());
        }
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes).map_err(|_| cut_short())?;
        Ok(bytes)
    };
    let (table, size, count) = (u64_at(&header, 32), u64::from(u16_at(&header, 54)), u64::from(u16_at(&header, 56)));
    if size < 56 {
        return Err(cut_short());
    }
    let segments: Vec<Segment> = at(table, size * count)?.chunks_exact(size as usize).map(Segment::read).collect();
    let dynamic = segments.iter().find(|s| s.kind == DYNAMIC).ok_or_else(no_library)?;
    let entries: Vec<(u64, u64)> =
        at(dynamic.offset, dynamic.size)?.chunks_exact(16).map(|e| (u64_at(e, 0), u64_at(e, 8))).collect();
    let entry = |tag: u64| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value).ok_or_else(cut_short);
    let (address, length) = (entry(STRING_TABLE)?, entry(STRING_TABLE_SIZE)?);
    let segment = segments.iter().find(|s| s.kind == LOAD && (s.address..s.address.saturating_add(s.size)).contains(&address));
    let segment = segment.ok_or_else(cut_short)?;
    Ok(Library { strings: at(segment.offset + (address - segment.address), length)? })
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const STRING_TABLE: u64 = 5;
const STRING_TABLE_SIZE: u64 = 10;

/// The number and the name of the machine this program is built for.
const MACHINE: (u16, &str) = if cfg!(target_arch = "aarch64") { (183, "aarch64") } else { (62, "x86_64") };

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Segment {
    fn read(bytes: &[u8]) -> Segment {
        Segment { kind: u64_at(bytes, 0) as u32, offset: u64_at(bytes, 8), address: u64_at(bytes, 16), size: u64_at(bytes, 32) }
    }
}

fn machine_name(class: u8, machine: u16) -> String {
    match (class, machine) {
        (_, 62) if class == 2 => "x86_64".to_owned(),
        (_, 183) => "aarch64".to_owned(),
        (_, 3) => "32-bit x86".to_owned(),
        (_, 40) => "32-bit ARM".to_owned(),
        (_, 243) => "RISC-V".to_owned(),
        (_, other) => format!("another machine (ELF number {other})"),
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..offset + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}
