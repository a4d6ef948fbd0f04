//! When a window takes contributions (pure).

use fhe::counters::Window;

/// A window is open for so long after its end: who counted at the last moment has to encrypt and send.
pub(super) const LATE_SECONDS: u64 = 60;
/// And so long before it begins: the clocks of contributors may be ahead of the gateway's.
const EARLY_SECONDS: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Open,
    Over,
    Early { wait_s: u64 },
}

pub(super) fn place(window: Window, now: u64) -> Place {
    if is_over(window, now) {
        return Place::Over;
    }
    match window.start().saturating_sub(EARLY_SECONDS) {
        opens if opens > now => Place::Early {
            wait_s: opens - now,
        },
        _ => Place::Open,
    }
}

pub(super) fn is_over(window: Window, now: u64) -> bool {
    now >= window.end() + LATE_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_a_little_before_and_after_its_time() {
        let window = Window::new(1200, 600).unwrap();
        for (now, expected) in [
            (0, Place::Early { wait_s: 1140 }),
            (1139, Place::Early { wait_s: 1 }),
            (1140, Place::Open),
            (1859, Place::Open),
            (1860, Place::Over),
            (u64::MAX, Place::Over),
        ] {
            assert_eq!(place(window, now), expected, "{now}");
        }
        assert_eq!(place(Window::new(0, 10).unwrap(), 0), Place::Open);
    }
}
