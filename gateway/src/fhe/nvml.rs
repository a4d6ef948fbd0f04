//! How busy, full and hot NVIDIA's GPUs are, as gauges: of the whole card, whoever uses it. The driver's library is looked for when
//! it runs; where it is not there, there are no such gauges.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::gauge;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

/// As often as it is usually asked for; a sample takes a millisecond or so.
const EVERY: Duration = Duration::from_secs(15);

/// The thread; it ends when this is dropped.
pub(super) struct Sampler {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    pub fn start() -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("fhe-gpu-gauges".to_owned())
            .spawn(move || run(&stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that samples the GPUs had failed");
        }
    }
}

fn run(stopped: &mpsc::Receiver<()>) {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::debug!(%error, "there are no gauges of GPUs: NVIDIA's management library cannot be used");
            return;
        }
    };
    loop {
        if let Err(error) = sample(&nvml) {
            tracing::debug!(%error, "the GPUs could not be sampled");
        }
        match stopped.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What a card does not tell (a slice of one has no utilisation, say) is left out.
fn sample(nvml: &Nvml) -> Result<(), NvmlError> {
    for index in 0..nvml.device_count()? {
        let device = nvml.device_by_index(index)?;
        let labels = [("gpu", index.to_string()), ("name", device.name()?)];
        if let Ok(use_of) = device.utilization_rates() {
            gauge!("gateway_gpu_utilization_ratio", &labels).set(f64::from(use_of.gpu) / 100.0);
        }
        if let Ok(memory) = device.memory_info() {
            gauge!("gateway_gpu_memory_used_bytes", &labels).set(memory.used as f64);
            gauge!("gateway_gpu_memory_bytes", &labels).set(memory.total as f64);
        }
        if let Ok(celsius) = device.temperature(TemperatureSensor::Gpu) {
            gauge!("gateway_gpu_temperature_celsius", &labels).set(f64::from(celsius));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn it_ends_at_once_when_it_is_dropped_with_the_library_or_without() {
        let began = Instant::now();
        drop(Sampler::start().unwrap());
        assert!(began.elapsed() < EVERY);
    }
}
