//! Where NVIDIA's libraries lie: toolkits, and Python wheels.

use std::path::{Path, PathBuf};

/// A library that lrc can use.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// For people.
    pub name: &'static str,
    /// How its file's name begins.
    pub file: &'static str,
    /// Its folder in a Python wheel.
    pub wheel: &'static str,
    /// A variable that names its file or folder.
    pub variable: &'static str,
    /// How to get it.
    pub advice: &'static str,
}

/// Compiles kernels.
pub const NVRTC: Library = Library {
    name: "NVRTC",
    file: "libnvrtc.so",
    wheel: "cuda_nvrtc",
    variable: "LRC_NVRTC",
    advice: "pip install nvidia-cuda-nvrtc-cu12, or set LRC_NVRTC to the folder of libnvrtc.so.12",
};

/// Multiplies large matrices on GPUs.
pub const CUBLASLT: Library = Library {
    name: "cuBLASLt",
    file: "libcublasLt.so",
    wheel: "cublas",
    variable: "LRC_CUBLASLT",
    advice: "pip install nvidia-cublas-cu12",
};

/// Adds up and copies between GPUs of several processes.
pub const NCCL: Library = Library {
    name: "NCCL",
    file: "libnccl.so",
    wheel: "nccl",
    variable: "LRC_NCCL",
    advice: "pip install nvidia-nccl-cu12, or set LRC_NCCL to the folder of libnccl.so.2",
};

/// Talks to GPUs; comes with the driver.
pub const DRIVER: Library = Library {
    name: "NVIDIA driver (libcuda)",
    file: "libcuda.so",
    wheel: "",
    variable: "LRC_LIBCUDA",
    advice: "install the NVIDIA driver to use a GPU; the CPU needs nothing",
};

impl Library {
    /// The library's file: where its variable says, in wheels of the active Python environment,
    /// where loaders look, in a toolkit.
    pub fn find(&self) -> Option<PathBuf> {
        if let Some(given) = std::env::var_os(self.variable) {
            let given = PathBuf::from(given);
            return if given.is_dir() { self.inside(&given) } else { Some(given) };
        }
        folders(self.wheel).iter().find_map(|folder| self.inside(folder))
    }

    /// The library in a folder: the newest of several versions.
    fn inside(&self, folder: &Path) -> Option<PathBuf> {
        let entries = std::fs::read_dir(folder).ok()?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
                name.strip_prefix(self.file)
                    .is_some_and(|rest| rest.chars().all(|c| c == '.' || c.is_ascii_digit()))
            })
            .collect();
        found.sort();
        found.pop()
    }
}

fn folders(wheel: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if !wheel.is_empty() {
        for site in sites() {
            folders.push(site.join("nvidia").join(wheel).join("lib"));
        }
    }
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        folders.extend(std::env::split_paths(&paths));
    }
    for toolkit in ["CUDA_HOME", "CUDA_PATH"] {
        folders.extend(std::env::var_os(toolkit).map(|path| Path::new(&path).join("lib64")));
    }
    for folder in ["/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"] {
        folders.push(folder.into());
    }
    folders
}

/// Folders in which Python looks for packages.
fn sites() -> Vec<PathBuf> {
    let mut sites = Vec::new();
    let mut below = |root: PathBuf, folder: &str| {
        let Ok(entries) = std::fs::read_dir(root.join("lib")) else { return };
        let mut versions: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("python"))
            })
            .collect();
        versions.sort();
        sites.extend(versions.into_iter().rev().map(|path| path.join(folder)));
    };
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(root) = std::env::var_os(variable) {
            below(root.into(), "site-packages");
        }
    }
    if let Some(home) = std::env::var_os("HOME") {
        below(Path::new(&home).join(".local"), "site-packages");
    }
    for (root, folder) in [
        ("/usr/local", "site-packages"),
        ("/usr/local", "dist-packages"),
        ("/usr", "dist-packages"),
    ] {
        below(root.into(), folder);
    }
    sites
}
