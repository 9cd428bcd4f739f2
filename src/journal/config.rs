//! Settings of a journal from a file, in TOML or JSON.

use crate::error::JournalError;
use crate::journal::config::value::Any;
use crate::journal::settings::{Flush, FrontHome};
use crate::journal::{Journal, JournalBuilder};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod value;

/// All keys that there are.
const KEYS: &str = "directory, prefix, file_bytes, retain_files, retain_bytes, retain_age, front, front_windows, \
                    front_window_bytes, record_bytes, flush_after, mode, open_wait, thread, read_only";
const A_SIZE: &str = "a whole number of bytes, or of KiB, MiB or GiB, as \"64MiB\", below 2^64 bytes";
const A_DURATION: &str = "a number and its unit, us, ms, s, m, h or d, as \"10ms\"";

/// What a file says, in its order.
struct Table(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings and their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let mut pairs: Vec<(String, Value)> = Vec::new();
                while let Some((key, Any(value))) = map.next_entry()? {
                    if pairs.iter().any(|(before, _)| *before == key) {
                        return Err(A::Error::custom(format!("{key} is there twice")));
                    }
                    pairs.push((key, value));
                }
                Ok(Table(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

impl JournalBuilder {
    /// Settings from TOML. The keys are named like the settings; all may be left out:
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let text = r#"
    /// directory = "/var/lib/orders"   # for `open_configured`
    /// prefix = "orders-"
    /// file_bytes = "64MiB"             # or a number
    /// retain_files = 100              # or retain_bytes, or retain_age = "7d"
    /// front = "auto"                  # or "directory", or an absolute path on tmpfs
    /// front_windows = 8
    /// front_window_bytes = "2MiB"
    /// record_bytes = 48
    /// flush_after = "10ms"            # or "never"
    /// mode = "0640"
    /// open_wait = "30s"
    /// thread = true
    /// read_only = false
    /// # "#;
    /// # let text = text.replace("/var/lib/orders", dir.path().to_str().unwrap());
    /// # let journal = shmlog::JournalBuilder::from_toml(&text)?.open_configured()?;
    /// # assert_eq!(journal.next_seq(), 0);
    /// # Ok::<_, shmlog::JournalError>(())
    /// ```
    ///
    /// Durations have a unit: us, ms, s, m, h or d. Sizes may have one, KiB, MiB or GiB; without it they are bytes.
    ///
    /// # Errors
    /// [`JournalError::Syntax`], with the line; [`JournalError::UnknownSetting`]; [`JournalError::Setting`].
    pub fn from_toml(text: &str) -> Result<Self, JournalError> {
        let table = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            JournalError::Syntax { line, what: error.message().to_owned() }
        })?;
        Self::of_table(table)
    }

    /// Settings from JSON: one object, with the same keys as [`JournalBuilder::from_toml`].
    ///
    /// # Errors
    /// As [`JournalBuilder::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, JournalError> {
        let table = serde_json::from_str(text).map_err(|error| {
            // It ends in the place, which is said before.
            let what = error.to_string();
            let what = what.rfind(" at line ").map_or(&what[..], |end| &what[..end]).to_owned();
            JournalError::Syntax { line: error.line(), what }
        })?;
        Self::of_table(table)
    }

    /// Settings from a file whose name ends in `.toml` or `.json`.
    ///
    /// # Errors
    /// [`JournalError::ConfigFile`]: the file, and what is wrong with it; else as [`JournalBuilder::from_toml`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = path.as_ref();
        let read = || {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let parse = match extension {
                Some("toml") => Self::from_toml,
                Some("json") => Self::from_json,
                other => {
                    let value = format!("{:?}", other.unwrap_or(""));
                    return Err(JournalError::Setting { key: "extension", value, allowed: "toml or json" });
                }
            };
            let text = std::fs::read_to_string(path);
            parse(&text.map_err(|error| JournalError::os("reading", "the settings", error))?)
        };
        read().map_err(|error| JournalError::ConfigFile { path: path.to_owned(), error: Box::new(error) })
    }

    /// The directory that the file names.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Opens the journal in the directory that the file names, or makes both.
    ///
    /// # Errors
    /// [`JournalError::Setting`]: it names none; others as [`JournalBuilder::open`].
    pub fn open_configured(&self) -> Result<Journal, JournalError> {
        let missing = || JournalError::Setting {
            key: "directory",
            value: "missing".to_owned(),
            allowed: "the path of the journal's directory",
        };
        self.open(self.directory.as_ref().ok_or_else(missing)?)
    }

    fn of_table(Table(pairs): Table) -> Result<Self, JournalError> {
        let mut builder = Self::default();
        for (key, value) in &pairs {
            builder.set(key, value)?;
        }
        builder.settings.check()?;
        Ok(builder)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), JournalError> {
        let settings = &mut self.settings;
        match key {
            "directory" => self.directory = Some(path("directory", value, "a path")?),
            "prefix" => settings.prefix = text("prefix", value, "text")?.to_owned(),
            "file_bytes" => settings.file_bytes = size("file_bytes", value)?,
            "retain_files" => settings.retain.files = Some(number("retain_files", value)?),
            "retain_bytes" => settings.retain.bytes = Some(size("retain_bytes", value)?),
            "retain_age" => settings.retain.age = Some(duration("retain_age", value, A_DURATION)?),
            "front" => settings.front = front(value)?,
            "front_windows" => settings.front_windows = number("front_windows", value)?,
            "front_window_bytes" => settings.front_window_bytes = size("front_window_bytes", value)?,
            "record_bytes" => settings.record_bytes = size("record_bytes", value)?,
            "flush_after" => settings.flush = flush(value)?,
            "mode" => settings.mode = mode(value)?,
            "open_wait" => settings.open_wait = duration("open_wait", value, A_DURATION)?,
            "thread" => settings.has_thread = value.as_bool().ok_or_else(|| bad("thread", value, "true or false"))?,
            "read_only" => {
                settings.is_read_only = value.as_bool().ok_or_else(|| bad("read_only", value, "true or false"))?;
            }
            _ => return Err(JournalError::UnknownSetting { key: key.to_owned(), known: KEYS }),
        }
        Ok(())
    }
}

