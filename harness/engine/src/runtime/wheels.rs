//! The packages that hold ONNX Runtime: one row per machine, with the hash of the file. Knows no index and no host.

/// The version that is fetched.
pub const VERSION: &str = "1.31.1";

/// One file of a Python package. The libraries inside do not depend on Python, so one Python version stands for all.
pub(super) struct Wheel {
    pub system: &'static str,
    pub machine: &'static str,
    pub cuda: bool,
    /// The platform as file names and `pip --platform` spell it.
    pub platform: &'static str,
    /// The platform as `uv --python-platform` spells it.
    pub uv_platform: &'static str,
    /// SHA-256 of the file.
    pub sha256: &'static str,
}

/// Every file, as (system, machine, platform, …).
pub(super) const WHEELS: &[Wheel] = &[
    Wheel {
        system: "linux",
        machine: "x86_64",
        cuda: false,
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
    },
    Wheel {
        system: "linux",
        machine: "aarch64",
        cuda: false,
        platform: "manylinux_2_28_aarch64",
        uv_platform: "aarch64-manylinux_2_28",
        sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
    },
    Wheel {
        system: "macos",
        machine: "aarch64",
        cuda: false,
        platform: "macosx_14_0_arm64",
        uv_platform: "aarch64-apple-darwin",
        sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
    },
    Wheel {
        system: "windows",
        machine: "x86_64",
        cuda: false,
        platform: "win_amd64",
        uv_platform: "x86_64-pc-windows-msvc",
        sha256: "ae8a9a351efda685cc59a66226cdefaa37a126c1d66872ca23a2de9425326130",
    },
    Wheel {
        system: "windows",
        machine: "aarch64",
        cuda: false,
        platform: "win_arm64",
        uv_platform: "aarch64-pc-windows-msvc",
        sha256: "fe8b9ac1ae8e894e12c47ee82e4f6dfc1835768133687257866469fda80d0bf1",
    },
    Wheel {
        system: "linux",
        machine: "x86_64",
        cuda: true,
        platform: "manylinux_2_28_x86_64",
        uv_platform: "x86_64-manylinux_2_28",
        sha256: "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
    },
    Wheel {
        system: "windows",
        machine: "x86_64",
        cuda: true,
        platform: "win_amd64",
        uv_platform: "x86_64-pc-windows-msvc",
        sha256: "2bb1e9373baba88f6415257f5b6a589d23e23c16004f7d89adf4344eada5749e",
    },
];

impl Wheel {
    /// The file for a machine; the names are those of `std::env::consts`.
    pub fn of(system: &str, machine: &str, cuda: bool) -> Option<&'static Wheel> {
        WHEELS.iter().find(|w| w.system == system && w.machine == machine && w.cuda == cuda)
    }

    pub fn package(&self) -> &'static str {
        if self.cuda { "onnxruntime-gpu" } else { "onnxruntime" }
    }

    pub fn file_name(&self) -> String {
        format!("{}-{VERSION}-{PYTHON_TAG}-{PYTHON_TAG}-{}.whl", self.package().replace('-', "_"), self.platform)
    }

    /// The line of a requirements file.
    pub fn requirement(&self) -> String {
        format!("{}=={VERSION} --hash=sha256:{}\n", self.package(), self.sha256)
    }
}

/// The Python for which the files are made, and its tag.
pub(super) const PYTHON: &str = "3.12";
pub(super) const PYTHON_TAG: &str = "cp312";
