//! Which CUDA devices are there, and those that compute.
//!
//! cudarc panics where a library or a function of it is missing: every way in goes through [`caught`].

use std::sync::Arc;

use cudarc::driver::CudaContext;
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};

use super::device::{About, CudaDevice, Method};
use super::driver::{self, Card, Driver};
use super::runtime::SHARED_OF_FOURIER;
use super::source::{FATBIN, OPTIONS, source};
use crate::device::{Device, DeviceError, caught};
use crate::survey::{Budget, Found, Opened};

/// What the compiler that made the kernels needs of a driver: CUDA 13.0, which came with 580.
const DRIVER: i32 = 13_000;
/// The oldest architecture that kernels are made for.
const OLDEST: (i32, i32) = (7, 5);
const BACKEND: &str = "cuda";

/// Every card that the driver knows; without one, why.
pub fn found() -> Vec<Found> {
    let none = |why: String| {
        vec![Found {
            backend: BACKEND,
            name: "NVIDIA GPUs".to_owned(),
            facts: Vec::new(),
            unusable: Some(why),
        }]
    };
    let version = match driver::version() {
        None => {
            return none("there is no driver (libcuda.so.1): with a GPU of NVIDIA in this machine, install its driver, 580 or newer".to_owned());
        }
        Some(Err(error)) => return none(error.to_string()),
        Some(Ok(version)) => version,
    };
    match caught(driver::cards) {
        Err(error) => none(error.to_string()),
        Ok(cards) if cards.is_empty() => none("the driver knows no GPU".to_owned()),
        Ok(cards) => cards.iter().map(|card| describe(card, version)).collect(),
    }
}

fn describe(card: &Card, version: i32) -> Found {
    let (major, minor) = card.capability;
    let method = match method(card) {
        Method::Fourier { together } => {
            format!("Fourier transforms in f64, {together} ciphertexts a multiprocessor")
        }
        Method::Exact => "exact, in integers (f64 is slow here)".to_owned(),
    };
    let (release, point) = (version / 1000, version % 1000 / 10);
    Found {
        backend: BACKEND,
        name: card.name.clone(),
        facts: vec![
            ("compute capability", format!("{major}.{minor}")),
            ("multiprocessors", card.multiprocessors.to_string()),
            ("memory", format!("{} MiB", card.memory >> 20)),
            ("driver for CUDA", format!("{release}.{point}")),
            ("rotation", method),
        ],
        unusable: unusable(card),
    }
}

fn unusable(card: &Card) -> Option<String> {
    let (major, minor) = card.capability;
    (card.capability < OLDEST).then(|| {
        format!(
            "its compute capability is {major}.{minor}: kernels are made for 7.5 (Turing) and newer"
        )
    })
}

/// f64 is half as fast as f32 on these, and 1/32 or 1/64 on all others.
fn method(card: &Card) -> Method {
    let is_fast = matches!(card.capability, (8, 0) | (9, 0) | (10, 0));
    let together = (card.shared / SHARED_OF_FOURIER).min(4) as usize;
    match is_fast && together > 0 {
        true => Method::Fourier { together },
        false => Method::Exact,
    }
}

/// How ciphertexts are rotated, for whoever compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotations {
    #[default]
    Fastest,
    Exact,
}

/// All cards that can be used; of others, why not.
pub fn open(budget: Budget) -> Opened {
    open_with(budget, Rotations::Fastest)
}

pub fn open_with(budget: Budget, rotations: Rotations) -> Opened {
    let mut opened = Opened::default();
    let cards = match driver::version() {
        None => return opened,
        Some(version) => caught(|| version.and_then(|_| driver::cards())),
    };
    let cards = match cards {
        Ok(cards) => cards,
        Err(error) => {
            opened.failed.push(error);
            return opened;
        }
    };
    for (ordinal, card) in cards.iter().enumerate() {
        if unusable(card).is_some() {
            continue;
        }
        match caught(|| open_one(ordinal, card, budget, rotations)) {
            Ok(device) => opened.devices.push(device),
            Err(error) => opened.failed.push(error),
        }
    }
    opened
}

fn open_one(
    ordinal: usize,
    card: &Card,
    budget: Budget,
    rotations: Rotations,
) -> Result<Box<dyn Device>, DeviceError> {
    let context = driver::context(ordinal)?;
    let driver = with_kernels(context, card)?;
    let about = About {
        name: card.name.clone(),
        method: match rotations {
            Rotations::Fastest => method(card),
            Rotations::Exact => Method::Exact,
        },
        multiprocessors: card.multiprocessors,
    };
    Ok(Box::new(CudaDevice::new(driver, about, budget)?))
}

/// With the kernels that the program carries; where the driver does not take them, made on the spot.
fn with_kernels(context: Arc<CudaContext>, card: &Card) -> Result<Driver, DeviceError> {
    let carried = match Driver::new(context.clone(), FATBIN) {
        Ok(driver) => return Ok(driver),
        Err(error @ (DeviceError::Lost(_) | DeviceError::OutOfMemory(_))) => return Err(error),
        Err(error) => error,
    };
    let (major, minor) = card.capability;
    let options = CompileOptions {
        options: OPTIONS
            .iter()
            .map(|&option| option.to_owned())
            .chain([format!("--gpu-architecture=compute_{major}{minor}")])
            .collect(),
        ..CompileOptions::default()
    };
    let compiled = caught(|| {
        compile_ptx_with_opts(source(), options)
            .map_err(|error| DeviceError::Driver(format!("{error:?}")))
    });
    match compiled {
        Ok(ptx) => {
            let mut text = ptx.to_src().into_bytes();
            text.push(0);
            Driver::new(context, &text)
        }
        Err(error) => Err(DeviceError::Driver(format!(
            "it does not take the kernels that the program carries ({carried}), and they cannot be compiled here ({error}): \
             update the driver to 580 or newer (CUDA {}), or install NVRTC",
            DRIVER / 1000
        ))),
    }
}
