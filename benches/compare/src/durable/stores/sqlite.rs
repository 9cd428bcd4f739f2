//! SQLite through rusqlite: a table by number, a write-ahead log; each unit is a transaction. The threads of a process
//! share a connection, which is faster than to wait for each other's by naps.

use crate::durable::records::Check;
use crate::durable::store::{Reader, Settings, Store, Writer};
use anyhow::Result;
use rusqlite::{Connection, Error, ErrorCode};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process waits for others.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it waits where SQLite does not.
const NAP: Duration = Duration::from_millis(5);
/// How much of the file is read through a map.
const MAP_BYTES: i64 = 8 << 30;

/// A connection.
pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(dir: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    let connection = Connection::open(dir.join("records.db"))?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if settings.is_durable() { "FULL" } else { "OFF" })?;
    connection.pragma_update(None, "mmap_size", MAP_BYTES)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS records(number INTEGER PRIMARY KEY, record BLOB NOT NULL)")?;
    Ok(connection)
}

fn is_busy(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

impl Store for Sqlite {
    type Writer<'s> = Inserts<'s>;
    type Reader<'s> = Selects<'s>;
    const FILL_UNIT: usize = 1000;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        // Of those that open or close it at the same time, some are told at once that it is locked.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connect(dir, settings) {
                Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(NAP),
                connection => return Ok(Self(Mutex::new(connection?))),
            }
        }
    }

    fn writer(&self, _index: usize) -> Result<Inserts<'_>> {
        Ok(Inserts(self))
    }

    fn reader(&self) -> Result<Selects<'_>> {
        Ok(Selects(self.lock()))
    }

    fn close(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).close().map_err(|(_, error)| error.into())
    }
}

/// Writes; SQLite numbers the rows, from 1.
pub struct Inserts<'s>(&'s Sqlite);

impl Writer for Inserts<'_> {
    fn write(&mut self, records: &[&[u8]], _sync: bool) -> Result<()> {
        const INSERT: &str = "INSERT INTO records(record) VALUES (?1)";
        let mut connection = self.0.lock();
        if let [record] = records {
            connection.prepare_cached(INSERT)?.execute([record])?;
            return Ok(());
        }
        let transaction = connection.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for record in records {
            insert.execute([record])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }
}

/// Reads.
pub struct Selects<'s>(MutexGuard<'s, Connection>);

impl Reader for Selects<'_> {
    fn scan(&mut self, mut check: Check) -> Result<Check> {
        let mut select = self.0.prepare_cached("SELECT record FROM records ORDER BY number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            check.see(row.get_ref(0)?.as_blob()?);
        }
        Ok(check)
    }

    fn get(&mut self, number: u64, see: &mut impl FnMut(&[u8])) -> Result<()> {
        let mut select = self.0.prepare_cached("SELECT record FROM records WHERE number = ?1")?;
        select.query_row([i64::try_from(number)? + 1], |row| {
            see(row.get_ref(0)?.as_blob()?);
            Ok(())
        })?;
        Ok(())
    }
}
