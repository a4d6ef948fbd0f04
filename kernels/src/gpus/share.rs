//! Who computes what: each card about as much, and a key on as few cards as that allows, those that have it before others.

use crate::device::Task;

/// What an upload costs, in tasks: 90 MB against a thousand bootstraps or so in the same time.
const UPLOAD_COST: usize = 256;

/// Tasks, which are in the order of their keys, for each of `cards`, in that order too. `holds`: whether a card has a key.
pub(super) fn share<'a, In, Out>(
    tasks: Vec<Task<'a, In, Out>>,
    cards: usize,
    holds: &dyn Fn(usize, u32) -> bool,
) -> Vec<Vec<Task<'a, In, Out>>> {
    if cards <= 1 {
        return vec![tasks];
    }
    let most = tasks.len().div_ceil(cards);
    let keys: Vec<u32> = tasks.iter().map(|task| task.key).collect();
    let mut groups: Vec<&[u32]> = keys
        .chunk_by(|a, b| a == b)
        .flat_map(|of_key| of_key.chunks(most))
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    // Of each card, how many of each key.
    let mut of_cards: Vec<Vec<(u32, usize)>> = vec![Vec::new(); cards];
    let mut loads = vec![0; cards];
    for group in groups {
        let key = group[0];
        let cost = |card: usize| {
            let has = holds(card, key) || of_cards[card].iter().any(|(held, _)| *held == key);
            loads[card] + if has { 0 } else { UPLOAD_COST }
        };
        let card = (0..cards).min_by_key(|&card| cost(card)).unwrap_or(0);
        loads[card] = cost(card) + group.len();
        of_cards[card].push((key, group.len()));
    }
    let mut parts: Vec<Vec<Task<'a, In, Out>>> = (0..cards).map(|_| Vec::new()).collect();
    for task in tasks {
        let of_card = |shares: &mut Vec<(u32, usize)>| {
            let share = shares
                .iter_mut()
                .find(|(key, left)| *key == task.key && *left > 0);
            share.map(|(_, left)| *left -= 1).is_some()
        };
        let card = of_cards.iter_mut().position(of_card).unwrap_or(0);
        parts[card].push(task);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each card, its keys.
    fn shared(keys: &[u32], cards: usize, held: &[(usize, u32)]) -> Vec<Vec<u32>> {
        let task = |&key: &u32| Task::<'_, u64, u64> {
            index: 0,
            input: &[],
            key,
            table: 0,
            reads: &[],
            out: &mut [],
        };
        let tasks = keys.iter().map(task).collect();
        let parts = share(tasks, cards, &|card, key| held.contains(&(card, key)));
        let keys = parts
            .iter()
            .map(|part| part.iter().map(|task| task.key).collect());
        keys.collect()
    }

    #[test]
    fn one_key_is_cut_evenly_and_several_go_whole_to_who_has_them() {
        let lens = |parts: &[Vec<u32>]| parts.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lens(&shared(&[0; 10], 2, &[])), [5, 5]);
        assert_eq!(lens(&shared(&[0; 10], 1, &[])), [10]);
        assert_eq!(lens(&shared(&[], 3, &[])), [0, 0, 0]);
        assert_eq!(
            shared(&[0, 0, 1, 1], 2, &[(0, 1), (1, 0)]),
            [vec![1, 1], vec![0, 0]]
        );
        let parts = shared(&[0, 1, 2, 3], 2, &[]);
        assert_eq!(lens(&parts), [2, 2]);
    }

    #[test]
    fn no_task_is_lost_and_each_part_is_in_order() {
        let keys: Vec<u32> = (0..97).map(|index| index * index / 500).collect();
        let parts = shared(&keys, 3, &[(2, 0), (1, 5)]);
        let mut all: Vec<u32> = parts.concat();
        all.sort();
        assert_eq!(all, keys);
        assert!(parts.iter().all(|part| part.is_sorted()));
        assert!(parts.iter().all(|part| part.len() < 64));
    }
}
