//! What the kernel tells of this process, under the names that Prometheus' own clients use.
//!
//! Read from `/proc` when somebody asks; what is not there is not told.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Ticks in a second of the times in `/proc`: `USER_HZ`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Reads `/proc`.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut tell = |name: &str, help: &str, value: Option<&dyn EncodeMetric>| {
            let Some(value) = value else { return Ok(()) };
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
        };
        let stat = Stat::read();
        let cpu = stat.as_ref().map(|stat| ConstCounter::new(stat.cpu));
        let start = stat.as_ref().and_then(Stat::start).map(ConstGauge::new);
        let memory = resident().map(ConstGauge::new);
        let open = fs::read_dir("/proc/self/fd").ok();
        let open = open.map(|open| ConstGauge::new(open.count() as f64));
        tell(
            "process_cpu_seconds",
            "User and system CPU time spent",
            cpu.as_ref().map(|value| value as &dyn EncodeMetric),
        )?;
        tell(
            "process_start_time_seconds",
            "Start of the process since the Unix epoch",
            start.as_ref().map(|value| value as &dyn EncodeMetric),
        )?;
        tell(
            "process_resident_memory_bytes",
            "Resident memory",
            memory.as_ref().map(|value| value as &dyn EncodeMetric),
        )?;
        tell(
            "process_open_fds",
            "Open file descriptors",
            open.as_ref().map(|value| value as &dyn EncodeMetric),
        )
    }
}

/// Of `/proc/self/stat`.
struct Stat {
    /// Seconds.
    cpu: f64,
    /// Seconds since the machine started.
    started: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the command in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<f64> = rest.split(' ').map(|f| f.parse().unwrap_or(0.0)).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            cpu: (field(14)? + field(15)?) / TICKS,
            started: field(22)? / TICKS,
        })
    }

    /// Unix seconds.
    fn start(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(boot.trim().parse::<f64>().ok()? + self.started)
    }
}

/// Bytes.
fn resident() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
