//! What goes wrong on a device, kept until the call that it belongs to asks. Without this the library would panic.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::DeviceError;

#[derive(Default)]
struct Kept {
    /// The first since it was last asked for; what follows it is often its consequence.
    first: Option<DeviceError>,
    lost: Option<String>,
}

#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Kept>>);

impl Faults {
    /// Those of this device, from now on.
    pub fn of(device: &wgpu::Device) -> Self {
        let faults = Self::default();
        let (refused, lost) = (faults.clone(), faults.clone());
        device.on_uncaptured_error(Arc::new(move |error| refused.keep(in_words(&error))));
        device.set_device_lost_callback(move |_, reason| lost.lose(reason));
        faults
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // What is kept is whole whenever a panic comes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, error: DeviceError) {
        self.kept().first.get_or_insert(error);
    }

    /// It stays lost.
    pub fn lose(&self, reason: String) {
        self.kept().lost.get_or_insert(reason);
    }

    /// Whether all has gone well since this was last asked.
    pub fn check(&self) -> Result<(), DeviceError> {
        let mut kept = self.kept();
        if let Some(reason) = &kept.lost {
            return Err(DeviceError::Lost(reason.clone()));
        }
        match kept.first.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }
}

fn in_words(error: &wgpu::Error) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { source } => DeviceError::OutOfMemory(source.to_string()),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            DeviceError::Driver(description.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_is_told_once_and_a_loss_for_ever() {
        let faults = Faults::default();
        assert!(faults.check().is_ok());
        let memory = wgpu::Error::OutOfMemory {
            source: "no more".into(),
        };
        let refused = wgpu::Error::Validation {
            source: "bad".into(),
            description: "bad".to_owned(),
        };
        faults.keep(in_words(&memory));
        faults.keep(in_words(&refused));
        assert!(matches!(faults.check(), Err(DeviceError::OutOfMemory(_))));
        assert!(faults.check().is_ok());
        faults.keep(in_words(&refused));
        assert!(matches!(faults.check(), Err(DeviceError::Driver(_))));
        faults.lose("gone".to_owned());
        for _ in 0..2 {
            assert!(matches!(faults.check(), Err(DeviceError::Lost(_))));
        }
    }
}
