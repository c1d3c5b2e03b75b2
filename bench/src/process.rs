//! What another process uses, as Linux counts it.

use std::fs;
use std::time::Duration;

/// The processor time of processes, all of their threads together, to the nanosecond.
pub fn cpu_time(pids: &[u32]) -> Duration {
    pids.iter().map(|&pid| one(pid).unwrap_or_else(|| panic!("there is no process {pid}"))).sum()
}

fn one(pid: u32) -> Option<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both write to a variable that lives.
    let is_read = unsafe {
        libc::clock_getcpuclockid(pid as i32, &mut clock) == 0 && libc::clock_gettime(clock, &mut time) == 0
    };
    is_read.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// What processes have in memory, in KiB: anonymous and file pages, shared ones in part (PSS).
pub fn resident_kib(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or("Pss: 0");
        line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0)
    };
    pids.iter().map(of).sum()
}
