//! All devices of a machine, as [`crate::survey`] tells of them, and those that compute for a gateway.

use super::{Found, OpenError, Options, WgpuDevice, Which};
use crate::device::{Device, DeviceError};
use crate::survey::{self, Budget, Opened};

const BACKEND: &str = "wgpu";

pub fn survey() -> Vec<survey::Found> {
    let all = WgpuDevice::found();
    if all.is_empty() {
        return vec![survey::Found {
            backend: BACKEND,
            name: "GPUs by Vulkan or Metal".to_owned(),
            facts: Vec::new(),
            unusable: Some(
                "there is no driver for Vulkan (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)"
                    .to_owned(),
            ),
        }];
    }
    all.into_iter().map(describe).collect()
}

fn describe(found: Found) -> survey::Found {
    survey::Found {
        backend: BACKEND,
        facts: vec![
            ("kind", found.kind.to_owned()),
            ("reached by", found.api),
            ("driver", found.driver),
            (
                "memory that a kernel reads at once",
                format!("{} MiB", found.binding_bytes >> 20),
            ),
            ("rotation", "exact, in integers".to_owned()),
        ],
        name: found.name,
        unusable: found.unfit,
    }
}

/// Faster than the CPU beside it, as far as its kind tells: one in the processor of a PC may not be.
fn is_fast(found: &Found) -> bool {
    found.kind == "discrete" || found.api.eq_ignore_ascii_case("metal")
}

/// `all`: those that may be slower than the CPU too, and software.
pub fn open_all(budget: Budget, all: bool) -> Opened {
    let mut opened = Opened::default();
    let usable = |found: &Found| found.unfit.is_none() && (all || is_fast(found));
    for found in WgpuDevice::found().iter().filter(|found| usable(found)) {
        let options = Options {
            which: Which::Index(found.index),
            allow_software: all,
            key_bytes: (budget.key_bytes != u64::MAX).then_some(budget.key_bytes),
            batch: None,
        };
        match WgpuDevice::open(&options) {
            Ok(device) => opened.devices.push(Box::new(device) as Box<dyn Device>),
            Err(OpenError::Device(error)) => opened.failed.push(error),
            Err(error) => opened.failed.push(DeviceError::Driver(error.to_string())),
        }
    }
    opened
}
