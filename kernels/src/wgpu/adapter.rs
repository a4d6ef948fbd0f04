//! Which devices a machine has, whether each can be used and, if not, why; and opening one.

use std::fmt;

use wgpu::{Backends, DeviceType, Features, Limits};

use super::memory::{Plan, Unfit};
use crate::device::DeviceError;
use crate::wgsl;

/// What kernels are written in. Vulkan on all but the oldest GPUs has both; Metal has both from Apple's third generation on.
const NEEDED: Features = Features::SHADER_INT64.union(Features::IMMEDIATES);

/// A device, as an operator reads of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What [`Which::Index`] names it by, until devices come or go.
    pub index: usize,
    pub name: String,
    /// Discrete, integrated, virtual, software or unknown.
    pub kind: &'static str,
    /// It computes on this machine's CPU: for tests, slower than the `cpu` backend.
    pub software: bool,
    pub api: String,
    pub driver: String,
    /// The largest part of its memory that a kernel can read, in bytes.
    pub binding_bytes: u64,
    pub workgroup_bytes: u32,
    /// Why it cannot be used.
    pub unfit: Option<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            name,
            kind,
            api,
            driver,
            ..
        } = self;
        let binding_mib = self.binding_bytes >> 20;
        write!(
            f,
            "{index}: {name} ({kind}, {api}, {driver}, up to {binding_mib} MiB at once)"
        )?;
        match &self.unfit {
            None => Ok(()),
            Some(reason) => write!(f, ": {reason}"),
        }
    }
}

/// Which of the devices to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// A discrete one before an integrated one before others.
    #[default]
    Best,
    Index(usize),
    /// Part of its name, in whatever case.
    Named(String),
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub which: Which,
    /// A software device is opened only for who asks for it.
    pub allow_software: bool,
    /// For keys, in bytes. The programming interface does not tell how much a device has: by default 4 GiB of a discrete one, 2
    /// of others.
    pub key_bytes: Option<u64>,
    /// The most ciphertexts of one call.
    pub batch: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no such device; found: {0}")]
    NotFound(String),
    #[error("{0}")]
    Unfit(String),
    #[error("{0} is a software device, and was not asked for")]
    Software(String),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

pub(super) fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL;
    wgpu::Instance::new(descriptor)
}

fn adapters() -> Vec<wgpu::Adapter> {
    pollster::block_on(instance().enumerate_adapters(Backends::all()))
}

fn kind(of: DeviceType) -> &'static str {
    match of {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "unknown",
    }
}

/// What it lacks.
fn unfit(features: Features, limits: &Limits) -> Option<String> {
    let lacking = NEEDED - features;
    if lacking.contains(Features::SHADER_INT64) {
        return Some("its shaders have no 64-bit integers".to_owned());
    }
    if !lacking.is_empty() {
        return Some(format!("it lacks {lacking}"));
    }
    let threads = limits.max_compute_invocations_per_workgroup;
    if threads.min(limits.max_compute_workgroup_size_x) < wgsl::THREADS as u32 {
        return Some(format!("a workgroup has no more than {threads} threads"));
    }
    let bytes = limits.max_compute_workgroup_storage_size;
    if bytes < wgsl::WORKGROUP_BYTES {
        return Some(format!("a workgroup has no more than {bytes} bytes"));
    }
    None
}

fn found(index: usize, adapter: &wgpu::Adapter) -> Found {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let planned = || {
        Plan::new(&limits, info.device_type, &Options::default())
            .err()
            .map(|Unfit(reason)| reason)
    };
    Found {
        index,
        kind: kind(info.device_type),
        software: info.device_type == DeviceType::Cpu,
        api: info.backend.to_string(),
        driver: [&info.driver[..], &info.driver_info].join(" "),
        binding_bytes: limits.max_storage_buffer_binding_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        unfit: unfit(adapter.features(), &limits).or_else(planned),
        name: info.name,
    }
}

/// All that there are, software devices too. A machine without a driver has none.
pub fn all() -> Vec<Found> {
    let adapters = adapters();
    adapters
        .iter()
        .enumerate()
        .map(|(index, adapter)| found(index, adapter))
        .collect()
}

