//! What ptxas says of each kernel, read and put as a table.

/// What one kernel takes on one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub kernel: String,
    pub architecture: u32,
    pub registers: u32,
    /// What is chosen at the launch is not in it.
    pub shared_bytes: u32,
    pub stack_bytes: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
}

/// Of all kernels in the log of one run. What functions that a kernel calls need is the kernel's.
pub fn parse(log: &str) -> Result<Vec<Usage>, String> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, entry)) = line.split_once("Compiling entry function ") {
            usages.push(begun(entry).ok_or_else(|| format!("ptxas says {line:?}"))?);
            continue;
        }
        let Some(usage) = usages.last_mut() else {
            continue;
        };
        let number = |before: &str, after: &str| number(line, before, after);
        if let Some(bytes) = number("", "bytes stack frame") {
            usage.stack_bytes += bytes;
            usage.spill_stores += number(",", "bytes spill stores").unwrap_or(0);
            usage.spill_loads += number(",", "bytes spill loads").unwrap_or(0);
        } else if let Some(registers) = number("Used", "registers") {
            usage.registers = registers;
            usage.shared_bytes = number(",", "bytes smem").unwrap_or(0);
        }
    }
    match usages.iter().find(|usage| usage.registers == 0) {
        Some(usage) => Err(format!("ptxas does not say what {} takes", usage.kernel)),
        None if usages.is_empty() => Err("ptxas names no kernel".to_owned()),
        None => Ok(usages),
    }
}

/// From `'NAME' for 'sm_NN'`.
fn begun(entry: &str) -> Option<Usage> {
    let mut quoted = entry.split('\'').skip(1).step_by(2);
    Some(Usage {
        kernel: quoted.next()?.to_owned(),
        architecture: quoted.next()?.strip_prefix("sm_")?.parse().ok()?,
        registers: 0,
        shared_bytes: 0,
        stack_bytes: 0,
        spill_stores: 0,
        spill_loads: 0,
    })
}

/// The number that alone stands between the two.
fn number(line: &str, before: &str, after: &str) -> Option<u32> {
    let (left, _) = line.split_once(after)?;
    let text = if before.is_empty() {
        left
    } else {
        left.rsplit_once(before)?.1
    };
    text.trim().parse().ok()
}

pub fn table(usages: &[Usage]) -> String {
    let width = usages.iter().map(|usage| usage.kernel.len()).max();
    let width = width.unwrap_or(0).max("kernel".len());
    let mut lines = vec![format!(
        "{:width$}  arch    registers  shared  stack  spill stores  spill loads",
        "kernel"
    )];
    for usage in usages {
        lines.push(format!(
            "{:width$}  sm_{:<4} {:>9}  {:>6}  {:>5}  {:>12}  {:>11}",
            usage.kernel,
            usage.architecture,
            usage.registers,
            usage.shared_bytes,
            usage.stack_bytes,
            usage.spill_stores,
            usage.spill_loads
        ));
    }
    lines.join("\n")
}

/// A register that is spilled is read back from memory in the innermost loop.
pub fn refuse_spills(usages: &[Usage]) -> Result<(), String> {
    let spilled: Vec<String> = usages
        .iter()
        .filter(|usage| usage.spill_stores > 0 || usage.spill_loads > 0)
        .map(|usage| format!("  {} on sm_{}", usage.kernel, usage.architecture))
        .collect();
    if spilled.is_empty() {
        return Ok(());
    }
    Err(format!(
        "registers are spilled to memory:\n{}\nkeep fewer values at once: roll a loop, load later, or launch fewer threads (__launch_bounds__)",
        spilled.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one_kernel' for 'sm_90'
ptxas info    : Function properties for one_kernel
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 254 registers, used 1 barriers
ptxas info    : Compile time = 239.708 ms
ptxas warning : Registers are spilled to local memory in function 'other_kernel', 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Compiling entry function 'other_kernel' for 'sm_90'
ptxas info    : Function properties for other_kernel
    16 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Function properties for called
    8 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 16 bytes cumulative stack size, 512 bytes smem, 464 bytes cmem[0]
";

    #[test]
    fn reads_what_each_kernel_takes() {
        let usages = parse(LOG).unwrap();
        let usage = |kernel: &str, registers, shared_bytes, stack_bytes, spills: [u32; 2]| Usage {
            kernel: kernel.to_owned(),
            architecture: 90,
            registers,
            shared_bytes,
            stack_bytes,
            spill_stores: spills[0],
            spill_loads: spills[1],
        };
        let expected = [
            usage("one_kernel", 254, 0, 0, [0, 0]),
            usage("other_kernel", 128, 512, 24, [20, 20]),
        ];
        assert_eq!(usages, expected);
        assert_eq!(table(&usages).lines().count(), 3);
    }

    #[test]
    fn a_spill_is_refused_with_its_kernel() {
        let usages = parse(LOG).unwrap();
        assert!(refuse_spills(&usages[..1]).is_ok());
        let refusal = refuse_spills(&usages).unwrap_err();
        assert!(refusal.contains("other_kernel on sm_90"), "{refusal}");
        assert!(!refusal.contains("one_kernel"), "{refusal}");
    }

    #[test]
    fn a_log_that_says_too_little_is_an_error() {
        assert!(parse("").is_err());
        let cut = LOG.split("ptxas info    : Used").next().unwrap();
        assert!(parse(cut).is_err());
    }
}
