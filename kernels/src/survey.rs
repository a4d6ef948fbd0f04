//! Which devices of this machine can compute, and those that shall.

use crate::device::{Device, DeviceError};

/// What an operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// GPUs if there are any that are faster than the CPU: CUDA's, else those of Metal or Vulkan.
    #[default]
    Best,
    Cpu,
    /// All GPUs that CUDA reaches, or an error.
    Cuda,
    /// All devices that Metal or Vulkan reach, one that is software too, or an error.
    Wgpu,
}

impl Wanted {
    pub const NAMES: [(&'static str, Self); 4] = [
        ("best", Self::Best),
        ("cpu", Self::Cpu),
        ("cuda", Self::Cuda),
        ("wgpu", Self::Wgpu),
    ];
}

/// How much of a device to take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Memory for keys, on each device: fewer if it has less.
    pub key_bytes: u64,
}

impl Default for Budget {
    /// All there is, but for what a batch takes.
    fn default() -> Self {
        Self {
            key_bytes: u64::MAX,
        }
    }
}

/// A device, or why a kind of device cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `cuda` or `wgpu`.
    pub backend: &'static str,
    pub name: String,
    /// Its properties, each a name and a value.
    pub facts: Vec<(&'static str, String)>,
    /// Why it is not used, with what would help.
    pub unusable: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} was asked for, and this program was built without it (cargo feature `{0}`)")]
    NotBuilt(&'static str),
    #[error("{backend} was asked for, and there is no device: {why}")]
    None { backend: &'static str, why: String },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Devices that are ready to compute.
#[derive(Default)]
pub struct Opened {
    pub devices: Vec<Box<dyn Device>>,
    /// Why others, which were not asked for by name, could not be opened.
    pub failed: Vec<DeviceError>,
}

/// All devices but the CPU.
pub fn survey() -> Vec<Found> {
    let all: &[Vec<Found>] = &[
        #[cfg(feature = "cuda")]
        crate::cuda::found(),
        #[cfg(feature = "wgpu")]
        crate::wgpu::survey(),
    ];
    all.concat()
}

/// The devices asked for; that there are none is no error if the best was asked for.
pub fn open(wanted: Wanted, budget: Budget) -> Result<Opened, OpenError> {
    match wanted {
        Wanted::Cpu => Ok(Opened::default()),
        Wanted::Best => Ok(best(budget)),
        Wanted::Cuda => named("cuda", cfg!(feature = "cuda"), cuda(budget)),
        Wanted::Wgpu => named("wgpu", cfg!(feature = "wgpu"), wgpu(budget, true)),
    }
}

/// A GPU of NVIDIA is reached by Vulkan, too: not both ways at once.
fn best(budget: Budget) -> Opened {
    let mut opened = cuda(budget);
    if opened.devices.is_empty() {
        let others = wgpu(budget, false);
        opened.devices = others.devices;
        opened.failed.extend(others.failed);
    }
    opened
}

/// What was asked for by name is there, or it is an error.
fn named(backend: &'static str, is_built: bool, opened: Opened) -> Result<Opened, OpenError> {
    if !is_built {
        return Err(OpenError::NotBuilt(backend));
    }
    if !opened.devices.is_empty() {
        return Ok(opened);
    }
    match opened.failed.into_iter().next() {
        Some(error) => Err(error.into()),
        None => {
            let reasons = survey()
                .into_iter()
                .filter(|found| found.backend == backend);
            let reasons: Vec<String> = reasons.filter_map(|found| found.unusable).collect();
            Err(OpenError::None {
                backend,
                why: reasons.join("; "),
            })
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda(budget: Budget) -> Opened {
    crate::cuda::open(budget)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: Budget) -> Opened {
    Opened::default()
}

/// `all`: those that may be slower than the CPU, too.
#[cfg(feature = "wgpu")]
fn wgpu(budget: Budget, all: bool) -> Opened {
    crate::wgpu::open_all(budget, all)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_: Budget, _: bool) -> Opened {
    Opened::default()
}
