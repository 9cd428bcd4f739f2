//! How much memory can still be had: of the machine, and of the control groups that this process is in
//! (cgroups(7), versions 1 and 2).
//!
//! Asked for more, a memfd or a file on tmpfs does not refuse: the kernel starts killing. What is read here is true
//! for a moment only: others may take the memory before it is used.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a limit must leave beside what is asked for: page tables and the kernel's own records of the pages.
const KERNEL_PART: u64 = 64;
/// Kept free in a group, as the kernel charges in batches.
const MARGIN_BYTES: u64 = 1 << 20;

/// Bytes of memory and swap that can still be had; `None` where /proc does not say.
///
/// # Errors
/// It can't be asked, as there is no descriptor left.
pub(crate) fn memory_left() -> io::Result<Option<u64>> {
    let Some(machine) = read(Path::new("/proc/meminfo"))? else { return Ok(None) };
    let kib = |name| field(&machine, name);
    let Some(available) = kib("MemAvailable:") else { return Ok(None) };
    let swap = kib("SwapFree:").unwrap_or(0) << 10;
    let (own, mounts) = (read(Path::new("/proc/self/cgroup"))?, read(Path::new("/proc/self/mountinfo"))?);
    let mut left = (available << 10).saturating_add(swap);
    for (version, dir, top) in hierarchies(&own.unwrap_or_default(), &mounts.unwrap_or_default()) {
        for group in dir.ancestors().take_while(|group| group.starts_with(&top)) {
            left = left.min(left_in(group, version, swap)?);
        }
    }
    Ok(Some(left))
}

/// The two versions of control groups: what their files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// Of swap; in version 1 of memory and swap.
    swap_limit: &'static str,
    swap_usage: &'static str,
    /// Pages of files that can be written back, in memory.stat.
    files: [&'static str; 2],
    is_swap_apart: bool,
}

const ONE: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    swap_limit: "memory.memsw.limit_in_bytes",
    swap_usage: "memory.memsw.usage_in_bytes",
    files: ["total_inactive_file ", "total_active_file "],
    is_swap_apart: false,
};
const TWO: Version = Version {
    limit: "memory.max",
    usage: "memory.current",
    swap_limit: "memory.swap.max",
    swap_usage: "memory.swap.current",
    files: ["inactive_file ", "active_file "],
    is_swap_apart: true,
};

/// This process's groups that may limit memory: the version, the group's directory, and that of the topmost one
/// that can be seen. `own` and `mounts` are /proc/self/cgroup and /proc/self/mountinfo.
fn hierarchies(own: &str, mounts: &str) -> Vec<(Version, PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (version, kind) = match controllers {
            "" => (TWO, "cgroup2"),
            _ if controllers.split(',').any(|controller| controller == "memory") => (ONE, "cgroup"),
            _ => continue,
        };
        if let Some((root, top)) = mounts.lines().find_map(|mount| mounted(mount, kind)) {
            // A group outside of what is mounted here: its limits are those of the mount's root, as far as is known.
            let below = Path::new(path).strip_prefix(root).ok().filter(|below| !below.starts_with(".."));
            let below = below.unwrap_or(Path::new(""));
            found.push((version, top.join(below), top));
        }
    }
    found
}

/// The group that is at the root of a mount of this kind, and where it is mounted.
fn mounted<'l>(mount: &'l str, kind: &str) -> Option<(&'l str, PathBuf)> {
    let (place, file_system) = mount.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let is_memory = file_system.next()? == kind
        && (kind == "cgroup2" || file_system.nth(1)?.split(',').any(|option| option == "memory"));
    let mut place = place.split(' ').skip(3);
    let (root, at) = (place.next()?, place.next()?);
    is_memory.then(|| (root, PathBuf::from(at.replace("\\040", " "))))
}

