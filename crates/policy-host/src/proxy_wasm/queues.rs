//! Shared queues of one policy: first in, first out, across its VMs. Bounded in every direction.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Queues of one policy: filters have one or two.
const MAX_QUEUES: usize = 16;
/// A name.
const MAX_NAME_BYTES: usize = 128;
/// Entries of one queue: what a reader that comes by once a second can clear.
const MAX_ENTRIES: usize = 1024;
/// All entries of one queue together.
const MAX_QUEUE_BYTES: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Queues {
    all: Mutex<Vec<Queue>>,
}

struct Queue {
    name: Box<[u8]>,
    entries: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Something came in since `take_ready` was last asked.
    ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Unknown,
    Empty,
    Limit,
}

impl Queues {
    /// The same name is the same queue.
    pub(super) fn register(&self, name: &[u8]) -> Result<u32, Refused> {
        let mut all = self.all.lock();
        if let Some(at) = place(&all, name) {
            return Ok(number(at));
        }
        if all.len() >= MAX_QUEUES || name.len() > MAX_NAME_BYTES {
            return Err(Refused::Limit);
        }
        all.push(Queue {
            name: name.into(),
            entries: VecDeque::new(),
            bytes: 0,
            ready: false,
        });
        Ok(number(all.len() - 1))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.lock().is_empty()
    }

    pub(super) fn resolve(&self, name: &[u8]) -> Option<u32> {
        place(&self.all.lock(), name).map(number)
    }

    pub(super) fn push(&self, id: u32, value: &[u8]) -> Result<(), Refused> {
        let mut all = self.all.lock();
        let queue = find(&mut all, id)?;
        if queue.entries.len() >= MAX_ENTRIES || queue.bytes + value.len() > MAX_QUEUE_BYTES {
            return Err(Refused::Limit);
        }
        queue.bytes += value.len();
        queue.entries.push_back(value.into());
        queue.ready = true;
        Ok(())
    }

    pub(super) fn pop(&self, id: u32) -> Result<Box<[u8]>, Refused> {
        let mut all = self.all.lock();
        let queue = find(&mut all, id)?;
        let value = queue.entries.pop_front().ok_or(Refused::Empty)?;
        queue.bytes -= value.len();
        Ok(value)
    }

    /// The queues in which something arrived since this was last asked.
    pub(super) fn take_ready(&self) -> Vec<u32> {
        let mut all = self.all.lock();
        let ready = all
            .iter_mut()
            .enumerate()
            .filter_map(|(at, queue)| std::mem::take(&mut queue.ready).then_some(number(at)));
        ready.collect()
    }
}

/// 0 is no queue.
fn number(at: usize) -> u32 {
    at as u32 + 1
}

fn place(all: &[Queue], name: &[u8]) -> Option<usize> {
    all.iter().position(|queue| *queue.name == *name)
}

fn find(all: &mut [Queue], id: u32) -> Result<&mut Queue, Refused> {
    let at = (id as usize).checked_sub(1).ok_or(Refused::Unknown)?;
    all.get_mut(at).ok_or(Refused::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_order_and_arrivals_are_told_once() {
        let queues = Queues::default();
        let id = queues.register(b"q").unwrap();
        assert_eq!(queues.register(b"q"), Ok(id));
        assert_eq!(
            (queues.resolve(b"q"), queues.resolve(b"r")),
            (Some(id), None)
        );
        queues.push(id, b"1").unwrap();
        queues.push(id, b"2").unwrap();
        assert_eq!(queues.take_ready(), [id]);
        assert!(queues.take_ready().is_empty());
        assert_eq!(&*queues.pop(id).unwrap(), b"1");
        assert_eq!(&*queues.pop(id).unwrap(), b"2");
        assert_eq!(queues.pop(id), Err(Refused::Empty));
        assert_eq!(queues.pop(0), Err(Refused::Unknown));
        assert_eq!(queues.push(9, b""), Err(Refused::Unknown));
    }

    #[test]
    fn queues_names_entries_and_bytes_are_bounded() {
        let queues = Queues::default();
        assert_eq!(queues.register(&[b'x'; 129]), Err(Refused::Limit));
        for n in 0..MAX_QUEUES {
            queues.register(n.to_string().as_bytes()).unwrap();
        }
        assert_eq!(queues.register(b"more"), Err(Refused::Limit));
        for _ in 0..MAX_ENTRIES {
            queues.push(1, b"").unwrap();
        }
        assert_eq!(queues.push(1, b""), Err(Refused::Limit));
        queues.push(2, &vec![0; MAX_QUEUE_BYTES]).unwrap();
        assert_eq!(queues.push(2, b"x"), Err(Refused::Limit));
        assert_eq!(queues.pop(2).unwrap().len(), MAX_QUEUE_BYTES);
        queues.push(2, b"x").unwrap();
    }
}