/// A device that was asked for and can be used.
pub(super) struct Opened {
    pub found: Found,
    pub plan: Plan,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

pub(super) fn open(options: &Options) -> Result<Opened, OpenError> {
    let mut all: Vec<(Found, wgpu::Adapter)> = adapters()
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| (found(index, &adapter), adapter))
        .collect();
    let chosen = choose(all.iter().map(|(found, _)| found), options)?;
    let (found, adapter) = all.swap_remove(chosen);
    let limits = adapter.limits();
    let plan = Plan::new(&limits, adapter.get_info().device_type, options)
        .map_err(|Unfit(reason)| OpenError::Unfit(format!("{}: {reason}", found.name)))?;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("veilgate"),
        required_features: NEEDED,
        required_limits: limits,
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
        .map_err(|error| DeviceError::Driver(error.to_string()))?;
    Ok(Opened {
        found,
        plan,
        device,
        queue,
    })
}

/// The place in `all`.
fn choose<'a>(
    all: impl Iterator<Item = &'a Found> + Clone,
    options: &Options,
) -> Result<usize, OpenError> {
    let usable =
        |found: &Found| found.unfit.is_none() && (options.allow_software || !found.software);
    let rank = |found: &Found| {
        ["discrete", "integrated", "virtual"]
            .iter()
            .position(|&kind| kind == found.kind)
            .unwrap_or(3)
    };
    let best = || {
        all.clone()
            .filter(|found| usable(found))
            .min_by_key(|found| rank(found))
    };
    let chosen = match &options.which {
        Which::Best => best(),
        Which::Index(index) => all.clone().nth(*index),
        Which::Named(part) => {
            let part = part.to_lowercase();
            all.clone()
                .find(|found| found.name.to_lowercase().contains(&part))
        }
    };
    let Some(found) = chosen else {
        let names: Vec<String> = all.map(Found::to_string).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join("; ")
        };
        return Err(OpenError::NotFound(names));
    };
    if let Some(reason) = &found.unfit {
        return Err(OpenError::Unfit(format!("{}: {reason}", found.name)));
    }
    if found.software && !options.allow_software {
        return Err(OpenError::Software(found.name.clone()));
    }
    Ok(found.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: usize, kind: &'static str, unfit: Option<&str>) -> Found {
        Found {
            index,
            name: format!("{kind} {index}"),
            kind,
            software: kind == "software",
            api: String::new(),
            driver: String::new(),
            binding_bytes: 0,
            workgroup_bytes: 0,
            unfit: unfit.map(str::to_owned),
        }
    }

    fn check(which: Which, allow_software: bool, expected: Result<usize, &str>) {
        let all = [
            device(0, "software", None),
            device(1, "integrated", None),
            device(2, "discrete", Some("its shaders have no 64-bit integers")),
            device(3, "discrete", None),
        ];
        let options = Options {
            which,
            allow_software,
            ..Options::default()
        };
        let chosen = choose(all.iter(), &options).map_err(|error| error.to_string());
        match expected {
            Ok(index) => assert_eq!(chosen, Ok(index)),
            Err(part) => assert!(
                chosen.as_ref().is_err_and(|text| text.contains(part)),
                "{chosen:?}"
            ),
        }
    }

    #[test]
    fn a_device_is_chosen_by_kind_by_index_or_by_name() {
        check(Which::Best, false, Ok(3));
        check(Which::Index(1), false, Ok(1));
        check(Which::Index(2), false, Err("64-bit"));
        check(Which::Index(9), false, Err("no such device"));
        check(Which::Named("INTEGR".to_owned()), false, Ok(1));
        check(
            Which::Named("other".to_owned()),
            false,
            Err("no such device"),
        );
        check(Which::Index(0), false, Err("not asked for"));
        check(Which::Index(0), true, Ok(0));
    }

    #[test]
    fn a_device_says_what_it_lacks() {
        let limits = Limits::default();
        assert_eq!(unfit(NEEDED, &limits), None);
        let lacking = |features| unfit(features, &limits).unwrap();
        assert!(lacking(Features::IMMEDIATES).contains("64-bit"));
        assert!(lacking(Features::SHADER_INT64).contains("IMMEDIATES"));
        let small = Limits {
            max_compute_workgroup_storage_size: 8 << 10,
            ..limits
        };
        assert!(unfit(NEEDED, &small).unwrap().contains("8192 bytes"));
    }
}
