//! Reads a run's folder. What is in it may be anybody's: sizes are bounded, and nothing is trusted to be what it says.

use super::hgrm::Percentiles;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest JSON file, bytes.
const JSON_MAX: u64 = 4 << 20;
/// Largest table of trials, bytes.
const TRIALS_MAX: u64 = 64 << 20;
/// Rows of trials that are read; a plot thins them out anyway.
pub const ROWS_MAX: usize = 500_000;
/// Columns of trials that are read.
const COLUMNS_MAX: usize = 64;
/// Largest histogram, bytes.
const HISTOGRAM_MAX: u64 = 4 << 20;
/// Histograms of a folder that are read.
pub const HISTOGRAMS_MAX: usize = 24;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 4096;

/// A run's folder, read. What is missing is null or empty, and a note says so.
#[derive(Debug, Default)]
pub struct Folder {
    /// `config.json`.
    pub config: Value,
    /// `host.json`.
    pub host: Value,
    /// `summary.json`.
    pub summary: Value,
    /// `trials.csv`.
    pub trials: Table,
    /// `*.hgrm` by name, sorted.
    pub histograms: Vec<(String, Percentiles)>,
    /// What could not be read, for the page.
    pub notes: Vec<String>,
}

/// A table of text.
#[derive(Debug, Default)]
pub struct Table {
    /// Names of columns.
    pub heads: Vec<String>,
    /// Rows, each as long as `heads`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Numbers of a column, `None` where a row has none; of `a/b` the quotients of two columns. `None` when there is no
    /// such column.
    pub fn column(&self, name: &str) -> Option<Vec<Option<f64>>> {
        if let Some((above, below)) = name.split_once('/') {
            let (above, below) = (self.column(above)?, self.column(below)?);
            let quotient = |(above, below): (Option<f64>, Option<f64>)| Some(above? / below?).filter(|q| q.is_finite());
            return Some(above.into_iter().zip(below).map(quotient).collect());
        }
        let at = self.heads.iter().position(|head| head == name)?;
        let number = |row: &Vec<String>| row[at].parse::<f64>().ok().filter(|value| value.is_finite());
        Some(self.rows.iter().map(number).collect())
    }

    /// Texts of a column.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let at = self.heads.iter().position(|head| head == name)?;
        Some(self.rows.iter().map(|row| row[at].as_str()).collect())
    }
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// There is neither a configuration nor a summary, so that it is no run's folder.
    pub fn read(dir: &Path) -> Result<Folder, String> {
        let mut folder = Folder::default();
        let mut json = |name: &str| match bounded(&dir.join(name), JSON_MAX) {
            Err(error) => {
                folder.notes.push(error);
                Value::Null
            }
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                folder.notes.push(format!("{name} is no JSON: {error}"));
                Value::Null
            }),
        };
        let (config, host, summary) = (json("config.json"), json("host.json"), json("summary.json"));
        if config.is_null() && summary.is_null() {
            let notes = folder.notes.join("; ");
            return Err(format!("{} is not the folder of a run: {notes}", dir.display()));
        }
        (folder.config, folder.host, folder.summary) = (config, host, summary);
        match bounded(&dir.join("trials.csv"), TRIALS_MAX) {
            Ok(bytes) => {
                let (table, note) = table(&bytes);
                folder.trials = table;
                folder.notes.extend(note);
            }
            Err(error) => folder.notes.push(error),
        }
        folder.read_histograms(dir);
        // A run that failed left it in place of a summary.
        if let Ok(bytes) = bounded(&dir.join("failure.txt"), JSON_MAX) {
            folder.notes.insert(0, format!("The run failed: {}", String::from_utf8_lossy(&bytes).trim()));
        }
        Ok(folder)
    }

    fn read_histograms(&mut self, dir: &Path) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries.take(ENTRIES_MAX),
            Err(error) => return self.notes.push(format!("the folder cannot be listed: {error}")),
        };
        let mut names: Vec<_> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.ends_with(".hgrm"));
        names.sort();
        if names.len() > HISTOGRAMS_MAX {
            self.notes.push(format!("{} histograms, of which {HISTOGRAMS_MAX} are shown", names.len()));
        }
        for file in names.into_iter().take(HISTOGRAMS_MAX) {
            let read = bounded(&dir.join(&file), HISTOGRAM_MAX);
            let name = file.trim_end_matches(".hgrm").to_owned();
            match read.and_then(|bytes| Percentiles::parse(&bytes).map_err(|error| format!("{file}: {error}"))) {
                Ok(percentiles) => self.histograms.push((name, percentiles)),
                Err(error) => self.notes.push(error),
            }
        }
    }
}

