// Sizes of the parameter set, and of workgroups.

const N: u32 = 2048u;
const LWE_WORDS: u32 = 2049u;
const SMALL: u32 = 918u;
const SMALL_WORDS: u32 = 919u;
const THREADS: u32 = 256u;
