//! Against a model: what every block must hold, over random sequences of what callers do.
#![allow(
    unsafe_code,
    reason = "what is tested is called by its unsafe interface"
)]

use std::alloc::{GlobalAlloc, Layout};

use proptest::prelude::*;

use super::{LARGEST, Lists, STEP};

#[derive(Debug, Clone)]
enum Step {
    Alloc { size: usize, align: usize },
    Free { which: usize },
    Realloc { which: usize, size: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || {
        prop_oneof![
            1..64_usize,
            1..LARGEST + 64,
            Just(LARGEST),
            Just(LARGEST + 1),
            1..20_000_usize
        ]
    };
    let align = prop_oneof![Just(1_usize), Just(4), Just(8), Just(STEP), Just(STEP * 2)];
    let step = prop_oneof![
        3 => (size(), align).prop_map(|(size, align)| Step::Alloc { size, align }),
        2 => any::<usize>().prop_map(|which| Step::Free { which }),
        2 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Realloc { which, size }),
    ];
    proptest::collection::vec(step, 1..200)
}

struct Block {
    at: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Block {
    fn fill(&self) {
        // SAFETY: the block is live and has this size.
        unsafe { self.at.write_bytes(self.mark, self.layout.size()) };
    }

    fn holds(&self, bytes: usize) -> bool {
        // SAFETY: the block is live, has at least so many bytes, and all of them were written.
        let held = unsafe { std::slice::from_raw_parts(self.at, bytes) };
        held.iter().all(|byte| *byte == self.mark)
    }
}

proptest! {
    #[test]
    fn blocks_never_share_a_byte_and_keep_what_was_written(steps in steps()) {
        let lists = Lists::new();
        let mut live: Vec<Block> = Vec::new();
        for (nth, step) in steps.into_iter().enumerate() {
            match step {
                Step::Alloc { size, align } => {
                    let layout = Layout::from_size_align(size, align).expect("a sound layout");
                    // SAFETY: the size is not zero.
                    let at = unsafe { lists.alloc(layout) };
                    prop_assert!(!at.is_null() && at.addr().is_multiple_of(align));
                    let block = Block { at, layout, mark: nth as u8 };
                    block.fill();
                    live.push(block);
                }
                Step::Free { which } if !live.is_empty() => {
                    let block = live.swap_remove(which % live.len());
                    prop_assert!(block.holds(block.layout.size()));
                    // SAFETY: it is live, and this is its layout.
                    unsafe { lists.dealloc(block.at, block.layout) };
                }
                Step::Realloc { which, size } if !live.is_empty() => {
                    let which = which % live.len();
                    let block = &mut live[which];
                    let kept = block.layout.size().min(size);
                    // SAFETY: it is live, this is its layout, and the size is not zero.
                    block.at = unsafe { lists.realloc(block.at, block.layout, size) };
                    block.layout = Layout::from_size_align(size, block.layout.align()).expect("a sound layout");
                    prop_assert!(block.at.addr().is_multiple_of(block.layout.align()) && block.holds(kept));
                    block.fill();
                }
                Step::Free { .. } | Step::Realloc { .. } => {}
            }
        }
        for block in live {
            prop_assert!(block.holds(block.layout.size()));
            // SAFETY: it is live, and this is its layout.
            unsafe { lists.dealloc(block.at, block.layout) };
        }
    }
}

#[test]
fn a_freed_block_is_the_next_one_of_its_size() {
    let lists = Lists::new();
    let layout = |size| Layout::from_size_align(size, 1).expect("a sound layout");
    // SAFETY: sizes are not zero, and every block is freed with the layout of its list.
    unsafe {
        let first = lists.alloc(layout(33));
        let other = lists.alloc(layout(17));
        assert_ne!(first, other);
        lists.dealloc(first, layout(33));
        assert_eq!(lists.alloc(layout(48)), first);
        assert_eq!(lists.realloc(first, layout(48), 34), first);
    }
}
