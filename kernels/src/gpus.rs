//! All GPUs of a machine: which keys each of them holds, which computes what, and what happens when one fails.
//!
//! A key is uploaded when it is first needed and stays until its place is needed for another one (least recently used).
//! Tasks of one key go to as few cards as their number allows. A card that fails is left alone for a while, or for good
//! if it is lost, and its tasks go to the others; what none of them has computed is given back, for the CPU to do.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fhe::{EvaluationKey, KeyId};
use parking_lot::Mutex;

use crate::backend::{KernelError, LweBatch, LweSum};
use crate::device::{Device, DeviceError, Task, caught};

mod counts;
mod places;
mod share;

pub use counts::CardCounts;
use counts::Count;
use places::Places;
use share::share;

/// How long a card is left alone after its driver failed or its memory was full.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// A card stopped working.
#[derive(Debug)]
pub struct CardFailed<'a> {
    pub card: &'a str,
    pub error: &'a DeviceError,
    /// When it will be tried again; never, if it is lost.
    pub again: Option<Duration>,
}

type OnFailure = Box<dyn Fn(&CardFailed<'_>) + Send + Sync>;

pub struct Gpus {
    cards: Vec<Card>,
    on_failure: OnFailure,
    /// Ciphertexts that no card has computed.
    left: Count,
}

struct Card {
    device: Box<dyn Device>,
    name: String,
    /// One call at a time: a device has one queue.
    places: Mutex<Places>,
    state: Mutex<State>,
    ciphertexts: Count,
    uploads: Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Used,
    Rests { until: Instant },
    Lost,
}

impl Card {
    fn new(device: Box<dyn Device>, name: String) -> Self {
        Self {
            name,
            places: Mutex::new(Places::new(device.places())),
            device,
            state: Mutex::new(State::Used),
            ciphertexts: Count::default(),
            uploads: Count::default(),
        }
    }

    fn is_used(&self, now: Instant) -> bool {
        match *self.state.lock() {
            State::Used => true,
            State::Rests { until } => until <= now,
            State::Lost => false,
        }
    }

    /// Computes the tasks, in calls that the device takes; gives back those from the first call that fails on.
    fn run<'a, In, Out>(
        &self,
        keys: &[&EvaluationKey],
        mut tasks: Vec<Task<'a, In, Out>>,
        call: &Call<'_, 'a, In, Out>,
    ) -> Result<(), (Vec<Task<'a, In, Out>>, DeviceError)> {
        let mut places = self.places.lock();
        while !tasks.is_empty() {
            let len = call_len(&tasks, self.device.batch(), places.usable());
            if len == 0 {
                let why = "the device has no room for a key, or for the results of one ciphertext";
                return Err((tasks, DeviceError::OutOfMemory(why.to_owned())));
            }
            let rest = tasks.split_off(len);
            let wanted = distinct(&tasks);
            match self.hold(&mut places, keys, &wanted) {
                Ok(Some(held)) => {
                    // A device knows only the keys of a call; which those are, the task remembers for who takes it over.
                    let of_batch: Vec<u32> = tasks.iter().map(|task| task.key).collect();
                    for task in &mut tasks {
                        let of_call = wanted.iter().position(|&key| key == task.key);
                        task.key = of_call.unwrap_or_default() as u32;
                    }
                    let done = caught(|| call(self.device.as_ref(), &held, &mut tasks));
                    if let Err(error) = done {
                        for (task, key) in tasks.iter_mut().zip(of_batch) {
                            task.key = key;
                        }
                        tasks.extend(rest);
                        return Err((tasks, error));
                    }
                    self.ciphertexts.add(len);
                    tasks = rest;
                }
                // There is less room than was thought: the call is cut anew.
                Ok(None) => tasks.extend(rest),
                Err(error) => {
                    tasks.extend(rest);
                    return Err((tasks, error));
                }
            }
        }
        Ok(())
    }

    /// The places of keys, which are uploaded if they are not there. `None`: the memory for another place was not there.
    fn hold(
        &self,
        places: &mut Places,
        keys: &[&EvaluationKey],
        wanted: &[u32],
    ) -> Result<Option<Vec<usize>>, DeviceError> {
        let of = |&key: &u32| keys.get(key as usize).copied();
        let wanted: Vec<&EvaluationKey> = wanted
            .iter()
            .map(of)
            .collect::<Option<_>>()
            .ok_or(KernelError::Shape("there is no such key"))?;
        let ids: Vec<KeyId> = wanted.iter().map(|key| key.id()).collect();
        let found = places.find(&ids);
        for (key, (place, is_there)) in wanted.iter().zip(&found) {
            if *is_there {
                continue;
            }
            match caught(|| self.device.upload(*place, key)) {
                Ok(()) => {
                    places.filled(*place, key.id());
                    self.uploads.add(1);
                }
                Err(DeviceError::OutOfMemory(_)) if places.shrink(*place) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(found.into_iter().map(|(place, _)| place).collect()))
    }
}

type Call<'c, 'a, In, Out> =
    dyn Fn(&dyn Device, &[usize], &mut [Task<'a, In, Out>]) -> Result<(), DeviceError> + Sync + 'c;

/// How many of the first tasks, which are in the order of their keys, make a call.
fn call_len<In, Out>(tasks: &[Task<'_, In, Out>], batch: usize, keys: usize) -> usize {
    let (mut results, mut distinct, mut last) = (0, 0, None);
    for (index, task) in tasks.iter().take(batch).enumerate() {
        results += task.reads.len();
        if last != Some(task.key) {
            distinct += 1;
            last = Some(task.key);
        }
        if results > batch || distinct > keys {
            return index;
        }
    }
    tasks.len().min(batch)
}

fn distinct<In, Out>(tasks: &[Task<'_, In, Out>]) -> Vec<u32> {
    let mut keys: Vec<u32> = tasks.iter().map(|task| task.key).collect();
    keys.dedup();
    keys
}

impl Gpus {
    pub fn new(
        devices: Vec<Box<dyn Device>>,
        on_failure: impl Fn(&CardFailed<'_>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let names = counts::distinct(devices.iter().map(|device| device.name()).collect());
        let cards = devices.into_iter().zip(names);
        Arc::new(Self {
            cards: cards
                .map(|(device, name)| Card::new(device, name))
                .collect(),
            on_failure: Box::new(on_failure),
            left: Count::default(),
        })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cards.iter().map(|card| card.name.as_str())
    }

    /// What each card has done.
    pub fn counts(&self) -> impl Iterator<Item = CardCounts<'_>> {
        self.cards.iter().map(|card| CardCounts {
            card: &card.name,
            ciphertexts: card.ciphertexts.so_far(),
            uploads: card.uploads.so_far(),
            memory: card.device.memory(),
        })
    }

    /// How many ciphertexts no card has computed: the CPU stood in for them.
    pub fn left(&self) -> u64 {
        self.left.so_far()
    }

    fn usable(&self) -> Vec<&Card> {
        let now = Instant::now();
        self.cards.iter().filter(|card| card.is_used(now)).collect()
    }

    /// Computes tasks on all cards, by `call`; gives back those that none has done. `keys`: what a task's key is an index of.
    pub(crate) fn run<'a, In: Sync, Out: Send>(
        &self,
        keys: &[&EvaluationKey],
        tasks: Vec<Task<'a, In, Out>>,
        call: &Call<'_, 'a, In, Out>,
    ) -> Result<Vec<Task<'a, In, Out>>, KernelError> {
        let most = self.cards.iter().map(|card| card.device.most_reads()).min();
        let fits = |task: &Task<'a, In, Out>| Some(task.reads.len()) <= most;
        let (mut tasks, mut left): (Vec<_>, Vec<_>) = tasks.into_iter().partition(fits);
        loop {
            let cards = self.usable();
            if cards.is_empty() || tasks.is_empty() {
                left.extend(tasks);
                self.left.add(left.len());
                return Ok(left);
            }
            tasks.sort_by_key(|task| task.key);
            let holds = |card: usize, key: u32| {
                let id = keys.get(key as usize).map(|key| key.id());
                id.is_some_and(|id| cards[card].places.lock().holds(&id))
            };
            let parts = share(tasks, cards.len(), &holds);
            let mut outcomes = Vec::new();
            match (&cards[..], parts) {
                ([card], parts) => {
                    for part in parts {
                        outcomes.push(card.run(keys, part, call));
                    }
                }
                (cards, parts) => thread::scope(|scope| {
                    let of_card = cards.iter().zip(parts);
                    let running: Vec<_> = of_card
                        .map(|(card, part)| scope.spawn(move || card.run(keys, part, call)))
                        .collect();
                    outcomes.extend(running.into_iter().map(|one| match one.join() {
                        Ok(outcome) => outcome,
                        Err(panic) => std::panic::resume_unwind(panic),
                    }));
                }),
            }
            tasks = Vec::new();
            for (card, outcome) in cards.iter().zip(outcomes) {
                match outcome {
                    Ok(()) => *card.state.lock() = State::Used,
                    Err((_, DeviceError::Asked(error))) => return Err(error),
                    Err((left, error)) => {
                        self.failed(card, &error);
                        tasks.extend(left);
                    }
                }
            }
        }
    }

    /// A matrix product on one card; `false`: no card has done it.
    pub(crate) fn linear(
        &self,
        inputs: &LweBatch,
        sums: &[LweSum<'_>],
        out: &mut [u64],
    ) -> Result<bool, KernelError> {
        for card in self.usable() {
            let done = {
                let _one_at_a_time = card.places.lock();
                caught(|| card.device.linear(inputs, sums, out))
            };
            match done {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(DeviceError::Asked(error)) => return Err(error),
                Err(error) => self.failed(card, &error),
            }
        }
        Ok(false)
    }

    fn failed(&self, card: &Card, error: &DeviceError) {
        let (state, again) = match error {
            DeviceError::Lost(_) => (State::Lost, None),
            _ => {
                let until = Instant::now() + RETRY_AFTER;
                (State::Rests { until }, Some(RETRY_AFTER))
            }
        };
        *card.state.lock() = state;
        // What a failed card holds is not known.
        card.places.lock().clear();
        (self.on_failure)(&CardFailed {
            card: &card.name,
            error,
            again,
        });
    }
}
