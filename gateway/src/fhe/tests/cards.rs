//! GPUs in a service: what they fail at is computed all the same, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernels::device::{Device, DeviceError, Task};
use kernels::{Gpus, KernelError, LweBatch, LweSum, Table};

use super::*;

/// Takes keys, and breaks at the first call.
struct Broken {
    calls: Arc<AtomicUsize>,
}

impl Broken {
    fn call(&self) -> Result<(), DeviceError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(DeviceError::Lost("it fell off the bus".to_owned()))
    }
}

impl Device for Broken {
    fn name(&self) -> String {
        "a card".to_owned()
    }
    fn places(&self) -> usize {
        2
    }
    fn batch(&self) -> usize {
        64
    }
    fn most_reads(&self) -> usize {
        64
    }
    fn upload(&self, _: usize, _: &EvaluationKey) -> Result<(), DeviceError> {
        Ok(())
    }
    fn linear(&self, _: &LweBatch, _: &[LweSum<'_>], _: &mut [u64]) -> Result<bool, DeviceError> {
        self.call().map(|()| true)
    }
    fn keyswitch(&self, _: &[usize], _: &mut [Task<'_, u64, u32>]) -> Result<(), DeviceError> {
        self.call()
    }
    fn bootstrap(
        &self,
        _: &[usize],
        _: &[&Table],
        _: &mut [Task<'_, u32, u64>],
    ) -> Result<(), DeviceError> {
        Err(KernelError::Shape("the engine looks up without a stop").into())
    }
    fn look_up(
        &self,
        _: &[usize],
        _: &[&Table],
        _: &mut [Task<'_, u64, u64>],
    ) -> Result<(), DeviceError> {
        self.call()
    }
}

#[tokio::test]
async fn a_card_that_is_lost_costs_no_request() {
    let (calls, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (card, failed) = (
        Broken {
            calls: calls.clone(),
        },
        failures.clone(),
    );
    let gpus = Gpus::new(vec![Box::new(card)], move |_| {
        failed.fetch_add(1, Ordering::Relaxed);
    });
    let dir = tempfile::tempdir().unwrap();
    let service = FheService::open_on(&options(dir.path()), None, Some(gpus.clone())).unwrap();
    let bench = Bench { service, _dir: dir };
    let key = bootstrap_key();
    bench.register(&key.1).await;
    bench.check_scores(TREES, key, &held_out(2)).await;
    bench.check_scores(TREES, key, &held_out(1)).await;
    bench.check_scores(LINEAR, key, &held_out(2)).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1, "it is not asked again");
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    let done = gpus.counts().next().unwrap();
    assert_eq!((done.ciphertexts, done.uploads), (0, 1));
    assert!(gpus.left() >= 3, "each row has a lookup at least");
}
