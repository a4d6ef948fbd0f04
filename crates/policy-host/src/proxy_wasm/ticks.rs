//! What filters do by the clock: each VM has the period that it set. Arrivals in shared queues are told at the same time.

use std::time::Duration;

use super::plugin::{Plugin, Trouble};
use super::pool::{Place, Slot};
use super::state::ROOT;
use super::waiting::tell_reply;
use crate::clock::NANOS_PER_MS;

/// How often arrivals in queues are looked for.
const QUEUE_PERIOD: Duration = Duration::from_secs(1);
/// A filter that wants to be called more often is called as often as this.
const MIN_PERIOD: Duration = Duration::from_millis(20);

impl Plugin {
    /// How often `on_tick` is to be called. None: there is nothing to call, for now.
    pub(crate) fn tick_period(&self) -> Option<Duration> {
        let wanted = self.slots().iter().filter_map(|slot| {
            let place = slot.lock();
            let vm = place.vm.as_ref()?;
            if vm.root_mailbox().awaits_calls() {
                return Some(MIN_PERIOD);
            }
            Some(Duration::from_millis(vm.tick_ms()?.into()))
        });
        let queues = (!self.facts().queues.is_empty()).then_some(QUEUE_PERIOD);
        let shortest = wanted.chain(queues).min()?;
        Some(shortest.max(MIN_PERIOD))
    }

    /// Calls the VMs whose time has come.
    pub(crate) fn on_tick(&self) -> Result<(), Trouble> {
        let now = self.now_ns();
        let slots = self.slots();
        let ticked = slots.iter().map(|slot| self.tick(slot, now));
        // Every VM has its turn, whatever becomes of another's.
        let failed = ticked.filter_map(Result::err).last();
        let told = match slots.first() {
            Some(slot) => self.tell_arrivals(slot),
            None => Ok(()),
        };
        failed.map_or(told, Err)
    }

    fn tick(&self, slot: &Slot, now: u64) -> Result<(), Trouble> {
        let mut place = slot.lock();
        self.tell_replies(&mut place)?;
        let Some(ms) = place.vm.as_ref().and_then(|vm| vm.tick_ms()) else {
            return Ok(());
        };
        let due = place.next_tick_ns.is_some_and(|due| now >= due);
        if due || place.next_tick_ns.is_none() {
            place.next_tick_ns = Some(now.saturating_add(u64::from(ms) * NANOS_PER_MS));
        }
        if !due {
            return Ok(());
        }
        self.at_root(&mut place, |callbacks, store| match &callbacks.tick {
            Some(tick) => tick.call(store, ROOT),
            None => Ok(()),
        })
    }

    /// Answers to what the root context asked.
    fn tell_replies(&self, place: &mut Place) -> Result<(), Trouble> {
        let next = |place: &Place| place.vm.as_ref()?.root_mailbox().take_reply();
        while let Some((token, reply)) = next(place) {
            self.at_root(place, |callbacks, store| {
                tell_reply(callbacks, store, token, reply)
            })?;
        }
        Ok(())
    }

    fn tell_arrivals(&self, slot: &Slot) -> Result<(), Trouble> {
        for queue in self.facts().queues.take_ready() {
            let mut place = slot.lock();
            self.at_root(&mut place, |callbacks, store| {
                match &callbacks.queue_ready {
                    Some(ready) => ready.call(store, (ROOT, queue)),
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}
