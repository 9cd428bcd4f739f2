//! A control group with less memory than is asked for: the kernel would kill, whoever it is, in the group.

use crate::alone::{Traces, alone};
use crate::common::{is_root, payload, skip};
use crate::mounting::{have_own_mounts, run};
use shmlog::{Arena, CreateError, Log, PublishError, Snapshot};
use std::fs::{create_dir_all, read_to_string, write};
use std::path::{Path, PathBuf};

/// Names a control group with a memory controller in which the test may make another, for the kernel's own word on it.
const GROUP: &str = "SHMLOG_CONTROL_GROUP";
const MIB: u64 = 1 << 20;

#[test]
fn a_group_with_too_little_memory_is_an_error_and_no_kill() {
    if !is_root() {
        return skip("control groups", "only root can cover what the kernel says of them");
    }
    alone("control group");
}

/// The kernel's files, or files that look like them.
struct Group {
    dir: PathBuf,
    limit: &'static str,
    usage: &'static str,
}

impl Group {
    fn limit(&self, bytes: u64) {
        write(self.dir.join(self.limit), bytes.to_string()).unwrap();
    }
}

pub fn role() {
    if !have_own_mounts("control groups") {
        return;
    }
    match std::env::var_os(GROUP) {
        Some(parent) => in_a_real_one(Path::new(&parent)),
        None => skip("a real control group", format_args!("{GROUP} names none")),
    }
    let versions = [
        ("cgroup2", "0::", "memory.max", "memory.current"),
        ("cgroup", "9:memory:", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ];
    for (kind, prefix, limit, usage) in versions {
        let Some((root, top)) = mounted(kind) else {
            skip(kind, "none is mounted, or it has no memory");
            continue;
        };
        // What covers it is of another kind, but the mount below is what is looked for.
        let fake = tempfile::tempdir().unwrap();
        let parent = Group { dir: fake.path().join("parent"), limit, usage };
        let child = Group { dir: parent.dir.join("child"), limit, usage };
        create_dir_all(&child.dir).unwrap();
        let own = fake.path().join("own");
        write(&own, format!("{prefix}{}/parent/child\n", root.trim_end_matches('/'))).unwrap();
        assert!(run("mount", &["--bind", fake.path().to_str().unwrap(), &top]));
        let told = format!("/proc/{}/cgroup", std::process::id());
        assert!(run("mount", &["--bind", own.to_str().unwrap(), &told]));
        assert!(read_to_string("/proc/self/cgroup").unwrap().ends_with("/parent/child\n"));
        for (tight, loose) in [(&parent, &child), (&child, &parent)] {
            loose.limit(1 << 40);
            squeeze(tight, || [tight, loose].into_iter().for_each(|group| usage_is(group, 8 * MIB)));
        }
        assert!(run("umount", &[&told]) && run("umount", &[&top]));
    }
}

fn usage_is(group: &Group, bytes: u64) {
    write(group.dir.join(group.usage), bytes.to_string()).unwrap();
}

/// The group at the root of the mount of the hierarchy with memory, and where it is mounted.
fn mounted(kind: &str) -> Option<(String, String)> {
    let mounts = read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| {
        let is_memory = kind == "cgroup2" || line.rsplit(' ').next().unwrap().split(',').any(|word| word == "memory");
        line.contains(&format!(" - {kind} ")) && is_memory
    })?;
    let mut fields = mount.split(' ').skip(3).map(str::to_owned);
    fields.next().zip(fields.next())
}

/// All that takes memory, in a group of 64 MiB of which 8 or so are used.
fn squeeze(group: &Group, settle: impl Fn()) {
    group.limit(64 * MIB);
    settle();
    let log = |mib: u64| Log::builder().windows(2).window_bytes(mib * MIB / 2);
    let before = Traces::of(None);
    for refused in [
        log(128).create_memfd("log").err(),
        Snapshot::builder().capacity_bytes(32 * MIB).create_memfd("state").err(),
        Arena::create_memfd("arena", 100 * MIB).err(),
    ] {
        assert!(matches!(refused, Some(CreateError::NoSpace { .. })), "{refused:?}");
    }
    assert_eq!(Traces::of(None), before);
    let state = Snapshot::builder().capacity_bytes(128 * MIB).sparse(true).create_memfd("state").unwrap();
    let (mut writer, mut reader) = (state.writer().unwrap(), state.reader().unwrap());
    writer.publish(&7_u64).unwrap();
    let grown = writer.publish_with(128 << 20, |_| ());
    assert!(matches!(grown, Err(PublishError::NoSpace { .. })), "{grown:?}");
    assert_eq!(reader.load::<u64>().unwrap().unwrap().value, 7);
    log(16).create_memfd("log").unwrap().appender().unwrap().append(&payload(1, 1, 1000)).unwrap();
    group.limit(512 * MIB);
    log(128).create_memfd("log").unwrap().appender().unwrap().append(&payload(1, 1, 1000)).unwrap();
    writer.publish_with(128 << 20, |_| ()).unwrap();
}

/// In a group of its own, which is removed.
fn in_a_real_one(parent: &Path) {
    let dir = parent.join(format!("shmlog-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let is_two = dir.join("memory.max").exists();
    let (limit, usage) =
        if is_two { ("memory.max", "memory.current") } else { ("memory.limit_in_bytes", "memory.usage_in_bytes") };
    let group = Group { dir, limit, usage };
    let [here, there] = [&group.dir, parent].map(|dir| dir.join("cgroup.procs"));
    let was_there = read_to_string("/proc/self/cgroup").unwrap();
    write(here, "0").unwrap();
    squeeze(&group, || ());
    write(there, "0").unwrap();
    assert!(read_to_string("/proc/self/cgroup").unwrap().lines().count() == was_there.lines().count());
    std::fs::remove_dir(&group.dir).unwrap();
}
