//! What another process uses, as Linux counts it.

use std::fs;
use std::time::Duration;

/// The processor time of a process, all of its threads together: to the nanosecond, where
/// `/proc/PID/stat` counts hundredths of a second.
pub fn cpu_time(pid: u32) -> Duration {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanoseconds)
}

/// What it has in memory, in bytes: anonymous and file pages that are its share (PSS).
pub fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or("Pss: 0");
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
}
