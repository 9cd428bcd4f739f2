use super::*;

const ALL: &str = r#"
    directory = "orders"
    prefix = "a-"
    file_bytes = 131_072
    retain_files = 3
    retain_bytes = 1_000_000
    retain_age = "7d"
    front = "/dev/shm/fronts"
    front_windows = 4
    front_window_bytes = 65536
    record_bytes = 150
    flush_after = "2ms"
    mode = "0640"
    open_wait = "5 s"
    thread = false
    read_only = true
"#;

#[test]
fn every_key_is_a_setting() {
    let builder = JournalBuilder::from_toml(ALL).unwrap();
    assert_eq!(builder.directory(), Some(Path::new("orders")));
    let settings = &builder.settings;
    assert_eq!((settings.prefix.as_str(), settings.file_bytes), ("a-", 128 << 10));
    let retain = settings.retain;
    assert_eq!((retain.files, retain.bytes), (Some(3), Some(1_000_000)));
    assert_eq!(retain.age, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(settings.front, FrontHome::At("/dev/shm/fronts".into()));
    assert_eq!((settings.front_windows, settings.front_window_bytes, settings.record_bytes), (4, 64 << 10, 150));
    assert_eq!(settings.flush, Flush::After(Duration::from_millis(2)));
    assert_eq!((settings.mode, settings.open_wait, settings.has_thread), (0o640, Duration::from_secs(5), false));
    assert!(settings.is_read_only);
    // And there is none that is not told of.
    let keys = ALL.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim());
    assert_eq!(keys.collect::<Vec<_>>().join(", "), KEYS);
}

#[test]
fn json_says_the_same() {
    let table: Table = toml::from_str(ALL).unwrap();
    let json = Value::Object(table.0.into_iter().collect()).to_string();
    let (json, toml) = (JournalBuilder::from_json(&json).unwrap(), JournalBuilder::from_toml(ALL).unwrap());
    assert_eq!(format!("{json:?}"), format!("{toml:?}"));
}

#[test]
fn what_is_not_said_is_the_default() {
    for builder in [JournalBuilder::from_toml("").unwrap(), JournalBuilder::from_json("{}").unwrap()] {
        assert_eq!(format!("{builder:?}"), format!("{:?}", JournalBuilder::default()));
        let said = builder.open_configured().unwrap_err().to_string();
        assert_eq!(said, "directory is missing, allowed is the path of the journal's directory");
    }
    let never = JournalBuilder::from_toml("flush_after = \"never\"").unwrap();
    assert_eq!(never.settings.flush, Flush::Never);
}

#[test]
fn a_bad_value_is_an_error_that_names_the_key() {
    for (key, value) in [
        ("directory", "3"),
        ("directory", "\"\""),
        ("prefix", "\"../\""),
        ("prefix", "true"),
        ("file_bytes", "100"),
        ("file_bytes", "-65536"),
        ("file_bytes", "65536.0"),
        ("file_bytes", "\"64 MB\""),
        ("file_bytes", "\"MiB\""),
        ("file_bytes", "\"-1MiB\""),
        ("file_bytes", "\"0.5GiB\""),
        ("file_bytes", "\"65536\""),
        ("file_bytes", "[65536]"),
        ("retain_files", "99999999999999999999"),
        ("retain_bytes", "99999999999999999999"),
        ("retain_bytes", "-99999999999999999999"),
        ("retain_bytes", "\"17179869184GiB\""),
        ("retain_bytes", "\"99999999999999999999KiB\""),
        ("retain_files", "0"),
        ("retain_bytes", "65536"),
        ("retain_age", "7"),
        ("retain_age", "\"7 weeks\""),
        ("retain_age", "\"99999999999999999d\""),
        ("front", "\"shm\""),
        ("front_windows", "1"),
        ("front_window_bytes", "65537"),
        ("record_bytes", "\"48\""),
        ("record_bytes", "0"),
        ("record_bytes", "\"3MiB\""),
        ("record_bytes", "18446744073709551615"),
        ("flush_after", "10"),
        ("flush_after", "\"0ms\""),
        ("flush_after", "\"Never\""),
        ("mode", "640"),
        ("mode", "\"0648\""),
        ("mode", "\"0440\""),
        ("mode", "\"+640\""),
        ("mode", "\"1640\""),
        ("open_wait", "\"ms\""),
        ("open_wait", "\"-1s\""),
        ("thread", "1"),
        ("read_only", "\"yes\""),
    ] {
        let toml = JournalBuilder::from_toml(&format!("{key} = {value}"));
        let json = JournalBuilder::from_json(&format!("{{\"{key}\": {value}}}"));
        for result in [toml, json] {
            match result {
                Err(JournalError::Setting { key: named, .. }) => assert_eq!(named, key, "{value}"),
                other => panic!("{key} = {value}: {other:?}"),
            }
        }
    }
}

#[test]
fn sizes_may_have_units() {
    let text =
        "file_bytes = \"8MiB\"\nretain_bytes = \"1 GiB\"\nfront_window_bytes = \"64KiB\"\nrecord_bytes = \"4KiB\"";
    let settings = JournalBuilder::from_toml(text).unwrap().settings;
    assert_eq!((settings.file_bytes, settings.retain.bytes), (8 << 20, Some(1 << 30)));
    assert_eq!((settings.front_window_bytes, settings.record_bytes), (64 << 10, 4 << 10));
    let said = JournalBuilder::from_toml("retain_bytes = \"4 megabytes\"").unwrap_err().to_string();
    assert_eq!(said, format!("retain_bytes is \"4 megabytes\", allowed is {A_SIZE}"));
}

#[test]
fn an_unknown_key_is_named() {
    for result in [JournalBuilder::from_toml("file_byte = 3"), JournalBuilder::from_json(r#"{"file_byte": 3}"#)] {
        let said = result.unwrap_err().to_string();
        assert!(said.starts_with("there is no setting \"file_byte\"; there are: directory, prefix, "), "{said}");
    }
}

#[test]
fn what_can_not_be_parsed_has_a_line() {
    let toml = ["prefix = \"a\"\nthread = yes\n", "prefix = \"a\"\nprefix = \"b\"\n", "[journal]\nx = 1\n="];
    let json = ["{\"prefix\": \"a\",\n\"thread\": yes}", "{\"prefix\": \"a\",\n\"prefix\": \"b\"}", "\n[]"];
    let lines = [2, 2, 3].into_iter().zip(toml.map(JournalBuilder::from_toml));
    let others = [2, 2, 2].into_iter().zip(json.map(JournalBuilder::from_json));
    for (wanted, result) in lines.chain(others) {
        match result {
            Err(JournalError::Syntax { line, what }) => {
                assert_eq!(line, wanted, "{what}");
                assert!(!what.is_empty() && !what.contains(" at line "), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_is_named_in_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    let said = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        JournalBuilder::from_file(&path).map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), ""))
    };
    assert_eq!(said("a.toml", "prefix = \"a\"").unwrap().settings.prefix, "a");
    assert_eq!(said("a.json", "{\"prefix\": \"b\"}").unwrap().settings.prefix, "b");
    let bad = said("b.toml", "thread = 1").unwrap_err();
    assert_eq!(bad, "/b.toml: thread is 1, allowed is true or false");
    let odd = said("b.yaml", "").unwrap_err();
    assert_eq!(odd, "/b.yaml: extension is \"yaml\", allowed is toml or json");
    let gone = JournalBuilder::from_file(dir.path().join("none.toml")).unwrap_err().to_string();
    assert!(gone.contains("none.toml: reading the settings: "), "{gone}");
}
