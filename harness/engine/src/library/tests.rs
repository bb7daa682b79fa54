//! Files that pretend to be ONNX Runtime.

use super::*;

/// A minimal shared library: one loadable segment, a dynamic table, and these names in its string table.
fn library(machine: u16, names: &[&str]) -> Vec<u8> {
    let mut strings = vec![0u8];
    for name in names {
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let (table, dynamic) = (64u64, 64 + 2 * 56u64);
    let text = dynamic + 3 * 16;
    let total = text + strings.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let words = |file: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| file.extend_from_slice(&v.to_le_bytes()));
    file.extend_from_slice(&3u16.to_le_bytes());
    file.extend_from_slice(&machine.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    words(&mut file, &[0, table, 0]);
    file.extend_from_slice(&0u32.to_le_bytes());
    [64u16, 56, 2, 64, 0, 0].iter().for_each(|v| file.extend_from_slice(&v.to_le_bytes()));
    // loaded at another address than its offset, as real libraries are
    words(&mut file, &[1, 0, 0x1000, 0x1000, total, total, 0x1000]);
    words(&mut file, &[2, dynamic, 0x1000 + dynamic, 0x1000 + dynamic, 3 * 16, 3 * 16, 8]);
    words(&mut file, &[5, 0x1000 + text, 10, strings.len() as u64, 0, 0]);
    file.extend_from_slice(&strings);
    file
}

/// The same for this machine.
pub(crate) fn stand_in(names: &[&str]) -> Vec<u8> {
    library(here(), names)
}

fn here() -> u16 {
    if cfg!(target_arch = "aarch64") { 183 } else { 62 }
}

fn finding(name: &str, bytes: &[u8]) -> Finding {
    let directory = std::env::temp_dir().join(format!("flatscape-library-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("libonnxruntime.so");
    std::fs::write(&path, bytes).unwrap();
    let found = inspect(&path);
    std::fs::remove_dir_all(&directory).unwrap();
    found
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_judged_before_it_is_loaded() {
    let refused = |reason: &str| Finding::Refused(reason.to_owned());
    let usable = library(here(), &["OrtGetApiBase", "VERS_1.31.1"]);
    assert_eq!(finding("usable", &usable), Finding::Usable { version: Some("1.31.1".to_owned()) });
    assert_eq!(finding("unnamed", &library(here(), &["OrtGetApiBase"])), Finding::Usable { version: None });
    assert_eq!(
        finding("old", &library(here(), &["VERS_1.19.2", "OrtGetApiBase"])),
        refused("is ONNX Runtime 1.19.2, and 1.22 or newer is needed")
    );
    assert_eq!(
        finding("stub", &library(here(), &["OrtGetApiBaseless"])),
        refused("does not export OrtGetApiBase, so it is not ONNX Runtime")
    );
    let Finding::Refused(reason) = finding("machine", &library(243, &["OrtGetApiBase"])) else { panic!("accepted") };
    assert!(reason.starts_with("is built for RISC-V, and this program runs on "), "{reason}");
    assert_eq!(
        finding("text", b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1\n"),
        refused("is not a shared library of this system")
    );
    assert_eq!(finding("empty", b""), refused("is not a shared library of this system"));
    for length in 4..usable.len() {
        // cut anywhere: a sentence, never a panic
        assert!(matches!(finding("cut", &usable[..length]), Finding::Refused(_)), "{length}");
    }
}

#[test]
fn versions_are_read_from_names() {
    let version = |name: &str| version_in_name(Path::new(name));
    assert_eq!(version("libonnxruntime.so.1.31.1").as_deref(), Some("1.31.1"));
    assert_eq!(version("libonnxruntime.1.22.0.dylib").as_deref(), Some("1.22.0"));
    assert_eq!(version("libonnxruntime.so"), None);
    assert_eq!(version("libonnxruntime.so.1"), None);
}

#[cfg(target_os = "linux")]
#[test]
fn the_managed_directory_is_searched_newest_first() {
    let data_dir = std::env::temp_dir().join(format!("flatscape-managed-{}", std::process::id()));
    for (name, version) in
        [("onnxruntime-1.9.0-cpu", "1.9.0"), ("onnxruntime-1.31.1-cpu", "1.31.1"), ("onnxruntime-1.32.0-cuda", "1.32.0")]
    {
        let directory = data_dir.join("runtime").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let version_name = format!("VERS_{version}");
        std::fs::write(
            directory.join(format!("libonnxruntime.so.{version}")),
            library(here(), &["OrtGetApiBase", &version_name]),
        )
        .unwrap();
        std::fs::write(directory.join("libonnxruntime_providers_shared.so"), b"").unwrap();
    }
    let versions = |device| -> Vec<String> {
        let settings = Settings { data_dir: data_dir.clone(), device, ..Settings::default() };
        let managed = search(&settings).into_iter().filter(|p| p.origin == "installed by flatscape");
        managed.map(|p| format!("{:?}", p.finding)).collect()
    };
    let (cpu, cuda) = (versions(crate::Device::Cpu), versions(crate::Device::Cuda(0)));
    std::fs::remove_dir_all(&data_dir).unwrap();
    assert_eq!(cpu.len(), 3);
    assert!(cpu[0].contains("1.31.1") && cpu[1].contains("1.22 or newer") && cpu[2].contains("1.32.0"), "{cpu:?}");
    assert!(cuda[0].contains("1.32.0"), "{cuda:?}");
}
