//! The tool as people run it.

mod common;

use common::{bad, descriptor, good, run, shmlog};
use serde_json::Value;
use shmlog::{Appender, Log, LogBuilder, Retention, Shared, Start};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Tells a thread to end, also when the test fails.
struct Ending<'f>(&'f AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Named {
    _dir: tempfile::TempDir,
    path: PathBuf,
    log: Log,
}

fn named(builder: &LogBuilder) -> Named {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed");
    let log = builder.create_at(&path).unwrap();
    Named { _dir: dir, path, log }
}

fn overwriting() -> LogBuilder {
    Log::builder().windows(2).window_bytes(64 << 10).retention(Retention::Overwrite)
}

/// Appends until the log has come round at least twice; returns the next sequence number.
fn lap(appender: &mut Appender<Shared>) -> u64 {
    (0..4000).map(|number: u64| appender.append_value(&[number; 8]).unwrap()).last().unwrap() + 1
}

#[test]
fn info_of_a_named_log() {
    let Named { path, log, _dir } = named(&Log::builder().windows(4).window_bytes(1 << 20));
    let mut appender = log.appender_named("feeder").unwrap();
    appender.append(b"one").unwrap();
    let mut reader = log.reader_builder().name("risk\x1b[2J").gated(true).start(Start::Oldest).unwrap();
    reader.try_next().unwrap();
    appender.append(b"two").unwrap();

    let text = good(&["info"], &path);
    for line in [
        "name         feed",
        "backing      file",
        "windows      4 of 1 MiB",
        "retention    gated",
        "seals        none",
        "segments     head 0, active 0",
        "records      oldest 0, next 2: 2 retained",
        "closed       no",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let table: Vec<_> = text.lines().skip_while(|line| !line.starts_with("slot")).skip(1).collect();
    let words = |row: usize| table[row].split_whitespace().collect::<Vec<_>>().join(" ");
    let pid = std::process::id();
    assert_eq!(words(0), format!("0 appender feeder {pid} yes - - -"));
    assert_eq!(words(1), format!("64 gated reader risk\\u{{1b}}[2J {pid} yes 0 2 0"));
}

#[test]
fn info_as_an_object_has_every_field() {
    let log = Log::builder().create_memfd("info-memfd").unwrap();
    let _appender = log.exclusive_named("feeder").unwrap();
    let object: Value =
        serde_json::from_str(&good(&["info", "--json"], &descriptor("/memfd:shmlog:info-memfd:log (deleted)")))
            .unwrap();
    let info = log.info();
    assert_eq!(object["name"], "info-memfd");
    assert_eq!(object["id"], format!("{:032x}", info.id));
    assert_eq!(object["backing"], "memfd");
    assert_eq!(object["huge_page_bytes"], Value::Null);
    assert_eq!(object["region_bytes"], info.region_bytes);
    assert_eq!(object["max_record_bytes"], info.max_record_bytes);
    assert_eq!(object["created_unix_ns"], info.created_unix_ns);
    assert_eq!(object["seals"], serde_json::json!(["shrink", "grow", "seal"]));
    assert_eq!(object["is_closed"], false);
    let participant = serde_json::json!({
        "slot": 0, "role": "exclusive appender", "name": "feeder", "pid": std::process::id(), "alive": true,
        "position": null, "lag": null, "holds_segment": null,
    });
    assert_eq!(object["participants"], serde_json::json!([participant]));
}

#[test]
fn a_log_without_its_board_has_unknown_participants() {
    let log = Log::builder().create_memfd("lonely").unwrap();
    let mut appender = log.appender().unwrap();
    appender.append(b"here").unwrap();
    let file = File::open(descriptor("/memfd:shmlog:lonely:log (deleted)")).unwrap();
    let on_stdin = |args: &[&str]| {
        let mut command = shmlog(args, Path::new("/proc/self/fd/0"));
        let output = command.stdin(file.try_clone().unwrap()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_stdin(&["info"]).ends_with("participants none known\n"));
    assert_eq!(on_stdin(&["dump", "--format", "text"]), "0\t4\there\n");
}

#[test]
fn every_format() {
    let Named { path, log, _dir } = named(&Log::builder());
    let mut appender = log.appender().unwrap();
    appender.append("two\nlines".as_bytes()).unwrap();
    appender.append(b"\xff\x00").unwrap();
    appender.append_parts(&[b"a", b"", b"\xfe"]).unwrap();
    appender.append(b"").unwrap();
    let dump = |format| good(&["dump", "--format", format], &path);
    assert_eq!(dump("hex"), "0\t9\t74776f0a6c696e6573\n1\t2\tff00\n2.0\t1\t61\n2.1\t0\t\n2.2\t1\tfe\n3\t0\t\n");
    assert_eq!(dump("text"), "0\t9\ttwo\\nlines\n1\t2\t\\xff\\0\n2.0\t1\ta\n2.1\t0\t\n2.2\t1\t\\xfe\n3\t0\t\n");
    assert_eq!(dump("length"), "0\t9\n1\t2\n2.0\t1\n2.1\t0\n2.2\t1\n3\t0\n");
    assert_eq!(good(&["dump"], &path), dump("hex"));
    let parts = serde_json::json!([{"len": 1, "text": "a"}, {"len": 0, "text": ""}, {"len": 1, "hex": "fe"}]);
    assert_eq!(
        objects(&dump("json")),
        [
            serde_json::json!({"seq": 0, "len": 9, "kind": "record", "text": "two\nlines"}),
            serde_json::json!({"seq": 1, "len": 2, "kind": "record", "hex": "ff00"}),
            serde_json::json!({"seq": 2, "len": 40, "kind": "batch", "parts": parts}),
            serde_json::json!({"seq": 3, "len": 0, "kind": "record", "text": ""}),
        ]
    );
}

#[test]
fn ranges() {
    let Named { path, log, _dir } = named(&Log::builder());
    let mut appender = log.appender().unwrap();
    for _ in 0..10 {
        appender.append(b"x").unwrap();
    }
    let seqs = |args: &[&str]| {
        let text = good(&[&["dump", "--format", "length"], args].concat(), &path);
        text.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(seqs(&[]), Vec::from_iter(0..10));
    assert_eq!(seqs(&["--from", "oldest", "--to", "2"]), [0, 1]);
    assert_eq!(seqs(&["--from", "7"]), [7, 8, 9]);
    assert_eq!(seqs(&["--from", "3", "--to", "5"]), [3, 4]);
    assert!(seqs(&["--from", "3", "--to", "3"]).is_empty());
    assert_eq!(seqs(&["--from", "4", "--count", "2"]), [4, 5]);
    assert!(seqs(&["--from", "end"]).is_empty());
    assert!(seqs(&["--from", "10"]).is_empty());
    assert_eq!(seqs(&["--from", "8", "--to", "10", "--follow"]), [8, 9]);
    assert!(bad(&["dump", "--from", "11"], &path).contains("record 11 does not exist yet"));
    assert_eq!(run(&["dump", "--from", "middle"], &path).status.code(), Some(2));
}

fn start(args: &[&str], log: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = shmlog(args, log).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn following_goes_on_until_the_log_is_closed() {
    let log = Log::builder().create_memfd("followed").unwrap();
    let mut appender = log.appender().unwrap();
    appender.append(b"first").unwrap();
    let path = descriptor("/memfd:shmlog:followed:log (deleted)");
    let (mut child, mut out) = start(&["dump", "--follow", "--format", "text"], &path);
    assert_eq!(line(&mut out), "0\t5\tfirst\n");
    appender.append(b"second").unwrap();
    assert_eq!(line(&mut out), "1\t6\tsecond\n");
    appender.close().unwrap();
    assert_eq!(line(&mut out), "");
    assert!(child.wait().unwrap().success());
    assert!(good(&["info"], &path).contains("closed       yes"));
    assert_eq!(good(&["dump", "--format", "length"], &path), "0\t5\n1\t6\n");
}

#[test]
fn what_was_given_up_is_reported() {
    let Named { path, log, _dir } = named(&overwriting());
    let next = lap(&mut log.appender().unwrap());
    let oldest = log.info().oldest_seq;
    let output = run(&["dump", "--from", "0", "--format", "json"], &path);
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("{oldest} records were given up before they were read; the next is {oldest}")));
    let objects = objects(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(objects[0], serde_json::json!({"lagged": {"missed": oldest, "next": oldest}}));
    assert_eq!(objects.len() as u64, 1 + next - oldest);
    assert_eq!(objects[1]["seq"], oldest);
}

/// From record `next` on, if that is known, every record is there and as it was written, or was
/// reported as missed, and none twice.
fn check_dense(objects: &[Value], mut next: Option<u64>, payload: impl Fn(u64) -> String) {
    for object in objects {
        if let Some(lagged) = object.get("lagged") {
            let to = lagged["next"].as_u64().unwrap();
            let from = to - lagged["missed"].as_u64().unwrap();
            assert_eq!(from, next.unwrap_or(from));
            next = Some(to);
            continue;
        }
        let seq = object["seq"].as_u64().unwrap();
        assert_eq!(seq, next.unwrap_or(seq));
        assert_eq!(object["text"].as_str().unwrap(), payload(seq));
        next = Some(seq + 1);
    }
}

#[test]
fn a_live_log_that_overwrites_is_dumped_without_mixtures() {
    let Named { path, log, _dir } = named(&overwriting());
    let payload = |seq: u64| format!("{seq:x}-").repeat(1 + usize::try_from(seq % 50).unwrap());
    let mut appender = log.appender().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 0.. {
                appender.append(payload(seq).as_bytes()).unwrap();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let _ending = Ending(&is_over);
        let dump = |args: &[&str]| {
            let output = run(&[&["dump", "--format", "json"], args].concat(), &path);
            assert!(output.status.success(), "{output:?}");
            objects(&String::from_utf8(output.stdout).unwrap())
        };
        let followed = dump(&["--from", "0", "--follow", "--count", "20000"]);
        assert_eq!(followed.iter().filter(|object| object.get("seq").is_some()).count(), 20_000);
        check_dense(&followed, Some(0), payload);
        check_dense(&dump(&[]), None, payload);
        assert!(good(&["info"], &path).contains("retention    overwrite"));
    });
}

#[test]
fn a_log_is_left_as_it_was() {
    let Named { path, log, _dir } = named(&Log::builder());
    let _reader = log.reader(Start::Oldest).unwrap();
    lap(&mut log.appender().unwrap());
    let bytes = || ["log", "board", "lock"].map(|file| fs::read(path.join(file)).unwrap());
    let before = bytes();
    good(&["info"], &path);
    good(&["dump"], &path);
    good(&["dump", "--follow", "--count", "10"], &path);
    assert!(bytes() == before);
}

#[test]
fn a_closed_pipe_ends_a_dump_quietly() {
    let Named { path, log, _dir } = named(&Log::builder());
    lap(&mut log.appender().unwrap());
    // More than a pipe holds; and a quiet log, where nothing is written any more.
    for args in [&["dump"][..], &["dump", "--from", "3999", "--follow"]] {
        let (mut child, mut out) = start(args, &path);
        assert!(!line(&mut out).is_empty());
        drop(out);
        assert!(child.wait().unwrap().success());
        let mut stderr = String::new();
        child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_damaged_record_ends_a_dump() {
    let Named { path, log, _dir } = named(&Log::builder());
    let mut appender = log.appender().unwrap();
    for len in [5, 777, 5] {
        appender.append(&vec![b'x'; len]).unwrap();
    }
    let mut bytes = fs::read(path.join("log")).unwrap();
    // The one commit word of the first lap with that length.
    let is_it = |word: &[u8]| u64::from_le_bytes(word.try_into().unwrap()) >> 24 == 2 << 26 | 777;
    let at = 8 * bytes.chunks_exact(8).position(is_it).unwrap();
    bytes[at + 6] |= 3;
    fs::write(path.join("log"), &bytes).unwrap();
    let output = run(&["dump", "--format", "length"], &path);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"0\t5\n");
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("shmlog: the entry of record 1 is damaged"));
}

#[test]
fn what_is_no_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign");
    fs::write(&foreign, vec![0; 1 << 20]).unwrap();
    let open = File::open(&foreign).unwrap();
    let _log = Log::builder().create_memfd("refused").unwrap();
    let link = foreign.canonicalize().unwrap();
    for (path, complaint) in [
        (dir.path().join("nothing"), "nothing there"),
        (dir.path().to_owned(), "nothing there"),
        (foreign, "nothing there"),
        (PathBuf::from("/proc/self/fd/999999"), "nothing there"),
        (descriptor(link.to_str().unwrap()), "does not begin as one"),
        (descriptor("/memfd:shmlog:refused:board (deleted)"), "this is a board: name the log's descriptor"),
    ] {
        for command in ["info", "dump"] {
            let stderr = bad(&[command], &path);
            assert!(stderr.starts_with("shmlog: ") && stderr.contains(complaint), "{path:?}: {stderr}");
        }
    }
    drop(open);
}
