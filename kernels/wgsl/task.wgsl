// A ciphertext that is looked up.

struct Task {
    // Its key's place among those that lie in one buffer.
    slot: u32,
    table: u32,
}
