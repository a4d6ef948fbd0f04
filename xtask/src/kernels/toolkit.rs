//! NVIDIA's compiler, from its Python packages into target/cuda: fetched once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{complete, target_dir};

/// All of one release: what the repository carries is compared byte by byte. 470 MB.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-nvrtc==13.0.88",
];
/// Written last: the packages that are there in whole.
const MADE_OF: &str = "made-of";

pub struct Toolkit {
    top: PathBuf,
}

impl Toolkit {
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.top.join("bin").join(name))
    }

    pub fn libraries(&self) -> PathBuf {
        self.top.join("lib")
    }
}

pub fn find(root: &Path) -> Result<Toolkit, String> {
    let folder = target_dir(root).join("cuda/toolkit");
    let (known, wanted) = (folder.join(MADE_OF), PACKAGES.join("\n"));
    if !fs::read_to_string(&known).is_ok_and(|text| text == wanted) {
        fetch(&folder)?;
        fs::write(&known, wanted).map_err(|error| format!("{}: {error}", known.display()))?;
    }
    Ok(Toolkit {
        top: folder.join("nvidia/cu13"),
    })
}

fn fetch(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .arg("--target")
        .arg(folder)
        .args(PACKAGES);
    complete("NVIDIA's compiler (Python packages)", &mut pip)
}
