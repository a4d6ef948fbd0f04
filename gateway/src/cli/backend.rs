//! `--backend`: what a command computes encrypted rows with.

use std::sync::Arc;

use clap::ValueEnum;
use kernels::survey::{self, Budget, Wanted};
use kernels::{Accelerated, CardFailed, CpuBackend, Gpus};

use super::Failure;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Choice {
    /// GPUs, if there are any that are faster than the CPU
    #[default]
    Best,
    Cpu,
    /// NVIDIA's GPUs
    Cuda,
    /// GPUs that Metal or Vulkan reach
    Wgpu,
}

impl Choice {
    pub fn wanted(self) -> Wanted {
        match self {
            Self::Best => Wanted::Best,
            Self::Cpu => Wanted::Cpu,
            Self::Cuda => Wanted::Cuda,
            Self::Wgpu => Wanted::Wgpu,
        }
    }

    /// The GPUs; `None` for the CPU alone. Of those that were not asked for by name and cannot be used, a line on standard error.
    pub fn gpus(self) -> Result<Option<Arc<Gpus>>, Failure> {
        let opened = survey::open(self.wanted(), Budget::default());
        let opened = opened.map_err(|error| {
            Failure::new(format!(
                "{error}; `veilgate doctor` shows what there is, and --backend best computes on the CPU where there is no GPU"
            ))
        })?;
        for error in &opened.failed {
            eprintln!("a GPU cannot be used: {error}");
        }
        match opened.devices.is_empty() {
            true => Ok(None),
            false => Ok(Some(Gpus::new(opened.devices, card_failed))),
        }
    }

    /// With so many threads of the CPU, or one for each core.
    pub fn open(self, threads: Option<usize>) -> Result<Accelerated, Failure> {
        let cpu = CpuBackend::new(threads).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Accelerated::new(cpu, self.gpus()?))
    }
}

fn card_failed(failed: &CardFailed<'_>) {
    eprintln!(
        "{} failed, and the CPU takes over its work: {}",
        failed.card, failed.error
    );
}
