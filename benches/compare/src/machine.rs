//! What it ran on.

use serde::Serialize;
use std::fs::read_to_string;

/// The machine, and what it was busy with.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores that there are.
    pub cores: usize,
    /// Those that were pinned to.
    pub pinned: Vec<usize>,
    /// Bytes of the largest cache.
    pub cache: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Of the processor's frequency.
    pub governor: String,
    /// Whether it is a guest.
    pub is_virtual: bool,
    /// Load averages when it began.
    pub load: String,
    /// Pages of 2 MiB in the pool.
    pub huge_pages: String,
    /// File system of the journals, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// Seconds of each trial.
    pub seconds: f64,
    /// Rounds.
    pub rounds: usize,
    /// What each log, or ring, may take of the cache.
    pub footprint_bytes: u64,
}

impl Machine {
    /// This one.
    pub fn look(args: &crate::args::Args) -> Self {
        let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let line = |name: &str| {
            let found = cpuinfo.lines().find(|line| line.starts_with(name));
            found.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        Self {
            cpu: line("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            pinned: args.cores.clone(),
            cache: word("/sys/devices/system/cpu/cpu0/cache/index3/size"),
            kernel: word("/proc/sys/kernel/osrelease"),
            governor: word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            is_virtual: line("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            load: read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" "),
            huge_pages: word("/proc/sys/vm/nr_hugepages"),
            file_system: args.dir.as_deref().map(crate::durable::disk::file_system),
            seconds: args.seconds,
            rounds: args.rounds,
            footprint_bytes: args.windows * args.window_bytes,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let guest = if self.is_virtual { " (guest)" } else { "" };
        let disk = self.file_system.as_ref().map_or_else(String::new, |name| format!(", journals on {name}"));
        format!(
            "{}{guest}, {} cores, pinned to {:?}, last cache {}, Linux {}, governor {}, load {}, huge pages {}{disk}\n\
             {} rounds of {} s, footprint {} KiB; medians over rounds",
            self.cpu,
            self.cores,
            self.pinned,
            self.cache,
            self.kernel,
            self.governor,
            self.load,
            self.huge_pages,
            self.rounds,
            self.seconds,
            self.footprint_bytes >> 10,
        )
    }
}

fn word(path: &str) -> String {
    read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