fn bad(key: &'static str, value: &Value, allowed: &'static str) -> JournalError {
    JournalError::Setting { key, value: value.to_string(), allowed }
}

fn text<'v>(key: &'static str, value: &'v Value, allowed: &'static str) -> Result<&'v str, JournalError> {
    value.as_str().ok_or_else(|| bad(key, value, allowed))
}

fn path(key: &'static str, value: &Value, allowed: &'static str) -> Result<PathBuf, JournalError> {
    let path = text(key, value, allowed)?;
    if path.is_empty() || path.contains('\0') { Err(bad(key, value, allowed)) } else { Ok(path.into()) }
}

fn number(key: &'static str, value: &Value) -> Result<u64, JournalError> {
    value.as_u64().ok_or_else(|| bad(key, value, "a whole number below 2^64"))
}

fn size(key: &'static str, value: &Value) -> Result<u64, JournalError> {
    let bytes = value.as_str().map_or_else(|| value.as_u64(), parse_size);
    bytes.ok_or_else(|| bad(key, value, A_SIZE))
}

fn parse_size(text: &str) -> Option<u64> {
    let unit_at = text.find(|char: char| !char.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let unit_bytes = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit_bytes)
}

fn duration(key: &'static str, value: &Value, allowed: &'static str) -> Result<Duration, JournalError> {
    let text = text(key, value, allowed)?;
    parse_duration(text).ok_or_else(|| bad(key, value, allowed))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|char: char| !char.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    let count: u64 = count.parse().ok()?;
    let seconds = |each: u64| count.checked_mul(each).map(Duration::from_secs);
    match unit.trim_start() {
        "us" => Some(Duration::from_micros(count)),
        "ms" => Some(Duration::from_millis(count)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

fn flush(value: &Value) -> Result<Flush, JournalError> {
    let allowed = "\"never\", or a number above 0 and its unit, us, ms, s, m, h or d, as \"10ms\"";
    if value == "never" {
        return Ok(Flush::Never);
    }
    match duration("flush_after", value, allowed)? {
        Duration::ZERO => Err(bad("flush_after", value, allowed)),
        within => Ok(Flush::After(within)),
    }
}

fn front(value: &Value) -> Result<FrontHome, JournalError> {
    let allowed = "\"auto\", \"directory\" or an absolute path";
    match text("front", value, allowed)? {
        "auto" => Ok(FrontHome::Auto),
        "directory" => Ok(FrontHome::Directory),
        path if path.starts_with('/') => Ok(FrontHome::At(path.into())),
        _ => Err(bad("front", value, allowed)),
    }
}

/// A number would be decimal in JSON, and in TOML only octal for who writes 0o640.
fn mode(value: &Value) -> Result<u32, JournalError> {
    let allowed = "octal digits in quotes from \"0600\" to \"0777\", with all of 0600 in them";
    let digits = text("mode", value, allowed)?;
    let is_octal = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
    mode.filter(|mode| mode & 0o600 == 0o600 && mode & !0o777 == 0).ok_or_else(|| bad("mode", value, allowed))
}

#[cfg(test)]
mod tests;