/// What can still be had in one group, with `swap` bytes free on the machine.
fn left_in(group: &Path, version: Version, swap: u64) -> io::Result<u64> {
    let number = |name: &str| -> io::Result<Option<u64>> {
        Ok(read(&group.join(name))?.and_then(|text| text.trim().parse().ok()))
    };
    // None, or "max": no limit.
    let (Some(limit), Some(usage)) = (number(version.limit)?, number(version.usage)?) else { return Ok(u64::MAX) };
    let stat = read(&group.join("memory.stat"))?.unwrap_or_default();
    let files = version.files.iter().filter_map(|name| field(&stat, name)).fold(0, u64::saturating_add);
    let room = limit.saturating_sub(usage).saturating_add(files);
    let swap_room = match (number(version.swap_limit)?, number(version.swap_usage)?) {
        (Some(limit), Some(usage)) if version.is_swap_apart => limit.saturating_sub(usage),
        (Some(both), Some(usage)) => both.saturating_sub(usage).saturating_add(files).saturating_sub(room),
        _ => u64::MAX,
    };
    let left = room.saturating_add(swap.min(swap_room));
    Ok(left - (left / KERNEL_PART).saturating_add(MARGIN_BYTES).min(left))
}

/// The number behind `name` in a text of one field a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().trim_end_matches(" kB").parse().ok()
}

/// A file of the kernel's; `None` if it is not there or not to be read.
fn read(path: &Path) -> io::Result<Option<String>> {
    use rustix::io::Errno;
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if [Errno::MFILE, Errno::NFILE].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error())) => {
            Err(error)
        }
        Err(error) if error.kind() == ErrorKind::OutOfMemory => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MIB: u64 = 1 << 20;

    #[test]
    fn groups_of_both_versions_are_found() {
        let own = "4:cpu,memory:/a/b\n1:cpu:/x\n0::/c\nnonsense\n";
        let mounts = "1 2 0:1 / / rw - ext4 /dev/vda rw\n\
            33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
            34 31 0:31 /a /sys/fs/cgroup/my\\040memory rw shared:9 - cgroup cgroup rw,cpu,memory\n\
            35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = [
            (ONE, PathBuf::from("/sys/fs/cgroup/my memory/b"), PathBuf::from("/sys/fs/cgroup/my memory")),
            (TWO, PathBuf::from("/sys/fs/cgroup/unified/c"), PathBuf::from("/sys/fs/cgroup/unified")),
        ];
        assert_eq!(hierarchies(own, mounts), expected);
        assert_eq!(hierarchies("0::/../elsewhere\n", mounts)[0].1, Path::new("/sys/fs/cgroup/unified"));
        assert!(hierarchies(own, "").is_empty());
    }

    #[test]
    fn what_a_group_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let left = |version, swap| left_in(dir.path(), version, swap).unwrap();
        let less_kernel = |bytes: u64| bytes - bytes / KERNEL_PART - MARGIN_BYTES;
        assert_eq!(left(TWO, 0), u64::MAX, "no such controller");
        put("memory.current", &format!("{}\n", 60 * MIB));
        put("memory.max", "max\n");
        assert_eq!(left(TWO, 0), u64::MAX);
        put("memory.max", &format!("{}\n", 100 * MIB));
        assert_eq!(left(TWO, 0), less_kernel(40 * MIB));
        put("memory.stat", &format!("anon 7\ninactive_file {}\nactive_file {}\n", 8 * MIB, 2 * MIB));
        assert_eq!(left(TWO, 0), less_kernel(50 * MIB), "pages of files can be written back");
        assert_eq!(left(TWO, 5 * MIB), less_kernel(55 * MIB));
        put("memory.swap.max", "0\n");
        put("memory.swap.current", "0\n");
        assert_eq!(left(TWO, 5 * MIB), less_kernel(50 * MIB));
        put("memory.current", &format!("{}\n", 200 * MIB));
        put("memory.stat", "");
        assert_eq!(left(TWO, 0), 0);
        put("memory.limit_in_bytes", &format!("{}\n", 100 * MIB));
        put("memory.usage_in_bytes", &format!("{}\n", 90 * MIB));
        assert_eq!(left(ONE, 30 * MIB), less_kernel(40 * MIB));
        put("memory.memsw.limit_in_bytes", &format!("{}\n", 105 * MIB));
        put("memory.memsw.usage_in_bytes", &format!("{}\n", 90 * MIB));
        assert_eq!(left(ONE, 30 * MIB), less_kernel(15 * MIB));
    }
}