/// A file's bytes, no more than `most`. Only plain files: a pipe would wait for ever.
fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let about = |error: std::io::Error| format!("{name}: {error}");
    if !path.metadata().map_err(about)?.is_file() {
        return Err(format!("{name}: not a plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(about)?;
    if bytes.len() as u64 > most {
        return Err(format!("{name}: larger than {most} bytes, not read"));
    }
    Ok(bytes)
}

fn table(bytes: &[u8]) -> (Table, Option<String>) {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let mut table = Table::default();
    match reader.headers() {
        Ok(heads) => table.heads = heads.iter().take(COLUMNS_MAX).map(str::to_owned).collect(),
        Err(error) => return (table, Some(format!("trials.csv: {error}"))),
    }
    for record in reader.records() {
        match record {
            _ if table.rows.len() == ROWS_MAX => {
                return (table, Some(format!("trials.csv: only the first {ROWS_MAX} rows are shown")));
            }
            Ok(record) => {
                let mut row: Vec<_> = record.iter().take(table.heads.len()).map(str::to_owned).collect();
                row.resize(table.heads.len(), String::new());
                table.rows.push(row);
            }
            Err(error) => return (table, Some(format!("trials.csv: {error}; what comes before it is shown"))),
        }
    }
    (table, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_where_they_are() {
        let (table, note) = table(b"a,b\n1,x\n\"2\",NaN,9\n3\n");
        assert!(note.is_none());
        assert_eq!(table.column("a"), Some(vec![Some(1.0), Some(2.0), Some(3.0)]));
        assert_eq!(table.column("b"), Some(vec![None, None, None]));
        assert_eq!(table.texts("b"), Some(vec!["x", "NaN", ""]));
        assert_eq!(table.column("c"), None);
        assert_eq!(table.column("a/a"), Some(vec![Some(1.0); 3]));
        assert_eq!((table.column("a/b"), table.column("a/c")), (Some(vec![None; 3]), None));
        let (broken, note) = super::table(b"a\n1\n\xff\n2\n");
        assert!(broken.rows.len() == 1 && note.is_some_and(|note| note.contains("before it")));
    }

    #[test]
    fn what_is_no_run_is_an_error_and_what_lacks_is_a_note() {
        let dir = tempfile::tempdir().unwrap();
        let error = Folder::read(dir.path()).unwrap_err();
        assert!(error.contains("is not the folder of a run: config.json:"), "{error}");
        std::fs::write(dir.path().join("config.json"), "{\"links\": 3}").unwrap();
        std::fs::write(dir.path().join("host.json"), "{").unwrap();
        std::fs::write(dir.path().join("x.hgrm"), "no numbers").unwrap();
        std::fs::write(dir.path().join("failure.txt"), "a cell was lost\n").unwrap();
        std::fs::create_dir(dir.path().join("trials.csv")).unwrap();
        let folder = Folder::read(dir.path()).unwrap();
        let notes = folder.notes.join("\n");
        for word in
            ["host.json is no JSON", "summary.json: ", "trials.csv: not a plain file", "x.hgrm: ", "failed: a cell"]
        {
            assert!(notes.contains(word), "{notes}");
        }
        let large = dir.path().join("config.json");
        File::create(&large).unwrap().set_len(JSON_MAX + 1).unwrap();
        assert!(bounded(&large, JSON_MAX).unwrap_err().contains("larger than 4194304 bytes"));
    }
}
