//! A Vulkan device in software for the tests of the `wgpu` backend: the one that is installed, else Debian's, unpacked into
//! target/vulkan.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{cargo, in_ci, unpack};

const SCRIPT: &str = "scripts/vulkan.sh";

/// Where drivers are registered.
const REGISTERED: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

const MISSING: &str = "  a software Vulkan driver is missing (the wgpu backend is tested on it).\n    \
    Debian, Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1";

pub enum Vulkan {
    /// The folder that has Mesa's llvmpipe.
    Installed(PathBuf),
    /// The program that runs a command with it.
    Unpacked(PathBuf),
    /// Tests use the machine's own GPU, by Metal.
    NotNeeded,
    None,
}

impl Vulkan {
    /// Cargo, whose tests find the device.
    pub fn cargo(&self, root: &Path) -> Command {
        let mut plain = cargo(root);
        match self {
            Self::Installed(folder) => {
                plain.env("VEILGATE_VULKAN_DIR", folder);
                plain
            }
            Self::Unpacked(program) => {
                let mut with_device = Command::new(program);
                with_device.current_dir(root).arg(plain.get_program());
                with_device
            }
            Self::NotNeeded | Self::None => plain,
        }
    }

    /// What to type before a command that is to find it.
    pub fn prefix(&self) -> String {
        match self {
            Self::Installed(folder) => format!("env VEILGATE_VULKAN_DIR={}", folder.display()),
            Self::Unpacked(program) => program.display().to_string(),
            Self::NotNeeded | Self::None => String::new(),
        }
    }
}

/// That there is none is an error in CI.
pub fn find(root: &Path) -> Result<Vulkan, String> {
    if cfg!(target_os = "macos") {
        return Ok(Vulkan::NotNeeded);
    }
    if let Some(folder) = installed() {
        return Ok(Vulkan::Installed(folder));
    }
    if let Some(unpacked) = unpack(root, SCRIPT, "vulkan")? {
        return Ok(Vulkan::Unpacked(unpacked));
    }
    if in_ci() {
        return Err(format!(
            "the wgpu backend cannot be tested here ({SCRIPT} says above why it cannot help):\n{MISSING}"
        ));
    }
    eprintln!("   tests of the wgpu backend are left out here:\n{MISSING}");
    Ok(Vulkan::None)
}

/// The folder where llvmpipe is registered, if the loader is there too.
fn installed() -> Option<PathBuf> {
    let libraries = Command::new("ldconfig").arg("-p").output().ok()?;
    if !String::from_utf8_lossy(&libraries.stdout).contains("libvulkan.so.1") {
        return None;
    }
    let has_llvmpipe = |folder: &PathBuf| {
        let files = folder.read_dir().into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| file.file_name().to_string_lossy().starts_with("lvp_icd"))
    };
    REGISTERED.iter().map(PathBuf::from).find(has_llvmpipe)
}
